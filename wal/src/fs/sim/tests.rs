//! The simulated disk keeps its promises, and breaks whatever it did not promise.

use super::*;

fn write(file: &Arc<dyn File>, position: u64, bytes: &[u8]) -> io::Result<usize> {
    file.write_at(&[IoSlice::new(bytes)], position)
}

fn path(text: &str) -> &Path {
    Path::new(text)
}

/// `/dir/file` with synced bytes and synced names.
fn with_durable_file(seed: u64) -> (SimFs, Arc<dyn File>) {
    let disk = SimFs::new(seed);
    disk.create_dir(path("/dir")).unwrap();
    disk.sync_dir(path("/")).unwrap();
    let file = disk.create(path("/dir/file")).unwrap();
    write(&file, 0, b"durable").unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(path("/dir")).unwrap();
    (disk, file)
}

#[test]
fn what_was_synced_survives_every_loss() {
    let (disk, _file) = with_durable_file(1);
    for loss in Loss::ALL {
        assert_eq!(disk.crash(loss, 3).read(path("/dir/file")).unwrap(), b"durable", "{loss:?}");
    }
}

#[test]
fn a_directory_whose_parent_was_not_synced_is_lost_with_all_that_is_in_it() {
    let disk = SimFs::new(1);
    disk.create_dir(path("/dir")).unwrap();
    let file = disk.create(path("/dir/file")).unwrap();
    write(&file, 0, b"synced").unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(path("/dir")).unwrap();
    let after = disk.crash(Loss::EverythingUnsynced, 1);
    assert_eq!(after.read(path("/dir/file")).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(disk.crash(Loss::Nothing, 1).read(path("/dir/file")).unwrap(), b"synced");
}

#[test]
fn a_dead_process_loses_nothing_until_the_power_goes_too() {
    let (disk, file) = with_durable_file(1);
    write(&file, 0, b"UNSYNCED").unwrap();
    let after_kill = disk.crash(Loss::Process, 1);
    assert_eq!(after_kill.read(path("/dir/file")).unwrap(), b"UNSYNCED");
    let after_both = after_kill.crash(Loss::EverythingUnsynced, 1);
    assert_eq!(after_both.read(path("/dir/file")).unwrap(), b"durable");
}

#[test]
fn names_and_bytes_are_lost_apart() {
    let (disk, file) = with_durable_file(1);
    write(&file, 0, b"UNSYNCED").unwrap();
    disk.rename(path("/dir/file"), path("/dir/new")).unwrap();
    let names_only = disk.crash(Loss::UnsyncedBytes, 1);
    assert_eq!(names_only.read(path("/dir/new")).unwrap(), b"durable");
    let bytes_only = disk.crash(Loss::UnsyncedNames, 1);
    assert_eq!(bytes_only.read(path("/dir/file")).unwrap(), b"UNSYNCED");
}

#[test]
fn a_seed_decides_what_is_torn_and_decides_it_again() {
    let (disk, file) = with_durable_file(1);
    write(&file, 0, &[b'x'; 512 * 8]).unwrap();
    let torn = |seed| disk.crash(Loss::Torn, seed).read(path("/dir/file")).unwrap();
    let all: std::collections::BTreeSet<_> = (0..64).map(torn).collect();
    assert!(all.len() > 16, "64 seeds gave {} disks", all.len());
    assert_eq!(torn(5), torn(5));
}

#[test]
fn a_crash_stops_everything_before_the_operation_that_it_strikes() {
    let (disk, file) = with_durable_file(1);
    let until_now = disk.operations();
    disk.inject(Fault::Crash, until_now + 1, 1);
    assert_eq!(write(&file, 0, b"ONE").unwrap(), 3);
    assert!(!disk.is_off());
    write(&file, 0, b"TWO").unwrap_err();
    file.sync_data().unwrap_err();
    disk.list(path("/")).unwrap_err();
    assert!(disk.is_off());
    assert_eq!(disk.crash(Loss::Nothing, 1).read(path("/dir/file")).unwrap(), b"ONEable");
}

#[test]
fn a_fault_waits_for_an_operation_that_it_can_strike_and_strikes_as_often_as_asked() {
    let (disk, file) = with_durable_file(1);
    disk.inject(Fault::NoSpace, 0, 2);
    assert_eq!(file.size().unwrap(), 7);
    let full = |result: io::Result<usize>| result.unwrap_err().kind();
    assert_eq!(full(write(&file, 0, b"no")), io::ErrorKind::StorageFull);
    assert_eq!(full(write(&file, 0, b"no")), io::ErrorKind::StorageFull);
    assert_eq!(disk.read(path("/dir/file")).unwrap(), b"durable");
    write(&file, 0, b"yes").unwrap();
    disk.inject(Fault::TooManyFiles, 0, u64::MAX);
    assert_eq!(
        disk.open(path("/dir/file"), Access::Read).unwrap_err().raw_os_error(),
        Some(Errno::MFILE.raw_os_error())
    );
    disk.clear_faults();
    disk.open(path("/dir/file"), Access::Read).unwrap();
}

#[test]
fn short_reads_and_writes_say_how_short() {
    let (disk, file) = with_durable_file(1);
    disk.inject(Fault::Short, 0, 1);
    let written = write(&file, 0, b"1234567").unwrap();
    assert!((1..7).contains(&written), "{written}");
    disk.inject(Fault::Short, 0, 1);
    // Short of what is there, not only of what was asked for.
    let mut buffer = [0; 4096];
    let read = file.read_at(&mut buffer, 0).unwrap();
    assert!((1..7).contains(&read), "{read}");
}

#[test]
fn a_failed_sync_can_lose_bytes_that_a_later_sync_calls_durable() {
    let lost = (0..32).filter(|seed| {
        let (disk, file) = with_durable_file(*seed);
        write(&file, 0, b"CHANGED").unwrap();
        disk.inject(Fault::Io, 0, 1);
        file.sync_data().unwrap_err();
        file.sync_data().unwrap();
        disk.crash(Loss::Nothing, 1).read(path("/dir/file")).unwrap() == b"durable"
    });
    let lost = lost.count();
    assert!((8..32).contains(&lost), "{lost} of 32");
}

#[test]
fn a_full_disk_says_so_and_gives_space_back() {
    let (disk, file) = with_durable_file(1);
    disk.limit(Some(3 * 4096));
    assert_eq!(write(&file, 0, &[1; 4096 * 4]).unwrap(), 4096 * 3);
    assert_eq!(write(&file, 4096 * 3, &[1]).unwrap_err().kind(), io::ErrorKind::StorageFull);
    let other = disk.create(path("/dir/other")).unwrap();
    assert_eq!(other.allocate(0, 1).unwrap_err().kind(), io::ErrorKind::StorageFull);
    file.truncate(10).unwrap();
    other.allocate(0, 8192).unwrap();
    assert_eq!(disk.used_bytes(), 3 * 4096);
    disk.remove(path("/dir/other")).unwrap();
    disk.sync_dir(path("/dir")).unwrap();
    assert_eq!(disk.used_bytes(), 4096);
}

#[test]
fn a_removed_file_stays_readable_where_it_is_open() {
    let (disk, file) = with_durable_file(1);
    disk.remove(path("/dir/file")).unwrap();
    let mut buffer = [0; 7];
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 7);
    assert_eq!(&buffer, b"durable");
}

