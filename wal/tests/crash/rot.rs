//! Damage whose cost is known: which events it may cost follows from the bytes that it hits.

use std::ops::Range;
use std::path::{Path, PathBuf};

use standpipe_wal::frame;
use standpipe_wal::fs::Fs;
use standpipe_wal::fs::sim::SimFs;
use standpipe_wal::segment::{self, Header};

use crate::host::{Host, STREAMS, stream_dir};
use crate::ledger::Damage;
use crate::script::Random;

pub(crate) const HEADER_BYTES: usize = 4096;

/// A frame in a segment's file.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Range<usize>,
    pub(crate) offsets: Range<u64>,
}

/// The frames in a segment's file, the seal included, also behind damage that was done before.
pub(crate) fn frames(file: &[u8]) -> Vec<Frame> {
    let salt = match Header::decode(file) {
        segment::Decoded::Header(Header { salt, .. }) => salt,
        segment::Decoded::Unknown { .. } | segment::Decoded::Bad => {
            match file.get(HEADER_BYTES + 8..HEADER_BYTES + 16) {
                Some(salt) => u64::from_le_bytes(salt.try_into().unwrap()),
                None => return Vec::new(),
            }
        }
    };
    let mut frames = Vec::new();
    let mut at = HEADER_BYTES;
    while let Some(rest) = file.get(at..).filter(|rest| !rest.is_empty()) {
        let frame::Decoded::Frame(found) = frame::decode(rest, salt) else {
            at += 1;
            continue;
        };
        let (header, bytes) = (found.header, at..at + found.disk_bytes());
        at = bytes.end;
        frames.push(Frame { bytes, offsets: header.base.get()..header.end().get() });
        if header.seal {
            break;
        }
    }
    frames
}

/// Some damage that was done, and to which stream.
#[derive(Debug)]
pub(crate) struct Rot {
    /// What kind of damage it is.
    pub(crate) kind: &'static str,
    /// What exactly.
    pub(crate) what: String,
    damage: Vec<(usize, Damage)>,
}

impl Rot {
    pub(crate) fn new(kind: &'static str, what: String) -> Self {
        Self { kind, what, damage: Vec::new() }
    }

    /// The events whose bytes in a file were hit may be gone.
    pub(crate) fn costs(mut self, victim: &Victim, hit: Range<usize>) -> Self {
        let is_hit = |frame: &&Frame| frame.bytes.start < hit.end && hit.start < frame.bytes.end;
        let frames = frames(&victim.bytes);
        let events = frames.iter().filter(is_hit).flat_map(|frame| frame.offsets.clone()).collect();
        let headers = hit.start < HEADER_BYTES && !hit.is_empty();
        // Where header and first frame were damaged before, nobody knows what else is hit.
        let has_header = matches!(Header::decode(&victim.bytes), segment::Decoded::Header(_));
        let anything = frames.is_empty() && !has_header;
        let damage = Damage { events, headers, anything, ..Damage::default() };
        self.damage.push((victim.stream, damage));
        self
    }

    /// Files are not where the log put them.
    pub(crate) fn with_strangers(mut self) -> Self {
        let strangers = |stream| (stream, Damage { strangers: true, ..Damage::default() });
        self.damage.extend((0..STREAMS).map(strangers));
        self
    }

    /// Tells a host's ledgers what may be gone.
    pub(crate) fn excuse(&self, host: &mut Host) {
        for (stream, damage) in &self.damage {
            host.ledger_mut(*stream).damaged(damage);
        }
    }
}

