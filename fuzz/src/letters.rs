//! Whatever happens to a file of dead letters, each letter whose bytes are still there is read, and
//! nothing else is.

use std::io;
use std::path::Path;
use std::sync::Arc;

use standpipe::dead_letters::letter::Details;
use standpipe::dead_letters::{DeadLetters, Letter};
use standpipe_wal::fs::sim::SimFs;
use standpipe_wal::fs::{Access, Fs};
use standpipe_wal::{Flags, Offset, StreamName};

const DATA_DIR: &str = "/data";
const STREAM: &str = "orders";
const FILE: &str = "/data/dead-letter/orders/1.letters";

/// Buries a few letters, damages their file as the input says, reads it, and buries another one.
///
/// The input: how many letters, and then one change after the other: a position, how many bytes are
/// taken out there, how many come in their place, and those.
pub fn letters(data: &[u8]) {
    let Some((&count, changes)) = data.split_first() else { return };
    let disk = SimFs::new(1);
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    fs.create_dir(Path::new(DATA_DIR)).expect("a new directory");
    let stream: StreamName = STREAM.parse().expect("a name");
    let keep = || DeadLetters::new(Arc::clone(&fs), Path::new(DATA_DIR), u64::MAX, 1);

    let mut buried = Vec::new();
    let mut file = Vec::new();
    let keeper = keep();
    for at in 0..=u64::from(count % 4) {
        let letter = letter(at);
        keeper.bury(&stream, &letter, 1000 + at).expect("the disk is well");
        let longer = content(&*fs);
        buried.push((longer[file.len()..].to_vec(), letter));
        file = longer;
    }
    damage(&mut file, changes);
    fs.remove(Path::new(FILE)).expect("it is there");
    disk.plant(Path::new(FILE), &file).expect("a file");

    let (found, strange) = read(&keep(), &stream);
    let bytes_of = |letter: &Letter| {
        let known = buried.iter().find(|(_, buried)| buried == letter);
        known.expect("a letter that nobody buried").0.len() as u64
    };
    let read_bytes: u64 = found.iter().map(bytes_of).sum();
    assert_eq!(read_bytes + strange, file.len() as u64);
    for (bytes, letter) in &buried {
        let whole = file.windows(bytes.len()).any(|window| window == bytes);
        assert_eq!(found.contains(letter), whole, "the letter of offset {}", letter.offset);
    }

    let later = letter(9);
    keep().bury(&stream, &later, 1009).expect("the disk is well");
    let (found_now, strange_now) = read(&keep(), &stream);
    assert_eq!((found_now, strange_now), ([found, vec![later]].concat(), strange));
}

fn letter(at: u64) -> Letter {
    Letter {
        offset: Offset::new(100 + at),
        time_ms: 1_000_000 + at,
        flags: Flags::default(),
        details: Details {
            log_id: "00".repeat(16),
            sink: "sink".to_owned(),
            destination: STREAM.to_owned(),
            code: "InvalidArgumentException".to_owned(),
            reason: "a record is not liked".to_owned(),
        },
        payload: format!("event {at}").into_bytes(),
    }
}

fn content(fs: &dyn Fs) -> Vec<u8> {
    let file = fs.open(Path::new(FILE), Access::Read).expect("it is there");
    let mut bytes = vec![0; usize::try_from(file.size().expect("a size")).expect("a small file")];
    let read = file.read_at(&mut bytes, 0).expect("the disk is well");
    assert_eq!(read, bytes.len());
    bytes
}

fn damage(file: &mut Vec<u8>, mut changes: &[u8]) {
    while let Some((&[low, high, out, put], rest)) = changes.split_first_chunk() {
        let (put, rest) = rest.split_at(usize::from(put).min(rest.len()));
        let start = usize::from(u16::from_le_bytes([low, high])).min(file.len());
        let end = start.saturating_add(out.into()).min(file.len());
        file.splice(start..end, put.iter().copied());
        changes = rest;
    }
}

fn read(letters: &DeadLetters, stream: &StreamName) -> (Vec<Letter>, u64) {
    let mut found = Vec::new();
    let take = |letter| {
        found.push(letter);
        Ok::<_, io::Error>(())
    };
    let strange = letters.read(stream, u64::MAX, take).expect("the disk is well");
    (found, strange)
}
