//! Was every acknowledgement sent only after its events were on disk? Asked of the system calls
//! alone: the agent's own word counts for nothing here.
//!
//! For each `ACK n`, for each line up to `n` that was not refused (and for each record of a call of
//! the Firehose API that was confirmed):
//! 1. a write of its payload to a segment of its stream ended before an fdatasync of that file
//!    began, which returned 0 before the sending of the `ACK` began;
//! 2. so did a sync of the directory, after the file got its name there;
//! 3. and a sync of the parent of every directory above it that was made in this trace.
//!
//! For each segment: what was written to it before it got its name (the header) was synced before
//! that, and after a sync of it failed it is neither written nor synced again.
//!
//! For each segment that is removed or put into the pool: the offsets were written after its last
//! event and synced before the removal, and the directory was synced afterwards.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::http;
use crate::parse::Call;

/// What was checked. All zero means that nothing was.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) acknowledgements: usize,
    pub(crate) lines: usize,
    pub(crate) segments: usize,
    pub(crate) removals: usize,
    pub(crate) failed_syncs: usize,
}

/// A span of lines of the trace.
#[derive(Clone, Copy, Debug)]
struct Span {
    began: usize,
    ended: usize,
}

impl Span {
    fn of(call: &Call) -> Self {
        Self { began: call.began, ended: call.ended }
    }
}

/// A file, under whatever names it had.
#[derive(Debug, Default)]
struct File {
    /// Its names and when it got them; `None` for one that it had before the trace began.
    names: Vec<(PathBuf, Option<Span>)>,
    writes: Vec<Span>,
    syncs: Vec<Span>,
    /// The first sync that failed.
    failed_sync: Option<Span>,
    removal: Option<(PathBuf, Span)>,
}

/// What the trace says about files and directories.
#[derive(Debug, Default)]
struct Disk {
    streams: PathBuf,
    offsets: PathBuf,
    files: Vec<File>,
    /// The file that has a name now.
    by_name: HashMap<PathBuf, usize>,
    made: BTreeMap<PathBuf, Span>,
    dir_syncs: HashMap<PathBuf, Vec<Span>>,
    offset_writes: Vec<Span>,
    offset_syncs: Vec<Span>,
    /// Where the payload of each token was written.
    tokens: HashMap<Vec<u8>, Vec<(usize, Span)>>,
}

/// One acknowledged connection.
#[derive(Debug, Default)]
struct Connection {
    received: Vec<u8>,
    /// What was sent, and on which line each byte's sending began.
    sent: Vec<(u8, usize)>,
}

/// Checks a trace of an agent whose data directory is `data_dir`. The payload of every line must
/// hold a token of its own (see [`token`]).
///
/// # Errors
/// What was acknowledged, or removed, too early.
pub(crate) fn check(calls: &[Call], data_dir: &Path) -> Result<Report, Vec<String>> {
    let mut disk = Disk {
        streams: data_dir.join("streams"),
        offsets: data_dir.join("offsets"),
        ..Disk::default()
    };
    let mut connections: BTreeMap<&str, Connection> = BTreeMap::new();
    let mut report = Report::default();
    for call in calls {
        match call.target() {
            _ if !call.succeeded() => disk.take_failed(call, &mut report),
            Some(socket) if socket.starts_with("socket:") => {
                connections.entry(socket).or_default().take(call);
            }
            _ => disk.take(call),
        }
    }
    let mut wrong = Vec::new();
    for connection in connections.values() {
        connection.check(&disk, &mut report, &mut wrong);
    }
    disk.check_removals(&mut report, &mut wrong);
    disk.check_segments(&mut wrong);
    report.segments =
        disk.files.iter().filter(|file| file.names.iter().any(|name| name.1.is_some())).count();
    if wrong.is_empty() { Ok(report) } else { Err(wrong) }
}

/// What makes a payload known among the bytes of a frame: `@`, eight digits, `@`.
pub(crate) fn tokens(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.windows(10).filter(|window| {
        window[0] == b'@' && window[9] == b'@' && window[1..9].iter().all(u8::is_ascii_digit)
    })
}

impl Disk {
    fn take(&mut self, call: &Call) {
        match call.name.as_str() {
            "mkdir" | "mkdirat" => {
                self.made.insert(call.path(0).into(), Span::of(call));
            }
            "open" | "openat" | "creat" if call.arguments.contains("O_CREAT") => {
                let path = PathBuf::from(call.path(0));
                if self.is_segment(&path) && !self.by_name.contains_key(&path) {
                    self.file(&path, Some(Span::of(call)));
                }
            }
            "rename" | "renameat" | "renameat2" => self.rename(call),
            "unlink" | "unlinkat" => {
                let path = PathBuf::from(call.path(0));
                if let Some(file) = self.by_name.remove(&path) {
                    self.files[file].removal = Some((path, Span::of(call)));
                }
            }
            "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" => self.write(call),
            "fsync" | "fdatasync" => self.sync(call),
            _ => {}
        }
    }

