//! From a socket to a disk that forgets what was not synced: sources, intake, journal and log
//! together.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test: a surprise is its failure"
)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use standpipe::client::lines::Packer;
use standpipe::client::{self, Tally};
use standpipe::config::{Aggregate, StreamConfig, defaults};
use standpipe::intake::Intake;
use standpipe::journal::quota::Quota;
use standpipe::journal::{Journal, Opened, Parts};
use standpipe::source::{Context, KINDS};
use standpipe::status::AgentStatus;
use standpipe::systemd::activation::Inherited;
use standpipe::tasks::{self, Stopper, stop_pair};
use standpipe::world::World;
use standpipe_wal::fs::Fs;
use standpipe_wal::fs::sim::{Loss, SimFs};
use standpipe_wal::log::OsEntropy;
use standpipe_wal::{Offset, Options, Step, Tail, events};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// An agent without its upload side.
struct Agent {
    journal: Arc<Journal>,
    opened: mpsc::Receiver<Opened>,
    address: String,
    stopper: Stopper,
    running: JoinHandle<()>,
    _dir: TempDir,
}

fn settings() -> StreamConfig {
    StreamConfig {
        sink: "none".into(),
        aggregate: Aggregate::Lines,
        linger: Duration::ZERO,
        in_flight_max: 1,
        ..defaults::stream()
    }
}

fn start(fs: &SimFs) -> Agent {
    let (sender, opened) = mpsc::channel(2000);
    let streams = Path::new("/streams");
    if fs.create_dir(streams).is_ok() {
        fs.sync_dir(Path::new("/")).unwrap();
    }
    let journal = Journal::start(Parts {
        fs: Arc::new(fs.clone()),
        dir: streams.into(),
        options: Options { segment_bytes: 2 << 20, entropy: Arc::new(OsEntropy), pool: None },
        owners: 4,
        sync_interval: Duration::ZERO,
        stream_memory_max: 4 << 20,
        streams_max: 1000,
        quota: Arc::new(Quota::new(u64::MAX / 2, 0)),
        confirmed: HashMap::new(),
        opened: sender,
        world: World::real(),
    });
    let journal = Arc::new(journal.unwrap());
    let intake = Intake::new(journal.clone(), settings(), BTreeMap::new(), 16 << 20);

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in.sock");
    let mut options = toml::Table::new();
    options.insert("path".into(), path.to_str().unwrap().into());
    let unix = KINDS.iter().find(|kind| kind.name == "unix").unwrap();
    let bound = (unix.parse)(options).unwrap().bind(&mut Inherited::default()).unwrap();
    let address = bound.address();
    let (stopper, stop) = stop_pair();
    let context = Context::new(intake, stop, Arc::<AgentStatus>::default(), 2000);
    let running = tasks::spawn(bound.run(context));
    Agent { journal, opened, address, stopper, running, _dir: dir }
}

impl Agent {
    async fn stop(self) {
        self.stopper.stop();
        self.running.await.unwrap();
        self.journal.close().await;
    }

    /// Everything that a reader of this disk finds, by stream, as recovery leaves it.
    async fn stored(mut self, fs: &SimFs, streams: &[&str]) -> BTreeMap<String, Vec<String>> {
        let mut found = BTreeMap::new();
        for stream in streams {
            let stream = self.journal.find_or_add(&stream.parse().unwrap(), &settings()).unwrap();
            self.journal.open(stream).await;
        }
        for _stream in streams {
            let opened = self.opened.recv().await.unwrap();
            let until = opened.durable.borrow().offset;
            let payloads = read(fs, &opened.dir, until);
            found.insert(opened.stream.name().to_string(), payloads);
        }
        self.stop().await;
        found
    }
}

fn read(fs: &SimFs, dir: &Path, until: Offset) -> Vec<String> {
    let mut tail = Tail::open(Arc::new(fs.clone()), dir.into(), Offset::ZERO);
    let mut found = Vec::new();
    loop {
        match tail.next(until).unwrap() {
            Step::Frame(frame) => found.extend(
                events::iter(frame.body).map(|event| String::from_utf8(event.to_vec()).unwrap()),
            ),
            Step::UpToDate => return found,
            Step::Missing { range, cause } => panic!("{range:?} is missing: {cause:?}"),
        }
    }
}

/// Lines that a client knows to be stored, as (stream, payload).
type Ledger = Arc<Mutex<BTreeSet<(String, String)>>>;

/// One client that always waits for its answer; says what it knows in the ledger.
async fn one_by_one(address: String, who: usize, streams: &[&str], lines: usize, ledger: Ledger) {
    let path = address.strip_prefix("unix://").unwrap();
    let mut socket = BufReader::new(UnixStream::connect(path).await.unwrap());
    let mut answer = String::new();
    socket.write_all(b"STANDPIPE/2\n").await.unwrap();
    socket.read_line(&mut answer).await.unwrap();
    assert!(answer.starts_with("OK "), "{answer}");
    for line in 1..=lines {
        let (stream, payload) = (streams[(who + line) % streams.len()], format!("{who}-{line}"));
        socket.write_all(format!("{stream} {payload}\n").as_bytes()).await.unwrap();
        answer.clear();
        socket.read_line(&mut answer).await.unwrap();
        assert_eq!(answer, format!("ACK {line}\n"));
        ledger.lock().unwrap().insert((stream.to_owned(), payload));
    }
}

