//! Sink `file`: what was delivered, appended below a directory, in the paths that Firehose gives to
//! the objects it writes to S3.

mod folder;
mod path;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde::Deserialize;
use standpipe_wal::StreamName;

use self::folder::Folder;
use super::description::{Description, DestinationKind};
use super::{BoxFuture, Call, Failure, Fate, Kind, Limits, Records, Sink, SinkConfig, Trouble};
use crate::config::value::Size;
use crate::limits::{
    FILE_SINK_BYTES_MAX_DEFAULT, FILE_SINK_OPEN_MAX, FIREHOSE_CALL_BYTES_MAX,
    FIREHOSE_RECORD_BYTES_MAX, FIREHOSE_RECORDS_MAX,
};

pub(super) const KIND: Kind =
    Kind { name: "file", parse: |options| Ok(Arc::new(options.try_into::<Options>()?)) };

/// `[sink.NAME]` with `kind = "file"`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The directory; made if it is not there.
    path: PathBuf,
    /// When another file is begun.
    #[serde(default = "file_bytes_max")]
    file_bytes_max: Size,
}

fn file_bytes_max() -> Size {
    Size(FILE_SINK_BYTES_MAX_DEFAULT)
}

/// A directory with a folder for each destination.
#[derive(Debug)]
struct FileSink {
    path: PathBuf,
    file_bytes_max: u64,
    folders: Mutex<HashMap<StreamName, Arc<Mutex<Folder>>>>,
}

impl SinkConfig for Options {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn build(&self) -> BoxFuture<'_, anyhow::Result<Arc<dyn Sink>>> {
        let sink: Arc<dyn Sink> = Arc::new(FileSink {
            path: self.path.clone(),
            file_bytes_max: self.file_bytes_max.0,
            folders: Mutex::default(),
        });
        Box::pin(async move { Ok(sink) })
    }
}

impl Sink for FileSink {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    /// Those of Firehose, so that a trial run shows the records and calls that Firehose would get.
    fn limits(&self) -> Limits {
        Limits {
            records_max: FIREHOSE_RECORDS_MAX,
            record_bytes_max: FIREHOSE_RECORD_BYTES_MAX,
            call_bytes_max: FIREHOSE_CALL_BYTES_MAX,
        }
    }

    fn encoded_bytes(&self, _data_bytes: usize, _records: usize) -> usize {
        0
    }

    fn deliver(&self, call: Call) -> BoxFuture<'_, Result<Vec<Fate>, Failure>> {
        Box::pin(self.append(call))
    }

    fn describe(&self, _destination: Arc<str>) -> BoxFuture<'_, Result<Description, Failure>> {
        Box::pin(async { Ok(Description::of(DestinationKind::Files)) })
    }
}

impl FileSink {
    async fn append(&self, call: Call) -> Result<Vec<Fate>, Failure> {
        let name: StreamName = match call.destination.parse() {
            Ok(name) => name,
            Err(error) => {
                return Err(Failure {
                    trouble: Trouble::Missing,
                    ambiguous: false,
                    message: format!("{:?} cannot be a directory: {error}", call.destination),
                });
            }
        };
        let folder = self.folder(&name);
        let appending = move || {
            let Records { data, ends } = call.records;
            let mut folder = folder.lock().unwrap_or_else(PoisonError::into_inner);
            let fate = match folder.append(&data, SystemTime::now()) {
                Ok(()) => Fate::Delivered,
                // Part of it may be in the file all the same.
                Err(error) => Fate::Retry {
                    trouble: Trouble::Faulty,
                    code: error.kind().to_string(),
                    message: error.to_string(),
                },
            };
            vec![fate; ends.len()]
        };
        tokio::task::spawn_blocking(appending).await.map_err(|error| Failure {
            trouble: Trouble::Faulty,
            ambiguous: true,
            message: error.to_string(),
        })
    }

    /// The folder of a destination. Folders that nobody writes to are closed when there are many.
    fn folder(&self, name: &StreamName) -> Arc<Mutex<Folder>> {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        if folders.len() >= FILE_SINK_OPEN_MAX && !folders.contains_key(name) {
            folders.retain(|_, folder| Arc::strong_count(folder) > 1);
        }
        let new = || {
            let folder = Folder::new(self.path.clone(), name.clone(), self.file_bytes_max);
            Arc::new(Mutex::new(folder))
        };
        Arc::clone(folders.entry(name.clone()).or_insert_with(new))
    }
}
