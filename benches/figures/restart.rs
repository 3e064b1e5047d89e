//! F6 and F8: an agent that starts on a large backlog. How long until each stream acknowledges its
//! first new event, how fast the backlog drains, and what it takes in memory meanwhile.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use rustix::fs::{Advice, fadvise};

use crate::agent::Agent;
use crate::ingest::EVENT_BYTES;
use crate::receiver::Receiver;
use crate::report::Report;

/// Lines of one stream in each block that is written to the socket.
const LINES: usize = 64;

/// Measures with all of the backlog in one stream and spread over a thousand, with its files in the
/// page cache and without.
pub(crate) fn measure(dir: &Path, gib: u64, run: usize, report: &mut Report) {
    for streams in [1, 1_000] {
        for cold in [false, true] {
            let cache = if cold { "cold" } else { "warm" };
            println!("F6/F8 run {run}: {gib} GiB in {streams} streams, {cache} page cache");
            let mut block = Vec::new();
            (0..streams).for_each(|stream| block.extend(crate::ingest::block(stream, LINES)));
            let events = (gib << 30) / EVENT_BYTES as u64;
            let sent = leave_backlog(dir, &block, (LINES * streams) as u64, events);
            if cold {
                forget(&Agent::data(dir));
            }
            restart(dir, sent, streams, &format!("{streams} streams, {cache}"), report);
        }
    }
}

/// Fills the log of an agent that delivers nothing with at least so many events, and kills it. They
/// come in blocks of so many lines. Returns how many there are.
pub(crate) fn leave_backlog(dir: &Path, block: &[u8], lines: u64, events: u64) -> u64 {
    let agent = Agent::start(dir, "http://127.0.0.1:9", "paused = true");
    let rounds = events.div_ceil(lines);
    let mut socket = agent.connect();
    (0..rounds).for_each(|_| socket.write_all(block).unwrap());
    let sent = rounds * lines;
    agent.wait_for("durable", |durable| durable >= sent);
    agent.crash();
    sent
}

/// Takes all files below a directory out of the page cache.
fn forget(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            forget(&path);
        } else if let Ok(file) = File::open(&path) {
            file.sync_all().unwrap();
            fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        }
    }
}

fn restart(dir: &Path, sent: u64, streams: usize, how: &str, report: &mut Report) {
    let receiver = Receiver::start();
    let stream_default = "aggregate = \"lines\"\nlinger = \"500ms\"";
    let agent = Agent::launch(dir, receiver.url(), stream_default);
    let first = crate::first_acks::measure(&agent, streams);
    let first: Vec<_> = first.iter().map(|first| first.as_secs_f64() * 1e3).collect();
    report.add(&format!("F6 first ACK, median stream ({how})"), "ms", first[first.len() / 2]);
    report.add(&format!("F6 first ACK, slowest stream ({how})"), "ms", first[first.len() - 1]);
    let all = sent + streams as u64;
    let from = Instant::now();
    let counted = receiver.taken().events;
    agent.wait_for("committed", |committed| committed >= all);
    let seconds = from.elapsed().as_secs_f64();
    let drained = receiver.taken().events - counted;
    report.add(&format!("F6 peak resident size ({how})"), "MiB", agent.peak_mib());
    report.add(&format!("F8 drain ({how})"), "million events/s", drained as f64 / seconds / 1e6);
    let megabytes = drained as f64 * EVENT_BYTES as f64 / 1e6;
    report.add(&format!("F8 drain, bytes ({how})"), "MB/s", megabytes / seconds);
    let counted = receiver.taken().events as f64 / all as f64;
    report.add(&format!("F8 events counted / sent ({how})"), "×", counted);
}
