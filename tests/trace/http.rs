//! The Firehose API in a trace: which records a call held, and when its answer was sent.

use serde_json::Value;

/// A call that was answered with 200 and without a failed record.
#[derive(Debug)]
pub(crate) struct Put {
    pub(crate) stream: String,
    /// The records' data.
    pub(crate) records: Vec<Vec<u8>>,
    /// The line on which the sending of the answer began.
    pub(crate) answered: usize,
}

/// The calls of one connection that were confirmed. `sent` is each byte of the answers with the
/// line on which its sending began.
pub(crate) fn confirmed(received: &[u8], sent: &[(u8, usize)]) -> Vec<Put> {
    let answers: Vec<u8> = sent.iter().map(|&(byte, _)| byte).collect();
    let mut puts = Vec::new();
    let (mut calls, mut rest) = (received, answers.as_slice());
    // HTTP/1.1 answers in the order of the calls.
    while let Some((_, call, later)) = message(calls) {
        let begins = answers.len() - rest.len();
        let Some((head, answer, others)) = message(rest) else { break };
        (calls, rest) = (later, others);
        let answer: Value = serde_json::from_slice(answer).expect("an answer in JSON");
        if !head.starts_with("HTTP/1.1 200") || answer["FailedPutCount"] != 0 {
            continue;
        }
        let call: Value = serde_json::from_slice(call).expect("a call in JSON");
        let records = call["Records"].as_array().expect("records").iter().map(|record| {
            let data = record["Data"].as_str().expect("data").as_bytes();
            base64_simd::STANDARD.decode_to_vec(data).expect("base64")
        });
        puts.push(Put {
            stream: call["DeliveryStreamName"].as_str().expect("a stream").to_owned(),
            records: records.collect(),
            answered: sent[begins].1,
        });
    }
    puts
}

/// The head and the body of the first message, and what follows it.
fn message(bytes: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).expect("a head of text");
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
    });
    let length = length.expect("a length").expect("a number");
    let body = bytes.get(end..end + length)?;
    Some((head, body, &bytes[end + length..]))
}
