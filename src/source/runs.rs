//! Sorts the lines of one read into runs, one per stream, each already a frame's body.
//!
//! A connection mostly writes to one stream, so the stream of the last line is tried first. What a
//! line costs here is a comparison of names and one copy of its payload; locks, allocations and
//! messages are per read and stream.

use std::collections::HashMap;

use standpipe_wal::limits::{BODY_BYTES_MAX, EVENT_PREFIX_BYTES};
use standpipe_wal::{Events, Flags, StreamName};

use super::line::Line;
use super::numbers::Numbers;
use crate::intake::Refusal;
use crate::limits::DOORS_REMEMBERED_MAX;

/// Events of one stream from one read.
#[derive(Debug)]
pub struct Run<D> {
    /// The stream's entrance.
    pub door: D,
    /// The events.
    pub events: Events,
    /// Which lines of the read they were; empty where lines are not numbered.
    pub lines: Numbers,
    /// The first of these lines, counted from the read's first.
    pub first: u32,
}

/// Lines of one read that were refused for the same reason.
#[derive(Debug)]
pub struct RefusedLines<D> {
    /// Why.
    pub refusal: Refusal,
    /// The stream, where the line names one that this connection has used.
    pub door: Option<D>,
    /// That stream's name, or nothing.
    stream: Box<[u8]>,
    /// How many there are.
    pub events: u64,
    /// Which lines of the read they were; empty where lines are not numbered.
    pub lines: Numbers,
}

/// What one read held.
#[derive(Debug)]
pub struct Parsed<D> {
    /// The events, in the order in which they are to be submitted: the runs of one stream are in
    /// the order of its lines.
    pub runs: Vec<Run<D>>,
    /// What was refused.
    pub refused: Vec<RefusedLines<D>>,
    /// How many lines there were.
    pub lines: u32,
    /// What a first run needs at most, in bytes.
    capacity: usize,
}

impl<D> Parsed<D> {
    /// Nothing yet, of a read of `bytes`.
    pub fn of_read(bytes: usize) -> Self {
        Self { runs: Vec::new(), refused: Vec::new(), lines: 0, capacity: bytes }
    }

    /// A run for this payload and what follows, with room for about `bytes`.
    fn begin(&mut self, door: D, bytes: usize, payload: &[u8], first: u32) -> Option<&mut Run<D>> {
        let alone = EVENT_PREFIX_BYTES + payload.len();
        let capacity = bytes.clamp(alone, BODY_BYTES_MAX.max(alone));
        let events = Events::with_capacity(capacity, Flags::default());
        self.runs.push(Run { door, events, lines: Numbers::default(), first });
        self.runs.last_mut()
    }
}

/// Finds the stream of each line. Remembers the doors that the connection has used.
#[derive(Debug)]
pub struct Sorter<D> {
    streams: Vec<Known<D>>,
    by_name: HashMap<Box<[u8]>, usize>,
    /// The stream of the last line.
    last: usize,
    numbered: bool,
    /// Streams of the last read that had any: what the next one is likely to hold.
    streams_usual: usize,
}

#[derive(Debug)]
struct Known<D> {
    name: Box<[u8]>,
    /// A refusal is remembered for the read only: the next one may find the stream configured.
    door: Result<D, Refusal>,
    /// The stream's open run of this read.
    run: Option<usize>,
}

impl<D: Clone> Sorter<D> {
    /// A sorter; `numbered` where each line is to be answered by its number.
    pub fn new(numbered: bool) -> Self {
        Self { streams: Vec::new(), by_name: HashMap::new(), last: 0, numbered, streams_usual: 1 }
    }

    /// Takes the next line of the read.
    #[inline]
    pub fn take(
        &mut self,
        line: Line<'_>,
        parsed: &mut Parsed<D>,
        open: impl FnOnce(&StreamName) -> Result<D, Refusal>,
    ) {
        let number = parsed.lines;
        parsed.lines += 1;
        match line {
            Line::Event { stream, payload } => {
                let index = self.find_or_open(stream, open);
                self.push(index, payload, number, parsed);
            }
            Line::Refused { stream, refusal } => self.refuse(refusal, stream, number, parsed),
        }
    }

