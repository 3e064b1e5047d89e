//! A small agent without network: it does what a script says, on a simulated disk, and keeps a
//! ledger of what it promised.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use standpipe_wal::error::Error;
use standpipe_wal::fs::Fs;
use standpipe_wal::fs::sim::{Moment, Operation, SimFs};
use standpipe_wal::log::{Entropy, Log, Options};
use standpipe_wal::recovery::Recovery;
use standpipe_wal::retention::Pool;
use standpipe_wal::tail::{Cause, Tail};
use standpipe_wal::{Events, Flags, Offset, StreamName};

use crate::check::{ReadErrors, check_found, check_started};
use crate::ledger::Ledger;
use crate::offset_twin::OffsetTwin;
use crate::reading::{Found, RAW, read_frames};
use crate::script::{Random, Step};

pub(crate) const STREAMS: usize = 2;
const NAMES: [&str; STREAMS] = ["orders", "clicks"];
pub(crate) const STREAMS_DIR: &str = "/data/streams";
const POOL_DIR: &str = "/data/pool";

/// The host's clock counts its steps as milliseconds.
const POOL_AGE_MAX: Duration = Duration::from_millis(40);

/// Room for a header and a few events, so that segments are filled every few steps.
pub(crate) const SEGMENT_BYTES: u64 = 4096 + 4096;

/// What the host does with events that could not be made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterFailure {
    /// Keeps them in the log and syncs again later.
    Keep,
    /// Takes them back, so that other events get their offsets.
    TakeBack,
}

/// Random numbers from a seed.
#[derive(Debug)]
struct SeededEntropy(AtomicU64);

impl Entropy for SeededEntropy {
    fn u64(&self) -> u64 {
        Random(self.0.fetch_add(1, Ordering::Relaxed)).u64()
    }
}

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) disk: SimFs,
    fs: Arc<dyn Fs>,
    seed: u64,
    after_failure: AfterFailure,
    /// Makes each payload another one.
    serial: u64,
    now_ms: u64,
    pub(crate) ledgers: [Arc<Ledger>; STREAMS],
    /// What the offset store said is durable.
    pub(crate) committed: [Offset; STREAMS],
    /// What readers have called lost, for the segments that hold it to be kept. The agent stores it
    /// with the committed offset.
    damaged: [Vec<Range<Offset>>; STREAMS],
    /// What the last start found.
    pub(crate) recoveries: Vec<Recovery>,
    /// The places where it could have been cut off, with what was promised by then.
    seen: Vec<Seen>,
    /// Absent between a stop and a start that worked.
    running: Option<Running>,
}

/// A place where the host could have been cut off.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The host as it was, not running.
    pub(crate) before: Arc<Host>,
    pub(crate) moment: Moment,
}

#[derive(Debug)]
struct Running {
    logs: Vec<Log>,
    pool: Arc<Pool>,
    tails: Vec<Tail>,
    store: OffsetTwin,
}

impl Host {
    /// A host with an empty, durable data directory. Nothing is counted before the first step.
    pub(crate) fn new(seed: u64, after_failure: AfterFailure) -> Self {
        let disk = SimFs::new(seed);
        disk.record_trace();
        for dir in ["/data", STREAMS_DIR, POOL_DIR] {
            disk.create_dir(Path::new(dir)).unwrap();
            disk.sync_dir(Path::new(dir).parent().unwrap()).unwrap();
        }
        OffsetTwin::create(&disk);
        let mut host = Self::on(&disk, seed);
        host.after_failure = after_failure;
        host
    }

    /// A host that finds this disk, without a memory of promises.
    pub(crate) fn on(disk: &SimFs, seed: u64) -> Self {
        Self {
            disk: disk.clone(),
            fs: Arc::new(disk.clone()),
            seed,
            after_failure: AfterFailure::Keep,
            serial: 0,
            now_ms: 1,
            ledgers: std::array::from_fn(|_| Arc::default()),
            committed: [Offset::ZERO; STREAMS],
            damaged: Default::default(),
            recoveries: Vec::new(),
            seen: Vec::new(),
            running: None,
        }
    }

    /// The same host with its promises, started anew on what a crash left of its disk.
    pub(crate) fn after_crash(&self, disk: &SimFs) -> Self {
        Self {
            ledgers: self.ledgers.clone(),
            damaged: self.damaged.clone(),
            after_failure: self.after_failure,
            serial: self.serial,
            now_ms: self.now_ms,
            committed: self.committed,
            ..Self::on(disk, self.seed.wrapping_add(0x5EED))
        }
    }

    pub(crate) fn ledger_mut(&mut self, stream: usize) -> &mut Ledger {
        Arc::make_mut(&mut self.ledgers[stream])
    }

