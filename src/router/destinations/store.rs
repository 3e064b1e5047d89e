//! What destinations have answered, in memory and in a small file. Nothing depends on the file: what
//! it cannot tell is asked again.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use standpipe_wal::fs::{Access, Fs};
use tracing::warn;

use crate::limits::{DESCRIPTION_FILE_BYTES_MAX, DESCRIPTION_KEPT_FOR};
use crate::sink::description::Description;
use crate::world::World;

/// The form of the file. Another one is not read.
const VERSION: u32 = 1;

/// Whose destination.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Key {
    account: String,
    destination: String,
}

impl Key {
    pub(super) fn new(account: String, destination: &str) -> Self {
        Self { account, destination: destination.to_owned() }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct File {
    version: u32,
    answers: Vec<Answer>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Answer {
    #[serde(flatten)]
    key: Key,
    #[serde(with = "crate::status::rfc3339")]
    asked: SystemTime,
    #[serde(flatten)]
    description: Description,
}

#[derive(Debug)]
pub(super) struct Store {
    place: Option<Place>,
    world: World,
    answers: Mutex<BTreeMap<Key, Answer>>,
}

/// Where the file is.
#[derive(Clone, Debug)]
struct Place {
    fs: Arc<dyn Fs>,
    path: PathBuf,
}

impl Store {
    /// What the file holds.
    pub(super) fn open(place: Option<(Arc<dyn Fs>, PathBuf)>, world: World) -> Self {
        let place = place.map(|(fs, path)| Place { fs, path });
        let read = place.as_ref().map_or(Ok(Vec::new()), Place::read);
        let answers = read.unwrap_or_else(|error| {
            warn!(%error, "what destinations have answered cannot be read, they are asked again");
            Vec::new()
        });
        let answers = answers.into_iter().map(|answer| (answer.key.clone(), answer)).collect();
        Self { place, world, answers: Mutex::new(answers) }
    }

    /// What a destination has answered, and how long ago. Where the time of day went back since
    /// then, that was just now.
    pub(super) fn find(&self, key: &Key) -> Option<(Description, Duration)> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answers.get(key)?;
        let age = self.now().duration_since(answer.asked).unwrap_or_default();
        Some((answer.description.clone(), age))
    }

    /// Keeps an answer. A disk that does not take it costs one question after the next start.
    pub(super) async fn keep(&self, key: &Key, description: &Description) {
        let asked = self.now();
        let file = {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            let (key, description) = (key.clone(), description.clone());
            answers.insert(key.clone(), Answer { key, asked, description });
            answers.retain(|_, answer| {
                asked.duration_since(answer.asked).unwrap_or_default() < DESCRIPTION_KEPT_FOR
            });
            File { version: VERSION, answers: answers.values().cloned().collect() }
        };
        let Some(place) = self.place.clone() else { return };
        match self.world.blocking(move || place.write(&file)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "what a destination has answered cannot be kept"),
            Err(error) => warn!(%error, "what a destination has answered cannot be kept"),
        }
    }

    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.world.now_ms())
    }
}

impl Place {
    fn read(&self) -> io::Result<Vec<Answer>> {
        let file = match self.fs.open(&self.path, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let size = usize::try_from(file.size()?).unwrap_or(usize::MAX);
        let mut bytes = vec![0; size.min(DESCRIPTION_FILE_BYTES_MAX)];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        bytes.truncate(filled);
        let file: File = serde_json::from_slice(&bytes)?;
        // Another version's answers may mean something else.
        Ok(if file.version == VERSION { file.answers } else { Vec::new() })
    }

    /// A reader finds the old file or the new one. After a power cut it may find neither, and asks.
    fn write(&self, file: &File) -> io::Result<()> {
        let new = self.path.with_extension("new");
        match self.fs.remove(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let bytes = serde_json::to_vec_pretty(file)?;
        let file = self.fs.create(&new)?;
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match file.write_at(&[IoSlice::new(rest)], written as u64)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                more => written += more,
            }
        }
        file.sync_data()?;
        self.fs.rename(&new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use standpipe_wal::fs::RealFs;

    use super::*;
    use crate::sink::description::{DestinationKind, Step};

    fn open(path: &str) -> Store {
        Store::open(Some((Arc::new(RealFs), path.into())), World::real())
    }

    #[tokio::test]
    async fn answers_survive_a_restart_and_damage_is_as_good_as_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("destinations.json");
        let path = path.to_str().unwrap();
        let (here, there) = (Key::new("eu".into(), "orders"), Key::new("us".into(), "orders"));
        let description = Description {
            kind: DestinationKind::S3,
            steps: vec![Step::Lambda, Step::Append("\n".into())],
        };
        let store = open(path);
        assert_eq!(store.find(&here), None);
        store.keep(&here, &description).await;
        store.keep(&here, &description).await;

        let again = open(path);
        assert_eq!(again.find(&here).unwrap().0, description);
        assert_eq!(again.find(&there), None, "another account's stream has the same name");

        let written = std::fs::read_to_string(path).unwrap();
        let other_version = written.replace("\"version\": 1", "\"version\": 2");
        assert_ne!(other_version, written);
        let half = written.split_at(written.len() / 2).0;
        for damaged in ["", "{", half, &other_version, "\0\0\0"] {
            std::fs::write(path, damaged).unwrap();
            assert_eq!(open(path).find(&here), None, "{damaged:?}");
        }
        open(path).keep(&there, &description).await;
        assert!(open(path).find(&there).is_some(), "a damaged file is replaced");
    }

    #[tokio::test]
    async fn a_disk_that_takes_nothing_costs_nothing_else() {
        let store = open("/proc/no/such/directory/file");
        let key = Key::new(String::new(), "orders");
        store.keep(&key, &Description::of(DestinationKind::Iceberg)).await;
        assert!(store.find(&key).is_some());
    }
}
