//! A record as one gzip member that never grows beyond its limit.

use flate2::{Compress, Compression, FlushCompress, Status};

use crate::limits::{GZIP_FLUSH_BYTES_MIN, GZIP_LEVEL, GZIP_STAGE_BYTES};

/// A header and a trailer, the end of the last block, and the bits that a flush leaves: more than a
/// member takes beside its data.
const AROUND_BYTES: usize = 128;

/// The compressor of one call's records, one member after the other.
///
/// What a compressor has taken and not written yet is bounded only by what it was given, so before an
/// event might be too much it is made to write: then the size is known again, and there is room for
/// more. The smaller the room, the more often that happens, down to
/// [`GZIP_FLUSH_BYTES_MIN`]: a record is closed within little more than that of its limit.
#[derive(Debug)]
pub(super) struct Member {
    compress: Compress,
    /// Data that waits for more: a compressor that is called for each small event takes half as long
    /// again.
    staged: Vec<u8>,
    /// Where the output ended when all that was taken had been written.
    written_to: usize,
    /// Bytes taken since then.
    unwritten: usize,
}

impl Member {
    pub(super) fn new() -> Self {
        let compress = Compress::new_gzip(Compression::new(GZIP_LEVEL), 15);
        let staged = Vec::with_capacity(GZIP_STAGE_BYTES);
        Self { compress, staged, written_to: 0, unwritten: 0 }
    }

    /// What a member of so much data is at most.
    pub(super) fn bytes_max(data: usize) -> usize {
        data + data / 8 + data / 64 + AROUND_BYTES
    }

    /// What so many members of so much data in all are at most.
    pub(super) fn bytes_max_of(data: usize, members: usize) -> usize {
        Self::bytes_max(data) + members * AROUND_BYTES
    }

    /// Whether the open member ends no later than `end_max` when it takes so much more.
    pub(super) fn fits(&mut self, more: usize, end_max: usize, out: &mut Vec<u8>) -> bool {
        if self.end_with(more) <= end_max {
            return true;
        }
        if self.unwritten < GZIP_FLUSH_BYTES_MIN {
            return false;
        }
        self.run_staged(FlushCompress::Sync, out);
        self.all_written(out);
        self.end_with(more) <= end_max
    }

    /// Where the member ends at the latest if it takes so much more and nothing else.
    fn end_with(&self, more: usize) -> usize {
        self.written_to + Self::bytes_max(self.unwritten + more)
    }

    fn all_written(&mut self, out: &[u8]) {
        self.written_to = out.len();
        self.unwritten = 0;
    }

    /// Takes data.
    pub(super) fn write(&mut self, data: &[u8], out: &mut Vec<u8>) {
        if self.staged.len() + data.len() > GZIP_STAGE_BYTES {
            self.run_staged(FlushCompress::None, out);
        }
        self.unwritten += data.len();
        if data.len() > GZIP_STAGE_BYTES {
            self.run(data, FlushCompress::None, out);
        } else {
            self.staged.extend_from_slice(data);
        }
    }

    /// Ends the member; the next byte begins another.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        self.run_staged(FlushCompress::Finish, out);
        self.compress.reset();
        self.all_written(out);
    }

    fn run_staged(&mut self, flush: FlushCompress, out: &mut Vec<u8>) {
        let mut staged = std::mem::take(&mut self.staged);
        self.run(&staged, flush, out);
        staged.clear();
        self.staged = staged;
    }

    /// Runs the compressor until it has taken all and written what the flush asks for. With room
    /// enough in `out`, which there is unless a single event is larger than a record, nothing is
    /// allocated.
    fn run(&mut self, mut data: &[u8], flush: FlushCompress, out: &mut Vec<u8>) {
        loop {
            out.reserve(self.end_with(0).saturating_sub(out.len()).max(1));
            let taken_before = self.compress.total_in();
            let status = self.compress.compress_vec(data, out, flush);
            let taken = self.compress.total_in() - taken_before;
            data = data.get(usize::try_from(taken).unwrap_or(usize::MAX)..).unwrap_or_default();
            let goes_on = match status {
                Ok(Status::StreamEnd) => false,
                // Only the end of the stream ends a finish, only space left over a flush.
                Ok(Status::Ok | Status::BufError) => {
                    let full = out.len() == out.capacity();
                    !data.is_empty() || full || flush == FlushCompress::Finish
                }
                // An error would mean a state that no compressor has.
                Err(error) => unreachable!("a compressor refused data: {error}"),
            };
            if !goes_on {
                return;
            }
        }
    }
}
