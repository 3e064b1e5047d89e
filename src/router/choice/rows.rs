//! The table of decisions. The first row that fits holds. `docs/AGGREGATION.md` shows it, and a test
//! compares the two.

use super::DEAGGREGATED_EVENTS_MAX;
use crate::sink::description::DestinationKind;

/// What is seen of a destination, and what follows.
#[derive(Debug)]
pub struct Row {
    /// What the destination is, one of these; any where there are none.
    pub kinds: &'static [DestinationKind],
    /// What is done to records on the way, all of these.
    pub marks: &'static [Mark],
    /// How many events a record holds.
    pub packing: Packing,
    /// Where the delimiter stands.
    pub delimiter: Placement,
    /// Whether records may be compressed.
    pub gzip: Gzip,
    /// Why, in a sentence.
    pub reason: &'static str,
}

/// A step on the way of a record, as it matters to a stream with its delimiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Calls are refused: records come from elsewhere.
    ForeignSource,
    /// Records are taken apart where the stream puts its delimiter.
    Deaggregates,
    /// Records are taken apart elsewhere.
    DeaggregatesOther,
    /// A Lambda function is handed the records.
    Lambda,
    /// JSON becomes Parquet or ORC.
    Converts,
    /// Each record is put below a prefix of its own.
    Partitions,
    /// Keys are read from each record.
    Extracts,
    /// The stream's delimiter is put behind every record.
    Appends,
    /// Something else is put behind every record.
    AppendsOther,
    /// What is written is compressed.
    Compresses,
    /// A processor that nobody knows.
    OtherProcessor,
}

/// How many events a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// As many as fit.
    Lines,
    /// As many as fit, and no more than so many.
    LinesUpTo(u64),
    /// One.
    None,
}

/// Where the delimiter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Behind each event.
    AfterEach,
    /// Between two events of a record; the last has none.
    Between,
}

/// Whether the destination takes records that are gzip members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gzip {
    /// It does.
    Taken,
    /// Nobody knows: what is configured holds.
    Unproven,
    /// It does not, and why.
    Refused(&'static str),
}

const READS_RECORDS: Gzip = Gzip::Refused("what reads the records does not decompress them");
const COMPRESSED_TWICE: Gzip = Gzip::Refused("the objects would be compressed twice");
const APPENDS_BETWEEN: Gzip =
    Gzip::Refused("a delimiter between two members hides everything behind it");

const OBJECTS: &[DestinationKind] = &[DestinationKind::S3, DestinationKind::Redshift];
const S3: &[DestinationKind] = &[DestinationKind::S3];

/// Why nothing is risked while there is no answer.
pub const UNASKED: &str = "the destination has not answered yet";
/// Why nothing is risked where there will be none.
pub(super) const WITHHELD: &str =
    "the credentials may not ask the destination (firehose:DescribeDeliveryStream)";

/// A row with one event per record whose end stays open.
const fn alone(kinds: &'static [DestinationKind], reason: &'static str) -> Row {
    Row {
        kinds,
        marks: &[],
        packing: Packing::None,
        delimiter: Placement::Between,
        gzip: READS_RECORDS,
        reason,
    }
}

/// A row for what hands records to something that expects one event in each.
const fn handed(marks: &'static [Mark], delimiter: Placement, reason: &'static str) -> Row {
    Row { kinds: &[], marks, packing: Packing::None, delimiter, gzip: READS_RECORDS, reason }
}

/// A row for what takes lines.
const fn lines(
    kinds: &'static [DestinationKind],
    marks: &'static [Mark],
    delimiter: Placement,
    gzip: Gzip,
    reason: &'static str,
) -> Row {
    Row { kinds, marks, packing: Packing::Lines, delimiter, gzip, reason }
}

/// What fits everything: nothing is known, so nothing is risked.
pub(super) const ANYTHING: Row = Row {
    kinds: &[],
    marks: &[],
    packing: Packing::None,
    delimiter: Placement::AfterEach,
    gzip: Gzip::Unproven,
    reason: "this version does not know the destination",
};

/// See the module.
pub static ROWS: &[Row] = &[
    Row { kinds: &[DestinationKind::Unasked], reason: UNASKED, ..ANYTHING },
    Row { kinds: &[DestinationKind::Withheld], reason: WITHHELD, ..ANYTHING },
    handed(
        &[Mark::ForeignSource],
        Placement::AfterEach,
        "the delivery stream reads from another source and refuses calls",
    ),
    alone(&[DestinationKind::OpenSearch], "each record is one document"),
    alone(&[DestinationKind::Iceberg, DestinationKind::Snowflake], "each record is one row"),
    alone(&[DestinationKind::HttpEndpoint], "the endpoint is handed the records one by one"),
    alone(&[DestinationKind::SplunkEvent], "each record is one event of Splunk"),
    handed(
        &[Mark::OtherProcessor],
        Placement::AfterEach,
        "this version does not know what one of the processors does to a record",
    ),
    Row {
        kinds: S3,
        marks: &[Mark::Deaggregates],
        packing: Packing::LinesUpTo(DEAGGREGATED_EVENTS_MAX),
        delimiter: Placement::Between,
        gzip: READS_RECORDS,
        reason: "records are taken apart, which fails without an error above 500 events",
    },
    handed(
        &[Mark::Deaggregates],
        Placement::Between,
        "records are taken apart on the way to something that is not known to follow it",
    ),
    handed(
        &[Mark::DeaggregatesOther],
        Placement::Between,
        "records are taken apart at something else than the stream's delimiter",
    ),
    handed(
        &[Mark::AppendsOther],
        Placement::Between,
        "records are given another delimiter than the stream's",
    ),
    handed(
        &[Mark::Partitions, Mark::Appends],
        Placement::Between,
        "a prefix is made for each record, which is given its delimiter there",
    ),
    handed(&[Mark::Partitions], Placement::AfterEach, "a prefix is made for each record"),
    handed(
        &[Mark::Extracts, Mark::Appends],
        Placement::Between,
        "keys are read from each record, which is given its delimiter there",
    ),
    handed(&[Mark::Extracts], Placement::AfterEach, "keys are read from each record"),
    handed(
        &[Mark::Lambda, Mark::Appends],
        Placement::Between,
        "a Lambda function is handed whole records, which are given their delimiter there",
    ),
    handed(&[Mark::Lambda], Placement::AfterEach, "a Lambda function is handed whole records"),
    lines(
        S3,
        &[Mark::Converts],
        Placement::AfterEach,
        READS_RECORDS,
        "conversion reads all JSON objects of a record",
    ),
    lines(
        OBJECTS,
        &[Mark::Appends],
        Placement::Between,
        APPENDS_BETWEEN,
        "objects are records one behind the other, each given its last delimiter there",
    ),
    lines(
        S3,
        &[Mark::Compresses],
        Placement::AfterEach,
        COMPRESSED_TWICE,
        "objects are records one behind the other",
    ),
    lines(S3, &[], Placement::AfterEach, Gzip::Taken, "objects are records one behind the other"),
    lines(
        &[DestinationKind::Redshift],
        &[],
        Placement::AfterEach,
        READS_RECORDS,
        "COPY reads objects that are records one behind the other",
    ),
    lines(
        &[DestinationKind::SplunkRaw],
        &[],
        Placement::AfterEach,
        READS_RECORDS,
        "Splunk's raw endpoint finds the events in what it is sent",
    ),
    lines(
        &[DestinationKind::Files],
        &[],
        Placement::AfterEach,
        Gzip::Taken,
        "files are records one behind the other",
    ),
    ANYTHING,
];
