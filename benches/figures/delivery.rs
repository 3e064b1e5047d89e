//! F3: CPU from the socket to delivered, against a plain HTTP endpoint that decodes and counts.

use std::path::Path;
use std::time::Instant;

use crate::agent::Agent;
use crate::ingest;
use crate::receiver::Receiver;
use crate::report::Report;

pub(crate) fn measure(dir: &Path, millions: u64, streams: usize, run: usize, report: &mut Report) {
    println!("F3 run {run}: {millions} million events, {streams} streams, socket to endpoint");
    let receiver = Receiver::start();
    let agent = Agent::start(dir, receiver.url(), "aggregate = \"lines\"\nlinger = \"500ms\"");
    let cpu = agent.cpu_seconds();
    let start = Instant::now();
    let sent = ingest::send(&agent, millions * 1_000_000, streams);
    agent.wait_for("committed", |committed| committed >= sent);
    let took = start.elapsed().as_secs_f64();
    let cpu = (agent.cpu_seconds() - cpu) / (sent as f64 / 1e6);
    let counted = receiver.taken().events;
    report.add("F3 CPU socket to delivered", "s/million events", cpu);
    report.add("F3 delivered", "million events/s", sent as f64 / took / 1e6);
    report.add("F3 events counted / sent", "×", counted as f64 / sent as f64);
    report.add("F3 peak resident size", "MiB", agent.peak_mib());
}
