//! Names of new streams, for an output that wants to hear of them: one without
//! entries is in no bundle.

use std::cell::{Cell, RefCell};

use crate::limits::REGISTRATIONS_MAX;
use crate::wire::name::StreamName;

/// Those that the output has not heard of yet.
#[derive(Debug, Default)]
pub(super) struct Registrations {
    are_wanted: Cell<bool>,
    names: RefCell<Vec<StreamName>>,
}

impl Registrations {
    /// From now on they are noted.
    pub fn want(&self) {
        self.are_wanted.set(true);
    }

    /// A stream was registered. True if the output should ask for it. An
    /// output that stands still does not hear of all.
    pub fn note(&self, name: &StreamName) -> bool {
        let mut names = self.names.borrow_mut();
        let noted = self.are_wanted.get() && names.len() < REGISTRATIONS_MAX;
        if noted {
            names.push(name.clone());
        }
        noted
    }

    /// Those since this was asked last. Bundles that are asked for before have
    /// no other stream.
    pub fn take(&self) -> Vec<StreamName> {
        self.names.take()
    }
}
