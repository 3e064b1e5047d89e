//! The bytes of one simulated file: what a program sees, what is durable, and what lies between.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::fingerprint::Fingerprint;

/// What the device writes as a whole; anything larger can tear.
const SECTOR_BYTES: u64 = SECTOR as u64;

const SECTOR: usize = 512;

/// What space is counted in.
pub(super) const BLOCK_BYTES: u64 = 4096;

const PAGE_BYTES: usize = 4096;

/// Says how many of `most` changes in a row happened before the power went.
pub(super) type Choose<'a> = dyn FnMut(u64) -> u64 + 'a;

/// Bytes with holes that read as zero. Cheap to clone: pages are shared until they are written.
#[derive(Clone, Debug, Default)]
struct Content {
    size: u64,
    pages: BTreeMap<u64, Arc<[u8; PAGE_BYTES]>>,
}

impl Content {
    fn read(&self, buffer: &mut [u8], position: u64) -> usize {
        let length = buffer.len().min(as_usize(self.size.saturating_sub(position)));
        for (start, range) in pieces(position, length, PAGE_BYTES as u64) {
            let Some(target) = buffer.get_mut(range) else { continue };
            let within = as_usize(start % PAGE_BYTES as u64);
            match self.pages.get(&(start / PAGE_BYTES as u64)) {
                Some(page) => {
                    for (to, from) in target.iter_mut().zip(page.iter().skip(within)) {
                        *to = *from;
                    }
                }
                None => target.fill(0),
            }
        }
        length
    }

    /// Puts bytes in their place and leaves the size alone.
    fn put(&mut self, position: u64, bytes: &[u8]) {
        for (start, range) in pieces(position, bytes.len(), PAGE_BYTES as u64) {
            let Some(source) = bytes.get(range) else { continue };
            let within = as_usize(start % PAGE_BYTES as u64);
            let page = self.pages.entry(start / PAGE_BYTES as u64);
            let page = Arc::make_mut(page.or_insert_with(|| Arc::new([0; PAGE_BYTES])));
            for (to, from) in page.iter_mut().skip(within).zip(source) {
                *to = *from;
            }
        }
    }

    /// Cuts (what is grown again reads as zero) or grows.
    fn resize(&mut self, size: u64) {
        let first_after = size.div_ceil(PAGE_BYTES as u64);
        self.pages.split_off(&first_after);
        let used = as_usize(size % PAGE_BYTES as u64);
        if used > 0
            && let Some(page) = self.pages.get_mut(&(size / PAGE_BYTES as u64))
        {
            Arc::make_mut(page).iter_mut().skip(used).for_each(|byte| *byte = 0);
        }
        self.size = size;
    }

    fn print(&self, print: &mut Fingerprint) {
        print.word(self.size);
        for (number, page) in &self.pages {
            print.sparse(number * PAGE_BYTES as u64, &**page);
        }
    }
}

/// Something that was done to a file since its last sync.
#[derive(Clone, Debug)]
enum Change {
    Write { position: u64, bytes: Arc<[u8]> },
    Truncate { size: u64 },
    Allocate { end: u64 },
}

impl Change {
    /// The size of a file of `size` bytes after this change.
    fn size_after(&self, size: u64) -> u64 {
        match self {
            Self::Write { position, bytes } => size.max(position + bytes.len() as u64),
            Self::Truncate { size } => *size,
            Self::Allocate { end } => size.max(*end),
        }
    }

    /// The sectors whose bytes it changes, in a file that never was longer than `extent`.
    fn sectors(&self, extent: u64) -> Range<u64> {
        match self {
            Self::Write { position, bytes } => {
                let end = position + bytes.len() as u64;
                position / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES)
            }
            Self::Truncate { size } => size / SECTOR_BYTES..extent.div_ceil(SECTOR_BYTES),
            Self::Allocate { .. } => 0..0,
        }
    }

    /// Does to one sector what this change does to it.
    fn apply_to_sector(&self, sector: u64, content: &mut Content) {
        let sector = sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES;
        match self {
            Self::Write { position, bytes } => {
                let start = sector.start.max(*position);
                let from = as_usize(start - position);
                let until = as_usize(sector.end.saturating_sub(*position)).min(bytes.len());
                content.put(start, bytes.get(from..until).unwrap_or_default());
            }
            Self::Truncate { size } => {
                let start = sector.start.max(*size);
                let zeros = [0; SECTOR];
                let length = as_usize(sector.end.saturating_sub(start));
                content.put(start, zeros.get(..length).unwrap_or_default());
            }
            Self::Allocate { .. } => {}
        }
    }
}

