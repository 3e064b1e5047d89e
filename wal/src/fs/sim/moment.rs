//! The disk as it was before an operation: a run of a program shows all the places where it could
//! have been cut off, without being repeated for each of them.

use std::cell::RefCell;
use std::path::Path;

use super::fault::{Kind, Operation};
use super::{SimFs, State};

/// The disk as it was before an operation that changes it.
#[derive(Clone, Debug)]
pub struct Moment {
    /// The operation's number, counted from zero.
    pub number: u64,
    /// The operation.
    pub operation: Operation,
    /// A copy of the disk, to be crashed.
    pub disk: SimFs,
}

impl SimFs {
    /// Keeps a [`Moment`] for each operation from here on that changes the disk.
    pub fn record_moments(&self) {
        self.state().moments = Some(Vec::new());
    }

    /// The moments since the last call, or since [`SimFs::record_moments`].
    pub fn take_moments(&self) -> Vec<Moment> {
        self.state().moments.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The disk after a power cut that turns out as `choose` says. It is called once for each name,
    /// each size and each sector with changes that are not durable, in an order that depends on
    /// nothing but the disk and its earlier answers, with their number, and says how many of them
    /// happened. So a test can walk through all ways in which a power cut can turn out.
    #[must_use]
    pub fn crash_by(&self, choose: &mut dyn FnMut(u64) -> u64) -> Self {
        let mut disk = self.state().disk.clone();
        let choose = RefCell::new(choose);
        disk.forget(&mut |most| choose.borrow_mut()(most), &mut |most| choose.borrow_mut()(most));
        Self::with(disk, 0)
    }

    /// A number for all that the disk holds. Two disks with the same number hold the same.
    pub fn fingerprint(&self) -> u64 {
        self.state().disk.fingerprint()
    }
}

impl State {
    pub(super) fn note_moment(&mut self, kind: Kind, path: &Path) {
        let is_moment = kind.changes_the_disk() && !self.faults.is_off();
        if let Some(moments) = self.moments.as_mut().filter(|_| is_moment) {
            let operation = Operation { kind, path: path.to_owned() };
            let disk = SimFs::with(self.disk.clone(), 0);
            moments.push(Moment { number: self.faults.count(), operation, disk });
        }
    }
}
