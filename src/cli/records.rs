//! How the events of a stream become records, and why: what the bill depends on.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::admin::StreamSnapshot;
use crate::router::choice;
use crate::status::State;

/// What a running agent knows about the records of a stream. By default nothing, as of a stopped one.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Records {
    /// `lines` or `none`, why, and since when; nothing while the stream is being opened.
    pub(super) aggregate: Option<State>,
    /// `gzip` or `none`, why not, and since when; nothing while the stream is being opened.
    pub(super) compression: Option<State>,
    /// Events without the name that `identity` asks for, by reason.
    pub(super) unnamed: Option<BTreeMap<String, u64>>,
}

impl Records {
    pub(super) fn of(stream: &StreamSnapshot) -> Self {
        // As a state that nobody has entered yet is called.
        let chosen = |state: &State| (state.state != "ok").then(|| state.clone());
        Self {
            aggregate: chosen(&stream.aggregate),
            compression: chosen(&stream.compression),
            unnamed: Some(stream.unnamed.clone()),
        }
    }

    /// What would make records hold more than one event, where a destination was not understood.
    pub(super) fn remedy(&self) -> Option<&'static str> {
        let aggregate = self.aggregate.as_ref().filter(|state| state.state == "none")?;
        choice::remedy(&aggregate.reason)
    }

    /// All reasons in one line.
    pub(super) fn because(&self) -> String {
        let aggregate = self.aggregate.iter().map(|state| state.reason.clone());
        let compression = self.compression.iter().filter(|state| !state.reason.is_empty());
        let compression = compression.map(|state| format!("not compressed: {}", state.reason));
        let unnamed =
            self.unnamed.iter().flatten().map(|(why, n)| format!("{n} without a name: {why}"));
        aggregate.chain(compression).chain(unnamed).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::admin::snapshot::of_stream;
    use crate::status::StreamStatus;

    #[test]
    fn nothing_is_said_before_anything_is_chosen() {
        let (name, status) = ("orders".parse().unwrap(), StreamStatus::default());
        let of = |status| Records::of(&of_stream(&name, status, SystemTime::now()));
        assert_eq!((of(&status).aggregate, of(&status).compression), (None, None));
        status.aggregate.enter("none", "configured");
        assert_eq!(of(&status).aggregate.unwrap().reason, "configured");
        assert_eq!(of(&status).compression, None);
    }
}