    /// Keeps the places where the host could be cut off from here on.
    pub(crate) fn watch(&self) {
        self.disk.record_moments();
    }

    /// Gives the places that were seen since the last call.
    pub(crate) fn take_seen(&mut self) -> Vec<Seen> {
        self.note_moments();
        std::mem::take(&mut self.seen)
    }

    /// Puts down what was promised up to now. To be called before anything more is promised.
    fn note_moments(&mut self) {
        let moments = self.disk.take_moments();
        if moments.is_empty() {
            return;
        }
        let before = Arc::new(self.after_crash(&self.disk));
        let seen = |moment| Seen { before: Arc::clone(&before), moment };
        self.seen.extend(moments.into_iter().map(seen));
    }

    /// Opens everything, as the agent does.
    pub(crate) fn start(&mut self) -> Result<(), Error> {
        let (pool_bytes, age_max) = (3 * SEGMENT_BYTES, POOL_AGE_MAX);
        let pool = Pool::open(Arc::clone(&self.fs), POOL_DIR.into(), pool_bytes, age_max)?;
        let pool = Arc::new(pool);
        // Other salts after each start, as on a real machine.
        let entropy = SeededEntropy(AtomicU64::new(self.seed ^ (self.disk.operations() << 20)));
        let options = Options {
            segment_bytes: SEGMENT_BYTES,
            entropy: Arc::new(entropy),
            pool: Some(Arc::clone(&pool)),
        };
        let store = OffsetTwin::open(&self.disk)
            .map_err(|source| Error::io("open", Path::new("offsets"), source))?;
        let committed = store.committed();
        let mut logs = Vec::new();
        let mut recoveries = Vec::new();
        for (name, committed) in NAMES.iter().zip(committed) {
            let stream: StreamName = name.parse().unwrap();
            let dir = Path::new(STREAMS_DIR);
            let (log, recovery) =
                Log::open(&self.fs, dir, &stream, &options, committed, self.now_ms)?;
            assert_eq!(log.next(), log.durable(), "everything is durable after a start");
            logs.push(log);
            recoveries.push(recovery);
        }
        let tails = (0..STREAMS).map(|stream| self.tail(stream, committed[stream])).collect();
        self.note_moments();
        self.committed = committed;
        self.recoveries = recoveries;
        self.running = Some(Running { logs, pool, tails, store });
        Ok(())
    }

    /// Does what a script says. Trouble is part of the work: whatever fails is tried again with the
    /// next step that needs it. Ends early where the power is off.
    pub(crate) fn run(&mut self, script: &[Step]) -> Result<(), String> {
        for step in script {
            self.now_ms += 1;
            if self.running.is_none() {
                let Ok(()) = self.start() else { continue };
                check_started(self, ReadErrors::Allowed)?;
            }
            if self.disk.is_off() {
                return Ok(());
            }
            self.step(step)?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Push { stream, raw, sizes } => self.push(*stream, *raw, sizes),
            Step::Sync { stream } => drop(self.sync(*stream)),
            Step::Read { stream, frames } => self.read_on(*stream, *frames)?,
            Step::Commit { behind } => drop(self.commit(*behind)),
            Step::RollIdle { stream } => drop(self.roll_idle(*stream)),
            Step::Restart => self.stop(),
            Step::Die => self.die(),
        }
        Ok(())
    }

    pub(crate) fn push(&mut self, stream: usize, raw: bool, sizes: &[usize]) {
        let payloads: Vec<_> = sizes.iter().map(|size| self.payload(raw, *size)).collect();
        let mut run = Events::with_capacity(64, Flags { raw });
        for payload in &payloads {
            run.push(payload);
        }
        let now_ms = self.now_ms;
        let offsets = self.running_mut().logs[stream].push(run, now_ms);
        self.ledger_mut(stream).pushed(offsets, payloads);
    }

    /// No two payloads are equal, and each says which one it is, and of what kind.
    fn payload(&mut self, raw: bool, size: usize) -> Vec<u8> {
        self.serial += 1;
        let letter = b'a' + (self.serial % 26) as u8;
        let mut payload =
            format!("{}{:06}", if raw { RAW } else { "line" }, self.serial).into_bytes();
        payload.resize(payload.len() + size, letter);
        payload
    }