/// One file (an inode): its names are elsewhere.
#[derive(Clone, Debug, Default)]
pub(super) struct FileState {
    current: Content,
    durable: Content,
    pending: Vec<Change>,
    /// Bytes that a failed sync lost can still be seen.
    shows_lost: bool,
}

impl FileState {
    pub(super) fn read(&self, buffer: &mut [u8], position: u64) -> usize {
        self.current.read(buffer, position)
    }

    pub(super) fn size(&self) -> u64 {
        self.current.size
    }

    /// The space it takes: everything up to its size, so that allocated blocks count.
    pub(super) fn blocks(&self) -> u64 {
        self.current.size.div_ceil(BLOCK_BYTES)
    }

    pub(super) fn write(&mut self, position: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.current.put(position, bytes);
        self.change(Change::Write { position, bytes: bytes.into() });
    }

    pub(super) fn truncate(&mut self, size: u64) {
        self.current.resize(size);
        self.change(Change::Truncate { size });
    }

    pub(super) fn allocate(&mut self, end: u64) {
        self.change(Change::Allocate { end });
    }

    fn change(&mut self, change: Change) {
        self.current.size = change.size_after(self.current.size);
        self.pending.push(change);
    }

    /// What `fdatasync` does where it works.
    pub(super) fn sync(&mut self) {
        self.settle(&mut |most| most);
    }

    /// What `fdatasync` does where the device fails: pages that could not be written are marked
    /// clean, so their bytes are never written by a later sync. Where the system also `evicts`
    /// them, even a reader sees the old bytes again.
    pub(super) fn fail_sync(&mut self, choose: &mut Choose<'_>, evicts: bool) {
        self.settle(choose);
        self.shows_lost = true;
        if evicts {
            let size = self.current.size;
            self.current = self.durable.clone();
            self.current.resize(size);
        }
    }

    /// Whether a power cut would change nothing.
    pub(super) fn is_durable(&self) -> bool {
        self.pending.is_empty() && !self.shows_lost
    }

    /// What is seen, and where it is not durable also what is.
    pub(super) fn print(&self, print: &mut Fingerprint) {
        self.current.print(print);
        if !self.is_durable() {
            self.durable.print(print);
            print.word(self.pending.len() as u64);
        }
    }

    /// What a power cut does: only the durable bytes are there.
    pub(super) fn forget(&mut self, choose: &mut Choose<'_>) {
        self.settle(choose);
        self.current = self.durable.clone();
        self.shows_lost = false;
    }

    /// Makes a part of the pending changes durable and forgets the rest: for each sector on its
    /// own, and for the size, `choose` says how many of the changes to it happened. A size that
    /// grew without its bytes reads as zeros; a sector that was not overwritten keeps what an
    /// earlier life of the file left there.
    fn settle(&mut self, choose: &mut Choose<'_>) {
        let pending = std::mem::take(&mut self.pending);
        let extent = pending
            .iter()
            .fold((self.durable.size, self.durable.size), |(size, extent), change| {
                let size = change.size_after(size);
                (size, extent.max(size))
            })
            .1;
        let mut touched: BTreeMap<u64, Vec<&Change>> = BTreeMap::new();
        for change in &pending {
            for sector in change.sectors(extent) {
                touched.entry(sector).or_default().push(change);
            }
        }
        for (sector, changes) in touched {
            let happened = as_usize(choose(changes.len() as u64));
            for change in changes.iter().take(happened) {
                change.apply_to_sector(sector, &mut self.durable);
            }
        }
        let happened = as_usize(choose(pending.len() as u64));
        let size = pending
            .iter()
            .take(happened)
            .fold(self.durable.size, |size, change| change.size_after(size));
        self.durable.resize(size);
    }
}

