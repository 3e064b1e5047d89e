//! F3: CPU from the socket to delivered, against a plain HTTP endpoint that decodes and counts.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::agent::Agent;
use crate::ingest;
use crate::report::Report;

pub(crate) fn measure(dir: &Path, millions: u64, streams: usize, run: usize, report: &mut Report) {
    println!("F3 run {run}: {millions} million events, {streams} streams, socket to endpoint");
    let events = Arc::new(AtomicU64::new(0));
    let endpoint = serve(events.clone());
    let agent = Agent::start(dir, &endpoint, "aggregate = \"lines\"\nlinger = \"500ms\"");
    let cpu = agent.cpu_seconds();
    let start = Instant::now();
    let sent = ingest::send(&agent, millions * 1_000_000, streams);
    agent.wait_for("committed", |committed| committed >= sent);
    let took = start.elapsed().as_secs_f64();
    let cpu = (agent.cpu_seconds() - cpu) / (sent as f64 / 1e6);
    let counted = events.load(Ordering::Relaxed);
    report.add("F3 CPU socket to delivered", "s/million events", cpu);
    report.add("F3 delivered", "million events/s", sent as f64 / took / 1e6);
    report.add("F3 events counted / sent", "×", counted as f64 / sent as f64);
    report.add("F3 peak resident size", "MiB", agent.peak_mib());
}

/// Serves `PutRecordBatch` on a port of its own: decodes every record and counts its lines.
pub(crate) fn serve(events: Arc<AtomicU64>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, events) = (client.unwrap(), events.clone());
            std::thread::spawn(move || answer_all(client, &events));
        }
    });
    format!("http://{address}")
}

fn answer_all(client: TcpStream, events: &AtomicU64) -> Option<()> {
    client.set_nodelay(true).ok()?;
    let mut answers = client.try_clone().ok()?;
    let mut requests = BufReader::with_capacity(1 << 20, client);
    let (mut body, mut decoded) = (Vec::new(), Vec::new());
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if requests.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line.is_empty() {
                break;
            }
        }
        body.resize(length, 0);
        requests.read_exact(&mut body).ok()?;
        let records = count(&body, &mut decoded, events);
        let entries = vec!["{\"RecordId\":\"r\"}"; records].join(",");
        let answer = format!("{{\"FailedPutCount\":0,\"RequestResponses\":[{entries}]}}");
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\n\
             Content-Length: {}\r\n\r\n",
            answer.len()
        );
        answers.write_all((head + &answer).as_bytes()).ok()?;
    }
}

fn count(body: &[u8], decoded: &mut Vec<u8>, events: &AtomicU64) -> usize {
    let mut records = 0;
    for start in memchr::memmem::find_iter(body, b"\"Data\":\"") {
        let data = &body[start + 8..];
        let data = &data[..memchr::memchr(b'"', data).unwrap()];
        decoded.clear();
        decoded.resize(data.len() / 4 * 3 + 3, 0);
        let out = base64_simd::Out::from_slice(decoded.as_mut_slice());
        let decoded = base64_simd::STANDARD.decode(data, out).unwrap();
        events.fetch_add(memchr::memchr_iter(b'\n', decoded).count() as u64, Ordering::Relaxed);
        records += 1;
    }
    records
}
