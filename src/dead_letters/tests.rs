use standpipe_wal::Flags;
use standpipe_wal::fs::real::RealFs;
use standpipe_wal::{Offset, StreamName};

use super::letter::Details;
use super::*;

fn stream() -> StreamName {
    "orders.eu".parse().unwrap()
}

fn letter(offset: u64) -> Letter {
    Letter {
        offset: Offset::new(offset),
        time_ms: 1000 + offset,
        flags: Flags { raw: offset % 2 == 1 },
        details: Details {
            log_id: "00ff".into(),
            sink: "firehose".into(),
            destination: "orders-prod".into(),
            code: "InvalidArgumentException".into(),
            reason: "a \"reason\"\nof two lines".into(),
        },
        payload: format!("payload {offset}\n\0").into_bytes(),
    }
}

fn open(dir: &Path) -> DeadLetters {
    DeadLetters::new(Arc::new(RealFs), dir, 1 << 20, 60)
}

fn all(letters: &DeadLetters) -> (Vec<Letter>, u64) {
    let mut found = Vec::new();
    let strange = letters.read(&stream(), u64::MAX, |letter| {
        found.push(letter);
        Ok::<_, io::Error>(())
    });
    (found, strange.unwrap())
}

#[test]
fn letters_are_read_as_they_were_buried_by_any_number_of_runs() {
    let dir = tempfile::tempdir().unwrap();
    assert!(open(dir.path()).streams().unwrap().is_empty());
    for run in 0..3 {
        let letters = open(dir.path());
        for at in 0..4 {
            letters.bury(&stream(), &letter(run * 4 + at), run + at).unwrap();
        }
    }
    let letters = open(dir.path());
    assert_eq!(all(&letters), ((0..12).map(letter).collect(), 0));
    assert_eq!(letters.streams().unwrap(), [stream()]);
}

#[test]
fn the_largest_event_fits() {
    let dir = tempfile::tempdir().unwrap();
    let letters = DeadLetters::new(Arc::new(RealFs), dir.path(), u64::MAX, 60);
    let largest = Letter { payload: vec![7; 1_024_000], ..letter(1) };
    letters.bury(&stream(), &largest, 1).unwrap();
    assert_eq!(all(&letters), (vec![largest], 0));
}

#[test]
fn a_torn_end_and_a_flipped_bit_cost_the_letters_that_they_hit() {
    let dir = tempfile::tempdir().unwrap();
    for at in 0..3 {
        open(dir.path()).bury(&stream(), &letter(at), at).unwrap();
    }
    let letters = open(dir.path());
    letters.bury(&stream(), &letter(3), 9).unwrap();
    letters.bury(&stream(), &letter(4), 10).unwrap();
    letters.bury(&stream(), &letter(5), 11).unwrap();
    let last = dir.path().join("dead-letter/orders.eu/4.letters");
    let whole = std::fs::read(&last).unwrap();
    for cut in 0..whole.len() {
        std::fs::write(&last, &whole[..cut]).unwrap();
        let (found, _) = all(&letters);
        assert_eq!(found, (0..found.len() as u64).map(letter).collect::<Vec<_>>());
        assert_eq!(found.len(), 3 + cut * 3 / whole.len());
        let mut flipped = whole.clone();
        flipped[cut] ^= 1;
        std::fs::write(&last, &flipped).unwrap();
        let (found, strange) = all(&letters);
        assert_eq!(found.len(), 5, "a bit at {cut}");
        assert_eq!(strange, whole.len() as u64 / 3);
    }
}

#[test]
fn sizes_are_those_of_the_files_of_all_runs_and_follow_what_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    assert!(open(dir.path()).sizes().unwrap().is_empty());
    open(dir.path()).bury(&stream(), &letter(1), 1).unwrap();
    let letters = open(dir.path());
    letters.bury(&stream(), &letter(2), 2).unwrap();
    let bytes = [letter(1).encode(1).len(), letter(2).encode(2).len()].iter().sum::<usize>();
    assert_eq!(letters.sizes().unwrap(), [(stream(), bytes as u64)].into());
    let up_to = letters.close(&stream()).unwrap();
    letters.remove(&stream(), up_to).unwrap();
    assert_eq!(letters.sizes().unwrap(), [(stream(), 0)].into());
}

#[test]
fn what_is_removed_is_what_was_there_when_it_was_closed() {
    let dir = tempfile::tempdir().unwrap();
    let letters = open(dir.path());
    letters.bury(&stream(), &letter(1), 1).unwrap();
    let up_to = letters.close(&stream()).unwrap();
    letters.bury(&stream(), &letter(2), 1).unwrap();
    assert!(letters.remove(&stream(), up_to).unwrap() > 0);
    assert_eq!(all(&letters).0, [letter(2)]);
    letters.bury(&stream(), &letter(3), 1).unwrap();
    assert_eq!(all(&letters).0, [letter(2), letter(3)]);
}

#[test]
fn letters_have_a_bound_and_what_does_not_fit_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let one = letter(1).encode(1).len() as u64;
    let letters = DeadLetters::new(Arc::new(RealFs), dir.path(), one * 2, 60);
    for _ in 0..2 {
        letters.bury(&stream(), &letter(1), 1).unwrap();
    }
    for _ in 0..2 {
        let full = letters.bury(&stream(), &letter(2), 1).unwrap_err();
        assert!(matches!(full, Unburied::Full { .. }), "{full}");
        let again = DeadLetters::new(Arc::new(RealFs), dir.path(), one * 2, 60);
        assert!(again.bury(&stream(), &letter(2), 1).is_err(), "also after a restart");
    }
    assert_eq!(all(&letters).0, [letter(1), letter(1)]);
    let up_to = letters.close(&stream()).unwrap();
    letters.remove(&stream(), up_to).unwrap();
    letters.bury(&stream(), &letter(2), 1).unwrap();
}

/// A crash at any operation, with any loss: what was said to be buried is there, and nothing else
/// than what was to be buried.
#[test]
fn what_was_buried_survives_a_crash_at_every_operation() {
    crash::at_every_operation();
}

mod crash;
