//! How a stream's events become records: what was configured, and with `aggregate = "auto"` what the
//! destination takes. Pure.

use crate::config::{Aggregate, Compression, StreamConfig};
use crate::sink::description::{Description, Step};

mod misfits;
mod rows;
#[cfg(test)]
mod tests;

pub(crate) use misfits::{Misfit, misfits};
pub use rows::{Gzip, Mark, Packing, Placement, ROWS, Row, UNASKED};

/// Above this many events a record is not taken apart any more, and nobody is told.
pub const DEAGGREGATED_EVENTS_MAX: u64 = 500;

/// What was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Whether a record may hold several events.
    pub(crate) lines: bool,
    /// Events in a record.
    pub(crate) events_max: u64,
    /// Whether a record's last event is left without the delimiter.
    pub(crate) ends_open: bool,
    /// Why, in a sentence.
    pub(crate) reason: String,
    /// Whether records are compressed.
    pub(crate) compressed: bool,
    /// Why they are not though it is configured; empty else.
    pub(crate) not_compressed_because: &'static str,
}

impl Choice {
    /// The word for people and programs.
    pub(crate) fn word(&self) -> &'static str {
        if self.lines { "lines" } else { "none" }
    }
}

/// The row that a destination meets: the first that fits. The last one fits everything.
pub fn row(seen: &Description, delimiter: &[u8]) -> &'static Row {
    let marks: Vec<Mark> = seen.steps.iter().map(|step| mark(step, delimiter)).collect();
    let fits = |row: &&Row| {
        (row.kinds.is_empty() || row.kinds.contains(&seen.kind))
            && row.marks.iter().all(|mark| marks.contains(mark))
    };
    ROWS.iter().find(fits).unwrap_or(&rows::ANYTHING)
}

/// What a step means for a stream whose events end in `delimiter`.
fn mark(step: &Step, delimiter: &[u8]) -> Mark {
    match step {
        Step::ForeignSource(_) => Mark::ForeignSource,
        // One object behind the other, or one per line.
        Step::DeaggregateJson if delimiter.is_empty() || delimiter == b"\n" => Mark::Deaggregates,
        Step::DeaggregateDelimited(at) if at.as_bytes() == delimiter => Mark::Deaggregates,
        Step::DeaggregateJson | Step::DeaggregateDelimited(_) => Mark::DeaggregatesOther,
        Step::Lambda => Mark::Lambda,
        Step::Convert => Mark::Converts,
        Step::Partition => Mark::Partitions,
        Step::Extract => Mark::Extracts,
        Step::Append(appended) if appended.as_bytes() == delimiter => Mark::Appends,
        Step::Append(_) => Mark::AppendsOther,
        Step::Compress(_) => Mark::Compresses,
        Step::Other(_) => Mark::OtherProcessor,
    }
}

/// Whether the destination has to be asked.
pub(crate) fn depends_on_destination(settings: &StreamConfig) -> bool {
    settings.aggregate == Aggregate::Auto || settings.compression == Compression::Gzip
}

/// What can be done about a choice that was made without knowing the destination, which costs money:
/// each record is billed as 5 KiB at least, and holds one event. Taken from the reason of the choice,
/// since that is what travels to those who look.
pub(crate) fn remedy(reason: &str) -> Option<&'static str> {
    if reason.starts_with(UNASKED) {
        // Behind it may stand why a question failed.
        Some("wait for the destination's answer (upload.ask_within), or set `aggregate`")
    } else if reason.starts_with(rows::WITHHELD) {
        Some("allow firehose:DescribeDeliveryStream (doctor --policy), or set `aggregate`")
    } else {
        None
    }
}

/// What holds for a stream whose destination is known as `seen`.
pub(crate) fn choose(settings: &StreamConfig, seen: &Description) -> Choice {
    let row = row(seen, &settings.delimiter);
    let mut choice = aggregate(settings, row);
    if settings.compression == Compression::Gzip {
        match row.gzip {
            Gzip::Taken | Gzip::Unproven => choice.compressed = true,
            Gzip::Refused(why) => choice.not_compressed_because = why,
        }
    }
    choice
}

fn aggregate(settings: &StreamConfig, row: &Row) -> Choice {
    let configured_max = settings.events_per_record_max.map_or(u64::MAX, |max| max as u64);
    let configured = |lines, word: &str| Choice {
        lines,
        events_max: configured_max,
        ends_open: false,
        reason: format!("configured: aggregate = \"{word}\""),
        compressed: false,
        not_compressed_because: "",
    };
    match settings.aggregate {
        Aggregate::Lines => configured(true, "lines"),
        Aggregate::None => configured(false, "none"),
        Aggregate::Auto => automatic(row, settings, configured_max),
    }
}

fn automatic(row: &Row, settings: &StreamConfig, configured_max: u64) -> Choice {
    let (lines, events_max) = match row.packing {
        Packing::Lines => (true, u64::MAX),
        Packing::LinesUpTo(events_max) => (true, events_max),
        Packing::None => (false, u64::MAX),
    };
    let ends_open = match row.delimiter {
        Placement::AfterEach => false,
        Placement::Between => true,
    };
    let choice = |lines, reason: &str| Choice {
        lines,
        events_max: configured_max.min(events_max),
        ends_open,
        reason: reason.to_owned(),
        compressed: false,
        not_compressed_because: "",
    };
    if lines && !ends_open && settings.delimiter.is_empty() {
        return choice(false, "the stream has no delimiter: events would run together");
    }
    choice(lines, row.reason)
}