    /// The read is over: its runs are closed.
    pub fn end_of_read(&mut self, parsed: &Parsed<D>) {
        if !parsed.runs.is_empty() {
            self.streams_usual = parsed.runs.len();
        }
        if self.streams.len() > DOORS_REMEMBERED_MAX {
            self.forget();
        } else if self.streams.iter().any(|known| known.door.is_err()) {
            self.forget_refused();
        }
        for known in &mut self.streams {
            known.run = None;
        }
    }

    fn forget_refused(&mut self) {
        self.last = 0;
        self.streams.retain(|known| known.door.is_ok());
        let names = self.streams.iter().map(|known| known.name.clone());
        self.by_name = names.zip(0..).collect();
    }

    fn forget(&mut self) {
        self.streams = Vec::new();
        self.by_name = HashMap::new();
        self.last = 0;
    }

    fn find(&self, name: &[u8]) -> Option<usize> {
        match self.streams.get(self.last) {
            Some(known) if *known.name == *name => Some(self.last),
            _ => self.by_name.get(name).copied(),
        }
    }

    #[inline]
    fn find_or_open(
        &mut self,
        name: &[u8],
        open: impl FnOnce(&StreamName) -> Result<D, Refusal>,
    ) -> usize {
        let index = self.find(name).unwrap_or_else(|| self.open(name, open));
        self.last = index;
        index
    }

    #[cold]
    fn open(&mut self, name: &[u8], open: impl FnOnce(&StreamName) -> Result<D, Refusal>) -> usize {
        // A read may name more streams than a connection may remember. Runs that are open stay
        // where they are; a stream that comes again gets a new one behind them.
        if self.streams.len() > DOORS_REMEMBERED_MAX {
            self.forget();
        }
        let door = StreamName::from_bytes(name).map_err(Refusal::from).and_then(|name| open(&name));
        let index = self.streams.len();
        self.streams.push(Known { name: name.into(), door, run: None });
        self.by_name.insert(name.into(), index);
        index
    }

    #[inline]
    fn push(&mut self, index: usize, payload: &[u8], number: u32, parsed: &mut Parsed<D>) {
        let Some(known) = self.streams.get_mut(index) else { return };
        if let Err(refusal) = &known.door {
            let refusal = refusal.clone();
            self.refuse(refusal, b"", number, parsed);
            return;
        }
        let open = known.run.and_then(|index| parsed.runs.get_mut(index));
        let run = match open {
            Some(run) if run.events.has_room_for(payload.len()) => run,
            _ => {
                let Ok(door) = &known.door else { return };
                known.run = Some(parsed.runs.len());
                let bytes = parsed.capacity / self.streams_usual;
                let Some(run) = parsed.begin(door.clone(), bytes, payload, number) else { return };
                run
            }
        };
        run.events.push(payload);
        if self.numbered {
            run.lines.add(number);
        }
    }

