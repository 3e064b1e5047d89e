//! A client in acknowledged mode that writes down what it was promised.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write as _;

use super::client::{Answer, connect};

/// The events of one stream, by number, and what became of them.
pub(crate) struct Ledger {
    pub(crate) stream: String,
    next: u64,
    /// Sent and not acknowledged: refused, or nobody answered. To be sent again.
    open: BTreeSet<u64>,
    acknowledged: BTreeSet<u64>,
    /// Why events were refused, and how many.
    pub(crate) refusals: BTreeMap<String, usize>,
}

impl Ledger {
    pub(crate) fn new(stream: &str) -> Self {
        Self {
            stream: stream.to_owned(),
            next: 0,
            open: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            refusals: BTreeMap::new(),
        }
    }

    /// Makes up more events, which are sent with the next [`Ledger::send`].
    pub(crate) fn add(&mut self, events: u64) -> &mut Self {
        self.open.extend(self.next..self.next + events);
        self.next += events;
        self
    }

    /// How many events are to be sent with the next [`Ledger::send`].
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    /// Sends what is open on a new connection, in bursts, and waits for the answer to each. Returns
    /// how many were refused. What was sent before the connection broke stays open.
    pub(crate) fn send(&mut self, address: &str) -> std::io::Result<usize> {
        const BURST: usize = 50;
        let (mut writer, mut answers) = connect(address)?;
        let open: Vec<u64> = self.open.iter().copied().collect();
        let mut answered = 0;
        let mut refused = BTreeSet::new();
        for burst in open.chunks(BURST) {
            let lines: Vec<_> =
                burst.iter().map(|&n| format!("{} {}\n", self.stream, self.event(n))).collect();
            writer.write_all(lines.concat().as_bytes())?;
            let last = answered + burst.len();
            while answered < last {
                match answers.next()? {
                    Answer::Nak(line, text) => {
                        let code = text.split(' ').next().unwrap_or_default().to_owned();
                        *self.refusals.entry(code).or_default() += 1;
                        refused.insert(usize::try_from(line).unwrap() - 1);
                    }
                    Answer::Ack(line) => {
                        let up_to = usize::try_from(line).unwrap();
                        for (index, number) in open.iter().enumerate().take(up_to).skip(answered) {
                            if !refused.contains(&index) {
                                self.open.remove(number);
                                self.acknowledged.insert(*number);
                            }
                        }
                        answered = up_to;
                    }
                }
            }
        }
        Ok(refused.len())
    }

    /// What an event says: about 4,000 bytes, so that segments fill.
    fn event(&self, number: u64) -> String {
        format!("{}:{number}:{}", self.stream, "x".repeat(3900 + (number % 200) as usize))
    }

    /// The numbers that were acknowledged and did not arrive.
    pub(crate) fn missing(&self, delivered: &HashMap<String, u32>) -> impl Iterator<Item = u64> {
        let numbers = self.acknowledged.iter().copied();
        numbers.filter(|&number| !delivered.contains_key(&self.event(number)))
    }

    /// How many of this ledger's events arrived, acknowledged or not.
    pub(crate) fn known(&self, delivered: &HashMap<String, u32>) -> usize {
        (0..self.next).filter(|&number| delivered.contains_key(&self.event(number))).count()
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.len() as u64
    }

    /// Whether every event was acknowledged.
    pub(crate) fn is_settled(&self) -> bool {
        self.open.is_empty()
    }
}