    /// Acknowledges what the log calls durable, whether the whole sync worked or not.
    pub(crate) fn sync(&mut self, stream: usize) -> Result<(), Error> {
        let now_ms = self.now_ms;
        let after_failure = self.after_failure;
        let log = &mut self.running_mut().logs[stream];
        let next = log.next();
        let result = log.sync(now_ms);
        let durable = log.durable();
        assert_eq!(log.next(), next, "what was pushed stays in the log, whatever happens");
        if result.is_err() && after_failure == AfterFailure::TakeBack {
            drop(log.take_unsynced());
            assert_eq!(log.next(), durable);
        }
        self.note_moments();
        self.ledger_mut(stream).acknowledged(durable);
        let synced = result?;
        assert_eq!(synced.durable, durable);
        assert_eq!(self.running_mut().logs[stream].unsynced_bytes(), 0);
        Ok(())
    }

    /// Follows the log with the reader that was opened at the start.
    pub(crate) fn read_on(&mut self, stream: usize, frames: usize) -> Result<(), String> {
        let until = self.running_mut().logs[stream].durable();
        let committed = self.committed[stream];
        let running = self.running.as_mut().unwrap();
        // An error is trouble of the disk: the reader goes on at the same place next time.
        let tail = &mut running.tails[stream];
        let Ok(found) = read_frames(tail, until, frames) else { return Ok(()) };
        self.damaged[stream].extend(found.iter().filter_map(|one| match one {
            Found::Missing(range, Cause::Lost) => Some(range.clone()),
            Found::Missing(..) | Found::Event(..) => None,
        }));
        check_found(&self.ledgers[stream], committed, &found)
    }

    /// Reads on, since nothing is committed that was not read. Then the offset store, synced; then,
    /// and only then, the log may release segments.
    pub(crate) fn commit(&mut self, behind: u64) -> Result<(), Error> {
        for stream in 0..STREAMS {
            self.read_on(stream, usize::MAX).unwrap();
        }
        let now_ms = self.now_ms;
        let before = self.committed;
        let running = self.running.as_mut().unwrap();
        let committed = std::array::from_fn(|stream| {
            let durable = running.logs[stream].durable().get();
            let read = running.tails[stream].offset();
            before[stream].max(Offset::new(durable.saturating_sub(behind)).min(read))
        });
        let stored = running.store.commit(committed);
        self.note_moments();
        stored.map_err(|source| Error::io("commit", Path::new("offsets"), source))?;
        self.committed = committed;
        let running = self.running.as_mut().unwrap();
        for ((log, committed), damaged) in running.logs.iter_mut().zip(committed).zip(&self.damaged)
        {
            let before = log.segments();
            log.trim(committed, damaged, now_ms)?;
            assert!(log.segments() >= before.min(1), "the newest segment always stays");
        }
        running.pool.expire(now_ms).map(drop)
    }

    /// Replaces the newest segment by an empty one.
    pub(crate) fn roll_idle(&mut self, stream: usize) -> Result<(), Error> {
        let now_ms = self.now_ms;
        self.running_mut().logs[stream].roll_idle(now_ms)
    }

    /// An orderly stop: everything pushed is synced, and acknowledged if that worked.
    pub(crate) fn stop(&mut self) {
        let now_ms = self.now_ms;
        let Some(running) = self.running.take() else { return };
        for (stream, log) in running.logs.into_iter().enumerate() {
            let next = log.next();
            if log.close(now_ms).is_ok() {
                self.note_moments();
                self.ledger_mut(stream).acknowledged(next);
            }
        }
    }

    pub(crate) fn die(&mut self) {
        self.running = None;
    }

    /// A number for what was promised: two hosts of one life with the same number promise the same.
    pub(crate) fn stamp(&self) -> u64 {
        let ends = self.ledgers.iter().map(|ledger| ledger.end());
        let numbers = ends.chain(self.committed).map(Offset::get);
        numbers.fold(0, |stamp, number| Random(stamp ^ number).u64())
    }

    pub(crate) fn log(&self, stream: usize) -> &Log {
        &self.running.as_ref().unwrap().logs[stream]
    }

    /// What the host did last, for the report of a failure.
    pub(crate) fn last_operations(&self) -> String {
        let trace = self.disk.trace();
        let from = trace.len().saturating_sub(30);
        let line = |(number, Operation { kind, path }): (usize, &Operation)| {
            format!("\n  {number} {kind:?} {}", path.display())
        };
        trace.iter().enumerate().skip(from).map(line).collect()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    fn running_mut(&mut self) -> &mut Running {
        self.running.as_mut().unwrap()
    }

    pub(crate) fn tail(&self, stream: usize, from: Offset) -> Tail {
        Tail::open(Arc::clone(&self.fs), stream_dir(stream), from)
    }
}

pub(crate) fn stream_dir(stream: usize) -> PathBuf {
    Path::new(STREAMS_DIR).join(NAMES[stream])
}