    fn take_failed(&mut self, call: &Call, report: &mut Report) {
        let target = call.target().map(Path::new);
        let file = target.and_then(|path| self.by_name.get(path)).copied();
        if let ("fsync" | "fdatasync", Some(file)) = (call.name.as_str(), file) {
            report.failed_syncs += 1;
            self.files[file].failed_sync.get_or_insert(Span::of(call));
        }
    }

    /// Whether it can be a file of the log: in a stream's directory, or in the pool.
    fn is_segment(&self, path: &Path) -> bool {
        let data_dir = self.streams.parent().expect("a data directory");
        path.starts_with(&self.streams) || path.starts_with(data_dir.join("pool"))
    }

    /// The file of this name, which it got now or had before the trace began.
    fn file(&mut self, path: &Path, named: Option<Span>) -> usize {
        *self.by_name.entry(path.to_owned()).or_insert_with(|| {
            let first = vec![(path.to_owned(), named)];
            self.files.push(File { names: first, ..File::default() });
            self.files.len() - 1
        })
    }

    fn rename(&mut self, call: &Call) {
        let (from, to) = (PathBuf::from(call.path(0)), PathBuf::from(call.path(1)));
        if !self.is_segment(&from) {
            return;
        }
        let file = self.file(&from, None);
        self.by_name.remove(&from);
        let leaves = from.starts_with(&self.streams) && !to.starts_with(&self.streams);
        if leaves {
            self.files[file].removal = Some((from, Span::of(call)));
            // In the pool it begins another life.
            self.file(&to, Some(Span::of(call)));
        } else {
            self.files[file].names.push((to.clone(), Some(Span::of(call))));
            self.by_name.insert(to, file);
        }
    }

    fn write(&mut self, call: &Call) {
        let Some(path) = call.target().map(PathBuf::from) else { return };
        if path.starts_with(&self.offsets) {
            self.offset_writes.push(Span::of(call));
        }
        if !self.is_segment(&path) {
            return;
        }
        let file = self.file(&path, None);
        self.files[file].writes.push(Span::of(call));
        for token in tokens(&call.data()) {
            self.tokens.entry(token.to_vec()).or_default().push((file, Span::of(call)));
        }
    }

    fn sync(&mut self, call: &Call) {
        let Some(path) = call.target().map(PathBuf::from) else { return };
        if path == self.offsets.join("db") {
            self.offset_syncs.push(Span::of(call));
        }
        if let Some(&file) = self.by_name.get(&path) {
            self.files[file].syncs.push(Span::of(call));
        } else {
            self.dir_syncs.entry(path).or_default().push(Span::of(call));
        }
    }

    /// Why an event of this stream is not proven to be on disk before a line of the trace.
    fn missing(&self, token: &[u8], stream: &str, before: usize) -> Option<String> {
        let dir = self.streams.join(stream);
        let mut why = format!("was never written below {}", dir.display());
        for &(file, write) in self.tokens.get(token).into_iter().flatten() {
            let file = &self.files[file];
            let Some((path, named)) = file.names.iter().rfind(|(path, named)| {
                path.starts_with(&dir) && named.is_none_or(|named| named.ended < before)
            }) else {
                continue;
            };
            let shown = path.display();
            why = if !between(&file.syncs, write.ended, before) {
                format!("was written to {shown}, which was not synced")
            } else if named.is_some_and(|named| !self.dir_synced(&dir, named.ended, before)) {
                format!("is in {shown}, whose name was not synced")
            } else if let Some(made) = self.unsynced_parent(path, before) {
                format!("is in {shown}, and the name of {} was not synced", made.display())
            } else {
                return None;
            };
        }
        Some(why)
    }

    fn dir_synced(&self, dir: &Path, after: usize, before: usize) -> bool {
        self.dir_syncs.get(dir).is_some_and(|syncs| between(syncs, after, before))
    }

    /// A directory above a path that was made in this trace and whose name is not durable.
    fn unsynced_parent(&self, path: &Path, before: usize) -> Option<PathBuf> {
        path.ancestors().skip(1).zip(path.ancestors().skip(2)).find_map(|(dir, parent)| {
            let made = self.made.get(dir)?;
            (!self.dir_synced(parent, made.ended, before)).then(|| dir.to_owned())
        })
    }

