//! Answers of the acknowledged mode: from outcomes, in the order of the lines, to `ACK` and `NAK`.
//!
//! The reading side puts one entry per (read, stream) into a bounded queue; when it is full the
//! socket is not read. The writing side waits for the oldest entry only, because an `ACK` covers a
//! contiguous prefix: whatever finished earlier behind it is found ready when its turn comes.

use std::io;
use std::io::Write as _;

use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use super::numbers::Numbers;
use super::socket::Socket;
use crate::intake::{Outcome, Refusal};
use crate::limits::{ANSWER_PIECE_BYTES, ANSWER_STALL_MAX};

/// Lines that are to be answered. Entries are in the order of their first lines.
#[derive(Debug)]
pub(crate) struct Due {
    /// The number of the read's first line.
    pub(crate) base: u64,
    /// The lines, counted from `base`.
    pub(crate) lines: Numbers,
    /// What becomes of them.
    pub(crate) fate: Fate,
    /// Once these lines are answered, every line up to this number is.
    pub(crate) through: u64,
}

/// What becomes of lines.
#[derive(Debug)]
pub(crate) enum Fate {
    /// There are no lines in this entry; it only says how far the entries before it reach.
    Nothing,
    /// Refused before they were handed over.
    Refused(Refusal),
    /// The log will say.
    Submitted(oneshot::Receiver<Outcome>),
}

/// Writes the answers until the queue has ended and is empty. An error means that the other side
/// does not take them, or that the log went away: what is not answered may or may not be stored.
pub(crate) async fn write(socket: &Socket, mut queue: mpsc::Receiver<Due>) -> io::Result<()> {
    let mut text = Text::default();
    loop {
        let due = if let Ok(due) = queue.try_recv() {
            due
        } else {
            text.send_all(socket).await?;
            let Some(due) = queue.recv().await else { return Ok(()) };
            due
        };
        let refusal = match due.fate {
            Fate::Nothing => None,
            Fate::Refused(refusal) => Some(refusal),
            Fate::Submitted(answer) => wait(answer, socket, &mut text).await?.err(),
        };
        if let Some(refusal) = refusal {
            let reason = one_line(&refusal);
            for number in due.lines.iter().flatten() {
                text.refuse(due.base + u64::from(number), &reason);
                if text.is_long() {
                    text.send(socket).await?;
                }
            }
        }
        text.reach(due.through);
    }
}

/// The outcome; before it waits for one, sends what is known already.
async fn wait(
    mut answer: oneshot::Receiver<Outcome>,
    socket: &Socket,
    text: &mut Text,
) -> io::Result<Outcome> {
    // Without an answer nothing behind it can be acknowledged. The client sends it again.
    match answer.try_recv() {
        Ok(outcome) => return Ok(outcome),
        Err(TryRecvError::Empty) => {}
        Err(gone @ TryRecvError::Closed) => return Err(broken(gone)),
    }
    text.send_all(socket).await?;
    answer.await.map_err(broken)
}

fn broken(gone: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, gone)
}

/// Answers that are not sent yet.
#[derive(Debug, Default)]
struct Text {
    bytes: Vec<u8>,
    /// Every line up to here is answered, as soon as `bytes` and one `ACK` are sent.
    through: u64,
    acknowledged: u64,
}

impl Text {
    fn refuse(&mut self, line: u64, reason: &str) {
        self.put(format_args!("NAK {line} {reason}\n"));
    }

    fn reach(&mut self, line: u64) {
        self.through = self.through.max(line);
    }

    fn is_long(&self) -> bool {
        self.bytes.len() >= ANSWER_PIECE_BYTES
    }

    /// Sends what there is. One `ACK` says it for all lines below it.
    async fn send_all(&mut self, socket: &Socket) -> io::Result<()> {
        if self.through > self.acknowledged {
            let line = self.through;
            self.acknowledged = line;
            self.put(format_args!("ACK {line}\n"));
        }
        self.send(socket).await
    }

    async fn send(&mut self, socket: &Socket) -> io::Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        socket.write_all(&self.bytes, ANSWER_STALL_MAX).await?;
        if self.is_long() {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        Ok(())
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // A vector takes whatever it is given.
        let _written = self.bytes.write_fmt(text).is_ok();
    }
}

