//! F4: one acknowledged client, one event at a time, interleaved with bare appends.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::time::Instant;

use crate::agent::Agent;
use crate::ceiling::BareAppend;
use crate::report::Report;

pub(crate) fn measure(dir: &Path, samples: usize, run: usize, report: &mut Report) {
    println!("F4 run {run}: {samples} samples, each beside a bare 4 KiB append + fdatasync");
    let agent = Agent::start(dir, "http://127.0.0.1:9", "aggregate = \"lines\"\npaused = true");
    let mut socket = agent.connect();
    let mut answers = BufReader::new(socket.try_clone().unwrap());
    let mut answer = String::new();
    socket.write_all(b"STANDPIPE/2 ack=durable\n").unwrap();
    answers.read_line(&mut answer).unwrap();
    assert!(answer.starts_with("OK"), "{answer}");
    let line = crate::ingest::block(0, 1);
    let mut bare = BareAppend::new(dir);
    let (mut bare_us, mut acked_us) = (Vec::new(), Vec::new());
    for n in 1..=samples {
        bare_us.push(bare.once().as_secs_f64() * 1e6);
        let start = Instant::now();
        socket.write_all(&line).unwrap();
        answer.clear();
        answers.read_line(&mut answer).unwrap();
        acked_us.push(start.elapsed().as_secs_f64() * 1e6);
        assert_eq!(answer.trim_end(), format!("ACK {n}"));
    }
    std::fs::remove_file(dir.join("bare")).unwrap();
    for (name, percent) in [("p50", 50), ("p99", 99)] {
        let (bare, acked) = (percentile(&mut bare_us, percent), percentile(&mut acked_us, percent));
        report.add(&format!("F4 {name} acknowledged"), "µs", acked);
        report.add(&format!("F4 {name} bare append + fdatasync"), "µs", bare);
        report.add(&format!("F4 {name} ratio"), "×", acked / bare);
    }
}

fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) * percent / 100]
}
