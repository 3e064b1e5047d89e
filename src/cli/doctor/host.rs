//! The data directory, the disk below it, and what the system lets a process have.

use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::Access;
use rustix::process::{Resource, geteuid, getrlimit};

use super::Patient;
use crate::cli::human;
use crate::finding::Finding;
use crate::limits::SYNC_EXPECTED_MAX;
use crate::status::histogram::{BOUNDS_MICROS, Durations};

/// Syncs that are measured.
const PROBES: usize = 100;

/// What one of them writes.
const PROBE_BYTES: usize = 4096;

/// A disk that is well syncs faster than this.
const SYNC_GOOD_MAX: Duration = Duration::from_millis(100);

/// Files that are neither connections nor logs.
const OTHER_FILES: u64 = 64;

pub(super) fn examine(patient: &Patient, probe: bool) -> Vec<Finding> {
    let dir = &patient.config.data_dir;
    let mut findings = vec![directory(dir, geteuid().as_raw())];
    if dir.is_dir() {
        findings.push(file_system(dir));
        findings.push(space(patient));
        findings.push(syncs(patient, probe));
    }
    findings.push(open_files(patient));
    findings
}

/// Whether the agent's user may write there, which is taken to be the directory's owner.
fn directory(dir: &Path, user: u32) -> Finding {
    let subject = "data directory";
    let shown = dir.display();
    let metadata = match std::fs::metadata(dir) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let says = format!("{shown} does not exist yet");
            let advice =
                "the first start makes it; its parent must be writable for the agent's user";
            return Finding::warning(subject, says, advice);
        }
        Err(error) => {
            let advice = "run this as the agent's user";
            return Finding::failure(subject, format!("{shown}: {error}"), advice);
        }
    };
    let owner = metadata.uid();
    if !metadata.is_dir() {
        return Finding::failure(subject, format!("{shown} is no directory"), "set data_dir");
    }
    if user != 0 && user != owner {
        let says = format!("{shown} belongs to user {owner}, this is user {user}");
        return Finding::warning(subject, says, "run this as the agent's user");
    }
    // For the superuser this also fails where the file system is mounted read-only.
    match rustix::fs::access(dir, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Finding::ok(subject, format!("{shown}, writable, owned by user {owner}")),
        Err(error) => {
            let advice = format!("chown it to the agent's user; is {shown} mounted read-only?");
            Finding::failure(subject, format!("{shown} cannot be written: {error}"), advice)
        }
    }
}

/// What `statfs(2)` calls the file systems that matter here.
const FILE_SYSTEMS: [(u32, &str, Kept); 12] = [
    (0xEF53, "ext4", Kept::OnDisk),
    (0x5846_5342, "xfs", Kept::OnDisk),
    (0x9123_683E, "btrfs", Kept::OnDisk),
    (0x2FC1_2FC1, "zfs", Kept::OnDisk),
    (0xF2F5_2010, "f2fs", Kept::OnDisk),
    (0x0102_1994, "tmpfs", Kept::InMemory),
    (0x8584_58F6, "ramfs", Kept::InMemory),
    (0x794C_7630, "overlayfs", Kept::Elsewhere),
    (0x6969, "nfs", Kept::Elsewhere),
    (0xFF53_4D42, "cifs", Kept::Elsewhere),
    (0xFE53_4D42, "smb2", Kept::Elsewhere),
    (0x6573_5546, "fuse", Kept::Elsewhere),
];

/// What becomes of synced data.
#[derive(Clone, Copy)]
enum Kept {
    OnDisk,
    InMemory,
    Elsewhere,
}

fn file_system(dir: &Path) -> Finding {
    let subject = "file system";
    let kind = match rustix::fs::statfs(dir) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a magic number"
        )]
        Ok(stat) => stat.f_type as u32,
        Err(error) => return Finding::warning(subject, error.to_string(), "look at it by hand"),
    };
    match FILE_SYSTEMS.iter().find(|(magic, ..)| *magic == kind) {
        Some((_, name, Kept::OnDisk)) => Finding::ok(subject, format!("{name}, a local disk")),
        Some((_, name, Kept::InMemory)) => Finding::failure(
            subject,
            format!("{name}: what is acknowledged is gone after a power cut"),
            "move data_dir to a local disk",
        ),
        Some((_, name, Kept::Elsewhere)) => Finding::warning(
            subject,
            format!("{name}: whether a sync reaches a disk is up to what is below or behind it"),
            "move data_dir to a local disk, in containers to a volume",
        ),
        None => Finding::warning(
            subject,
            format!("of a kind that is not known here ({kind:#x})"),
            "make sure that it is a local disk",
        ),
    }
}

