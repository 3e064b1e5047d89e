//! What can be made to go wrong, and at which operation.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// A call of [`Fs`](crate::fs::Fs) or [`File`](crate::fs::File).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "named like the calls")]
pub enum Kind {
    Create,
    Open,
    Rename,
    Remove,
    List,
    CreateDir,
    SyncDir,
    Read,
    Write,
    Allocate,
    Truncate,
    Size,
    SyncData,
}

impl Kind {
    /// Whether the operation can leave another disk behind than it found.
    pub fn changes_the_disk(self) -> bool {
        !matches!(self, Self::Open | Self::List | Self::Read | Self::Size)
    }
}

/// An operation that was done, or tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Which call.
    pub kind: Kind,
    /// On which file or directory; where two are named, the first.
    pub path: PathBuf,
}

/// Something that goes wrong with one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The device fails (`EIO`). A failed sync loses a part of what it should have made durable,
    /// for ever, and marks it as clean; a failed write may have put a part into its place.
    Io,
    /// No space (`ENOSPC`): nothing is changed.
    NoSpace,
    /// The quota is used up (`EDQUOT`): like no space.
    Quota,
    /// Too many open files (`EMFILE`).
    TooManyFiles,
    /// A signal came in between (`EINTR`): nothing is changed, and nothing that was written is
    /// forgotten.
    Interrupted,
    /// A read or a write does a part of what was asked and says so.
    Short,
    /// The power goes, or the process dies, before the operation: this one and all later ones
    /// fail. See [`SimFs::crash`](crate::fs::sim::SimFs::crash).
    Crash,
}

impl Fault {
    /// Every fault that is not a crash.
    pub const SURVIVABLE: [Self; 6] =
        [Self::Io, Self::NoSpace, Self::Quota, Self::TooManyFiles, Self::Interrupted, Self::Short];

    /// Whether a system could answer this operation with this fault. Elsewhere it does not
    /// strike.
    pub fn can_strike(self, kind: Kind) -> bool {
        match self {
            Self::Io | Self::Interrupted | Self::Crash => true,
            // A rename needs space for its name. A sync needs it where blocks are given late.
            Self::NoSpace | Self::Quota => {
                kind.changes_the_disk() && !matches!(kind, Kind::Remove | Kind::Truncate)
            }
            Self::TooManyFiles => {
                matches!(kind, Kind::Create | Kind::Open | Kind::List | Kind::SyncDir)
            }
            Self::Short => matches!(kind, Kind::Read | Kind::Write),
        }
    }
}

/// What an operation has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Go,
    /// Do a part only.
    Short,
    /// Fail, after the damage that belongs to the error.
    Fail(Errno),
}

/// The faults that were asked for and the operations that were counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    count: u64,
    strikes: u64,
    planned: Vec<Planned>,
    is_off: bool,
    trace: Option<Vec<Operation>>,
}

#[derive(Clone, Copy, Debug)]
struct Planned {
    from: u64,
    times: u64,
    fault: Fault,
    /// The only operation that it strikes.
    only: Option<Kind>,
}

impl Faults {
    pub(super) fn plan(&mut self, from: u64, times: u64, fault: Fault, only: Option<Kind>) {
        self.planned.push(Planned { from, times, fault, only });
    }

    pub(super) fn clear(&mut self) {
        self.planned.clear();
    }

    pub(super) fn is_off(&self) -> bool {
        self.is_off
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// How often something went wrong.
    pub(super) fn strikes(&self) -> u64 {
        self.strikes
    }

    pub(super) fn record_trace(&mut self) {
        self.trace = Some(Vec::new());
    }

    pub(super) fn trace(&self) -> Vec<Operation> {
        self.trace.clone().unwrap_or_default()
    }

    /// Counts an operation and says what becomes of it.
    pub(super) fn begin(&mut self, kind: Kind, path: &Path) -> Verdict {
        if self.is_off {
            return Verdict::Fail(Errno::IO);
        }
        let number = self.count;
        self.count += 1;
        if let Some(trace) = &mut self.trace {
            trace.push(Operation { kind, path: path.to_owned() });
        }
        let strikes = |planned: &&mut Planned| {
            planned.times > 0
                && number >= planned.from
                && planned.fault.can_strike(kind)
                && planned.only.is_none_or(|only| only == kind)
        };
        let Some(planned) = self.planned.iter_mut().find(strikes) else { return Verdict::Go };
        planned.times -= 1;
        self.strikes += 1;
        match planned.fault {
            Fault::Io => Verdict::Fail(Errno::IO),
            Fault::NoSpace => Verdict::Fail(Errno::NOSPC),
            Fault::Quota => Verdict::Fail(Errno::DQUOT),
            Fault::Interrupted => Verdict::Fail(Errno::INTR),
            Fault::TooManyFiles => Verdict::Fail(Errno::MFILE),
            Fault::Short => Verdict::Short,
            Fault::Crash => {
                self.is_off = true;
                Verdict::Fail(Errno::IO)
            }
        }
    }
}

/// For the operations that either happen or fail without a trace.
pub(super) fn refuse(verdict: Verdict) -> io::Result<()> {
    match verdict {
        Verdict::Go | Verdict::Short => Ok(()),
        Verdict::Fail(errno) => Err(errno.into()),
    }
}
