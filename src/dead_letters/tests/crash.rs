use standpipe_wal::fs::sim::{Fault, Loss, SimFs};

use super::*;

const DATA: &str = "/data";

fn disk() -> SimFs {
    let disk = SimFs::new(1);
    disk.create_dir(Path::new(DATA)).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

fn letters(disk: &SimFs) -> DeadLetters {
    DeadLetters::new(Arc::new(disk.clone()), Path::new(DATA), 1 << 20, 60)
}

/// Two runs that bury three letters each. Returns those that were said to be buried.
fn script(disk: &SimFs) -> Vec<u64> {
    let mut buried = Vec::new();
    for run in 0..2 {
        let letters = letters(disk);
        for at in run * 3..run * 3 + 3 {
            if letters.bury(&stream(), &letter(at), at + 1).is_ok() {
                buried.push(at);
            }
        }
    }
    buried
}

fn check(disk: &SimFs, buried: &[u64], case: &str) {
    let (found, _) = all(&letters(disk));
    for at in buried {
        assert!(found.contains(&letter(*at)), "{case}: letter {at} is gone");
    }
    for found in &found {
        let offset = found.offset.get();
        assert!(offset < 6 && *found == letter(offset), "{case}: nobody wrote {found:?}");
    }
    // It goes on, whatever is there.
    letters(disk).bury(&stream(), &letter(0), 99).unwrap();
}

pub(super) fn at_every_operation() {
    let whole = disk();
    assert_eq!(script(&whole), [0, 1, 2, 3, 4, 5]);
    let operations = whole.operations();
    assert!(operations > 20);
    for fault in [Fault::Crash, Fault::Io, Fault::NoSpace, Fault::TooManyFiles, Fault::Short] {
        for from in 0..operations {
            let disk = disk();
            disk.inject(fault, from, 1);
            let buried = script(&disk);
            for loss in Loss::ALL {
                // Only a torn end depends on the seed.
                for seed in 0..if loss == Loss::Torn { 2 } else { 1 } {
                    let case = format!("{fault:?} at {from}, {loss:?}, seed {seed}");
                    let after = disk.crash(loss, seed);
                    check(&after, &buried, &case);
                    let again = disk.crash(loss, seed).crash(Loss::EverythingUnsynced, seed);
                    check(&again, &buried, &format!("{case}, and the power"));
                }
            }
        }
    }
}
