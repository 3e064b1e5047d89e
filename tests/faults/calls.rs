//! System calls that fail.

use super::{Agent, Host, Injection, Ledger};

/// Calls of the thread that owns the logs, and how they fail, for as long as it lasts.
const OWNER_FAULTS: [(&str, &str); 19] = [
    ("fdatasync", "error=EIO"),
    ("fdatasync", "error=ENOSPC"),
    ("fdatasync", "error=EDQUOT"),
    ("fdatasync", "error=EIO:when=2+3"),
    ("fsync", "error=EIO"),
    ("pwritev", "error=EIO"),
    ("pwritev", "error=ENOSPC"),
    ("pwritev", "error=EINTR:when=1+2"),
    ("fallocate", "error=ENOSPC"),
    ("fallocate", "error=EDQUOT"),
    ("fallocate", "error=EOPNOTSUPP"),
    ("fallocate", "error=EINTR:when=1+2"),
    ("openat", "error=EMFILE"),
    ("openat", "error=EROFS"),
    ("?rename,?renameat,renameat2", "error=EIO"),
    ("?rename,?renameat,renameat2", "error=ENOSPC"),
    ("?unlink,unlinkat", "error=EIO"),
    ("?mkdir,mkdirat", "error=EDQUOT"),
    ("fdatasync,fsync,pwritev,fallocate,openat,?rename,renameat2,?unlink,unlinkat", "error=EIO"),
];

/// Enough to fill segments.
const EVENTS: u64 = 1200;

#[test]
fn whatever_call_of_the_owner_fails_nothing_is_lost_and_it_goes_on_by_itself() {
    let host = Host::new(None, "");
    let agent = host.start();
    let owner = agent.thread("owner-0");
    let mut old = Ledger::new("old");
    old.add(EVENTS).send(&agent.address).unwrap();
    let mut ledgers = Vec::new();
    let mut looks = 0;
    for (number, (calls, fate)) in OWNER_FAULTS.into_iter().enumerate() {
        let case = format!("{calls}: {fate}");
        let mut new = Ledger::new(&format!("new-{number}"));
        let injection = Injection::into(owner, calls, fate, host.path("trace"));
        for ledger in [&mut old, &mut new] {
            if ledger.add(EVENTS).send(&agent.address).unwrap() > 0 {
                looks += assert_it_says_so(&host, ledger, &agent, &case);
            }
        }
        injection.wait_until_met(1);
        injection.end();
        for ledger in [&mut old, &mut new] {
            host.wait_until_ok(&ledger.stream);
            assert_eq!(ledger.send(&agent.address).unwrap(), 0, "{case}\n{}", host.log());
        }
        ledgers.push(new);
    }
    println!("looked {looks} times at a stream of which every event is refused");
    assert!(looks >= OWNER_FAULTS.len(), "hardly any: {looks}");
    ledgers.push(old);
    let ledgers: Vec<_> = ledgers.iter().collect();
    host.wait_until_delivered(&ledgers);
    agent.stop();
    host.check(&ledgers);
}

/// As long as every event is refused, the stream has a state and a reason, whoever asks and whenever.
/// Where some are taken there was room for a moment: a delivered segment came back, say. Returns how
/// often that could be seen.
fn assert_it_says_so(host: &Host, ledger: &mut Ledger, agent: &Agent, case: &str) -> usize {
    let mut looks = 0;
    for _ in 0..10 {
        let stream = host.stream(&ledger.stream);
        let open = ledger.open();
        if ledger.send(&agent.address).unwrap() < open || open == 0 {
            break;
        }
        let state = stream["state"].as_str().unwrap_or_default();
        assert!(["failing", "full"].contains(&state), "{case}: {stream}");
        assert!(stream["reason"].as_str().unwrap().len() > 10, "{case}: {stream}");
        looks += 1;
    }
    for code in ledger.refusals.keys() {
        assert!(["unavailable", "full"].contains(&code.as_str()), "{case}: {code}");
    }
    looks
}

#[test]
fn a_disk_that_is_slow_to_sync_is_waited_for() {
    let host = Host::new(None, "");
    let agent = host.start();
    let mut ledger = Ledger::new("stream");
    ledger.add(10).send(&agent.address).unwrap();
    let owner = agent.thread("owner-0");
    let injection = Injection::into(owner, "fdatasync", "delay_enter=300000", host.path("trace"));
    assert_eq!(ledger.add(200).send(&agent.address).unwrap(), 0);
    assert_eq!(host.stream("stream")["state"], "ok");
    injection.wait_until_met(1);
    injection.end();
    host.wait_until_delivered(&[&ledger]);
    agent.stop();
    host.check(&[&ledger]);
}
