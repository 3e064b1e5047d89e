//! An endpoint that answers `PutRecordBatch`, decodes every record and counts what it was sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use flate2::read::MultiGzDecoder;

/// Firehose bills each record in steps of this size.
const BILLING_STEP_BYTES: usize = 5 * 1024;

/// What was taken.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    pub(crate) calls: u64,
    pub(crate) records: u64,
    /// Lines, of what records hold once they are decompressed.
    pub(crate) events: u64,
    /// Bytes of all records as they came.
    pub(crate) bytes: u64,
    /// The same as it is billed.
    pub(crate) billed_bytes: u64,
}

pub(crate) struct Receiver {
    url: String,
    taken: Arc<Mutex<Taken>>,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let taken = Arc::<Mutex<Taken>>::default();
        let all = taken.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, all) = (client.unwrap(), all.clone());
                std::thread::spawn(move || answer_all(client, &all));
            }
        });
        Self { url, taken }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn taken(&self) -> Taken {
        *self.taken.lock().unwrap()
    }
}

fn answer_all(client: TcpStream, all: &Mutex<Taken>) -> Option<()> {
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
        let call = count(&body, &mut decoded);
        let entries = vec!["{\"RecordId\":\"r\"}"; call.records as usize].join(",");
        add(&mut all.lock().unwrap(), call);
        let answer = format!("{{\"FailedPutCount\":0,\"RequestResponses\":[{entries}]}}");
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\n\
             Content-Length: {}\r\n\r\n",
            answer.len()
        );
        answers.write_all((head + &answer).as_bytes()).ok()?;
    }
}

fn add(all: &mut Taken, call: Taken) {
    let Taken { calls, records, events, bytes, billed_bytes } = call;
    all.calls += calls;
    all.records += records;
    all.events += events;
    all.bytes += bytes;
    all.billed_bytes += billed_bytes;
}

fn count(body: &[u8], decoded: &mut Vec<u8>) -> Taken {
    let mut call = Taken { calls: 1, ..Taken::default() };
    for start in memchr::memmem::find_iter(body, b"\"Data\":\"") {
        let data = &body[start + 8..];
        let data = &data[..memchr::memchr(b'"', data).unwrap()];
        decoded.clear();
        decoded.resize(data.len() / 4 * 3 + 3, 0);
        let out = base64_simd::Out::from_slice(decoded.as_mut_slice());
        let record = base64_simd::STANDARD.decode(data, out).unwrap();
        call.records += 1;
        call.bytes += record.len() as u64;
        call.billed_bytes +=
            (record.len().div_ceil(BILLING_STEP_BYTES) * BILLING_STEP_BYTES) as u64;
        call.events += if record.starts_with(&[0x1f, 0x8b]) {
            let mut lines = Vec::new();
            MultiGzDecoder::new(&*record).read_to_end(&mut lines).unwrap();
            memchr::memchr_iter(b'\n', &lines).count() as u64
        } else {
            memchr::memchr_iter(b'\n', record).count() as u64
        };
    }
    call
}