/// A segment's file.
#[derive(Clone, Debug)]
pub(crate) struct Victim {
    pub(crate) stream: usize,
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

/// The segments of all streams, oldest first.
pub(crate) fn victims(disk: &SimFs) -> Vec<Victim> {
    let mut victims = Vec::new();
    for stream in 0..STREAMS {
        let dir = stream_dir(stream);
        for entry in disk.list(&dir).unwrap_or_default() {
            if segment::SegmentId::parse(&entry.name).is_some() && !entry.is_dir {
                let path = dir.join(entry.name);
                let bytes = disk.read(&path).unwrap();
                victims.push(Victim { stream, path, bytes });
            }
        }
    }
    victims
}

impl Victim {
    pub(crate) fn write(&self, disk: &SimFs, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.bytes.clone();
        change(&mut bytes);
        disk.plant(&self.path, &bytes).unwrap();
    }

    /// The end of what was written to the file, reserved space excluded.
    pub(crate) fn end(&self) -> usize {
        frames(&self.bytes).last().map_or(self.bytes.len().min(HEADER_BYTES), |last| last.bytes.end)
    }
}

/// Does some damage to a disk on which all is durable.
pub(crate) fn rot(disk: &SimFs, random: &mut Random) -> Rot {
    let victims = victims(disk);
    if victims.is_empty() {
        return Rot::new("nothing to damage", String::new());
    }
    let one = victims[random.below(victims.len() as u64) as usize].clone();
    // The newest of its stream is the one of which nobody knows whether it is durable.
    let newest = victims.iter().rfind(|other| other.stream == one.stream);
    let one = if random.below(2) == 0 { one } else { newest.unwrap().clone() };
    match random.below(15) {
        0..3 => flip(disk, &one, random),
        3 => sector(disk, &one, random),
        4 => cut(disk, &one, random),
        5 => zeros(disk, &one, random),
        6 => header(disk, &one),
        12..15 => header_and_end(disk, &one, random),
        7 => strangers(disk, &one, random),
        8..10 => remove(disk, &one),
        10 => swap(disk, &one, &victims[random.below(victims.len() as u64) as usize]),
        _ => noise(disk, &one, random),
    }
}

fn flip(disk: &SimFs, one: &Victim, random: &mut Random) -> Rot {
    // Mostly where something is written, often in a frame that a later one vouches for.
    let frames = frames(&one.bytes);
    let within = match (random.below(8), frames.split_last()) {
        (0, _) => 0..one.bytes.len(),
        (1..5, Some((_, earlier))) if !earlier.is_empty() => {
            earlier[random.below(earlier.len() as u64) as usize].bytes.clone()
        }
        _ => 0..one.end(),
    };
    let byte = within.start + random.below(within.len() as u64) as usize;
    let bit = random.below(8);
    one.write(disk, |bytes| bytes[byte] ^= 1 << bit);
    let what = format!("{} byte {byte} bit {bit}", one.path.display());
    Rot::new("damage: a bit", what).costs(one, byte..byte + 1)
}

fn sector(disk: &SimFs, one: &Victim, random: &mut Random) -> Rot {
    let from = random.below(one.end() as u64 / 512 + 1) as usize * 512;
    let hit = from.min(one.bytes.len())..(from + 512).min(one.bytes.len());
    one.write(disk, |bytes| bytes[hit.clone()].fill(0xFF));
    Rot::new("damage: a sector", format!("{} at {from}", one.path.display())).costs(one, hit)
}

fn cut(disk: &SimFs, one: &Victim, random: &mut Random) -> Rot {
    let at = random.below(one.end() as u64 + 1) as usize;
    one.write(disk, |bytes| bytes.truncate(at));
    let what = format!("{} at {at}", one.path.display());
    Rot::new("damage: cut off", what).costs(one, at..one.bytes.len())
}

fn zeros(disk: &SimFs, one: &Victim, random: &mut Random) -> Rot {
    let at = random.below(one.end() as u64 + 1) as usize;
    one.write(disk, |bytes| bytes[at..].fill(0));
    let what = format!("{} from {at}", one.path.display());
    Rot::new("damage: zeros", what).costs(one, at..one.bytes.len())
}

fn header(disk: &SimFs, one: &Victim) -> Rot {
    let hit = 0..HEADER_BYTES.min(one.bytes.len());
    one.write(disk, |bytes| bytes[hit.clone()].fill(0));
    Rot::new("damage: a header", one.path.display().to_string()).costs(one, hit)
}

/// A header and the last of several frames. With its only frame gone, a file that was written
/// before could be taken for what it was then; see the downsides in `FORMAT.md`.
fn header_and_end(disk: &SimFs, one: &Victim, random: &mut Random) -> Rot {
    let frames = frames(&one.bytes);
    let rot = header(disk, one);
    let Some(last) = frames.iter().skip(1).rfind(|frame| !frame.offsets.is_empty()) else {
        return rot;
    };
    let bytes = last.bytes.clone();
    let at = match random.below(3) {
        0 => bytes.start,
        1 => bytes.start + 16,
        _ => bytes.end - 1,
    };
    let noise = random.below(2) == 0;
    one.write(disk, |bytes| {
        bytes[..HEADER_BYTES].fill(0);
        bytes[at..].fill(0);
        if noise {
            bytes[at] = 0xFF;
        }
    });
    let what = format!("{} and from {at}", one.path.display());
    let rot = Rot::new("damage: header and end", what).costs(one, 0..HEADER_BYTES);
    rot.costs(one, at..one.bytes.len())
}

fn noise(disk: &SimFs, one: &Victim, random: &mut Random) -> Rot {
    let noise: Vec<u8> = (0..random.below(9000)).map(|_| random.u64() as u8).collect();
    disk.plant(&one.path, &noise).unwrap();
    let what = one.path.display().to_string();
    Rot::new("damage: noise for a file", what).costs(one, 0..one.bytes.len())
}

fn remove(disk: &SimFs, one: &Victim) -> Rot {
    disk.remove(&one.path).unwrap();
    disk.sync_dir(one.path.parent().unwrap()).unwrap();
    let what = one.path.display().to_string();
    Rot::new("damage: a file removed", what).costs(one, 0..one.bytes.len())
}

fn swap(disk: &SimFs, one: &Victim, other: &Victim) -> Rot {
    // Without their headers two files cannot be told apart.
    let is_whole =
        |file: &Victim| matches!(Header::decode(&file.bytes), segment::Decoded::Header(_));
    let other = if is_whole(one) && is_whole(other) { other } else { one };
    disk.plant(&one.path, &other.bytes).unwrap();
    disk.plant(&other.path, &one.bytes).unwrap();
    let what = format!("{} and {}", one.path.display(), other.path.display());
    let rot = Rot::new("damage: files swapped", what).with_strangers();
    if one.path == other.path {
        return rot;
    }
    rot.costs(one, 0..one.bytes.len()).costs(other, 0..other.bytes.len())
}

fn strangers(disk: &SimFs, one: &Victim, random: &mut Random) -> Rot {
    let name = |offset: u64| format!("{offset:020}.seg");
    let base = one.path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    let at = one.path.with_file_name(name(base + 1 + random.below(40)));
    let taken = disk.read(&at).is_ok();
    // A copy without its header cannot be told from a file that belongs here.
    let is_whole = matches!(Header::decode(&one.bytes), segment::Decoded::Header(_));
    let rot = Rot::new("damage: files of others", one.path.display().to_string()).with_strangers();
    match random.below(4) {
        0 if !taken && is_whole => disk.plant(&at, &one.bytes).unwrap(),
        1 if is_whole => {
            let elsewhere = stream_dir(1 - one.stream).join(one.path.file_name().unwrap());
            if disk.list(elsewhere.parent().unwrap()).is_ok() && disk.read(&elsewhere).is_err() {
                disk.plant(&elsewhere, &one.bytes).unwrap();
            }
        }
        2 => disk.plant(&one.path.with_file_name("notes.txt"), b"hello").unwrap(),
        _ => {
            let dir = one.path.with_file_name(name(base + 1000));
            if disk.create_dir(&dir).is_ok() {
                disk.sync_dir(Path::new(dir.parent().unwrap())).unwrap();
            }
        }
    }
    rot
}
