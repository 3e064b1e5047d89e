//! What one client was told, which is what must hold.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io;
use std::sync::mpsc::Sender;

use super::client::{Answer, connect};

/// Lines of one client that may wait for their acknowledgement.
const WINDOW: usize = 150;

/// Streams that each client writes to, in turn.
pub(crate) const STREAMS_PER_CLIENT: u64 = 2;

/// One client's ledger.
pub(crate) struct Ledger {
    pub(crate) client: u64,
    seed: u64,
    next: u64,
    /// Sent, and not known to be durable. To be sent again on the next connection.
    pub(crate) open: VecDeque<u64>,
    pub(crate) acknowledged: BTreeSet<u64>,
}

impl Ledger {
    pub(crate) fn new(client: u64, seed: u64) -> Self {
        Self { client, seed, next: 0, open: VecDeque::new(), acknowledged: BTreeSet::new() }
    }

    /// Goes on until the connection ends, or nothing is open any more and nothing new is to come.
    pub(crate) fn talk(
        &mut self,
        address: &str,
        new_ones: bool,
        tell: &Sender<u64>,
    ) -> io::Result<()> {
        let (mut writer, mut answers) = connect(address)?;
        let mut random = fastrand::Rng::with_seed(self.seed ^ self.next);
        let mut waiting: VecDeque<u64> = VecDeque::new();
        let mut repeat: VecDeque<u64> = self.open.iter().copied().collect();
        let mut refused = BTreeSet::new();
        let mut answered = 0;
        loop {
            if waiting.len() < WINDOW && (new_ones || !repeat.is_empty()) {
                let mut lines = Vec::new();
                for _ in 0..random.usize(1..40) {
                    let number = match repeat.pop_front() {
                        Some(number) => number,
                        None if new_ones => self.begin_new(),
                        None => break,
                    };
                    waiting.push_back(number);
                    lines.extend(stream(self.client, number).bytes().chain([b' ']));
                    lines.extend(event(self.seed, self.client, number));
                    lines.push(b'\n');
                }
                writer.write_all(&lines)?;
            } else if waiting.is_empty() {
                return Ok(());
            } else {
                match answers.next()? {
                    Answer::Nak(line, reason) => {
                        // What an agent says that ends, even in the middle of a line.
                        let again = ["stopping ", "unfinished "];
                        let again = again.iter().any(|code| reason.starts_with(code));
                        assert!(again, "a good line was refused: {reason}");
                        refused.insert(line);
                    }
                    Answer::Ack(up_to) => {
                        let count = usize::try_from(up_to - answered).unwrap();
                        for (line, number) in (answered + 1..).zip(waiting.drain(..count)) {
                            if !refused.remove(&line) {
                                self.acknowledged.insert(number);
                            }
                        }
                        self.open.retain(|number| !self.acknowledged.contains(number));
                        // Nobody listens any more once enough was acknowledged.
                        let _heard = tell.send(up_to - answered).is_ok();
                        answered = up_to;
                    }
                }
            }
        }
    }

    /// Makes up one more event, which the next connection sends.
    pub(crate) fn begin_new(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        self.open.push_back(number);
        number
    }
}

/// Where a client sends a number.
pub(crate) fn stream(client: u64, number: u64) -> String {
    format!("stream-{client}-{}", number % STREAMS_PER_CLIENT)
}

/// What a client sends under a number: told apart from all others by its beginning, and checked by
/// the rest of it.
pub(crate) fn event(seed: u64, client: u64, number: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed ^ (client << 48) ^ number);
    let mut event = format!("{client} {number} ").into_bytes();
    let length = if random.u8(..50) == 0 { 20_000 } else { random.usize(..2000) };
    event.extend(std::iter::repeat_with(|| random.u8(b' '..=b'~')).take(length));
    event
}

/// What became of everything.
pub(crate) struct Outcome {
    pub(crate) acknowledged: usize,
    /// Client and number of what was acknowledged and did not arrive.
    pub(crate) missing: Vec<(u64, u64)>,
    /// Deliveries beyond the first of each event.
    pub(crate) repeated: u32,
}

/// Compares what arrived with the ledgers. What arrived must have been sent, byte for byte.
pub(crate) fn compare(seed: u64, ledgers: &[Ledger], delivered: &HashMap<Vec<u8>, u32>) -> Outcome {
    let mut counts: BTreeMap<(u64, u64), u32> = BTreeMap::new();
    for (bytes, count) in delivered {
        let shown = String::from_utf8_lossy(bytes);
        let mut words = shown.splitn(3, ' ').map_while(|word| word.parse::<u64>().ok());
        let (client, number) = words.next().zip(words.next()).expect(&shown);
        let ledger = ledgers.iter().find(|ledger| ledger.client == client).expect(&shown);
        assert!(number < ledger.next, "not sent yet: {shown}");
        assert_eq!(&event(seed, client, number), bytes, "nobody sent this");
        counts.insert((client, number), *count);
    }
    let acknowledged = || {
        ledgers
            .iter()
            .flat_map(|ledger| ledger.acknowledged.iter().map(|number| (ledger.client, *number)))
    };
    Outcome {
        acknowledged: acknowledged().count(),
        missing: acknowledged().filter(|event| !counts.contains_key(event)).collect(),
        repeated: counts.values().map(|count| count - 1).sum(),
    }
}
