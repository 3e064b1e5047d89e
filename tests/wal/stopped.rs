//! A log that nobody writes, as it should be.

use std::io::Read;
use std::process::Stdio;

use crate::ground::{Ground, payload};

#[test]
fn ls_shows_every_file_and_reads_no_more_than_it_must() {
    let ground = Ground::new();
    ground.log("orders", 100);
    let dir = ground.stream("orders");
    std::fs::write(dir.join("notes.txt"), "somebody's").unwrap();
    std::fs::write(dir.join("00000000000000002000.seg.new"), "half").unwrap();
    std::fs::create_dir(dir.join("quarantine")).unwrap();
    std::fs::write(dir.join("quarantine/00000000000000000000.4096"), "odd bytes").unwrap();
    let listing = ground.look(&["ls", "--json"]).json();
    assert_eq!((&listing["running"], &listing["agent"]), (&false.into(), &"stopped".into()));
    let stream = &listing["streams"][0];
    assert_eq!((&stream["stream"], &stream["oldest"]), (&"orders".into(), &0.into()));
    assert_eq!(stream["next"], 1000);
    assert_eq!(stream["log_id"].as_str().unwrap().len(), 32);
    let segments = stream["segments"].as_array().unwrap();
    assert_eq!(segments.len(), ground.segments("orders").len());
    assert!(segments.len() > 1);
    let events: u64 = segments.iter().map(|segment| segment["events"].as_u64().unwrap()).sum();
    assert_eq!(events, 1000);
    assert_eq!((&segments[0]["begun"], &segments[0]["state"]), (&"first".into(), &"closed".into()));
    let newest = segments.last().unwrap();
    assert_eq!((&newest["begun"], &newest["state"]), (&"roll".into(), &"sealed".into()));
    let others: Vec<_> = stream["others"].as_array().unwrap().iter().collect();
    let kinds: Vec<_> = others.iter().map(|other| (&other["kind"], &other["bytes"])).collect();
    let expected = [("draft", 4), ("stray", 10), ("quarantined", 9)]
        .map(|(kind, bytes)| (kind.into(), bytes.into()));
    assert_eq!(kinds, expected.each_ref().map(|(kind, bytes)| (kind, bytes)));

    let said = ground.look(&["ls", "orders"]);
    assert!(said.text().contains("orders: offsets 0 to 1,000"), "{}", said.text());
    assert!(said.text().contains("quarantine/00000000000000000000.4096"), "{}", said.text());
    let refused = ground.look(&["ls", "clicks"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("\"clicks\"; there are orders"), "{}", refused.err);
}

#[test]
fn verify_finds_nothing_and_says_what_the_next_start_does() {
    let ground = Ground::new();
    ground.log("orders", 100);
    ground.log("clicks", 1);
    let said = ground.look(&["verify", "--json"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let report = said.json();
    assert_eq!(report["clean"], true);
    let orders = &report["streams"][1];
    assert_eq!((&orders["events"], &orders["lost_events"]), (&1000.into(), &0.into()));
    assert_eq!(
        (&orders["next_start"]["action"], &orders["next_start"]["next"]),
        (&"keep".into(), &1000.into())
    );
    let size: u64 = ["orders", "clicks"]
        .iter()
        .flat_map(|stream| ground.segments(stream))
        .map(|path| path.metadata().unwrap().len())
        .sum();
    assert_eq!(report["bytes"], size, "every byte is accounted for");
    assert!(report["seconds"].as_f64().unwrap() > 0.0);
    let said = ground.look(&["verify", "clicks"]);
    assert!(said.text().contains("clicks: clean; 10 events in 2 frames"), "{}", said.text());
    assert!(said.text().contains("the next start changes nothing"), "{}", said.text());
}

#[test]
fn cat_prints_what_was_sent_from_where_it_is_told() {
    let ground = Ground::new();
    ground.log("orders", 100);
    let lines = |range: std::ops::Range<u64>| -> String {
        range.map(|offset| payload(offset) + "\n").collect()
    };
    let cat = |args: &[&str]| {
        let said = ground.look(&[&["cat", "orders"], args].concat());
        assert_eq!((said.code, said.err.as_str()), (0, ""));
        said.text().to_owned()
    };
    assert_eq!(cat(&[]), lines(0..1000));
    assert_eq!(cat(&["--from", "995"]), lines(995..1000));
    assert_eq!(cat(&["--from", "617", "--count", "5"]), lines(617..622));
    assert_eq!(cat(&["--last", "3"]), lines(997..1000));
    assert_eq!(cat(&["--from", "1000"]), "");
    assert_eq!(cat(&["--count", "2", "-0"]), lines(0..2).replace('\n', "\0"));
    let expected = format!("12 2023-11-14T22:13:20.001Z {}\n", payload(12));
    assert_eq!(cat(&["--from", "12", "--count", "1", "--with-offsets"]), expected);
    let object: serde_json::Value =
        serde_json::from_str(&cat(&["--from", "12", "--count", "1", "--json"])).unwrap();
    assert_eq!((&object["offset"], &object["payload"]), (&12.into(), &payload(12).into()));
}

#[test]
fn whoever_has_seen_enough_closes_the_pipe() {
    let ground = Ground::new();
    ground.log("orders", 2000);
    let mut child = ground
        .command(&["cat", "orders"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = vec![0; 97];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(first, (payload(0) + "\n").as_bytes());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), b"".as_slice()));
}

#[test]
fn export_writes_files_that_can_be_sent_again_and_replaces_none() {
    let ground = Ground::new();
    ground.log("orders", 100);
    ground.log("clicks", 1);
    let to = ground.dir.path().join("out");
    let to_arg = to.to_str().unwrap();
    let said = ground.look(&["export", "--to", to_arg, "--json"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(said.json()["files"][1]["events"], 1000);
    let expected: String = (0..1000).map(|offset| payload(offset) + "\n").collect();
    assert_eq!(std::fs::read_to_string(to.join("orders.log")).unwrap(), expected);
    let refused = ground.look(&["export", "orders", "--to", to_arg]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("orders.log is there already"), "{}", refused.err);

    let args = ["export", "orders", "--to", to_arg, "--gzip", "--from", "10", "--until", "30"];
    assert_eq!(ground.look(&args).code, 0);
    let packed = std::fs::File::open(to.join("orders.log.gz")).unwrap();
    let mut plain = String::new();
    flate2::read::MultiGzDecoder::new(packed).read_to_string(&mut plain).unwrap();
    assert_eq!(plain, expected[10 * 97..30 * 97]);
    let mut names: Vec<_> =
        std::fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["clicks.log", "orders.log", "orders.log.gz"]);
}
