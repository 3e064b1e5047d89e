//! What the connections of one source share.

use super::Context;
use super::access::Access;
use super::options::LineOptions;
use super::refusals::Refusals;
use crate::intake::UnknownStreams;

/// A source that is open, as its connections see it.
#[derive(Debug)]
pub(crate) struct Service {
    /// Its address, for the log.
    pub(crate) name: String,
    pub(crate) context: Context,
    pub(crate) lines: LineOptions,
    pub(crate) unknown: UnknownStreams,
    /// Who may write what.
    pub(crate) access: Access,
    pub(crate) refusals: Refusals,
}

impl Service {
    pub(crate) fn new(
        name: String,
        context: Context,
        lines: LineOptions,
        unknown: UnknownStreams,
        access: Access,
    ) -> Self {
        let refusals = Refusals::new(name.clone());
        Self { name, context, lines, unknown, access, refusals }
    }
}
