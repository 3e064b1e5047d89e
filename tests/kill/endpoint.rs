//! A Firehose that remembers what it took, with the moods of the real one: some calls fail, some
//! take only a part of their records, some are taken and never answered. At times it is stubborn:
//! some events are refused for as long as that lasts, whatever is sent around them, so that there
//! are gaps in what is confirmed when the agent is killed.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

/// What was delivered, and how often.
pub(crate) type Delivered = Arc<Mutex<HashMap<Vec<u8>, u32>>>;

/// How it is disposed now.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Temper {
    /// It takes everything.
    Calm,
    /// It fails now and then, and takes what is sent again.
    Moody,
    /// The same, and one event in so many is refused again and again; which, is chosen by the
    /// number.
    Stubborn(u64),
}

/// One event in so many is refused by a stubborn endpoint.
const STUBBORN_ABOUT: u64 = 100;

/// Its temper, for the test to change.
pub(crate) type Temperament = Arc<Mutex<Temper>>;

/// Starts it; returns its URL. It ends with the process.
pub(crate) fn start(seed: u64, delivered: Delivered, temper: Temperament) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for (number, stream) in (0..).zip(listener.incoming()) {
            let (delivered, temper) = (Arc::clone(&delivered), Arc::clone(&temper));
            let mood = fastrand::Rng::with_seed(seed ^ number);
            // A connection ends when the agent is killed; that is no fault.
            thread::spawn(move || serve(stream?, mood, &delivered, &temper));
        }
    });
    url
}

fn serve(
    stream: TcpStream,
    mut mood: fastrand::Rng,
    delivered: &Delivered,
    temper: &Temperament,
) -> io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let Some(put) = request(&mut reader)? else { return Ok(()) };
        let temper = *temper.lock().unwrap();
        let mood = if matches!(temper, Temper::Calm) { u8::MAX } else { mood.u8(..20) };
        let (status, answer) = match mood {
            0 => (500, json!({ "__type": "InternalFailure", "message": "by design" })),
            1 => (400, json!({ "__type": "LimitExceededException", "message": "by design" })),
            _ => (200, take(&put, mood == 2, temper, delivered)),
        };
        if mood == 3 {
            // Taken, and nobody will know.
            return Ok(());
        }
        let body = answer.to_string();
        let length = body.len();
        write!(
            writer,
            "HTTP/1.1 {status} Status\r\ncontent-type: application/x-amz-json-1.1\r\n\
             content-length: {length}\r\n\r\n{body}"
        )?;
    }
}

/// Takes the records of a call, or every other one, and answers for each.
fn take(call: &Value, every_other: bool, temper: Temper, delivered: &Delivered) -> Value {
    let records = call["Records"].as_array().unwrap();
    let mut delivered = delivered.lock().unwrap();
    let mut failed = 0;
    let responses = records.iter().enumerate().map(|(index, record)| {
        let data = record["Data"].as_str().unwrap().as_bytes();
        let data = base64_simd::STANDARD.decode_to_vec(data).unwrap();
        let events = data.strip_suffix(b"\n").expect("the delimiter ends each event");
        let events = events.split(|&byte| byte == b'\n');
        if every_other && index % 2 == 0 || events.clone().any(|event| is_refused(event, temper)) {
            failed += 1;
            return json!({ "ErrorCode": "ServiceUnavailableException", "ErrorMessage": "slow" });
        }
        for event in events {
            *delivered.entry(event.to_vec()).or_default() += 1;
        }
        json!({ "RecordId": format!("record-{index}") })
    });
    let responses: Vec<_> = responses.collect();
    json!({ "FailedPutCount": failed, "RequestResponses": responses })
}

fn is_refused(event: &[u8], temper: Temper) -> bool {
    let Temper::Stubborn(number) = temper else { return false };
    let mut hasher = DefaultHasher::new();
    (number, event).hash(&mut hasher);
    hasher.finish().is_multiple_of(STUBBORN_ABOUT)
}

/// Reads a request and returns its body; `None` where the connection was closed between two.
fn request(reader: &mut impl BufRead) -> io::Result<Option<Value>> {
    let mut length = 0;
    let mut is_put = false;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        is_put |= line == "x-amz-target: firehose_20150804.putrecordbatch";
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    assert!(is_put, "a call of another kind");
    Ok(Some(serde_json::from_slice(&body).unwrap()))
}
