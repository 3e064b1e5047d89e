//! The real program, killed with SIGKILL again and again while clients send and a Firehose
//! endpoint takes. In the end nothing that was ever acknowledged may be missing there, and nothing
//! may have arrived that was never sent.
//!
//! `KILL_CYCLES` runs more cycles than the ten of `cargo test`, `KILL_SEED`
//! repeats the choices of an earlier run. The seed is printed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and is told by its environment how long to go on"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

#[path = "agent/client.rs"]
mod client;
#[path = "kill/endpoint.rs"]
mod endpoint;
#[path = "agent/process.rs"]
mod process;

use client::{Answer, connect};
use endpoint::{Calm, Delivered};
use process::Process;

const CYCLES: u64 = 10;
const CLIENTS: u64 = 3;

/// A cycle ends after at most this many acknowledged lines: some before the first commit, some
/// after segments were trimmed.
const LINES_PER_CYCLE_MAX_LOG2: u32 = 13;

/// Lines of one client that may wait for their acknowledgement.
const WINDOW: usize = 150;

/// One client's ledger.
struct Ledger {
    client: u64,
    seed: u64,
    next: u64,
    /// Sent, and not known to be durable. To be sent again on the next connection.
    open: VecDeque<u64>,
    acknowledged: BTreeSet<u64>,
}

impl Ledger {
    /// Goes on until the connection ends, or nothing is open any more and nothing new is to come.
    fn talk(&mut self, address: &str, new_ones: bool, tell: &Sender<u64>) -> io::Result<()> {
        let (mut writer, mut answers) = connect(address)?;
        let mut random = fastrand::Rng::with_seed(self.seed ^ self.next);
        let mut waiting: VecDeque<u64> = VecDeque::new();
        let mut repeat: VecDeque<u64> = self.open.iter().copied().collect();
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
                    let stream = format!("stream-{}-{}", self.client, number % 2);
                    lines.extend(stream.bytes().chain([b' ']));
                    lines.extend(event(self.seed, self.client, number));
                    lines.push(b'\n');
                }
                writer.write_all(&lines)?;
            } else if waiting.is_empty() {
                return Ok(());
            } else {
                let Answer::Ack(up_to) = answers.next()? else {
                    panic!("a good line was refused");
                };
                let count = usize::try_from(up_to - answered).unwrap();
                for number in waiting.drain(..count) {
                    self.acknowledged.insert(number);
                }
                self.open.retain(|number| !self.acknowledged.contains(number));
                // Nobody listens any more once enough was acknowledged.
                let _heard = tell.send(up_to - answered).is_ok();
                answered = up_to;
            }
        }
    }

    fn begin_new(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        self.open.push_back(number);
        number
    }
}

/// What a client sends under a number: told apart from all others by its beginning, and checked by
/// the rest of it.
fn event(seed: u64, client: u64, number: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed ^ (client << 48) ^ number);
    let mut event = format!("{client} {number} ").into_bytes();
    let length = if random.u8(..50) == 0 { 20_000 } else { random.usize(..2000) };
    event.extend(std::iter::repeat_with(|| random.u8(b' '..=b'~')).take(length));
    event
}

fn configuration(dir: &Path, endpoint: &str) -> PathBuf {
    let shown = dir.display();
    let text = format!(
        "data_dir = \"{shown}/data\"\n\
         [[source]]\nkind = \"unix\"\npath = \"{shown}/standpipe.sock\"\n\
         [sink.firehose]\nkind = \"firehose\"\nendpoint_url = \"{endpoint}\"\n\
         credentials = \"local\"\n\
         [wal]\nsegment_bytes = \"2MiB\"\n\
         [upload]\nbackoff_max = \"100ms\"\ndrain_timeout = \"10m\"\n\
         [stream.default]\naggregate = \"lines\"\nlinger = \"20ms\"\n"
    );
    let path = dir.join("standpipe.toml");
    fs::write(&path, text).unwrap();
    path
}