fn assert_stored(ledger: &BTreeSet<(String, String)>, stored: &BTreeMap<String, Vec<String>>) {
    let stored: BTreeSet<(String, String)> = stored
        .iter()
        .flat_map(|(stream, payloads)| payloads.iter().map(|p| (stream.clone(), p.clone())))
        .collect();
    let lost: Vec<_> = ledger.difference(&stored).collect();
    assert!(lost.is_empty(), "acknowledged, and gone after the power cut: {lost:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_socket_client_was_told_survives_a_power_cut_at_any_moment() {
    const STREAMS: [&str; 3] = ["a", "b", "c"];
    for seed in 0..8 {
        let fs = SimFs::new(seed);
        let agent = start(&fs);
        let ledger = Ledger::default();
        let clients: Vec<_> = (0..4)
            .map(|who| {
                let (address, ledger) = (agent.address.clone(), ledger.clone());
                tasks::spawn(async move { one_by_one(address, who, &STREAMS, 100, ledger).await })
            })
            .collect();
        // In the middle of the work: what is in the ledger by now, and the disk just after.
        let enough = 40 * (usize::try_from(seed).unwrap() + 1);
        while ledger.lock().unwrap().len() < enough {
            tokio::task::yield_now().await;
        }
        let known = ledger.lock().unwrap().clone();
        let after = fs.crash(Loss::EverythingUnsynced, seed);
        for client in clients {
            client.await.unwrap();
        }
        agent.stop().await;
        let stored = start(&after).stored(&after, &STREAMS).await;
        assert!(known.len() >= enough, "seed {seed}");
        assert_stored(&known, &stored);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_clients_at_once_each_get_their_own_answers() {
    let names: Vec<String> = (0..32).map(|n| format!("s{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let fs = SimFs::new(1);
    let agent = start(&fs);
    let ledger = Ledger::default();
    let clients: Vec<_> = (0..500)
        .map(|who| {
            let (address, ledger) = (agent.address.clone(), ledger.clone());
            let streams: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            tasks::spawn(async move {
                let streams: Vec<&str> = streams.iter().map(String::as_str).collect();
                one_by_one(address, who, &streams, 3, ledger).await;
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    agent.stop().await;
    let known = ledger.lock().unwrap().clone();
    assert_eq!(known.len(), 1500);
    let stored = start(&fs).stored(&fs, &names).await;
    assert_eq!(stored.values().map(Vec::len).sum::<usize>(), 1500, "nothing is there twice");
    assert_stored(&known, &stored);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_lines_arrives_complete_and_in_order() {
    let fs = SimFs::new(2);
    let agent = start(&fs);
    let options = client::Options {
        address: agent.address.parse().unwrap(),
        window_bytes: 1 << 20,
        patience: Duration::from_mins(1),
    };
    let (input, blocks) = mpsc::channel(4);
    let feeding = tasks::spawn(async move {
        let mut packer = Packer::new(&"orders".parse().unwrap());
        for first in 0..50_u32 {
            let lines: String =
                (0..1000).map(|n| format!("{:0>60}", first * 1000 + n) + "\n").collect();
            input.send(packer.pack(lines.as_bytes())).await.unwrap();
        }
    });
    let tally = client::send(&options, blocks, |_: &Tally| {}).await.unwrap();
    feeding.await.unwrap();
    assert_eq!((tally.lines, tally.acknowledged, tally.resent), (50_000, 50_000, 0));
    agent.stop().await;
    let stored = start(&fs).stored(&fs, &["orders"]).await;
    let expected: Vec<String> = (0..50_000).map(|n| format!("{n:0>60}")).collect();
    assert!(stored["orders"] == expected, "lines are missing, changed or out of order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_line_by_line_and_the_connection_outlives_it() {
    let fs = SimFs::new(3);
    let agent = start(&fs);
    let path = agent.address.strip_prefix("unix://").unwrap().to_owned();
    let mut socket = BufReader::new(UnixStream::connect(path).await.unwrap());
    let mut answer = String::new();
    socket.write_all(b"STANDPIPE/2\norders 1\n").await.unwrap();
    while !answer.ends_with("ACK 1\n") {
        socket.read_line(&mut answer).await.unwrap();
    }
    // Less than the next event needs, also where room was reserved ahead.
    fs.limit(Some(fs.used_bytes()));
    let large = "x".repeat(500_000);
    socket.write_all(format!("orders {large}\n").as_bytes()).await.unwrap();
    answer.clear();
    socket.read_line(&mut answer).await.unwrap();
    assert!(answer.starts_with("NAK 2 unavailable the log cannot be written"), "{answer}");
    answer.clear();
    socket.read_line(&mut answer).await.unwrap();
    assert_eq!(answer, "ACK 2\n");

    fs.limit(None);
    // Until the log has noticed, lines are refused; then they are taken again.
    for line in 3.. {
        socket.write_all(b"orders again\n").await.unwrap();
        answer.clear();
        socket.read_line(&mut answer).await.unwrap();
        if answer == format!("ACK {line}\n") {
            break;
        }
        assert!(answer.starts_with(&format!("NAK {line} unavailable")), "{answer}");
        answer.clear();
        socket.read_line(&mut answer).await.unwrap();
    }
    agent.stop().await;
    let stored = start(&fs).stored(&fs, &["orders"]).await;
    assert_eq!(stored["orders"], ["1", "again"]);
}
