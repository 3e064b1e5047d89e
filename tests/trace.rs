//! The checker of system-call traces, on traces whose answer is known. `tests/syscalls.rs` runs it
//! on the real binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::path::Path;

#[path = "trace/check.rs"]
mod check;
#[path = "trace/http.rs"]
mod http;
#[path = "trace/parse.rs"]
mod parse;

use check::{Report, check, tokens};

/// A connection that sends two lines to a new stream, which is trimmed later. Shortened from a
/// recording.
const GOOD: &str = r#"
10 mkdir("/d/streams/orders", 0750) = 0
10 openat(AT_FDCWD</>, "/d/streams", O_RDONLY) = 8</d/streams>
10 fsync(8</d/streams>) = 0
11 recvfrom(16<socket:[7]>, "STANDPIPE/2 ack=durable\n", 16384, 0, NULL, NULL) = 24
11 sendto(16<socket:[7]>, "OK version=2\n", 13, MSG_NOSIGNAL, NULL, 0) = 13
11 recvfrom(16<socket:[7]>,  <unfinished ...>
10 openat(AT_FDCWD</>, "/d/streams/orders/0.seg.new", O_RDWR|O_CREAT|O_EXCL, 0640) = 9</d/streams/orders/0.seg.new>
11 <... recvfrom resumed>"orders @00000001@\nbad\norders @00000002@ \"\\\1\n", 9999, 0, NULL, NULL) = 44
10 pwritev(9</d/streams/orders/0.seg.new>, [{iov_base="header", iov_len=6}], 1, 0) = 6
10 fdatasync(9</d/streams/orders/0.seg.new>) = 0
10 rename("/d/streams/orders/0.seg.new", "/d/streams/orders/0.seg") = 0
10 fsync(8</d/streams/orders>) = 0
10 pwritev(9</d/streams/orders/0.seg>, [{iov_base="x", iov_len=1}, {iov_base="@00000001@\4\0\0\0@00000002@", iov_len=24}], 2, 6) = 25
11 futex(0x7f, FUTEX_WAKE_PRIVATE, 1) = 0
10 fdatasync(9</d/streams/orders/0.seg> <unfinished ...>
11 sendto(16<socket:[7]>, "NAK 2 malformed\n", 16, MSG_NOSIGNAL, NULL, 0) = 16
10 <... fdatasync resumed>) = 0
11 sendto(16<socket:[7]>, "ACK 3\n", 6, MSG_NOSIGNAL, NULL, 0) = 6
12 pwrite64(11</d/offsets/db>, "progress", 8, 0) = 8
12 fsync(11</d/offsets/db>) = 0
10 rename("/d/streams/orders/0.seg", "/d/pool/1.seg") = 0
10 fsync(8</d/streams/orders>) = 0
11 +++ exited with 0 +++
"#;

fn verdict(trace: &str) -> Result<Report, Vec<String>> {
    check(&parse::parse(trace.trim_start()), Path::new("/d"))
}

/// The good trace without the line that begins like this.
fn without(beginning: &str) -> String {
    moved(beginning, None)
}

/// The good trace with one line taken out and put in front of another, or nowhere.
fn moved(beginning: &str, before: Option<&str>) -> String {
    let find = |lines: &[&str], text: &str| {
        let mut found = lines.iter().enumerate().filter(|(_, line)| line.contains(text));
        let (index, _) = found.next().unwrap_or_else(|| panic!("{text} is not in the trace"));
        assert!(found.next().is_none(), "{text} is there twice");
        index
    };
    let mut lines: Vec<_> = GOOD.trim_start().lines().collect();
    let line = lines.remove(find(&lines, beginning));
    if let Some(before) = before {
        lines.insert(find(&lines, before), line);
    }
    lines.join("\n")
}

#[track_caller]
fn assert_found(trace: &str, expected: &str) {
    let wrong = verdict(trace).expect_err("the fault was not found");
    assert!(wrong.iter().any(|wrong| wrong.contains(expected)), "{expected:?} not in {wrong:#?}");
}

#[test]
fn a_good_trace_passes_and_everything_in_it_was_looked_at() {
    let report =
        Report { acknowledgements: 1, lines: 2, segments: 2, removals: 1, failed_syncs: 0 };
    assert_eq!(verdict(GOOD), Ok(report));
}

const DATA_SYNC: &str = "10 fdatasync(9</d/streams/orders/0.seg> <unfinished ...>";
const DATA_SYNCED: &str = "<... fdatasync resumed>) = 0";
const DATA_WRITE: &str = "{iov_base=\"x\"";
const ACK: &str = "\"ACK 3\\n\"";

#[test]
fn an_acknowledgement_before_the_sync_returned_is_found() {
    assert_found(&moved(ACK, Some(DATA_SYNCED)), "ACK 3 covers line 1, which was written to");
    assert_found(&moved(ACK, Some(DATA_SYNC)), "line 3, which was written to");
    assert_found(&moved(ACK, Some(DATA_WRITE)), "which was not synced");
}

#[test]
fn a_sync_that_is_missing_failed_or_came_too_early_is_found() {
    let missing = without(DATA_SYNC).replace("10 <... fdatasync resumed>) = 0\n", "");
    assert_found(&missing, "which was not synced");
    let failed =
        GOOD.replace(DATA_SYNCED, "<... fdatasync resumed>) = -1 EIO (Input/output error)");
    assert_found(&failed, "which was not synced");
    assert_found(&moved(DATA_SYNC, Some(DATA_WRITE)), "which was not synced");
    let other = GOOD.replace(DATA_SYNC, "10 fdatasync(9</d/streams/users/0.seg> <unfinished ...>");
    assert_found(&other, "which was not synced");
}

