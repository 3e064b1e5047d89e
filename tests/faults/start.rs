//! Single system calls that fail while an agent starts on a data directory with a backlog.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Host, Ledger};

/// What a start calls on the data directory's files, and how it fails.
const CALLS: [(&str, &[&str]); 8] = [
    ("openat", &["EIO", "EMFILE", "ENFILE"]),
    ("fsync", &["EIO", "ENOSPC"]),
    ("fdatasync", &["EIO"]),
    ("?mkdir,mkdirat", &["ENOSPC", "EDQUOT"]),
    ("getdents64", &["EIO"]),
    ("pread64", &["EIO"]),
    ("?rename,?renameat,renameat2", &["EIO"]),
    ("?unlink,unlinkat", &["EIO"]),
];

/// The first so many of each thread: what a start makes of them is behind it by then.
const CALLS_EACH_MAX: usize = 4;

/// A directory, and everything in it.
fn tree(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![dir.to_owned()];
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn no_single_call_that_fails_keeps_an_agent_from_starting() {
    let host = Host::new(None, "");
    let agent = host.start();
    let mut ledger = Ledger::new("stream");
    assert_eq!(ledger.add(100).send(&agent.address).unwrap(), 0);
    agent.kill();
    let trace = host.path("trace");
    for (calls, errors) in CALLS {
        for error in errors {
            for number in 1..=CALLS_EACH_MAX {
                let paths = tree(&host.path("data"));
                let trace_calls = format!("trace={calls}");
                let fault = format!("inject={calls}:error={error}:when={number}");
                let mut under = vec!["strace", "-f", "-qq", "-o", trace.to_str().unwrap()];
                under.extend(["-e", &trace_calls, "-e", &fault]);
                under.extend(paths.iter().flat_map(|path| ["-P", path.to_str().unwrap()]));
                let agent = host.try_start(&under);
                let agent = agent.unwrap_or_else(|| panic!("{fault}: refused\n{}", host.log()));
                ledger.add(2);
                while !ledger.is_settled() {
                    // Refused as long as the log is not open: it says so, and tries again.
                    if ledger.send(&agent.address).unwrap() > 0 {
                        host.wait_until_ok("stream");
                    }
                }
                agent.kill();
                host.wait("stopped", |host| host.stat()["agent"] == "stopped");
            }
        }
    }
    let agent = host.start();
    host.wait_until_delivered(&[&ledger]);
    agent.stop();
    host.check(&[&ledger]);
}