    fn check_segments(&self, wrong: &mut Vec<String>) {
        for file in &self.files {
            for (path, named) in file.names.iter().skip(1) {
                let Some(named) = named else { continue };
                let header = file.writes.iter().rfind(|write| write.ended < named.began);
                if header.is_some_and(|header| !between(&file.syncs, header.ended, named.began)) {
                    wrong.push(format!("{} got its name before it was synced", path.display()));
                }
            }
            let Some(failed) = file.failed_sync else { continue };
            if file.writes.iter().chain(&file.syncs).any(|span| span.ended > failed.began) {
                let path = file.names.last().map_or(Path::new(""), |(path, _)| path);
                wrong.push(format!("{} was used after a sync of it failed", path.display()));
            }
        }
    }

    fn check_removals(&self, report: &mut Report, wrong: &mut Vec<String>) {
        let removed = self.files.iter().filter_map(|file| Some((file, file.removal.as_ref()?)));
        for (file, (path, removal)) in removed {
            // What was never a segment: a draft that was given up, a file that left the pool.
            if !path.starts_with(&self.streams) || path.extension().is_none_or(|it| it != "seg") {
                continue;
            }
            report.removals += 1;
            // What was written and never synced counts for nothing here: it was written again into
            // the next segment.
            let synced = |write: &&Span| between(&file.syncs, write.ended, removal.began);
            let last_write = file.writes.iter().rfind(synced).map_or(0, |write| write.ended);
            let committed = self.offset_syncs.iter().any(|sync| {
                sync.ended < removal.began && between(&self.offset_writes, last_write, sync.began)
            });
            if !committed {
                wrong.push(format!("{} left before its offsets were synced", path.display()));
            }
            let dir = path.parent().expect("a stream's directory");
            if !self.dir_synced(dir, removal.ended, usize::MAX) {
                wrong.push(format!("{} left, and its directory was not synced", path.display()));
            }
        }
    }
}

/// Whether one of these began after a line and ended before another.
fn between(spans: &[Span], after: usize, before: usize) -> bool {
    spans.iter().any(|span| span.began > after && span.ended < before)
}

impl Connection {
    fn take(&mut self, call: &Call) {
        match call.name.as_str() {
            "read" | "readv" | "recvfrom" | "recvmsg" => self.received.extend(call.data()),
            "write" | "writev" | "sendto" | "sendmsg" => {
                self.sent.extend(call.data().into_iter().map(|byte| (byte, call.began)));
            }
            _ => {}
        }
    }

    fn check(&self, disk: &Disk, report: &mut Report, wrong: &mut Vec<String>) {
        if self.received.starts_with(b"POST ") {
            return self.check_puts(disk, report, wrong);
        }
        let mut lines = self.received.split(|&byte| byte == b'\n');
        if !lines.next().is_some_and(|hello| hello.starts_with(b"STANDPIPE/2")) {
            return;
        }
        let lines: Vec<_> = lines.collect();
        let mut refused = Vec::new();
        let mut acknowledged = 0;
        for answer in self.sent.split(|&(byte, _)| byte == b'\n') {
            let Some(&(_, sent)) = answer.first() else { continue };
            let text = String::from_utf8(answer.iter().map(|&(byte, _)| byte).collect());
            let text = text.expect("answers are text");
            let mut words = text.split(' ');
            let (word, number) = (words.next(), words.next());
            let number = || number.and_then(|number| number.parse::<usize>().ok()).expect(&text);
            if word == Some("NAK") {
                refused.push(number());
            }
            if word != Some("ACK") {
                continue;
            }
            report.acknowledgements += 1;
            for line in acknowledged..number() {
                if refused.contains(&(line + 1)) {
                    continue;
                }
                report.lines += 1;
                let why = lines.get(line).map_or_else(
                    || Some("was never received".to_owned()),
                    |line| missing(disk, line, sent),
                );
                if let Some(why) = why {
                    wrong.push(format!("{text} covers line {}, which {why}", line + 1));
                }
            }
            acknowledged = number();
        }
    }

    fn check_puts(&self, disk: &Disk, report: &mut Report, wrong: &mut Vec<String>) {
        for put in http::confirmed(&self.received, &self.sent) {
            report.acknowledgements += 1;
            for record in &put.records {
                report.lines += 1;
                if let Some(why) = unproven(disk, record, &put.stream, put.answered) {
                    let record = String::from_utf8_lossy(record);
                    wrong.push(format!("200 covers record {record}, which {why}"));
                }
            }
        }
    }
}

fn missing(disk: &Disk, line: &[u8], before: usize) -> Option<String> {
    let stream = line.split(|&byte| byte == b' ').next().unwrap_or_default();
    unproven(disk, line, &String::from_utf8_lossy(stream), before)
}

fn unproven(disk: &Disk, payload: &[u8], stream: &str, before: usize) -> Option<String> {
    match tokens(payload).next() {
        Some(token) => disk.missing(token, stream, before),
        None => Some("has no token to find it by".to_owned()),
    }
}