/// `code text`, as one line whatever the reason says.
fn one_line(refusal: &Refusal) -> String {
    format!("{} {refusal}", refusal.code()).replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use standpipe_wal::Offset;
    use tokio::io::{AsyncBufReadExt, BufReader};
    use tokio::net::UnixStream;

    use super::*;
    use crate::tasks;

    /// One entry of a run of the model: its lines, and what the log says about them.
    #[derive(Clone, Debug)]
    struct Entry {
        lines: usize,
        stored: bool,
        /// When the outcome comes, relative to the others.
        order: u32,
    }

    /// Who answers an entry: when, and whether it is stored.
    type Answerer = (u32, oneshot::Sender<Outcome>, bool);

    /// Cuts reads of interleaved streams into entries, as the reading side does.
    fn dues(reads: &[Vec<Entry>]) -> (Vec<Due>, Vec<Answerer>, u64) {
        let (mut dues, mut senders, mut base) = (Vec::new(), Vec::new(), 1);
        for read in reads {
            let total: usize = read.iter().map(|entry| entry.lines).sum();
            let mut numbers = vec![Numbers::default(); read.len()];
            // Round robin, so that the lines of the entries interleave and firsts ascend.
            let mut left: Vec<usize> = read.iter().map(|entry| entry.lines).collect();
            let mut number = 0;
            while left.iter().any(|&lines| lines > 0) {
                for (index, lines) in left.iter_mut().enumerate().filter(|(_, lines)| **lines > 0) {
                    *lines -= 1;
                    numbers[index].add(number);
                    number += 1;
                }
            }
            let first = |index: usize| numbers.get(index).and_then(|n: &Numbers| n.iter().next());
            for (index, entry) in read.iter().enumerate() {
                let (sender, receiver) = oneshot::channel();
                let through = first(index + 1)
                    .map_or(base + total as u64 - 1, |next| base + u64::from(next.start) - 1);
                let lines = numbers[index].clone();
                dues.push(Due { base, lines, fate: Fate::Submitted(receiver), through });
                senders.push((entry.order, sender, entry.stored));
            }
            base += total as u64;
        }
        (dues, senders, base - 1)
    }

    async fn transcript(reads: &[Vec<Entry>]) -> (Vec<String>, u64) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (dues, mut senders, lines) = dues(reads);
        let (queue, receiver) = mpsc::channel(dues.len().max(1));
        for due in dues {
            queue.try_send(due).unwrap();
        }
        drop(queue);
        let writer = tasks::spawn(async move { write(&Socket::Unix(ours), receiver).await });
        senders.sort_by_key(|(order, ..)| *order);
        for (_, sender, stored) in senders {
            let reason = || Refusal::Unavailable { reason: "two\nlines".into() };
            let outcome = if stored { Ok(Offset::ZERO..Offset::new(1)) } else { Err(reason()) };
            sender.send(outcome).unwrap();
            tokio::task::yield_now().await;
        }
        let mut answers = Vec::new();
        let mut read = BufReader::new(theirs).lines();
        while let Some(line) = read.next_line().await.unwrap() {
            answers.push(line);
        }
        writer.await.unwrap().unwrap();
        (answers, lines)
    }

    /// What a client may conclude from the answers, checked against what happened.
    fn check(reads: &[Vec<Entry>], answers: &[String], lines: u64) {
        let mut refused = BTreeSet::new();
        for due in dues(reads).0.iter().zip(reads.iter().flatten()).filter(|(_, e)| !e.stored) {
            refused.extend(due.0.lines.iter().flatten().map(|n| due.0.base + u64::from(n)));
        }
        let (mut acknowledged, mut told) = (0, BTreeSet::new());
        for answer in answers {
            let mut words = answer.split(' ');
            match (words.next().unwrap(), words.next().unwrap().parse::<u64>().unwrap()) {
                ("ACK", line) => {
                    assert!(line > acknowledged, "an ACK that says nothing new");
                    acknowledged = line;
                    assert!(refused.range(..=line).all(|line| told.contains(line)));
                }
                ("NAK", line) => {
                    assert_eq!(words.next(), Some("unavailable"));
                    assert!(line > acknowledged && told.insert(line));
                }
                _ => panic!("{answer:?} is no answer"),
            }
        }
        assert_eq!((acknowledged, told), (lines, refused));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
        #[test]
        fn an_ack_covers_stored_and_refused_lines_only_in_whatever_order_the_log_answers(
            reads in proptest::collection::vec(
                proptest::collection::vec(
                    (1_usize..6, any::<bool>(), any::<u32>())
                        .prop_map(|(lines, stored, order)| Entry { lines, stored, order }),
                    1..5,
                ),
                1..6,
            ),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let (answers, lines) = runtime.unwrap().block_on(transcript(&reads));
            check(&reads, &answers, lines);
        }
    }

    #[tokio::test]
    async fn outcomes_that_are_ready_share_one_ack() {
        let entry = |order| vec![Entry { lines: 100, stored: true, order }];
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (dues, senders, _) = dues(&[entry(0), entry(1), entry(2)]);
        for (_, sender, _) in senders {
            sender.send(Ok(Offset::ZERO..Offset::new(100))).unwrap();
        }
        let (queue, receiver) = mpsc::channel(3);
        for due in dues {
            queue.try_send(due).unwrap();
        }
        drop(queue);
        write(&Socket::Unix(ours), receiver).await.unwrap();
        let mut read = BufReader::new(theirs).lines();
        assert_eq!(read.next_line().await.unwrap().as_deref(), Some("ACK 300"));
        assert_eq!(read.next_line().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_log_that_goes_away_ends_the_answers() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (dues, senders, _) = dues(&[vec![Entry { lines: 1, stored: true, order: 0 }]]);
        drop(senders);
        let (queue, receiver) = mpsc::channel(1);
        queue.try_send(dues.into_iter().next().unwrap()).unwrap();
        assert!(write(&Socket::Unix(ours), receiver).await.is_err());
        assert_eq!(BufReader::new(theirs).lines().next_line().await.unwrap(), None);
    }
}
