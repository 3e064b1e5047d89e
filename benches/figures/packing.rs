//! F7: what Firehose bills for a backlog, in how many calls, and what that costs in CPU.

use std::io::Write as _;
use std::path::Path;

use crate::agent::Agent;
use crate::ingest::EVENT_BYTES;
use crate::receiver::Receiver;
use crate::report::Report;
use crate::restart::leave_backlog;

/// The ways to make records of events. One event per record is measured with a tenth of the events.
const FORMS: [(&str, &str, u64); 4] = [
    ("lines", "aggregate = \"lines\"", 1),
    ("lines, gzip", "aggregate = \"lines\"\ncompression = \"gzip\"", 1),
    ("lines, id as member", "aggregate = \"lines\"\nidentity = \"id\"", 1),
    ("none", "aggregate = \"none\"", 10),
];

pub(crate) fn measure(dir: &Path, millions: u64, run: usize, report: &mut Report) {
    for (form, settings, part) in FORMS {
        let events = millions * 1_000_000 / part;
        println!("F7 run {run}: a backlog of {events} events of {EVENT_BYTES} B, {form}");
        let sent = leave_backlog(dir, &block(), LINES, events);
        let receiver = Receiver::start();
        let agent = Agent::launch(dir, receiver.url(), settings);
        agent.wait_for("committed", |committed| committed >= sent);
        let cpu = agent.cpu_seconds();
        let taken = receiver.taken();
        let payload = sent as f64 * EVENT_BYTES as f64;
        let millions = sent as f64 / 1e6;
        let mut add =
            |what: &str, unit, value| report.add(&format!("F7 {what} ({form})"), unit, value);
        add("billed / payload bytes", "×", taken.billed_bytes as f64 / payload);
        add("sent / payload bytes", "×", taken.bytes as f64 / payload);
        add("calls", "per million events", taken.calls as f64 / millions);
        add("CPU, log to delivered", "s/million events", cpu / millions);
        add("events counted / sent", "×", taken.events as f64 / sent as f64);
    }
}

/// Far more than a compressor looks back at, so that repeating the block makes nothing smaller.
const LINES: u64 = 8192;

fn block() -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut block = Vec::new();
    for line in 0..LINES {
        block.extend_from_slice(b"figures-0 ");
        write_event(&mut block, line, &mut random);
        block.push(b'\n');
    }
    block
}

/// Writes an event as a service might log it: words that repeat, and about a third that never does.
pub(crate) fn write_event(to: &mut Vec<u8>, number: u64, random: &mut fastrand::Rng) {
    let begins = to.len();
    write!(
        to,
        "{{\"time\":\"2026-11-25T08:{:02}:{:02}.{:03}Z\",\"request\":\"{:016x}\",\
         \"path\":\"/v1/{}/{}\",\"status\":{},\"bytes\":{},\"agent\":\"shop/4.2\",\"trace\":\"",
        number / 60 % 60,
        number % 60,
        random.u32(..1000),
        random.u64(..),
        random.choice(["orders", "carts", "users", "search"]).unwrap(),
        random.u32(..100_000),
        random.choice([200, 200, 200, 201, 304, 404]).unwrap(),
        random.u32(..50_000),
    )
    .unwrap();
    let rest = begins + EVENT_BYTES - 2 - to.len();
    to.extend((0..rest).map(|_| b"0123456789abcdef"[random.usize(..16)]));
    to.extend_from_slice(b"\"}");
}