/// Runs the agent until the clients have so many new acknowledgements, then kills it; `None` lets
/// the clients come to their end and stops it in order.
fn cycle(config: &Path, ledgers: &mut [Ledger], kill_after: Option<u64>) {
    let mut process = Process::start(&[], config);
    let address = process.addresses(1).expect("the agent listens").remove(0);
    let (tell, told) = channel();
    thread::scope(|scope| {
        let clients: Vec<_> = ledgers
            .iter_mut()
            .map(|ledger| {
                let (address, tell) = (&address, tell.clone());
                scope.spawn(move || ledger.talk(address, kill_after.is_some(), &tell))
            })
            .collect();
        if let Some(lines) = kill_after {
            let mut acknowledged = 0;
            while acknowledged < lines {
                acknowledged += told.recv().expect("a client");
            }
            process.child.kill().unwrap();
            process.child.wait().unwrap();
            for client in clients {
                client.join().unwrap().expect_err("the connection broke");
            }
        } else {
            for client in clients {
                client.join().unwrap().unwrap();
            }
        }
    });
    if kill_after.is_none() {
        let agent = i32::try_from(process.child.id()).unwrap();
        kill_process(Pid::from_raw(agent).unwrap(), Signal::TERM).unwrap();
        let status = process.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

fn told_by_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn nothing_acknowledged_is_missing_after_any_number_of_kills() {
    let cycles = told_by_environment("KILL_CYCLES").unwrap_or(CYCLES);
    let seed = told_by_environment("KILL_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("KILL_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);

    let dir = tempfile::tempdir().unwrap();
    let delivered = Delivered::default();
    let calm = Calm::default();
    let endpoint = endpoint::start(seed, delivered.clone(), calm.clone());
    let config = configuration(dir.path(), &endpoint);
    let mut ledgers: Vec<_> = (0..CLIENTS)
        .map(|client| Ledger {
            client,
            seed,
            next: 0,
            open: VecDeque::new(),
            acknowledged: BTreeSet::new(),
        })
        .collect();
    for _ in 0..cycles {
        if random.u8(..4) == 0 {
            // In the middle of its start, or before.
            let mut starting = Process::start(&[], &config);
            if random.bool() {
                starting.addresses(1).expect("the agent listens");
            }
        }
        let lines_max = 1 << random.u32(..=LINES_PER_CYCLE_MAX_LOG2);
        let lines = random.u64(1..=lines_max);
        cycle(&config, &mut ledgers, Some(lines));
    }
    // A stop delivers what is left only to a destination that is well.
    calm.store(true, Ordering::Relaxed);
    cycle(&config, &mut ledgers, None);

    let delivered = std::mem::take(&mut *delivered.lock().unwrap());
    let mut counts: BTreeMap<(u64, u64), u32> = BTreeMap::new();
    for (bytes, count) in delivered {
        let text = String::from_utf8(bytes).unwrap();
        let mut words = text.splitn(3, ' ').map(|word| word.parse().unwrap_or(u64::MAX));
        let (client, number) = (words.next().unwrap(), words.next().unwrap());
        assert_eq!(event(seed, client, number), text.as_bytes(), "nobody sent this");
        counts.insert((client, number), count);
    }
    let mut acknowledged = 0;
    for ledger in &ledgers {
        assert!(ledger.open.is_empty(), "all was sent again and acknowledged");
        acknowledged += ledger.acknowledged.len();
        let missing: Vec<_> = ledger
            .acknowledged
            .iter()
            .filter(|&&number| !counts.contains_key(&(ledger.client, number)))
            .collect();
        assert!(missing.is_empty(), "client {}: {missing:?} were lost", ledger.client);
    }
    let twice: u32 = counts.values().map(|count| count - 1).sum();
    println!("{cycles} kills: {acknowledged} acknowledged, none missing, {twice} delivered again");
    assert!(acknowledged > 0);
}
