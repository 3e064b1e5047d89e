//! What is on its way: sent, not yet answered. Pure.

use std::collections::{BTreeSet, VecDeque};
use std::mem;

use memchr::memchr;

use super::Tally;
use super::answer::Answer;
use super::lines::Block;

/// The codes with which an agent that is about to end refuses: nothing was stored, and the next
/// agent will take it. All lines that are sent from here are whole, so one is `unfinished` only
/// where the agent has stopped reading in the middle of it.
const FOR_THE_NEXT_AGENT: [&str; 2] = ["stopping", "unfinished"];

/// Blocks in the order in which they are sent on the present connection.
#[derive(Debug)]
pub struct Window {
    blocks: VecDeque<Sent>,
    bytes: usize,
    bytes_max: usize,
    /// The next block to write, and how much of it is written.
    writing: (usize, usize),
    /// The number that the next line gets on this connection.
    next_line: u64,
    acknowledged: u64,
    /// Lines above `acknowledged` that were refused.
    refused: BTreeSet<u64>,
    /// Lines that are to be sent again on the next connection.
    again: Block,
    tally: Tally,
}

#[derive(Debug)]
struct Sent {
    block: Block,
    /// The number of its first line.
    first: u64,
}

impl Sent {
    /// The number behind its last line.
    fn end(&self) -> u64 {
        self.first + self.block.lines
    }

    /// The bytes of a line, line feed included.
    fn line(&self, number: u64) -> Option<&[u8]> {
        let mut lines = Lines(&self.block.bytes);
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        lines.nth(index)
    }
}

/// The lines of a block, each with its line feed.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = memchr(b'\n', self.0)?;
        let (line, rest) = self.0.split_at_checked(end + 1)?;
        self.0 = rest;
        Some(line)
    }
}

