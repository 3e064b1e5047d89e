//! The window against a model of an agent.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn block(range: std::ops::Range<u32>) -> Block {
    let bytes = range.clone().flat_map(|n| format!("s {n}\n").into_bytes()).collect();
    Block { bytes, lines: range.len() as u64, input_bytes: 1 }
}

fn write_all(window: &mut Window) -> Vec<u8> {
    let mut wire = Vec::new();
    while window.has_unwritten() {
        // In pieces, as a socket takes them.
        let piece = window.unwritten()[..window.unwritten().len().min(5)].to_vec();
        window.written(piece.len());
        wire.extend_from_slice(&piece);
    }
    wire
}

fn nak(line: u64, code: &str) -> Answer {
    Answer::Nak { line, code: code.into(), text: String::new() }
}

#[test]
fn what_was_not_answered_is_sent_again_and_nothing_else() {
    let mut window = Window::new(1000);
    window.push(block(0..3));
    window.push(block(3..6));
    write_all(&mut window);
    window.answer(nak(5, "empty")).unwrap();
    window.answer(Answer::Ack(2)).unwrap();
    window.connection_lost();
    assert_eq!(write_all(&mut window), b"s 2\ns 3\ns 5\n");
    window.answer(Answer::Ack(3)).unwrap();
    assert!(window.is_empty());
    let tally = window.tally();
    assert_eq!((tally.lines, tally.acknowledged, tally.refused_lines()), (6, 5, 1));
    assert_eq!((tally.unanswered(), tally.resent, tally.done_bytes), (0, 3, 2));
}

#[test]
fn a_line_that_a_stopping_agent_refuses_goes_to_the_next_one() {
    let mut window = Window::new(1000);
    window.push(block(0..3));
    write_all(&mut window);
    window.answer(nak(2, "stopping")).unwrap();
    window.answer(Answer::Ack(3)).unwrap();
    assert!(!window.is_empty());
    window.connection_lost();
    assert_eq!(write_all(&mut window), b"s 1\n");
}

#[test]
fn a_line_in_whose_middle_an_agent_has_stopped_reading_goes_to_the_next_one() {
    let mut window = Window::new(1000);
    window.push(block(0..3));
    write_all(&mut window);
    window.answer(nak(2, "unfinished")).unwrap();
    window.answer(Answer::Ack(2)).unwrap();
    window.connection_lost();
    assert_eq!(write_all(&mut window), b"s 1\ns 2\n");
    assert_eq!(window.tally().refused_lines(), 0);
}

#[test]
fn answers_that_cannot_be_right_are_errors() {
    let mut window = Window::new(1000);
    window.push(block(0..2));
    assert!(window.answer(Answer::Ack(1)).is_err(), "nothing was written yet");
    write_all(&mut window);
    assert!(window.answer(Answer::Ack(3)).is_err());
    assert!(window.answer(nak(3, "empty")).is_err());
    assert!(window.answer(Answer::Unknown("?".into())).is_err());
    assert!(window.answer(Answer::Err("no".into())).is_err());
}

#[test]
fn the_window_is_bounded() {
    let mut window = Window::new(10);
    window.push(block(0..3));
    assert!(!window.has_room());
    write_all(&mut window);
    window.answer(Answer::Ack(3)).unwrap();
    assert!(window.has_room());
}

/// One thing that happens between the two sides.
#[derive(Clone, Debug)]
enum Step {
    Push(u32),
    /// The agent answers a further part of the lines; every third of some it refuses.
    Answer {
        lines: u64,
        refuse: u8,
    },
    Lose,
}

/// An agent that numbers what it reads and stores what it does not refuse.
#[derive(Default)]
struct Agent {
    lines: Vec<Vec<u8>>,
    answered: usize,
    stored: BTreeMap<Vec<u8>, u32>,
    refused: BTreeSet<Vec<u8>>,
}

impl Agent {
    fn read(&mut self, wire: &[u8]) {
        self.lines.extend(Lines(wire).map(<[u8]>::to_vec));
    }

    fn answer(&mut self, lines: u64, refuse: u8, window: &mut Window) {
        let last = (self.answered + usize::try_from(lines).unwrap()).min(self.lines.len());
        for (index, line) in self.lines.iter().enumerate().take(last).skip(self.answered) {
            let number = index as u64 + 1;
            match (number % 3, refuse) {
                (0, 1) => {
                    self.refused.insert(line.clone());
                    window.answer(nak(number, "full")).unwrap();
                }
                (0, 2) => window.answer(nak(number, "stopping")).unwrap(),
                _ => *self.stored.entry(line.clone()).or_default() += 1,
            }
        }
        self.answered = last;
        window.answer(Answer::Ack(last as u64)).unwrap();
    }
}

proptest! {
    #[test]
    fn every_line_is_stored_or_refused_once_its_answer_says_so(
        steps in proptest::collection::vec(
            prop_oneof![
                (1_u32..6).prop_map(Step::Push),
                (0_u64..8, 0_u8..3).prop_map(|(lines, refuse)| Step::Answer { lines, refuse }),
                Just(Step::Lose),
            ],
            0..60,
        ),
    ) {
        let (mut window, mut agent, mut next) = (Window::new(usize::MAX), Agent::default(), 0);
        let lose = |window: &mut Window, agent: &mut Agent| {
            window.connection_lost();
            agent.lines.clear();
            agent.answered = 0;
        };
        for step in steps {
            match step {
                Step::Push(lines) => {
                    window.push(block(next..next + lines));
                    next += lines;
                }
                Step::Answer { lines, refuse } => {
                    agent.read(&write_all(&mut window));
                    agent.answer(lines, refuse, &mut window);
                }
                Step::Lose => lose(&mut window, &mut agent),
            }
        }
        // In the end an agent lives for long enough.
        while !window.is_empty() {
            lose(&mut window, &mut agent);
            agent.read(&write_all(&mut window));
            agent.answer(u64::from(next), 0, &mut window);
        }
        let tally = window.tally();
        prop_assert_eq!(tally.unanswered(), 0);
        prop_assert_eq!(tally.lines, u64::from(next));
        prop_assert_eq!(tally.refused_lines(), agent.refused.len() as u64);
        for line in block(0..next).bytes.split_inclusive(|&byte| byte == b'\n') {
            prop_assert!(agent.stored.contains_key(line) != agent.refused.contains(line));
        }
    }
}