fn space(patient: &Patient) -> Finding {
    let subject = "disk space";
    let wal = &patient.config.wal;
    let stat = match rustix::fs::statvfs(&patient.config.data_dir) {
        Ok(stat) => stat,
        Err(error) => return Finding::warning(subject, error.to_string(), "look at it by hand"),
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let used = patient.agent.as_ref().map_or(0, |agent| agent.disk.used_bytes);
    let says = format!(
        "{} free, the log may take {} and leaves {}",
        human::bytes(free),
        human::bytes(wal.bytes_max),
        human::bytes(wal.free_bytes_min)
    );
    if free < wal.free_bytes_min {
        let advice = "free some: no new event is taken below wal.free_bytes_min";
        return Finding::failure(subject, says, advice);
    }
    if free.saturating_add(used) < wal.bytes_max {
        let advice = "the disk is full before wal.bytes_max is: free some, or lower that limit";
        return Finding::warning(subject, says, advice);
    }
    Finding::ok(subject, says)
}

/// What the running agent has measured, or what a probe measures.
fn syncs(patient: &Patient, probe: bool) -> Finding {
    let subject = "sync latency";
    if probe {
        return match measure(&patient.config.data_dir) {
            Ok(took) => judge(took, "measured now"),
            Err(error) => {
                let advice = "the agent could not write either: mend the directory or the disk";
                Finding::failure(subject, format!("a probe cannot be written: {error}"), advice)
            }
        };
    }
    match patient.agent.as_ref().and_then(|agent| percentiles(&agent.syncs)) {
        Some(took) => judge(took, "measured by the agent, at most"),
        None => {
            Finding::ok(subject, "not measured; --probe-disk does, with a file that it removes")
        }
    }
}

/// Median and 99th percentile of appending and syncing.
fn measure(dir: &Path) -> io::Result<[Duration; 2]> {
    let mut file = tempfile::Builder::new().prefix("doctor-probe-").tempfile_in(dir)?;
    let mut took = Vec::with_capacity(PROBES);
    for _ in 0..PROBES {
        let began = Instant::now();
        file.write_all(&[0x5A; PROBE_BYTES])?;
        file.as_file().sync_data()?;
        took.push(began.elapsed());
    }
    file.close()?;
    took.sort();
    let at = |index: usize| took.get(index).copied().unwrap_or_default();
    Ok([at(PROBES / 2), at(PROBES * 99 / 100)])
}

/// The same from a histogram: the upper bounds of the buckets they fall into.
fn percentiles(syncs: &Durations) -> Option<[Duration; 2]> {
    let count = syncs.count();
    let bound = |rank: u64| {
        let mut below = 0;
        let bucket = syncs.buckets.iter().position(|n| {
            below += n;
            below > rank
        })?;
        let micros = BOUNDS_MICROS.get(bucket).or(BOUNDS_MICROS.last())?;
        Some(Duration::from_micros(*micros))
    };
    (count > 0).then(|| [bound(count / 2), bound(count * 99 / 100)].map(Option::unwrap_or_default))
}

fn judge([median, high]: [Duration; 2], how: &str) -> Finding {
    let shown = |took: Duration| format!("{:.2} ms", took.as_secs_f64() * 1e3);
    let says = format!("median {}, 99 % {} ({how})", shown(median), shown(high));
    let advice = "each acknowledgement waits for one: use a faster disk, or look what else writes";
    if high > SYNC_EXPECTED_MAX {
        Finding::failure("sync latency", says, advice)
    } else if high > SYNC_GOOD_MAX {
        Finding::warning("sync latency", says, advice)
    } else {
        Finding::ok("sync latency", says)
    }
}

/// The running agent's limit, or else that of this process, which raises its own as the agent does.
fn open_files(patient: &Patient) -> Finding {
    let subject = "open files";
    let intake = &patient.config.intake;
    let wanted = intake.connections_max as u64 + 2 * intake.streams_max as u64 + OTHER_FILES;
    let limit = match &patient.agent {
        Some(agent) => agent.process.open_files_max,
        None => getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX),
    };
    let limits = format!(
        "intake.connections_max = {} and intake.streams_max = {}",
        intake.connections_max, intake.streams_max
    );
    if limit >= wanted {
        return Finding::ok(subject, format!("{} are enough for {limits}", human::count(limit)));
    }
    let says = format!("{} are too few for {limits}", human::count(limit));
    let advice = format!("set LimitNOFILE={wanted} in the service, or lower these limits");
    Finding::warning(subject, says, advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;
    use crate::status::histogram::Histogram;

    #[test]
    fn a_directory_that_others_own_or_that_is_none_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let owner = std::fs::metadata(dir.path()).unwrap().uid();
        assert_eq!(directory(dir.path(), owner).level, Level::Ok);
        assert_eq!(directory(dir.path(), owner + 1).level, Level::Warning);
        assert_eq!(directory(&dir.path().join("none"), owner).level, Level::Warning);
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(directory(&file, owner).level, Level::Failure);
    }

    #[test]
    fn memory_is_no_disk() {
        assert_eq!(file_system(Path::new("/dev/shm")).level, Level::Failure);
    }

    #[test]
    fn a_probe_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let [median, high] = measure(dir.path()).unwrap();
        assert!(median <= high && !high.is_zero());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_the_agent_measured_is_judged_by_its_slow_end() {
        let histogram = Histogram::default();
        assert_eq!(percentiles(&histogram.durations()), None);
        for _ in 0..98 {
            histogram.observe(Duration::from_micros(400));
        }
        let millis = Duration::from_millis;
        histogram.observe(millis(200));
        histogram.observe(millis(200));
        let took = percentiles(&histogram.durations()).unwrap();
        assert_eq!(took, [Duration::from_micros(500), millis(250)]);
        assert_eq!(judge(took, "").level, Level::Warning);
        assert_eq!(judge([millis(1), millis(1001)], "").level, Level::Failure);
    }
}
