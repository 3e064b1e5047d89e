//! The ways in which a power cut can turn out, all of them where they are few.

use standpipe_wal::fs::sim::{Loss, SimFs};

use crate::script::Random;

/// A disk after everything has stopped.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What kind of stop it was.
    pub(crate) kind: &'static str,
    /// How many of the changes to each name, sector and size happened; see [`SimFs::crash_by`].
    pub(crate) picks: Vec<u64>,
    pub(crate) disk: SimFs,
}

/// The process dies; whatever it wrote stays in the page cache.
pub(crate) fn killed(disk: &SimFs) -> Outcome {
    Outcome { kind: "killed", picks: Vec::new(), disk: disk.crash(Loss::Process, 0) }
}

/// Calls `visit` with the outcomes of a power cut: with all of them where there are at most `most`,
/// else with the extremes and some others. Says whether it was all of them.
pub(crate) fn each_power_cut(
    disk: &SimFs,
    most: usize,
    random: &mut Random,
    mut visit: impl FnMut(Outcome),
) -> bool {
    let kept = power_cut(disk, |_, most| most);
    let ways = kept.picks.iter().fold(1_usize, |ways, most| {
        ways.saturating_mul(usize::try_from(*most).unwrap().saturating_add(1))
    });
    // Where a name is lost, there may be another file to choose for.
    if ways <= most
        && let Some(all) = all_power_cuts(disk, most)
    {
        all.into_iter().for_each(visit);
        return true;
    }
    let choices = kept.picks.len().max(1) as u64;
    visit(kept);
    visit(power_cut(disk, |_, _| 0));
    for _ in 0..most.saturating_sub(2) / 3 {
        // One thing lost that everything else does not wait for, one kept, and a mixture.
        let odd = random.below(choices);
        visit(power_cut(disk, |index, most| if index == odd { 0 } else { most }));
        visit(power_cut(disk, |index, most| if index == odd { most } else { 0 }));
        let seed = random.u64();
        let mut mixed = Random(seed);
        visit(power_cut(disk, |_, most| mixed.below(most + 1)));
    }
    false
}

/// From nothing happened up to everything, like the digits of a counter; none where there are more
/// than `most`.
fn all_power_cuts(disk: &SimFs, most: usize) -> Option<Vec<Outcome>> {
    let mut all = Vec::new();
    let mut prefix: Vec<u64> = Vec::new();
    loop {
        let mut mosts = Vec::new();
        let outcome = power_cut(disk, |index, most| {
            mosts.push(most);
            prefix.get(index as usize).copied().unwrap_or(0)
        });
        prefix.clone_from(&outcome.picks);
        all.push(outcome);
        while prefix.last().is_some_and(|last| *last == mosts[prefix.len() - 1]) {
            prefix.pop();
        }
        let Some(last) = prefix.last_mut() else { return Some(all) };
        *last += 1;
        if all.len() == most {
            return None;
        }
    }
}

fn power_cut(disk: &SimFs, mut pick: impl FnMut(u64, u64) -> u64) -> Outcome {
    let (mut picks, mut all, mut none) = (Vec::new(), true, true);
    let disk = disk.crash_by(&mut |most| {
        let happened = pick(picks.len() as u64, most);
        picks.push(happened);
        all &= happened == most;
        none &= happened == 0;
        happened
    });
    let kind = match (all, none) {
        (_, true) => "power cut: all lost",
        (true, false) => "power cut: all kept",
        (false, false) => "power cut: torn",
    };
    Outcome { kind, picks, disk }
}

#[test]
fn all_outcomes_of_a_power_cut_are_seen_once() {
    use standpipe_wal::fs::Fs;
    use std::io::IoSlice;
    use std::path::Path;

    let disk = SimFs::new(1);
    let file = disk.create(Path::new("/a")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    file.write_at(&[IoSlice::new(&[1; 1024])], 0).unwrap();
    file.write_at(&[IoSlice::new(&[2; 10])], 0).unwrap();
    // The first sector 0, 1 or 2 of its writes, the second 0 or 1, the length 0, 1 or 2.
    let mut seen = std::collections::BTreeSet::new();
    let whole = each_power_cut(&disk, 18, &mut Random(1), |outcome| {
        seen.insert(outcome.picks);
    });
    assert!(whole && seen.len() == 18, "{seen:?}");
    let mut some = 0;
    assert!(!each_power_cut(&disk, 17, &mut Random(1), |_| some += 1));
    assert_eq!(some, 17);
}