#[test]
fn errors_are_those_of_a_real_disk() {
    let (disk, _file) = with_durable_file(1);
    let kind = |result: io::Result<()>| result.unwrap_err().kind();
    let dir = path("/dir");
    assert_eq!(kind(disk.create_dir(dir)), io::ErrorKind::AlreadyExists);
    assert_eq!(kind(disk.create(path("/dir/file")).map(drop)), io::ErrorKind::AlreadyExists);
    assert_eq!(kind(disk.create(path("/none/file")).map(drop)), io::ErrorKind::NotFound);
    assert_eq!(kind(disk.create(path("/dir/file/x")).map(drop)), io::ErrorKind::NotADirectory);
    assert_eq!(kind(disk.open(dir, Access::Read).map(drop)), io::ErrorKind::InvalidInput);
    assert_eq!(kind(disk.remove(path("/dir/none"))), io::ErrorKind::NotFound);
    assert_eq!(kind(disk.remove(dir)), io::ErrorKind::IsADirectory);
    assert_eq!(kind(disk.list(path("/dir/file")).map(drop)), io::ErrorKind::NotADirectory);
    let reader = disk.open(path("/dir/file"), Access::Read).unwrap();
    assert!(write(&reader, 0, b"x").is_err() && reader.truncate(0).is_err());
}

#[test]
fn a_fork_goes_its_own_way() {
    let (disk, file) = with_durable_file(1);
    let fork = disk.fork();
    write(&file, 0, b"CHANGED").unwrap();
    fork.remove(path("/dir/file")).unwrap();
    assert_eq!(disk.read(path("/dir/file")).unwrap(), b"CHANGED");
    assert!(fork.read(path("/dir/file")).is_err());
}

#[test]
fn a_trace_names_each_operation() {
    let disk = SimFs::new(1);
    disk.record_trace();
    disk.create_dir(path("/dir")).unwrap();
    disk.sync_dir(path("/")).unwrap();
    let trace = disk.trace();
    let expected = [(Kind::CreateDir, "/dir"), (Kind::SyncDir, "/")];
    assert_eq!(trace, expected.map(|(kind, path)| Operation { kind, path: path.into() }));
}