impl Window {
    /// Holds up to about `bytes_max`: the last block may reach beyond it.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            blocks: VecDeque::new(),
            bytes: 0,
            bytes_max,
            writing: (0, 0),
            next_line: 1,
            acknowledged: 0,
            refused: BTreeSet::new(),
            again: Block::default(),
            tally: Tally::default(),
        }
    }

    /// What became of the lines so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Whether another block may come.
    pub fn has_room(&self) -> bool {
        self.bytes < self.bytes_max
    }

    /// Whether every line was answered for good.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.again.lines == 0
    }

    /// Whether what is left can only be sent on another connection.
    pub fn needs_another_connection(&self) -> bool {
        self.blocks.is_empty() && self.again.lines > 0
    }

    /// Lines that were answered so far.
    pub fn answered(&self) -> u64 {
        self.tally.acknowledged + self.tally.refused_lines()
    }

    /// Takes a block that was never sent.
    pub fn push(&mut self, block: Block) {
        self.tally.lines += block.lines;
        if block.lines == 0 {
            self.tally.done_bytes += block.input_bytes;
            return;
        }
        self.append(block);
    }

    /// Whether there is something to write on this connection.
    pub fn has_unwritten(&self) -> bool {
        !self.unwritten().is_empty()
    }

    /// What is to be written next.
    pub fn unwritten(&self) -> &[u8] {
        let (index, written) = self.writing;
        let block = self.blocks.get(index).and_then(|sent| sent.block.bytes.get(written..));
        block.unwrap_or_default()
    }

    /// So many bytes of [`Window::unwritten`] are written.
    pub fn written(&mut self, bytes: usize) {
        let (index, written) = self.writing;
        let whole = bytes == self.unwritten().len();
        self.writing = if whole { (index + 1, 0) } else { (index, written + bytes) };
    }

    /// Takes an answer. An error says why it cannot be right.
    pub fn answer(&mut self, answer: Answer) -> Result<(), String> {
        match answer {
            Answer::Ack(line) if line <= self.sent() => self.acknowledge(line),
            Answer::Nak { line, code, text } if line <= self.sent() => {
                if line > self.acknowledged && self.refused.insert(line) {
                    self.refuse(line, code, text);
                }
            }
            Answer::Err(text) => return Err(text),
            Answer::Ok => {}
            Answer::Ack(line) | Answer::Nak { line, .. } => {
                return Err(format!("an answer for line {line}, which was not sent"));
            }
            Answer::Unknown(text) => return Err(format!("the agent said {text:?}")),
        }
        Ok(())
    }

    /// The connection is gone: what was not answered is sent again, numbered anew.
    pub fn connection_lost(&mut self) {
        self.tally.reconnects += 1;
        let written = self.writing;
        let again = mem::take(&mut self.again);
        let blocks = mem::take(&mut self.blocks);
        self.bytes = 0;
        self.writing = (0, 0);
        self.next_line = 1;
        let acknowledged = mem::take(&mut self.acknowledged);
        let refused = mem::take(&mut self.refused);
        self.tally.resent += again.lines;
        if again.lines > 0 {
            self.append(again);
        }
        for (index, sent) in blocks.into_iter().enumerate() {
            let begun = index < written.0 || (index == written.0 && written.1 > 0);
            let untouched =
                sent.first > acknowledged && refused.range(sent.first..sent.end()).next().is_none();
            let block = if untouched { sent.block } else { rest(&sent, acknowledged, &refused) };
            if begun {
                self.tally.resent += block.lines;
            }
            if block.lines == 0 {
                self.tally.done_bytes += block.input_bytes;
            } else {
                self.append(block);
            }
        }
    }

    /// The last line that the agent can have read to its end.
    fn sent(&self) -> u64 {
        match (self.blocks.get(self.writing.0), self.writing.1) {
            (None, _) => self.next_line - 1,
            (Some(sent), 0) => sent.first - 1,
            (Some(sent), _) => sent.end().saturating_sub(2),
        }
    }

    fn append(&mut self, block: Block) {
        self.bytes += block.bytes.len();
        let first = self.next_line;
        self.next_line += block.lines;
        self.blocks.push_back(Sent { block, first });
    }

    fn acknowledge(&mut self, line: u64) {
        if line <= self.acknowledged {
            return;
        }
        let above = self.refused.split_off(&(line + 1));
        let refused = mem::replace(&mut self.refused, above);
        let refused = u64::try_from(refused.len()).unwrap_or(u64::MAX);
        self.tally.acknowledged += line - self.acknowledged - refused;
        self.acknowledged = line;
        while let Some(sent) = self.blocks.pop_front_if(|sent| sent.end() <= line + 1) {
            self.bytes -= sent.block.bytes.len();
            self.tally.done_bytes += sent.block.input_bytes;
            self.writing.0 = self.writing.0.saturating_sub(1);
        }
    }

    fn refuse(&mut self, line: u64, code: String, text: String) {
        if FOR_THE_NEXT_AGENT.contains(&code.as_str()) {
            let index = self.blocks.partition_point(|sent| sent.end() <= line);
            if let Some(bytes) = self.blocks.get(index).and_then(|sent| sent.line(line)) {
                self.again.bytes.extend_from_slice(bytes);
                self.again.lines += 1;
            }
            return;
        }
        *self.tally.refused.entry(code.clone()).or_default() += 1;
        self.tally.reasons.entry(code).or_insert(text);
    }
}

/// What is left of a block without the lines that were answered.
fn rest(sent: &Sent, acknowledged: u64, refused: &BTreeSet<u64>) -> Block {
    let mut rest = Block { input_bytes: sent.block.input_bytes, ..Block::default() };
    for (line, number) in Lines(&sent.block.bytes).zip(sent.first..) {
        if number > acknowledged && !refused.contains(&number) {
            rest.bytes.extend_from_slice(line);
            rest.lines += 1;
        }
    }
    rest
}

#[cfg(test)]
mod tests;
