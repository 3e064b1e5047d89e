//! Taking damage out of a log, and nothing else.

use standpipe_wal::lock::DirLock;

use crate::ground::{FRAME, Ground, fingerprint, payload};

fn damaged() -> Ground {
    let ground = Ground::new();
    ground.log("orders", 100);
    ground.log("clicks", 10);
    let segments = ground.segments("orders");
    Ground::damage(&segments[0], 4096 + 2 * FRAME + 60, b"??");
    Ground::damage(&segments[1], 20, b"damage");
    std::fs::write(ground.stream("orders").join("00000000000000008000.seg"), "rubbish").unwrap();
    ground
}

#[test]
fn a_repair_says_what_it_will_do_does_it_and_keeps_what_it_takes_out() {
    let ground = damaged();
    let broken = std::fs::read(&ground.segments("orders")[0]).unwrap();
    let said = ground.look(&["repair", "--dry-run"]);
    assert_eq!(said.code, 1);
    for part in [
        "writes orders/00000000000000000000.seg again",
        "moves orders/00000000000000008000.seg to quarantine/",
        "offsets 20 to 30 (10 events) are lost",
    ] {
        assert!(said.text().contains(part), "{part:?} is not in {}", said.text());
    }
    let clicks = fingerprint(&ground.stream("clicks"));
    let said = ground.wal(&["repair", "--yes", "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    let outcome = said.json();
    assert_eq!((&outcome["clean"], &outcome["before"]["clean"]), (&true.into(), &false.into()));
    let done = &outcome["repaired"]["orders"];
    assert_eq!(done["rewritten_segments"].as_array().unwrap().len(), 2);
    assert!(outcome["repaired"]["clicks"].is_null());
    assert!(fingerprint(&ground.stream("clicks")) == clicks, "what is whole is left alone");

    let begin = usize::try_from(4096 + 2 * FRAME).unwrap();
    let kept = ground.stream("orders").join("quarantine/00000000000000000000.6192");
    assert_eq!(
        std::fs::read(kept).unwrap(),
        broken[begin..begin + usize::try_from(FRAME).unwrap()]
    );
    let verified = ground.look(&["verify"]);
    assert_eq!(verified.code, 0);
    let said = "offsets 20 to 30 (10 events) are lost; a repair took the damage out";
    assert!(verified.text().contains(said), "{}", verified.text());
    let said = ground.look(&["cat", "orders"]);
    let expected: String = (0..20).chain(30..1000).map(|offset| payload(offset) + "\n").collect();
    assert_eq!(said.text(), expected);
    assert_eq!(said.err, "note: skipped offsets 20 to 30 (10): lost to damage\n");
    let again = ground.wal(&["repair", "--yes"]);
    assert!(again.code == 0 && again.text().contains("nothing to repair"), "{again:?}");
}

#[test]
fn nothing_is_repaired_without_a_word_or_under_a_running_agent() {
    let ground = damaged();
    let lock = DirLock::acquire(&ground.data()).unwrap();
    // Not looked at closely: to read the lock file would give our lock up.
    let said = ground.wal(&["repair", "--yes"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("stop it first"), "{}", said.err);
    drop(lock);
    let said = ground.look(&["repair"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("say --yes"), "{}", said.err);
}
