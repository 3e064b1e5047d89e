use proptest::prelude::*;

use super::*;
use crate::offsets::Decoded;

const EVENTS: usize = 40;

fn range(start: usize, end: usize) -> Range<Offset> {
    Offset::new(start as u64)..Offset::new(end as u64)
}

#[test]
fn the_committed_offset_never_passes_a_gap() {
    let mut window = Window::new(Offset::ZERO);
    window.deliver(&range(10, 20));
    window.deliver(&range(30, 40));
    assert_eq!(window.committed(), Offset::ZERO);
    window.deliver(&range(0, 9));
    assert_eq!(window.committed(), Offset::new(9));
    window.deliver(&range(9, 10));
    assert_eq!(window.committed(), Offset::new(20));
    assert_eq!(window.progress([0; 16]).delivered, [(30, 40)]);
}

#[test]
fn a_loss_is_noted_with_the_commit_that_passes_it_and_not_before() {
    let mut window = Window::new(Offset::ZERO);
    window.pass(&range(5, 8), Reason::Lost);
    assert!(window.progress([0; 16]).unconfirmed.is_empty());
    window.deliver(&range(0, 5));
    let progress = window.progress([0; 16]);
    assert_eq!(progress.committed, 8);
    assert_eq!(progress.unconfirmed, [Unconfirmed { start: 5, end: 8, reason: Reason::Lost }]);
}

#[test]
fn ranges_beyond_the_committed_offset_are_counted_and_end_somewhere() {
    let mut window = Window::new(Offset::new(3));
    assert_eq!((window.ranges(), window.end()), (0, Offset::new(3)));
    window.deliver(&range(10, 20));
    window.deliver(&range(30, 40));
    window.pass(&range(50, 60), Reason::Lost);
    assert_eq!((window.ranges(), window.end()), (3, Offset::new(60)));
}

#[test]
fn neighbours_that_were_passed_for_the_same_reason_are_one_range() {
    let mut window = Window::new(Offset::ZERO);
    let passed = [(0, 2, Reason::Lost), (2, 5, Reason::Lost), (5, 6, Reason::DeadLetter)];
    for (start, end, reason) in passed {
        window.pass(&range(start, end), reason);
    }
    window.deliver(&range(6, 7));
    window.pass(&range(7, 8), Reason::DeadLetter);
    let one = |start, end, reason| Unconfirmed { start, end, reason };
    let expected =
        [one(0, 5, Reason::Lost), one(5, 6, Reason::DeadLetter), one(7, 8, Reason::DeadLetter)];
    assert_eq!(window.progress([0; 16]).unconfirmed, expected);
}

#[test]
fn old_ranges_become_counts_so_that_the_value_has_a_bound() {
    let mut window = Window::new(Offset::ZERO);
    let ranges = UNCONFIRMED_RANGES_MAX * 3;
    for at in 0..ranges {
        window.deliver(&range(at * 3, at * 3 + 1));
        window.pass(&range(at * 3 + 1, at * 3 + 3), Reason::DeadLetter);
        let counted: u64 = window.take_uncounted().iter().map(|(_, events)| events).sum();
        assert_eq!(counted, 2);
    }
    let progress = window.progress([0; 16]);
    assert_eq!(progress.unconfirmed.len(), UNCONFIRMED_RANGES_MAX);
    let folded = (ranges - UNCONFIRMED_RANGES_MAX) as u64 * 2;
    assert_eq!(progress.folded, [(Reason::DeadLetter, folded)]);
    assert!(progress.encode().len() < 10_000);
    let mut restored = Window::restore(&progress);
    let counted: u64 = restored.take_uncounted().iter().map(|(_, events)| events).sum();
    assert_eq!(counted, ranges as u64 * 2, "a restart counts each of them once");
}

/// What one step does to the window and to the model.
#[derive(Clone, Debug)]
enum Change {
    Deliver(usize, usize),
    Pass(usize, usize),
    Restart,
}

fn change() -> impl Strategy<Value = Change> {
    let ends = || (0..EVENTS, 1..8_usize);
    prop_oneof![
        6 => ends().prop_map(|(s, n)| Change::Deliver(s, (s + n).min(EVENTS))),
        2 => ends().prop_map(|(s, n)| Change::Pass(s, (s + n).min(EVENTS))),
        1 => Just(Change::Restart),
    ]
}

/// One entry per event: what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Open,
    Delivered,
    Passed,
}

#[derive(Debug)]
struct Model {
    events: [Event; EVENTS],
    committed: usize,
}

impl Model {
    fn apply(&mut self, change: &Change) {
        match *change {
            Change::Deliver(start, end) => {
                for at in start.max(self.committed)..end {
                    self.events[at] = Event::Delivered;
                }
            }
            Change::Pass(start, end) => {
                for at in start.max(self.committed)..end {
                    if self.events[at] == Event::Open {
                        self.events[at] = Event::Passed;
                    }
                }
            }
            Change::Restart => {}
        }
        while self.events.get(self.committed).is_some_and(|event| *event != Event::Open) {
            self.committed += 1;
        }
    }

    fn offsets(&self, wanted: Event, from: usize, to: usize) -> Vec<u64> {
        (from..to).filter(|&at| self.events[at] == wanted).map(|at| at as u64).collect()
    }
}

proptest! {
    #[test]
    fn the_window_agrees_with_a_table_of_events(
        changes in proptest::collection::vec(change(), 0..60)
    ) {
        let mut window = Window::new(Offset::ZERO);
        let mut model = Model { events: [Event::Open; EVENTS], committed: 0 };
        for change in &changes {
            match *change {
                Change::Deliver(start, end) => window.deliver(&range(start, end)),
                Change::Pass(start, end) => window.pass(&range(start, end), Reason::Lost),
                Change::Restart => window = Window::restore(&window.progress([0; 16])),
            }
            model.apply(change);
            let progress = window.progress([7; 16]);
            prop_assert_eq!(progress.committed, model.committed as u64);
            let delivered: Vec<u64> =
                progress.delivered.iter().flat_map(|&(start, end)| start..end).collect();
            prop_assert_eq!(
                delivered,
                model.offsets(Event::Delivered, model.committed, EVENTS)
            );
            for pair in progress.delivered.windows(2) {
                prop_assert!(pair[0].1 < pair[1].0, "ranges that touch were not merged");
            }
            let unconfirmed: Vec<u64> =
                progress.unconfirmed.iter().flat_map(|u| u.start..u.end).collect();
            prop_assert_eq!(unconfirmed, model.offsets(Event::Passed, 0, model.committed));
            let passed: Vec<u64> = progress.passed.iter().flat_map(|u| u.start..u.end).collect();
            prop_assert_eq!(passed, model.offsets(Event::Passed, model.committed, EVENTS));
            // A range that holds nothing would make the stored value one that nobody can read.
            let stored = Progress::decode(&progress.encode());
            prop_assert_eq!(stored, Decoded::Progress(progress));
        }
    }
}
