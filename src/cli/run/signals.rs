//! Signals while a command runs: they are the command's, and ours.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::capture::Shown;
use super::relay::{Act, HANDED_ON, Relay};
use crate::cli::options::Common;
use crate::cli::session::{self, SessionError};
use crate::limits::LAST_OFFER_STEP;
use crate::process::ignored::Ignored;
use crate::process::signals::{Arrival, Arrivals, Caught};
use crate::{Butler, Report};
use crate::{
    edge::clock,
    process::{orphans, witness},
};

/// What must be there before anything else is: the first signal may come at
/// once, and the witness takes along what it finds.
#[derive(Debug)]
pub(in crate::cli) struct Prepared {
    ignored: Ignored,
    caught: Caught,
    witness: Option<witness::Witness>,
}

impl Prepared {
    pub fn new() -> io::Result<Self> {
        // Then SIGCHLD can be caught.
        let ignored = Ignored::as_found();
        let all: Vec<_> = HANDED_ON
            .into_iter()
            .chain(session::WITHOUT_EFFECT)
            .chain([Signal::CHILD])
            .collect();
        Ok(Self {
            ignored,
            caught: Caught::new(&all)?,
            witness: told("a witness", witness::Witness::new()),
        })
    }
}

/// Without it we go on.
fn told<T>(what: &str, result: io::Result<T>) -> Option<T> {
    if let Err(error) = &result {
        log::debug!("{what} of signals to the group: {error}");
    }
    result.ok()
}

/// The signals that a child is to get instead of us.
#[derive(Debug)]
pub(super) struct ChildSignals {
    ignored: Ignored,
    arrivals: Arrivals,
    witness: Option<witness::Listening>,
    relay: Relay,
    command: Option<Pid>,
    /// By a signal, once at least.
    asked_to_end: bool,
    /// Nobody is waited for any more.
    end_now: bool,
}

impl ChildSignals {
    pub fn new(prepared: Prepared) -> io::Result<Self> {
        let witness = prepared.witness;
        Ok(Self {
            ignored: prepared.ignored,
            arrivals: prepared.caught.arrivals()?,
            witness: witness.and_then(|witness| told("listening to a witness", witness.listen())),
            relay: Relay::new(witness::leads_session()),
            command: None,
            asked_to_end: false,
            end_now: false,
        })
    }

    /// Takes the next signal; is there something to do at once?
    async fn next(&mut self) -> Option<Act> {
        let arrival = self.arrivals.next().await;
        self.take(arrival)
    }

    fn take(&mut self, arrival: Arrival) -> Option<Act> {
        if arrival.signal == Signal::CHILD {
            orphans::reap(self.command);
            return None;
        }
        let act = self.relay.arrived(arrival, clock::mono_ns());
        self.asked_to_end |= act == Some(Act::SendStaged);
        self.end_now |= act == Some(Act::EndNow);
        act
    }

    /// Opens the butler, unless a signal comes that asks for the end.
    pub async fn open(&mut self, common: &Common) -> Result<Butler, SessionError> {
        session::keep_secrets(common);
        let mut opening = std::pin::pin!(Butler::open(common.config.clone()));
        loop {
            tokio::select! {
                opened = &mut opening => return opened.map_err(SessionError::from),
                act = self.next() => if act == Some(Act::EndNow) {
                    return Err(SessionError::Interrupted);
                }
            }
        }
    }

    /// Lets the command ignore what we were started with ignored.
    pub fn hand_on_ignored(&self, command: &mut Command) {
        self.ignored.hand_on(command);
    }

    /// The command is about to begin, unless a signal has come that asks for
    /// the end.
    pub fn begin(&mut self) -> Result<(), SessionError> {
        while let Some(arrival) = self.arrivals.take() {
            if self.take(arrival) == Some(Act::EndNow) {
                return Err(SessionError::Interrupted);
            }
        }
        self.relay.begins(clock::mono_ns());
        Ok(())
    }

    /// The command has begun, and ends with us from now on.
    pub fn begun(&mut self, child: &Child) {
        self.command = child.id().and_then(|id| Pid::from_raw(id as i32));
        if let (Some(witness), Some(command)) = (&self.witness, self.command) {
            told(
                "entrusting the command to the witness",
                witness.entrust(command),
            );
        }
    }

    /// Waits for the child, and hands it the signals that come for it. A demand
    /// that is made once more ends both of us at once.
    pub async fn wait_for(&mut self, child: &mut Child, butler: &Butler) -> io::Result<ExitStatus> {
        let status = loop {
            let due = self.relay.due_ns();
            tokio::select! {
                status = child.wait() => break status,
                act = self.next() => match act {
                    None => {}
                    Some(Act::SendStaged) => butler.stop_buffering(),
                    Some(Act::TellStatistics) => session::tell_statistics(butler),
                    Some(Act::EndNow) => match child.start_kill() {
                        Ok(()) => break child.wait().await,
                        // Another user's, as after sudo: it is waited for.
                        Err(error) => log::warn!("can't kill the command: {error}"),
                    }
                },
                () = clock::sleep_until(due) => self.hand_on().await,
            }
        };
        self.command = None;
        self.relay.ended();
        if let Some(witness) = &self.witness {
            witness.send_away();
        }
        orphans::reap(None);
        if self.end_now {
            butler.abort();
        }
        status
    }

    /// Hands on what is due.
    async fn hand_on(&mut self) {
        let Some(command) = self.command else {
            return;
        };
        let witnessed = match &mut self.witness {
            Some(witness) => witness.ask().await,
            None => None,
        };
        let in_group = witness::is_in_our_group(command);
        for signal in self.relay.settle(clock::mono_ns(), witnessed, in_group) {
            if let Err(error) = kill_process(command, signal) {
                log::warn!("can't pass a signal on: {error}");
            }
        }
    }

    /// Waits for the butler's end once the child has ended.
    pub async fn wait_for_end(&mut self, butler: &Butler) -> Result<Report, crate::Error> {
        let mut ended = std::pin::pin!(butler.wait());
        loop {
            tokio::select! {
                result = &mut ended => return result,
                act = self.next() => match act {
                    None => {}
                    Some(Act::SendStaged) => butler.stop_buffering(),
                    Some(Act::TellStatistics) => session::tell_statistics(butler),
                    Some(Act::EndNow) => butler.abort(),
                },
            }
        }
    }

    /// Waits until all is shown, as tee(1) does. Once we were asked to end, no
    /// longer than somebody takes something within `patience`; the second time,
    /// no longer than it takes to take what is there.
    pub async fn wait_until_shown(
        &mut self,
        butler: &Butler,
        shown: &mut Shown,
        patience: Duration,
    ) {
        while !self.end_now {
            if self.asked_to_end {
                shown.lose_patience(patience);
            }
            tokio::select! {
                biased;
                () = shown.wait() => return,
                act = self.next() => if act == Some(Act::TellStatistics) {
                    session::tell_statistics(butler);
                }
            }
        }
        let _ = tokio::time::timeout(LAST_OFFER_STEP, shown.wait()).await;
        shown.give_up();
    }
}
