//! Who may open streams: a connection of anybody else is closed unread.

use std::fmt;

/// How long the log is silent after it told of somebody who was turned away.
const TELL_AGAIN_NS: u64 = 10_000_000_000;

/// Root may do anything anyway.
const ROOT: u32 = 0;

/// The users who may connect to a listener: our own and root, and those that are
/// added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Users {
    own: u32,
    others: Vec<u32>,
    /// See [`allowed_by`](Self::allowed_by).
    allowed_by: Option<&'static str>,
}

impl Users {
    /// The user of that number, and root.
    pub fn only(own: u32) -> Self {
        Self {
            own,
            others: Vec::new(),
            allowed_by: None,
        }
    }

    /// These as well, by their numbers.
    #[must_use]
    pub fn and(mut self, uids: impl IntoIterator<Item = u32>) -> Self {
        self.others.extend(uids);
        self
    }

    /// What adds a user, in the words of the program that listens: where it is
    /// told that one was turned away, this and the user's number stand beside it.
    #[must_use]
    pub fn allowed_by(mut self, what: &'static str) -> Self {
        self.allowed_by = Some(what);
        self
    }

    /// Nobody but our own user and root.
    pub(crate) fn is_private(&self) -> bool {
        self.others.iter().all(|uid| self.are_always(*uid))
    }

    fn are_always(&self, uid: u32) -> bool {
        uid == self.own || uid == ROOT
    }

    fn admit(&self, uid: u32) -> bool {
        self.are_always(uid) || self.others.contains(&uid)
    }
}

/// Who is at the other end of a connection, as it was when they connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Not known for a process of a PID namespace that we can't see into.
    pub pid: Option<u32>,
    /// The user.
    pub uid: u32,
}

/// Looks at everybody who comes in, over all listeners.
#[derive(Debug, Default)]
pub(super) struct Door {
    /// Turned away.
    refused: u64,
    /// As many of them have been told of, and when that was.
    told: Option<(u64, u64)>,
}

impl Door {
    /// How many were turned away.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// May this one come in? `peer` may not be known, for a reason.
    pub fn admits(
        &mut self,
        now_ns: u64,
        users: &Users,
        peer: &Result<Peer, impl fmt::Display>,
    ) -> bool {
        let why = match peer {
            Ok(peer) if users.admit(peer.uid) => return true,
            Ok(Peer { pid, uid }) => {
                let process = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
                let advice = users
                    .allowed_by
                    .map_or_else(String::new, |what| format!("; {what} {uid} would let them"));
                format!("user {uid}{process} may not{advice}")
            }
            Err(error) => format!("who it is can't be found out: {error}"),
        };
        self.refused += 1;
        let (before, told_ns) = self.told.unzip();
        // Whoever tries all the time must not fill the log.
        if told_ns.is_none_or(|at| now_ns >= at + TELL_AGAIN_NS) {
            let more = self.refused - before.unwrap_or(0) - 1;
            let others = match more {
                0 => String::new(),
                more => format!(" ({more} more since this was told last)"),
            };
            log::error!("a connection is refused: {why}{others}");
            self.told = Some((self.refused, now_ns));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_who_may() {
        let own = Users::only(1000);
        assert!(own.is_private() && own.admit(1000) && own.admit(0));
        assert!(!own.admit(1001));
        let more = own.clone().and([1001]);
        assert!(more.admit(1001) && !more.admit(1002) && !more.is_private());
        assert!(own.clone().and([0, 1000]).is_private());
    }

    #[test]
    fn each_is_counted_and_few_are_told() {
        let own = Users::only(1000);
        let mut door = Door::default();
        let peer = |uid| Ok::<_, &str>(Peer { pid: None, uid });
        assert!(door.admits(0, &own, &peer(1000)));
        // What is no socket has nobody at its other end.
        for at in 1..=3 {
            assert!(!door.admits(at, &own, &Err("no socket")));
        }
        assert_eq!((door.refused(), door.told), (3, Some((1, 1))));
        assert!(!door.admits(1 + TELL_AGAIN_NS, &own, &peer(7)));
        assert_eq!(door.told, Some((4, 1 + TELL_AGAIN_NS)));
    }
}