/// The good trace with a call of the Firehose API, which is confirmed before the line that holds
/// this. Its record is what the first acknowledged line holds too: `@00000001@`.
fn with_put(answered_before: &str) -> String {
    let call = r#"{"DeliveryStreamName":"orders","Records":[{"Data":"QDAwMDAwMDAxQA=="}]}"#;
    let call = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{call}", call.len());
    let answer = r#"{"FailedPutCount":0}"#;
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
    let (call_bytes, answer_bytes) = (call.len(), answer.len());
    let request =
        format!("11 recvfrom(20<socket:[8]>, {call:?}, 999, 0, NULL, NULL) = {call_bytes}");
    let reply = format!("11 sendto(20<socket:[8]>, {answer:?}, 9, 0, NULL, 0) = {answer_bytes}");
    let mut lines: Vec<_> = GOOD.trim_start().lines().collect();
    let place = lines.iter().position(|line| line.contains(answered_before)).unwrap();
    lines.insert(place, &reply);
    lines.insert(0, &request);
    lines.join("\n")
}

#[test]
fn a_confirmation_of_the_firehose_api_is_an_acknowledgement() {
    let report = verdict(&with_put("pwrite64(11")).unwrap();
    assert_eq!((report.acknowledgements, report.lines), (2, 3));
    let early = with_put(DATA_SYNCED);
    assert_found(&early, "200 covers record @00000001@, which was written to");
}

#[test]
fn names_that_are_not_synced_are_found() {
    let fsync_dir = "10 fsync(8</d/streams/orders>) = 0\n";
    assert_found(&GOOD.replacen(fsync_dir, "", 1), "whose name was not synced");
    assert_found(&without("fsync(8</d/streams>)"), "the name of /d/streams/orders was not synced");
    let early = moved("fsync(8</d/streams>)", Some("mkdir("));
    assert_found(&early, "the name of /d/streams/orders was not synced");
    let unsynced_name = GOOD.replacen(fsync_dir, "", 1).replacen(
        "10 rename(",
        "10 fsync(8</d/streams/orders>) = 0\n10 rename(",
        1,
    );
    assert_found(&unsynced_name, "whose name was not synced");
}

#[test]
fn a_name_for_a_header_that_is_not_synced_is_found() {
    let header = "10 fdatasync(9</d/streams/orders/0.seg.new>) = 0";
    assert_found(&without(header), "0.seg got its name before it was synced");
    let early = moved("orders/0.seg.new\", \"/d/streams/orders/0.seg\"", Some(header));
    assert_found(&early, "0.seg got its name before it was synced");
    let failed = GOOD.replace(header, "10 fdatasync(9</d/streams/orders/0.seg.new>) = -1 EIO (?)");
    assert_found(&failed, "0.seg got its name before it was synced");
}

#[test]
fn a_second_sync_of_a_file_that_could_not_be_synced_is_found() {
    let failed = "10 fdatasync(9</d/streams/orders/0.seg>) = -1 EIO (Input/output error)\n";
    let retried = GOOD.replace(DATA_SYNC, &format!("{failed}{DATA_SYNC}"));
    assert_found(&retried, "0.seg was used after a sync of it failed");
}

#[test]
fn events_in_the_wrong_place_are_found() {
    assert_found(&without(DATA_WRITE), "was never written below /d/streams/orders");
    let elsewhere = GOOD.replace("recvfrom resumed>\"orders", "recvfrom resumed>\"users");
    assert_found(&elsewhere, "line 1, which was never written below /d/streams/users");
    let short = GOOD.replace("], 2, 6) = 25", "], 2, 6) = 15");
    assert_found(&short, "line 3, which was never written");
    assert_found(&GOOD.replace("ACK 3", "ACK 9"), "line 9, which was never received");
}

#[test]
fn a_segment_that_leaves_too_early_is_found() {
    assert_found(&without("fsync(11</d/offsets/db>)"), "left before its offsets were synced");
    let early = moved("\"/d/pool/1.seg\"", Some("fsync(11</d/offsets/db>)"));
    assert_found(&early, "left before its offsets were synced");
    let stale = moved("pwrite64(11", Some(DATA_WRITE));
    assert_found(&stale, "left before its offsets were synced");
    let last = GOOD.rfind("10 fsync(8</d/streams/orders>)").unwrap();
    assert_found(GOOD.get(..last).unwrap(), "its directory was not synced");
}

#[test]
fn strings_are_decoded_as_strace_writes_them() {
    let line = r#"7 write(3</a b>, "\0\1a\0011\377\\\"\n\t\v\f\r", 13) = 13"#;
    let calls = parse::parse(line);
    assert_eq!(calls[0].strings(), [b"\x00\x01a\x011\xff\\\"\n\t\x0b\x0c\r"]);
    assert_eq!(calls[0].target(), Some("/a b"));
    assert_eq!(tokens(b"x@12345678@@1234567@").collect::<Vec<_>>(), [b"@12345678@"]);
}

#[test]
#[should_panic(expected = "strace cut a string")]
fn a_string_that_was_cut_is_no_proof() {
    parse::parse("7 write(3</a>, \"abc\"..., 9) = 9")[0].strings();
}
