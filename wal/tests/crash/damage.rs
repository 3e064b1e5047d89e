//! Any content of the data directory lets the log start and accept events, and no event is ever
//! read at an offset where it was not written.

use std::path::{Path, PathBuf};

use standpipe_wal::Offset;
use standpipe_wal::fs::Fs;
use standpipe_wal::fs::sim::{Loss, SimFs};

use crate::case::{Tally, scale};
use crate::check::{check_start, check_work, events_of, read_all};
use crate::host::{AfterFailure, Host, STREAMS, stream_dir};
use crate::ledger::Ledger;
use crate::offset_twin::OffsetTwin;
use crate::reading::Found;
use crate::script::{Random, script};

/// A host that has worked, and its disk at an earlier time and now.
struct Worked {
    host: Host,
    earlier: SimFs,
    now: SimFs,
}

fn worked(seed: u64) -> Worked {
    let script = script(seed);
    let mut host = Host::new(seed, AfterFailure::Keep);
    let (first, rest) = script.split_at(script.len() / 2);
    host.run(first).unwrap();
    let earlier = host.disk.crash(Loss::Nothing, 0);
    host.run(rest).unwrap();
    if seed.is_multiple_of(2) {
        host.stop();
    }
    let now = host.disk.crash(Loss::Nothing, 0);
    Worked { host, earlier, now }
}

/// The files of all streams.
fn files(disk: &SimFs) -> Vec<PathBuf> {
    let of = |stream| {
        let dir = stream_dir(stream);
        let entries = disk.list(&dir).unwrap_or_default().into_iter();
        entries.filter(|entry| !entry.is_dir).map(move |entry| dir.join(entry.name))
    };
    (0..STREAMS).flat_map(of).collect()
}

/// Does some damage to a disk; says what.
fn damage(disk: &SimFs, earlier: &SimFs, random: &mut Random) -> String {
    let files = files(disk);
    if files.is_empty() {
        return "nothing is left to damage".to_owned();
    }
    let file = files[random.below(files.len() as u64) as usize].clone();
    let other = files[random.below(files.len() as u64) as usize].clone();
    let bytes = disk.read(&file).unwrap();
    let at = random.below(bytes.len() as u64 + 1) as usize;
    let what = match random.below(9) {
        0 => {
            disk.plant(&file, &bytes[..at]).unwrap();
            format!("cut at {at}")
        }
        1 => {
            let mut bytes = bytes;
            bytes[at..].fill(0);
            disk.plant(&file, &bytes).unwrap();
            format!("zeros from {at}")
        }
        2 => {
            let noise: Vec<u8> = (0..at).map(|_| random.u64() as u8).collect();
            disk.plant(&file, &noise).unwrap();
            "noise".to_owned()
        }
        3 => {
            disk.remove(&file).unwrap();
            "removed".to_owned()
        }
        4 => {
            let there = disk.read(&other).unwrap();
            disk.plant(&other, &bytes).unwrap();
            disk.plant(&file, &there).unwrap();
            format!("swapped with {}", other.display())
        }
        5 => {
            let offset = random.below(200);
            let copy = file.with_file_name(format!("{offset:020}.seg"));
            disk.plant(&copy, &bytes).unwrap();
            format!("copied to {}", copy.display())
        }
        6 => match earlier.read(&file) {
            Ok(older) => {
                disk.plant(&file, &older).unwrap();
                "as it was earlier".to_owned()
            }
            Err(_) => "not there earlier".to_owned(),
        },
        7 => {
            disk.plant(&file.with_file_name("notes.txt"), b"hello").unwrap();
            "a foreign file beside".to_owned()
        }
        _ => {
            let from = random.below(bytes.len() as u64 / 512 + 1) as usize * 512;
            let mut bytes = bytes;
            let end = bytes.len().min(from + 512);
            bytes[from.min(end)..end].fill(0xFF);
            disk.plant(&file, &bytes).unwrap();
            format!("one bad sector at {from}")
        }
    };
    format!("{}: {what}", file.display())
}

/// Starts on a damaged disk. Events may be lost, but none may be invented, and work goes on.
fn check_damaged(before: &Host, disk: &SimFs) -> Result<(), String> {
    let mut host = before.after_crash(disk);
    host.start().map_err(|error| format!("cannot start: {error:?}"))?;
    for stream in 0..STREAMS {
        let next = host.log(stream).next();
        if next < host.committed[stream] {
            return Err(format!("stream {stream}: offsets from {next} would be given again"));
        }
        let found = read_all(&host, stream).map_err(|error| format!("cannot read: {error:?}"))?;
        for one in &found {
            if let Found::Event(offset, payload) = one {
                let committed = host.committed[stream];
                host.ledgers[stream].check_event(*offset, payload, committed)?;
            }
        }
        let mut promises = Ledger::of_damaged_log();
        promises.recovered(&events_of(found), next);
        host.ledgers[stream] = promises.into();
    }
    check_work(&mut host)?;
    check_start(&host, &host.disk.crash(Loss::EverythingUnsynced, 0)).map(drop)
}

#[test]
fn any_content_of_the_directory_lets_the_log_work() {
    let mut tally = Tally::new("damaged directories");
    for seed in 0..8 * scale() {
        let worked = worked(seed);
        for variant in 0..60 {
            let mut random = Random(seed << 32 | variant);
            let disk = worked.now.fork();
            let all: Vec<_> =
                (0..=variant % 4).map(|_| damage(&disk, &worked.earlier, &mut random)).collect();
            tally.case(format!("script {seed}, damage {variant} {all:?}"), || {
                check_damaged(&worked.host, &disk)
            });
        }
    }
    tally.finish(400);
}

#[test]
fn offsets_are_not_given_again_where_the_log_is_gone_and_the_committed_offset_is_not() {
    let worked = worked(3);
    let committed = OffsetTwin::on(&worked.now);
    assert!(committed[0] > Offset::ZERO);
    for file in files(&worked.now) {
        worked.now.remove(&file).unwrap();
    }
    for stream in 0..STREAMS {
        worked.now.sync_dir(&stream_dir(stream)).unwrap();
    }
    check_damaged(&worked.host, &worked.now.fork()).unwrap();
    let mut host = worked.host.after_crash(&worked.now);
    host.start().unwrap();
    assert!(host.log(0).next() >= committed[0]);
    assert!(
        host.recoveries[0].gap.is_some() || host.recoveries[0].next == committed[0],
        "{:?}, {committed:?}",
        host.recoveries
    );
}

#[test]
fn a_directory_in_the_place_of_a_segment_does_not_stop_the_log() {
    let worked = worked(4);
    let name = stream_dir(0).join(format!("{:020}.seg", 5000));
    worked.now.create_dir(&name).unwrap();
    worked.now.sync_dir(Path::new(&stream_dir(0))).unwrap();
    check_damaged(&worked.host, &worked.now).unwrap();
}
