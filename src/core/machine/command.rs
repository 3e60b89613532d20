//! What the edge is told to do, and what it answers.

use std::io;

#[cfg(doc)]
use crate::core::Machine;
use crate::core::{ClientKey, ListenerKey, Peer};

/// What the edge is to do. `C` and `L` are what the edge
/// keeps of a client and a listener.
#[derive(Debug)]
pub enum Command<C, L> {
    /// Reads once of the client. `ready`: it has data, as far as is known.
    /// Answered in time by [`Machine::data`] or [`Machine::ended`].
    Read {
        /// Who is read.
        client: ClientKey,
        /// See there.
        ready: bool,
    },
    /// Waits until the client can be read, and reads nothing. Answered in time
    /// by [`Machine::readable`] or [`Machine::ended`].
    Await(ClientKey),
    /// What is under way for the client comes back soon, if only with
    /// [`Stopped::Cancelled`].
    Cancel(ClientKey),
    /// The reads of the client come to an end after what was written to it so
    /// far. Answered at once by [`Machine::ends`].
    End(ClientKey),
    /// Looks which of the clients may still be written to. Answered at once by
    /// [`Machine::are_written`].
    LookWhoWrites(Vec<ClientKey>),
    /// Closes a client's descriptor. `unread`: it was not read to its end.
    Close {
        /// Who it was.
        client: ClientKey,
        /// What the edge knows of it.
        edge: C,
        /// See there.
        unread: bool,
    },
    /// Accepts whoever connects, and keeps some descriptors back for the output
    /// meanwhile. If these can't be had: `insist` or [`Machine::no_spare`].
    Accept {
        /// Where.
        listener: ListenerKey,
        /// Next to nobody is served: better without than not at all.
        insist: bool,
    },
    /// The listener's accepting comes back soon.
    CancelAccept(ListenerKey),
    /// Accepts one of those who wait already, with descriptors kept back as above.
    /// Answered at once by [`Machine::accepted`], [`Machine::not_accepted`],
    /// [`Machine::nobody_waits`] or [`Machine::no_spare`].
    AcceptWaiting {
        /// Where.
        listener: ListenerKey,
        /// Next to nobody is served: better without than not at all.
        insist: bool,
    },
    /// Lets go of the descriptors that are kept back for the output.
    DropSpare,
    /// Nobody finds the listener any more.
    Unlink(ListenerKey),
    /// Closes the listener.
    CloseListener {
        /// Which it was.
        listener: ListenerKey,
        /// What the edge knows of it.
        edge: L,
    },
}

/// Why nothing more came of a client.
#[derive(Debug)]
pub enum Stopped {
    /// All was read: it has closed its end.
    AtEnd,
    /// It was [cancelled](Command::Cancel).
    Cancelled,
    /// It has data, but there was no buffer for it.
    NoBuffer,
    /// Nothing is wrong: it must be asked for again.
    Again,
    /// It can't be read.
    Failed(io::Error),
}

/// Why nobody could be accepted.
#[derive(Debug)]
pub enum NotAccepted {
    /// There is no descriptor, or no memory, for anybody.
    Exhausted(io::Error),
    /// It is about this one alone, who is gone again.
    Gone,
    /// Accepting was [cancelled](Command::CancelAccept).
    Cancelled,
    /// The listener does not work.
    Failed(io::Error),
}

/// Somebody who has connected, as far as the kernel knows.
#[derive(Debug)]
pub struct Visitor {
    /// Who it is, if that can be found out.
    pub peer: io::Result<Peer>,
    /// Descriptors have come over the connection: that is why it is refused.
    pub refused: Option<io::Error>,
    /// This was the last descriptor that the process may have.
    pub last: bool,
}
