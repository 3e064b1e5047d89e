//! A disk that is full, out of names, or broken.

use super::{Disk, Host, Ledger};

/// No reserve: the disk itself says that it is full.
const TO_THE_BRIM: &str = "free_bytes_min = \"0B\"\nbytes_max = \"1GiB\"\n";

/// Enough for several segments.
const EVENTS: u64 = 1200;

#[test]
fn a_full_disk_refuses_and_says_so_until_there_is_room_again() {
    let disk = Disk::new(24, None);
    let host = Host::new(Some(&disk.dir().join("data")), TO_THE_BRIM);
    // What is delivered is given back: the disk would not stay full.
    host.configure("paused = true\n");
    let agent = host.start();
    let (mut old, mut new) = (Ledger::new("old"), Ledger::new("new"));
    assert_eq!(old.add(EVENTS).send(&agent.address).unwrap(), 0);

    let ballast = disk.fill();
    let mut refused = 0;
    while refused == 0 {
        refused = old.add(EVENTS).send(&agent.address).unwrap();
    }
    new.add(10).send(&agent.address).unwrap();
    assert_eq!(old.refusals.keys().collect::<Vec<_>>(), ["unavailable"]);
    for _ in 0..20 {
        let stream = host.stream("old");
        assert_eq!(stream["state"], "full", "{stream}");
        assert!(stream["reason"].as_str().unwrap().contains("No space left"), "{stream}");
        old.send(&agent.address).unwrap();
    }
    let said = host.log().matches("the log cannot be written; new events").count();
    assert!(said <= 2, "one line for each stream, not {said}:\n{}", host.log());

    drop(ballast);
    for ledger in [&mut old, &mut new] {
        host.wait_until_ok(&ledger.stream);
        assert_eq!(ledger.send(&agent.address).unwrap(), 0);
        assert!(ledger.is_settled());
    }
    agent.stop();
    host.configure("");
    let agent = host.start();
    host.wait_until_delivered(&[&old, &new]);
    agent.stop();
    host.check(&[&old, &new]);
}

#[test]
fn a_disk_without_names_for_new_files_is_a_full_disk() {
    let disk = Disk::new(64, Some(64));
    let host = Host::new(Some(&disk.dir().join("data")), TO_THE_BRIM);
    let agent = host.start();
    let (mut old, mut new) = (Ledger::new("old"), Ledger::new("new"));
    assert_eq!(old.add(10).send(&agent.address).unwrap(), 0);

    let ballast = disk.take_all_names();
    assert_eq!(new.add(10).send(&agent.address).unwrap(), 10, "it needs a directory");
    let stream = host.stream("new");
    assert_eq!(stream["state"], "full", "{stream}");
    old.add(EVENTS).send(&agent.address).unwrap();
    // The last name goes while the agent is away: it must start all the same.
    agent.kill();
    let more = disk.take_all_names();
    let agent = host.start();
    new.send(&agent.address).unwrap();

    drop((ballast, more));
    for ledger in [&mut old, &mut new] {
        host.wait_until_ok(&ledger.stream);
        assert_eq!(ledger.send(&agent.address).unwrap(), 0);
    }
    host.wait_until_delivered(&[&old, &new]);
    agent.stop();
    host.check(&[&old, &new]);
}

#[test]
fn a_full_disk_does_not_keep_the_agent_from_starting() {
    let disk = Disk::new(24, None);
    let host = Host::new(Some(&disk.dir().join("data")), TO_THE_BRIM);
    let agent = host.start();
    let mut ledger = Ledger::new("stream");
    assert_eq!(ledger.add(EVENTS).send(&agent.address).unwrap(), 0);
    agent.kill();

    let ballast = disk.fill();
    let agent = host.start();
    // There may be a little room: the log that is opened takes what it needs first.
    ledger.add(EVENTS).send(&agent.address).unwrap();
    agent.kill();
    let agent = host.start();
    drop(ballast);
    host.wait_until_ok("stream");
    assert_eq!(ledger.send(&agent.address).unwrap(), 0);
    host.wait_until_delivered(&[&ledger]);
    agent.stop();
    host.check(&[&ledger]);
}

/// The agent knows nothing of it, and would show an empty log.
#[test]
fn a_log_that_cannot_be_opened_is_shown_as_it_lies_there() {
    let disk = Disk::new(24, Some(64));
    let host = Host::new(Some(&disk.dir().join("data")), TO_THE_BRIM);
    host.configure("paused = true\n");
    let agent = host.start();
    let mut ledger = Ledger::new("stream");
    assert_eq!(ledger.add(EVENTS).send(&agent.address).unwrap(), 0);
    agent.kill();
    let before = host.stream("stream");

    // What was written last is proven by nothing, and has to be written again into a new file.
    let ballast = disk.take_all_names();
    let agent = host.start();
    host.wait("full", |host| host.stream("stream")["state"] == "full");
    let stream = host.stream("stream");
    assert!(stream["reason"].as_str().unwrap().contains("No space left"), "{stream}");
    for number in ["next", "backlog_events", "committed", "segments", "disk_bytes"] {
        assert_eq!(stream[number], before[number], "{number}: {stream}");
    }
    assert_eq!(stream["next"], EVENTS);

    drop(ballast);
    host.wait_until_ok("stream");
    agent.kill();
    host.configure("");
    let agent = host.start();
    host.wait_until_delivered(&[&ledger]);
    agent.stop();
    host.check(&[&ledger]);
}

#[test]
fn a_file_system_that_the_kernel_has_made_read_only_loses_nothing() {
    let disk = Disk::new(24, None);
    let host = Host::new(Some(&disk.dir().join("data")), TO_THE_BRIM);
    let agent = host.start();
    let mut ledger = Ledger::new("stream");
    assert_eq!(ledger.add(EVENTS).send(&agent.address).unwrap(), 0);

    disk.fail();
    assert_eq!(ledger.add(10).send(&agent.address).unwrap(), 10);
    for _ in 0..20 {
        let stream = host.stream("stream");
        assert_eq!(stream["state"], "failing", "{stream}");
        assert!(stream["reason"].as_str().unwrap().contains("Read-only"), "{stream}");
        assert_eq!(ledger.send(&agent.address).unwrap(), 10);
    }
    agent.kill();
    disk.repair();
    let agent = host.start();
    assert_eq!(ledger.send(&agent.address).unwrap(), 0);
    host.wait_until_delivered(&[&ledger]);
    agent.stop();
    host.check(&[&ledger]);
}