    #[cold]
    fn refuse(&self, refusal: Refusal, stream: &[u8], number: u32, parsed: &mut Parsed<D>) {
        let known = self.find(stream).and_then(|index| self.streams.get(index));
        let door = known.and_then(|known| known.door.as_ref().ok());
        // There are few reasons, none holds the line's own text, and streams are told apart only
        // where this connection has used them: the list stays short.
        let stream: &[u8] = if door.is_some() { stream } else { b"" };
        let same = |lines: &RefusedLines<D>| lines.refusal == refusal && *lines.stream == *stream;
        let index = parsed.refused.iter().rposition(same).unwrap_or_else(|| {
            parsed.refused.push(RefusedLines {
                refusal,
                stream: stream.into(),
                door: door.cloned(),
                events: 0,
                lines: Numbers::default(),
            });
            parsed.refused.len() - 1
        });
        if let Some(lines) = parsed.refused.get_mut(index) {
            lines.events += 1;
            if self.numbered {
                lines.lines.add(number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use standpipe_wal::events;

    use super::*;
    use crate::source::line::LineParser;

    fn open(name: &StreamName) -> Result<StreamName, Refusal> {
        if name.as_str().starts_with("no") { Err(Refusal::UnknownStream) } else { Ok(name.clone()) }
    }

    fn sort(
        sorter: &mut Sorter<StreamName>,
        parser: &mut LineParser,
        read: &[u8],
    ) -> Parsed<StreamName> {
        let mut parsed = Parsed::of_read(read.len());
        parser.feed(read, |line| sorter.take(line, &mut parsed, open));
        sorter.end_of_read(&parsed);
        parsed
    }

    fn sort_once(read: &[u8]) -> Parsed<StreamName> {
        sort(&mut Sorter::new(true), &mut LineParser::new(b'\n', 1_023_999), read)
    }

    #[test]
    fn lines_of_a_stream_become_one_run_whatever_stands_between_them() {
        let parsed = sort_once(b"a 1\nb 2\na 3\n\na 4\nno 5\n");
        let runs = parsed.runs.iter().map(|r| (r.door.as_str(), r.events.count(), r.first));
        assert_eq!(runs.collect::<Vec<_>>(), [("a", 3, 0), ("b", 1, 1)]);
        assert_eq!(parsed.runs[0].lines.iter().collect::<Vec<_>>(), [0..1, 2..3, 4..5]);
        let refused: Vec<_> = parsed.refused.iter().map(|r| (r.refusal.code(), r.events)).collect();
        assert_eq!(refused, [("malformed", 1), ("unknown_stream", 1)]);
        assert_eq!(parsed.lines, 6);
    }

    #[test]
    fn a_full_frame_ends_a_run() {
        let line = [b"a ".to_vec(), vec![b'x'; 100_000], b"\n".to_vec()].concat();
        let parsed = sort_once(&line.repeat(5));
        let counts: Vec<_> = parsed.runs.iter().map(|run| run.events.count()).collect();
        assert_eq!(counts, [2, 2, 1]);
        assert!(parsed.runs.iter().all(|run| run.events.body().len() <= BODY_BYTES_MAX));
    }

    #[test]
    fn refusals_are_counted_by_stream_where_the_connection_has_used_it() {
        let parsed = sort_once(b"a 1\na \nb \na \n");
        let refused = parsed.refused.iter();
        let refused: Vec<_> =
            refused.map(|r| (r.door.as_ref().map(StreamName::as_str), r.events)).collect();
        assert_eq!(refused, [(Some("a"), 2), (None, 1)]);
    }

    #[test]
    fn a_refused_stream_is_tried_again_with_the_next_read() {
        let mut sorter = Sorter::new(false);
        let mut tries = 0;
        for _read in 0..2 {
            let mut parsed = Parsed::of_read(10);
            for _line in 0..3 {
                let line = Line::Event { stream: b"late", payload: b"1" };
                sorter.take(line, &mut parsed, |name| {
                    tries += 1;
                    if tries == 1 { Err(Refusal::UnknownStream) } else { Ok(name.clone()) }
                });
            }
            sorter.end_of_read(&parsed);
            assert_eq!(parsed.runs.len(), tries - 1);
        }
        assert_eq!(tries, 2);
    }

    proptest! {
        /// The model: a map from stream to its payloads in order.
        #[test]
        fn nothing_is_lost_mixed_up_or_put_out_of_order(
            lines in proptest::collection::vec((0_u16..600, "[a-z]{1,8}"), 0..2000),
        ) {
            let mut text = Vec::new();
            let mut expected = BTreeMap::<String, Vec<Vec<u8>>>::new();
            for (stream, payload) in &lines {
                let stream = format!("s{stream}");
                text.extend_from_slice(format!("{stream} {payload}\n").as_bytes());
                expected.entry(stream).or_default().push(payload.clone().into_bytes());
            }
            let parsed = sort_once(&text);
            let mut found = BTreeMap::<String, Vec<Vec<u8>>>::new();
            let mut numbers = Vec::new();
            let mut firsts = Vec::new();
            for run in &parsed.runs {
                let payloads = events::iter(run.events.body()).map(<[u8]>::to_vec);
                found.entry(run.door.to_string()).or_default().extend(payloads);
                firsts.push(run.first);
                prop_assert_eq!(run.lines.iter().next().map(|r| r.start), Some(run.first));
                numbers.extend(run.lines.iter().flatten());
            }
            prop_assert!(firsts.is_sorted());
            numbers.sort_unstable();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(numbers, (0..parsed.lines).collect::<Vec<_>>());
        }
    }
}
