//! F1 and F2: events per second and CPU from the socket to durable, with the sink paused.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use crate::agent::Agent;
use crate::ceiling;
use crate::report::Report;

/// Payload bytes of an event.
pub(crate) const EVENT_BYTES: usize = 200;
const CONNECTIONS: usize = 4;

/// A block of lines for one stream: payloads of 200 bytes, none like another.
pub(crate) fn block(stream: usize, lines: usize) -> Vec<u8> {
    let mut block = Vec::with_capacity(lines * (EVENT_BYTES + 16));
    for line in 0..lines {
        write!(block, "figures-{stream} {{\"n\":{line:08},\"pad\":\"").unwrap();
        block.extend((0..EVENT_BYTES - 23).map(|i| b'a' + ((i * 7 + line) % 26) as u8));
        block.extend_from_slice(b"\"}\n");
    }
    block
}

/// Sends at least `events` events over four connections and returns how many it sent.
pub(crate) fn send(agent: &Agent, events: u64, streams: usize) -> u64 {
    const LINES: u64 = 1024;
    let rounds = events.div_ceil(LINES * CONNECTIONS as u64);
    std::thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let mut socket = agent.connect();
            scope.spawn(move || {
                let block = block(connection % streams, LINES as usize);
                for _ in 0..rounds {
                    socket.write_all(&block).unwrap();
                }
            });
        }
    });
    rounds * LINES * CONNECTIONS as u64
}

pub(crate) fn measure(dir: &Path, gib: u64, streams: usize, run: usize, report: &mut Report) {
    let events = (gib << 30) / EVENT_BYTES as u64;
    println!("F1/F2 run {run}: {events} events of {EVENT_BYTES} B, {streams} streams, sink paused");
    let (rate, cpu, peak) = {
        let agent = Agent::start(dir, "http://127.0.0.1:9", "aggregate = \"lines\"\npaused = true");
        let cpu = agent.cpu_seconds();
        let start = Instant::now();
        let sent = send(&agent, events, streams);
        agent.wait_for("durable", |durable| durable >= sent);
        let took = start.elapsed().as_secs_f64();
        agent.wait_for("durable", |durable| durable == sent);
        let cpu = (agent.cpu_seconds() - cpu) / (sent as f64 / 1e6);
        (sent as f64 / took, cpu, agent.peak_mib())
    };
    let bytes = events * (EVENT_BYTES as u64 + 4);
    let bare = ceiling::write_and_sync(dir, bytes, streams).as_secs_f64();
    let ceiling = events as f64 / bare;
    report.add("F1 durable ingest", "million events/s", rate / 1e6);
    report.add("F1 ceiling: bare write + fdatasync", "million events/s", ceiling / 1e6);
    report.add("F1 ratio", "%", 100.0 * rate / ceiling);
    report.add("F2 CPU socket to durable", "s/million events", cpu);
    report.add("F1 peak resident size", "MiB", peak);
}
