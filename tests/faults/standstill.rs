//! Processes that stand still, and clocks that jump.

use std::fs;
use std::io::Write as _;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::client::{Answer, connect};
use super::{Host, Ledger};

/// Longer than any wait after which the agent gives a client up.
const STANDSTILL: Duration = Duration::from_secs(35);

#[test]
fn an_agent_that_stood_still_goes_on_with_every_client() {
    let host = Host::new(None, "");
    let agent = host.start();
    let mut ledger = Ledger::new("stream");
    assert_eq!(ledger.add(10).send(&agent.address).unwrap(), 0);

    // One client in the middle of a line, one in the middle of its work.
    let (mut writer, mut answers) = connect(&agent.address).unwrap();
    writer.write_all(b"half the first half, ").unwrap();
    let address = agent.address.clone();
    let busy = thread::spawn(move || {
        let refused = ledger.add(3000).send(&address);
        (ledger, refused)
    });
    agent.signal(Signal::STOP);
    writer.write_all(b"the second half\n").unwrap();
    thread::sleep(STANDSTILL);
    agent.signal(Signal::CONT);

    assert_eq!(answers.next().unwrap(), Answer::Ack(1), "it was not the client that stood still");
    let (ledger, refused) = busy.join().unwrap();
    assert_eq!(refused.unwrap(), 0);
    host.wait_until_delivered(&[&ledger]);
    for stream in ["stream", "half"] {
        host.wait_until_ok(stream);
    }
    agent.stop();
    let arrived = host.delivered();
    assert!(arrived.contains_key("the first half, the second half"));
    assert_eq!(ledger.missing(&arrived).count(), 0);
    assert!(!host.log().contains("ERROR"), "{}", host.log());
}

/// Tells an agent the time of day, from now on.
fn set_clock(host: &Host, time: &str) {
    let (new, file) = (host.path("clock.new"), host.path("clock"));
    fs::write(&new, time).unwrap();
    fs::rename(new, file).unwrap();
}

/// Only the time of day jumps, as it does where a clock is set: not the one that waits go by.
#[test]
fn a_clock_that_jumps_stops_nothing() {
    let host = Host::new(None, "");
    host.configure("retain_delivered = \"1s\"\n");
    set_clock(&host, "@2026-01-01 00:00:00");
    let file = format!("FAKETIME_TIMESTAMP_FILE={}", host.path("clock").display());
    let library = fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let library = library
        .map(|dir| dir.join("faketime/libfaketimeMT.so.1"))
        .find(|path| path.exists())
        .expect("this test needs libfaketime, of the package libfaketime");
    let preload = format!("LD_PRELOAD={}", library.display());
    let under = ["env", &preload, &file, "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"];
    let agent = host.try_start(&under).unwrap_or_else(|| panic!("{}", host.log()));
    let mut ledger = Ledger::new("stream");
    let times = ["@2036-01-01 00:00:00", "@1999-12-31 23:59:59", "@1970-01-01 00:00:01"];
    for time in times.into_iter().chain(["@2026-01-01 00:01:00"]) {
        assert_eq!(ledger.add(1200).send(&agent.address).unwrap(), 0);
        set_clock(&host, time);
        assert_eq!(ledger.add(1200).send(&agent.address).unwrap(), 0);
        host.wait_until_delivered(&[&ledger]);
        let stream = host.stream("stream");
        assert_eq!(stream["state"], "ok", "{stream}");
        let age = stream["oldest_age_seconds"].as_f64();
        assert!(age.is_none_or(|seconds| seconds >= 0.0), "{stream}");
        // What was retained goes once it may, by whatever clock.
        host.wait("trimmed", |host| host.stream("stream")["segments"].as_u64() <= Some(2));
    }
    agent.stop();
    host.check(&[&ledger]);
}
