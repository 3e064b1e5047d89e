//! A data directory that somebody else has written to as well. The agent starts all the same,
//! takes new events, and delivers everything but what the damage itself has taken.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::endpoint::{self, Delivered, Temper, Temperament};
use super::ledger::{STREAMS_PER_CLIENT, compare, event, stream};
use super::{End, LINES_TO_ROLL, configuration, cycle, ledgers, seed};

const SEGMENT_HEADER_BYTES: usize = 4096;
const FRAME_BYTES_MAX: usize = 256 * 1024;

/// How much of one segment is overwritten: it touches two frames at most.
const RUBBISH_BYTES: usize = 64;

#[test]
fn a_damaged_data_directory_costs_what_is_damaged_and_nothing_else() {
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let delivered = Delivered::default();
    let calm = Temperament::new(Temper::Calm.into());
    let endpoint = endpoint::start(seed, delivered.clone(), calm);
    let mut ledgers = ledgers(seed);

    // Nothing is delivered yet, so that all of it is in the log when the damage is done.
    let config = configuration(dir.path(), &endpoint, "paused = true\n");
    cycle(&config, &mut ledgers, &End::Kill { acknowledged: LINES_TO_ROLL });
    assert!(delivered.lock().unwrap().is_empty(), "the streams are paused");
    damage(&data, &mut random);

    let config = configuration(dir.path(), &endpoint, "");
    cycle(&config, &mut ledgers, &End::Kill { acknowledged: 500 });
    for ledger in &mut ledgers {
        for _ in 0..STREAMS_PER_CLIENT {
            ledger.begin_new();
        }
    }
    cycle(&config, &mut ledgers, &End::Settled);

    let outcome = compare(seed, &ledgers, &delivered.lock().unwrap());
    println!(
        "{} acknowledged, {} of them damaged, {} delivered again",
        outcome.acknowledged,
        outcome.missing.len(),
        outcome.repeated
    );
    assert!(ledgers.iter().all(|ledger| ledger.open.is_empty()), "new ones are taken everywhere");
    let mut missing_bytes = 0;
    for &(client, number) in &outcome.missing {
        assert_eq!(stream(client, number), "stream-0-0", "{number} was not damaged");
        missing_bytes += event(seed, client, number).len();
    }
    assert!(missing_bytes > 0, "something was overwritten, and its checksum was believed");
    assert!(missing_bytes <= 2 * FRAME_BYTES_MAX, "{missing_bytes} bytes for two frames");
    let kept = data.join("streams/stream-0-0/quarantine");
    assert!(fs::read_dir(kept).unwrap().next().is_some(), "what is damaged is kept for inspection");
}

/// Every kind of damage that needs no knowledge of the format, each in another stream.
fn damage(data: &Path, random: &mut fastrand::Rng) {
    let mut rubbish = |bytes: usize| -> Vec<u8> {
        std::iter::repeat_with(|| random.u8(..)).take(bytes).collect()
    };
    let streams = data.join("streams");

    // Inside of a segment that is full: there are frames everywhere in its first half.
    let of_first = segments(&streams.join("stream-0-0"));
    assert!(of_first.len() > 1, "the log has not rolled: {of_first:?}");
    let at = u64::from(u16::from_le_bytes(rubbish(2).try_into().unwrap())) * 15 + 4096;
    overwrite(&of_first[0], &rubbish(RUBBISH_BYTES), at);

    // Behind the end.
    let newest = segments(&streams.join("stream-0-1")).pop().unwrap();
    OpenOptions::new().append(true).open(newest).unwrap().write_all(&rubbish(100_000)).unwrap();

    // The whole header.
    let newest = segments(&streams.join("stream-1-0")).pop().unwrap();
    overwrite(&newest, &rubbish(SEGMENT_HEADER_BYTES), 0);

    // Strangers, some with the names of the agent's own files.
    let guest = streams.join("stream-1-1");
    let own = segments(&guest).pop().unwrap();
    let extension = own.extension().unwrap().to_str().unwrap();
    let digits = own.file_stem().unwrap().len();
    let name = |number: u64| guest.join(format!("{number:0digits$}.{extension}"));
    fs::write(name(7), rubbish(5000)).unwrap();
    fs::write(name(u64::MAX / 3), rubbish(5000)).unwrap();
    fs::create_dir(name(11)).unwrap();
    fs::write(guest.join("notes.txt"), "remember the milk").unwrap();
    fs::copy(&of_first[1], name(13)).unwrap();
    fs::write(streams.join("a-file"), rubbish(10)).unwrap();
    fs::create_dir(streams.join("no stream has this name")).unwrap();
    fs::create_dir(streams.join("empty")).unwrap();
    fs::write(data.join("core.1234"), rubbish(10_000)).unwrap();
    fs::write(data.join("pool").join("leftover"), rubbish(10_000)).unwrap();

    // Progress is gone altogether.
    fs::remove_dir_all(data.join("offsets")).unwrap();
}

/// A stream's segment files, oldest first.
fn segments(stream: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(stream).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn overwrite(path: &Path, bytes: &[u8], at: u64) {
    let file: File = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
}