/// Cuts `length` bytes at `position` at the multiples of `unit`: where each piece starts, and
/// which part of the buffer it is.
fn pieces(position: u64, length: usize, unit: u64) -> impl Iterator<Item = (u64, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let start = position + done as u64;
        let piece = as_usize(unit - start % unit).min(length - done);
        let range = done..done + piece;
        done += piece;
        (piece > 0).then_some((start, range))
    })
}

/// Sizes of simulated files fit into memory.
fn as_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(file: &FileState) -> Vec<u8> {
        let mut buffer = vec![7; as_usize(file.size())];
        assert_eq!(file.read(&mut buffer, 0), buffer.len());
        buffer
    }

    fn after_power_loss(file: &FileState, mut choose: impl FnMut(u64) -> u64) -> Vec<u8> {
        let mut file = file.clone();
        file.forget(&mut choose);
        bytes(&file)
    }

    #[test]
    fn a_write_across_pages_is_read_back_and_holes_are_zero() {
        let mut file = FileState::default();
        file.write(4090, b"0123456789");
        let expected: Vec<u8> = std::iter::repeat_n(0, 4090).chain(*b"0123456789").collect();
        assert_eq!(bytes(&file), expected);
        assert_eq!(after_power_loss(&file, |_| 0), b"");
        file.sync();
        assert_eq!(after_power_loss(&file, |_| 0), expected);
    }

    #[test]
    fn each_sector_is_old_or_new_on_its_own_and_old_is_the_earlier_life() {
        let mut file = FileState::default();
        file.write(0, &[b'a'; 1536]);
        file.sync();
        file.write(0, &[b'b'; 1536]);
        let mut sector = 0;
        let torn = after_power_loss(&file, |most| {
            sector += 1;
            if sector == 2 { 0 } else { most }
        });
        assert_eq!(torn, [[b'b'; 512], [b'a'; 512], [b'b'; 512]].concat());
    }

    #[test]
    fn a_sector_written_twice_may_hold_what_stood_in_between() {
        let mut file = FileState::default();
        file.write(0, b"one");
        file.write(3, b"two");
        assert_eq!(after_power_loss(&file, |_| 1), b"one");
        assert_eq!(after_power_loss(&file, |most| most), b"onetwo");
    }

    #[test]
    fn the_size_may_grow_without_the_bytes() {
        let mut file = FileState::default();
        file.write(0, &[b'a'; 600]);
        let mut sectors = 0;
        let grown = after_power_loss(&file, |most| {
            sectors += 1;
            if sectors <= 2 { 0 } else { most }
        });
        assert_eq!(grown, [0; 600]);
    }

    #[test]
    fn allocated_bytes_are_zero_count_as_space_and_may_be_lost() {
        let mut file = FileState::default();
        file.allocate(10_000);
        assert_eq!(bytes(&file), [0; 10_000]);
        assert_eq!(file.blocks(), 3);
        assert_eq!(after_power_loss(&file, |_| 0), b"");
        file.sync();
        assert_eq!(after_power_loss(&file, |_| 0).len(), 10_000);
    }

    #[test]
    fn what_was_cut_reads_as_zero_when_it_grows_again() {
        let mut file = FileState::default();
        file.write(0, &[b'a'; 5000]);
        file.sync();
        file.truncate(3);
        file.allocate(5000);
        assert_eq!(bytes(&file)[..6], *b"aaa\0\0\0");
        assert!(bytes(&file)[3..].iter().all(|byte| *byte == 0));
        assert_eq!(after_power_loss(&file, |most| most), bytes(&file));
        assert_eq!(after_power_loss(&file, |_| 0), [b'a'; 5000]);
    }

    #[test]
    fn after_a_failed_sync_a_later_one_says_yes_and_keeps_nothing() {
        let mut file = FileState::default();
        file.write(0, b"lost");
        file.fail_sync(&mut |_| 0, false);
        assert_eq!(bytes(&file), b"lost");
        file.sync();
        assert_eq!(after_power_loss(&file, |most| most), b"");
        file.fail_sync(&mut |_| 0, true);
        assert_eq!(bytes(&file), b"\0\0\0\0");
    }
}
