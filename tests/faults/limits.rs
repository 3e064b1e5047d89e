//! Limits that the system sets to a process.

use super::client::connect;
use super::{Host, Ledger};

/// Enough to fill segments.
const EVENTS: u64 = 1200;

/// As many as can be made, and then some.
const CONNECTIONS: usize = 200;

#[test]
fn connections_do_not_take_the_files_that_the_log_needs() {
    let host = Host::new(None, "");
    let under = ["prlimit", "--nofile=100:100", "--"];
    let agent = host.try_start(&under).unwrap_or_else(|| panic!("{}", host.log()));
    let mut ledger = Ledger::new("stream");
    assert_eq!(ledger.add(10).send(&agent.address).unwrap(), 0);
    // They are all answered as long as there may be more of them; others wait for their turn.
    let path = agent.address.strip_prefix("unix://").unwrap();
    let idle: Vec<_> =
        (0..CONNECTIONS).map(|_| std::os::unix::net::UnixStream::connect(path).unwrap()).collect();
    let log = host.log();
    assert!(log.contains("fewer connections than intake.connections_max"), "{log}");
    drop(idle);
    for stream in ["a", "b", "c"] {
        let (mut writer, mut answers) = connect(&agent.address).unwrap();
        std::io::Write::write_all(&mut writer, format!("{stream} event\n").as_bytes()).unwrap();
        answers.next().unwrap();
    }
    assert_eq!(ledger.add(EVENTS).send(&agent.address).unwrap(), 0);
    host.wait_until_delivered(&[&ledger]);
    agent.stop();
    let log = host.log();
    assert!(!log.contains("Too many open files"), "{log}");
    assert_eq!(ledger.missing(&host.delivered()).count(), 0);
}
