//! What the agent's own process takes, as the kernel counts it.

use serde::{Deserialize, Serialize};

/// The process at one moment. What the kernel does not tell is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Memory that is resident.
    pub resident_bytes: u64,
    /// Open files, sockets among them.
    pub open_files: u64,
    /// As many as it may open.
    pub open_files_max: u64,
    /// Processor time, of user and system together.
    pub cpu_seconds: f64,
}

impl Process {
    /// This process, now.
    pub fn now() -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        Self {
            resident_bytes: resident_bytes().unwrap_or_default(),
            open_files: std::fs::read_dir("/proc/self/fd").map_or(0, |fds| fds.count() as u64),
            open_files_max: limit.current.unwrap_or(u64::MAX),
            cpu_seconds: cpu_seconds().unwrap_or_default(),
        }
    }
}

fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn cpu_seconds() -> Option<f64> {
    cpu_ticks(&std::fs::read_to_string("/proc/self/stat").ok()?).map(|ticks| {
        #[expect(clippy::cast_precision_loss, reason = "exact for longer than machines last")]
        let seconds = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        seconds
    })
}

/// `utime` and `stime` of `/proc/PID/stat`. The second field is the program's name in parentheses
/// and may hold anything, so what counts begins behind the last one.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 150 25 0 0 20 0 1 0 100 0 0";
        assert_eq!(cpu_ticks(stat), Some(175));
        assert_eq!(cpu_ticks("7 (a"), None);
    }

    #[test]
    fn this_process_takes_something() {
        let process = Process::now();
        assert!(process.resident_bytes > 1 << 20, "{process:?}");
        assert!(process.open_files > 2, "{process:?}");
        assert!(process.open_files <= process.open_files_max, "{process:?}");
    }
}
