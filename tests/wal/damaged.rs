//! Logs with damage: it is named exactly, and everything else is read.

use crate::ground::{FRAME, Ground, payload};

/// A log of a thousand events; the frame with the events 20 to 29 is damaged, and so is the header
/// of the second segment.
fn damaged() -> Ground {
    let ground = Ground::new();
    ground.log("orders", 100);
    let segments = ground.segments("orders");
    Ground::damage(&segments[0], 4096 + 2 * FRAME + 60, b"??");
    Ground::damage(&segments[1], 20, b"damage");
    ground
}

#[test]
fn verify_names_the_bytes_and_the_offsets_and_fails() {
    let ground = damaged();
    let said = ground.look(&["verify", "--json"]);
    assert_eq!((said.code, said.err.as_str()), (1, ""));
    let report = said.json();
    let stream = &report["streams"][0];
    assert_eq!((&report["clean"], &stream["clean"]), (&false.into(), &false.into()));
    assert_eq!((&stream["lost_events"], &stream["events"]), (&10.into(), &990.into()));
    assert_eq!(stream["lost"], serde_json::json!([{"from": 20, "until": 30}]));
    let damage = &stream["segments"][0]["damage"][0];
    let bytes = serde_json::json!({"from": 4096 + 2 * FRAME, "until": 4096 + 3 * FRAME});
    assert_eq!((&damage["bytes"], &damage["lost"]["from"]), (&bytes, &20.into()));
    assert_eq!(stream["segments"][1]["header_damaged"], true);
    let said = ground.look(&["verify"]);
    assert_eq!(said.code, 1);
    for part in [
        "orders: damaged",
        "bytes 6192 to 7240 are damaged: offsets 20 to 30 (10 events) are lost",
        "the header is damaged; read by its frames",
    ] {
        assert!(said.text().contains(part), "{part:?} is not in {}", said.text());
    }
    let listing = ground.look(&["ls", "--json"]).json();
    assert_eq!(listing["streams"][0]["segments"][1]["state"], "header damaged");
}

#[test]
fn cat_and_export_go_on_behind_damage_and_say_so() {
    let ground = damaged();
    let said = ground.look(&["cat", "orders"]);
    assert_eq!(said.code, 1, "somebody who pipes this on must know");
    let expected: String = (0..20).chain(30..1000).map(|offset| payload(offset) + "\n").collect();
    assert_eq!(said.text(), expected);
    assert_eq!(said.err, "note: skipped offsets 20 to 30 (10): lost to damage\n");
    let said = ground.look(&["cat", "orders", "--from", "19", "--count", "2", "--json"]);
    let missing = r#"{"missing_from":20,"missing_until":30,"reason":"lost"}"#;
    assert_eq!(said.text().lines().nth(1), Some(missing));
    assert_eq!((said.text().lines().count(), said.err.as_str()), (3, ""));

    let to = ground.dir.path().join("out");
    let said = ground.look(&["export", "--to", to.to_str().unwrap(), "--json"]);
    assert_eq!(said.code, 1);
    assert_eq!(said.json()["files"][0]["lost_events"], 10);
    assert_eq!(std::fs::read_to_string(to.join("orders.log")).unwrap(), expected);
}

#[test]
fn what_the_last_sync_did_not_finish_is_unproven_and_not_lost() {
    let ground = Ground::new();
    ground.log("orders", 3);
    let segment = &ground.segments("orders")[0];
    // The last frame and the seal, as a power cut tears them.
    Ground::damage(segment, 4096 + 2 * FRAME + 500, &[0; 1000]);
    let said = ground.look(&["verify", "--json"]);
    assert_eq!(said.code, 1);
    let stream = &said.json()["streams"][0];
    assert_eq!(stream["lost_events"], 0);
    let start = &stream["next_start"];
    assert_eq!((&start["action"], &start["next"]), (&"rewrite".into(), &20.into()));
    assert_eq!((&start["rewritten_events"], &start["new_log_id"]), (&10.into(), &true.into()));
    let said = ground.look(&["cat", "orders"]);
    assert_eq!((said.code, said.text().lines().count()), (0, 20));
}

#[test]
fn foreign_and_unreadable_files_are_named_and_in_nobodys_way() {
    let ground = Ground::new();
    ground.log("orders", 100);
    ground.log("clicks", 100);
    let dir = ground.stream("orders");
    std::fs::copy(&ground.segments("clicks")[0], dir.join("00000000000000009000.seg")).unwrap();
    std::fs::write(dir.join("00000000000000008000.seg"), "rubbish").unwrap();
    let said = ground.look(&["verify", "orders", "--json"]);
    assert_eq!(said.code, 1);
    let stream = &said.json()["streams"][0];
    let mut useless: Vec<_> =
        stream["useless"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    useless.sort_unstable();
    assert_eq!(useless, ["00000000000000008000.seg", "00000000000000009000.seg"]);
    assert_eq!(stream["lost_events"], 0);
    let said = ground.look(&["cat", "orders"]);
    assert_eq!((said.code, said.text().lines().count()), (0, 1000));
}
