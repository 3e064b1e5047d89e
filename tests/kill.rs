//! The real program, killed with SIGKILL again and again while clients send and a Firehose
//! endpoint takes. In the end nothing that was ever acknowledged may be missing there, and nothing
//! may have arrived that was never sent. Between the kills the agent is stopped in order, and killed
//! while it rests; in the end its log must have shrunk.
//!
//! `KILL_CYCLES` runs more cycles than the ten of `cargo test`, `KILL_SEED` repeats the choices of
//! an earlier run. The seed is printed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test fails by panicking, and is told by its environment how long to go on"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

#[path = "agent/client.rs"]
mod client;
#[path = "kill/damage.rs"]
mod damage;
#[path = "kill/endpoint.rs"]
mod endpoint;
#[path = "kill/ledger.rs"]
mod ledger;
#[path = "agent/process.rs"]
mod process;
#[path = "kill/settled.rs"]
mod settled;

use endpoint::{Delivered, Temper, Temperament};
use ledger::{Ledger, STREAMS_PER_CLIENT};
use process::Process;

const CYCLES: u64 = 10;
const CLIENTS: u64 = 3;

/// A cycle ends after at most this many acknowledged lines: some before the first commit, some
/// after segments were trimmed.
const LINES_PER_CYCLE_MAX_LOG2: u32 = 13;

const SEGMENT_BYTES: u64 = 2 << 20;

/// So many that each stream's log has rolled to its next segment at least once, as lines have
/// 1,400 bytes on the average and segments 2 MiB.
const LINES_TO_ROLL: u64 = 6 * 2500;

fn configuration(dir: &Path, endpoint: &str, stream_options: &str) -> PathBuf {
    let shown = dir.display();
    let text = format!(
        "data_dir = \"{shown}/data\"\n\
         [[source]]\nkind = \"unix\"\npath = \"{shown}/standpipe.sock\"\n\
         [sink.firehose]\nkind = \"firehose\"\nendpoint_url = \"{endpoint}\"\n\
         credentials = \"local\"\n\
         [wal]\nsegment_bytes = \"2MiB\"\n\
         [upload]\nbackoff_max = \"100ms\"\ndrain_timeout = \"10m\"\n\
         [stream.default]\naggregate = \"lines\"\nlinger = \"20ms\"\n\
         {stream_options}"
    );
    let path = dir.join("standpipe.toml");
    fs::write(&path, text).unwrap();
    path
}

fn ledgers(seed: u64) -> Vec<Ledger> {
    (0..CLIENTS).map(|client| Ledger::new(client, seed)).collect()
}

/// How one life of the agent ends.
#[derive(Clone, Debug)]
enum End {
    /// SIGKILL once the clients have so many new acknowledgements, while they go on.
    Kill { acknowledged: u64 },
    /// SIGTERM at such a moment.
    Stop { acknowledged: u64 },
    /// The clients come to their end, and SIGKILL meets an agent that has delivered everything.
    KillAtRest,
    /// The same with SIGTERM.
    Settled,
}

/// One life of the agent. Returns when it has ended.
fn cycle(config: &Path, ledgers: &mut [Ledger], end: &End) {
    let mut process = Process::start(&[], config);
    let address = process.addresses(1).expect("the agent listens").remove(0);
    let (tell, told) = channel();
    let in_the_middle = match end {
        End::Kill { acknowledged } | End::Stop { acknowledged } => Some(*acknowledged),
        End::KillAtRest | End::Settled => None,
    };
    thread::scope(|scope| {
        let clients: Vec<_> = ledgers
            .iter_mut()
            .map(|ledger| {
                let (address, tell) = (&address, tell.clone());
                scope.spawn(move || ledger.talk(address, in_the_middle.is_some(), &tell))
            })
            .collect();
        if let Some(lines) = in_the_middle {
            let mut acknowledged = 0;
            while acknowledged < lines {
                acknowledged += told.recv().expect("a client");
            }
            finish(&mut process, end);
        }
        for client in clients {
            let ended = client.join().unwrap();
            assert_eq!(ended.is_err(), in_the_middle.is_some(), "{ended:?}");
        }
    });
    if in_the_middle.is_none() {
        let streams = usize::try_from(CLIENTS * STREAMS_PER_CLIENT).unwrap();
        for stream in settled::wait(config, streams) {
            let disk_bytes = stream["disk_bytes"].as_u64().unwrap();
            assert!(disk_bytes <= SEGMENT_BYTES, "the log did not shrink: {stream}");
        }
        finish(&mut process, end);
    }
}

fn finish(process: &mut Process, end: &End) {
    match end {
        End::Kill { .. } | End::KillAtRest => {
            process.child.kill().unwrap();
            process.child.wait().unwrap();
        }
        End::Stop { .. } | End::Settled => {
            let agent = i32::try_from(process.child.id()).unwrap();
            kill_process(Pid::from_raw(agent).unwrap(), Signal::TERM).unwrap();
            let status = process.child.wait().unwrap();
            assert!(status.success(), "{status}");
        }
    }
}

fn told_by_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// What all choices of a run follow from; printed.
fn seed() -> u64 {
    let seed = told_by_environment("KILL_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("KILL_SEED={seed}");
    seed
}

#[test]
fn nothing_acknowledged_is_missing_after_any_number_of_kills() {
    let cycles = told_by_environment("KILL_CYCLES").unwrap_or(CYCLES);
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);

    let dir = tempfile::tempdir().unwrap();
    let delivered = Delivered::default();
    let temper = Temperament::new(Temper::Moody.into());
    let endpoint = endpoint::start(seed, delivered.clone(), temper.clone());
    let config = configuration(dir.path(), &endpoint, "");
    let mut ledgers = ledgers(seed);
    cycle(&config, &mut ledgers, &End::Kill { acknowledged: LINES_TO_ROLL });
    for number in 1..cycles {
        if random.u8(..4) == 0 {
            // In the middle of its start, or before.
            let mut starting = Process::start(&[], &config);
            if random.bool() {
                starting.addresses(1).expect("the agent listens");
            }
        }
        let lines_max = 1 << random.u32(..=LINES_PER_CYCLE_MAX_LOG2);
        let acknowledged = random.u64(1..=lines_max);
        let end = match number {
            2 => End::Stop { acknowledged },
            5 => End::KillAtRest,
            _ => End::Kill { acknowledged },
        };
        // Every other life ends with gaps in what was confirmed. An agent comes to rest only where
        // nothing is refused for ever.
        *temper.lock().unwrap() =
            if number % 2 == 0 { Temper::Stubborn(number) } else { Temper::Moody };
        cycle(&config, &mut ledgers, &end);
    }
    // A stop delivers what is left only to a destination that is well.
    *temper.lock().unwrap() = Temper::Calm;
    cycle(&config, &mut ledgers, &End::Settled);

    let outcome = ledger::compare(seed, &ledgers, &delivered.lock().unwrap());
    for ledger in &ledgers {
        assert!(ledger.open.is_empty(), "all was sent again and acknowledged");
    }
    println!(
        "{cycles} kills and stops: {} acknowledged, {} delivered again",
        outcome.acknowledged, outcome.repeated
    );
    assert!(outcome.missing.is_empty(), "acknowledged and lost: {:?}", outcome.missing);
    assert!(outcome.acknowledged > 0);
}
