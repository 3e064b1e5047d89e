//! What a sink can say about a destination: facts alone. What follows from them is decided in the
//! router, once for all sinks, and may change with a version while these facts stay on disk.

use serde::{Deserialize, Serialize};

/// A destination, and what stands between a call and it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// What it is.
    pub kind: DestinationKind,
    /// What is done to records on their way there.
    pub steps: Vec<Step>,
}

/// Where records end up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DestinationKind {
    /// Objects in S3, one record behind the other.
    S3,
    /// Redshift: objects in S3 that its COPY reads.
    Redshift,
    /// `OpenSearch`, its serverless form, or Elasticsearch.
    OpenSearch,
    /// Splunk's raw endpoint, which finds events by itself.
    SplunkRaw,
    /// Splunk's event endpoint.
    SplunkEvent,
    /// An HTTP endpoint, which is handed the records one by one.
    HttpEndpoint,
    /// Tables of Apache Iceberg.
    Iceberg,
    /// A table of Snowflake.
    Snowflake,
    /// Files on this host, one record behind the other.
    Files,
    /// Something that this version does not know.
    Unknown,
    /// The destination may not be asked about by these credentials.
    Withheld,
    /// Nobody has asked yet, or nobody has answered.
    Unasked,
}

/// What is done to a record on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Records come from somewhere else than from calls; the name of where.
    ForeignSource(String),
    /// A record is taken apart into the JSON objects that it holds.
    DeaggregateJson,
    /// A record is taken apart at this delimiter.
    DeaggregateDelimited(String),
    /// A Lambda function is handed the records.
    Lambda,
    /// JSON becomes Parquet or ORC.
    Convert,
    /// Each record is put below a prefix of its own.
    Partition,
    /// Keys are read from each record.
    Extract,
    /// This is put behind every record.
    Append(String),
    /// What is written is compressed so.
    Compress(String),
    /// A processor that this version does not know; its name.
    Other(String),
}

impl Description {
    /// A destination of which no more than this is known.
    pub fn of(kind: DestinationKind) -> Self {
        Self { kind, steps: Vec::new() }
    }
}
