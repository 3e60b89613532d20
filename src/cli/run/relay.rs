//! What is done at a signal, from the beginning of `run` to its end, and which
//! signals the command is still to get. It decides, and does nothing.

use rustix::process::Signal;

use crate::cli::demands::{Demand, Demands};
use crate::process::signals::Arrival;
use crate::process::witness::SignalSet;

/// What the command would get without us.
pub(super) const HANDED_ON: [Signal; 6] = [
    Signal::TERM,
    Signal::INT,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
];

/// How long a signal is held before it is handed on. Whoever sends it to us may
/// be about to send it to the group as well (timeout(1)), or to every process
/// that there is (a service manager): then the command gets it without us.
const HOLD_NS: u64 = 20_000_000;

/// How far `run` has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// There is no command yet.
    Opening,
    /// There is one, since then.
    Command { began_ns: u64 },
    /// It has ended.
    Ending,
}

/// What is to be done at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Send what is staged: the end may come soon.
    SendStaged,
    /// Wait for nobody, neither the command nor the output.
    EndNow,
    /// Tell the statistics.
    TellStatistics,
}

/// A signal that the command may have to get.
#[derive(Debug)]
struct Held {
    arrival: Arrival,
    due_ns: u64,
    /// The command has got it without us.
    settled: bool,
}

/// See the module. Times are on the monotonic clock.
#[derive(Debug)]
pub(super) struct Relay {
    phase: Phase,
    /// We lead the session: a terminal that hangs up tells that to us alone.
    leads_session: bool,
    held: Vec<Held>,
    terminate: Demands,
    interrupt: Demands,
    /// Of both kinds.
    all: Demands,
}

impl Relay {
    pub fn new(leads_session: bool) -> Self {
        Self {
            phase: Phase::Opening,
            leads_session,
            held: Vec::new(),
            terminate: Demands::default(),
            interrupt: Demands::default(),
            all: Demands::default(),
        }
    }

    /// The command is about to begin.
    pub fn begins(&mut self, now_ns: u64) {
        self.phase = Phase::Command { began_ns: now_ns };
    }

    /// The command has ended.
    pub fn ended(&mut self) {
        self.phase = Phase::Ending;
        self.held.clear();
    }

    /// A signal has come; is there something to do at once?
    pub fn arrived(&mut self, arrival: Arrival, now_ns: u64) -> Option<Act> {
        match (self.phase, arrival.signal) {
            (Phase::Opening, Signal::TERM | Signal::INT | Signal::HUP | Signal::QUIT) => {
                Some(Act::EndNow)
            }
            (Phase::Opening, _) => None,
            (Phase::Ending, Signal::USR1) => Some(Act::TellStatistics),
            (_, Signal::TERM | Signal::INT) => self.demanded(arrival, now_ns),
            (Phase::Command { .. }, signal) => {
                if HANDED_ON.contains(&signal) {
                    self.hold(arrival);
                }
                None
            }
            (Phase::Ending, _) => None,
        }
    }

    fn demanded(&mut self, arrival: Arrival, now_ns: u64) -> Option<Act> {
        let all = self.all.take(arrival.at_ns, now_ns);
        let of_its_kind = match arrival.signal {
            Signal::TERM => &mut self.terminate,
            _ => &mut self.interrupt,
        }
        .take(arrival.at_ns, now_ns);
        // While the command lives, another signal than before is for it to
        // answer: a job that is interrupted, and then terminated, may still be
        // cleaning up.
        let again = match self.phase {
            Phase::Command { .. } => of_its_kind,
            Phase::Opening | Phase::Ending => all,
        };
        if again == Demand::Again {
            return Some(Act::EndNow);
        }
        if of_its_kind == Demand::First && matches!(self.phase, Phase::Command { .. }) {
            self.hold(arrival);
        }
        (all == Demand::First).then_some(Act::SendStaged)
    }

    fn hold(&mut self, arrival: Arrival) {
        let held = self
            .held
            .iter()
            .any(|held| held.arrival.signal == arrival.signal && arrival.at_ns <= held.due_ns);
        if !held {
            self.held.push(Held {
                arrival,
                due_ns: arrival.at_ns + HOLD_NS,
                settled: false,
            });
        }
    }

    /// When [`settle`](Self::settle) has something to do.
    pub fn due_ns(&self) -> Option<u64> {
        self.held.iter().map(|held| held.due_ns).min()
    }

    /// The signals that the command is to get now. `witnessed`: what the whole
    /// group has got since this was last called, if that is known. `in_group`:
    /// the command is in it.
    pub fn settle(
        &mut self,
        now_ns: u64,
        witnessed: Option<SignalSet>,
        in_group: bool,
    ) -> Vec<Signal> {
        let began_ns = match self.phase {
            Phase::Command { began_ns } => began_ns,
            Phase::Opening | Phase::Ending => return Vec::new(),
        };
        for held in &mut self.held {
            let Arrival {
                signal, by_kernel, ..
            } = held.arrival;
            let by_itself = match witnessed {
                // A terminal means those who are in front, and the command may
                // choose not to be. A process may mean us as well.
                Some(group) => group.contains(signal) && (in_group || by_kernel),
                None => by_kernel && !(signal == Signal::HUP && self.leads_session),
            };
            held.settled |= by_itself && held.arrival.at_ns >= began_ns;
        }
        let due = self.held.extract_if(.., |held| held.due_ns <= now_ns);
        due.filter(|held| !held.settled)
            .map(|held| held.arrival.signal)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    /// When the command began.
    const BEGAN: u64 = 1000 * MS;

    fn arrival(signal: Signal, at_ms: u64) -> Arrival {
        Arrival {
            signal,
            by_kernel: false,
            at_ns: BEGAN + at_ms * MS,
        }
    }

    fn with_command() -> Relay {
        let mut relay = Relay::new(false);
        relay.begins(BEGAN);
        relay
    }

    impl Relay {
        fn at(&mut self, signal: Signal, at_ms: u64) -> Option<Act> {
            let arrival = arrival(signal, at_ms);
            self.arrived(arrival, arrival.at_ns)
        }

        fn settle_at(&mut self, at_ms: u64, witnessed: Option<&[Signal]>) -> Vec<Signal> {
            self.settle(BEGAN + at_ms * MS, witnessed.map(SignalSet::of), true)
        }
    }

    #[test]
    fn one_for_us_is_handed_on_and_one_for_the_group_is_not() {
        for signal in HANDED_ON {
            let mut relay = with_command();
            let act = relay.at(signal, 5);
            let demand = [Signal::TERM, Signal::INT].contains(&signal);
            assert_eq!(act, demand.then_some(Act::SendStaged));
            assert_eq!(relay.due_ns(), Some(BEGAN + 25 * MS));
            assert_eq!(relay.settle_at(24, Some(&[])), []);
            assert_eq!(relay.settle_at(25, Some(&[Signal::WINCH])), [signal]);
            assert_eq!(relay.due_ns(), None);

            let mut relay = with_command();
            relay.at(signal, 5);
            assert_eq!(relay.settle_at(25, Some(&[signal])), []);
        }
    }

    /// timeout(1): to its child, and then to the group.
    #[test]
    fn what_the_group_gets_a_little_later_is_the_same() {
        for signal in HANDED_ON {
            let mut relay = with_command();
            relay.at(signal, 0);
            assert_eq!(relay.at(signal, 3), None);
            assert_eq!(relay.settle_at(20, Some(&[signal])), [], "{signal:?}");
            assert_eq!(relay.due_ns(), None);
        }
    }

    /// Who asks about one signal learns of others that are not due yet.
    #[test]
    fn what_is_witnessed_early_is_remembered() {
        let mut relay = with_command();
        relay.at(Signal::HUP, 0);
        relay.at(Signal::USR1, 15);
        assert_eq!(relay.settle_at(20, Some(&[Signal::USR1])), [Signal::HUP]);
        assert_eq!(relay.settle_at(35, Some(&[])), []);
    }

    #[test]
    fn every_other_signal_counts() {
        let mut relay = with_command();
        for at_ms in [0, 100, 200] {
            assert_eq!(relay.at(Signal::USR1, at_ms), None);
            assert_eq!(relay.settle_at(at_ms + 20, Some(&[])), [Signal::USR1]);
        }
        assert_eq!(relay.at(Signal::ALARM, 300), None);
        assert_eq!(relay.due_ns(), None);
    }

    #[test]
    fn only_the_same_demand_made_again_cuts() {
        let mut relay = with_command();
        assert_eq!(relay.at(Signal::INT, 0), Some(Act::SendStaged));
        assert_eq!(relay.settle_at(20, Some(&[])), [Signal::INT]);
        assert_eq!(relay.at(Signal::INT, 900), None);
        assert_eq!(relay.due_ns(), None, "it is the same one");
        assert_eq!(relay.at(Signal::TERM, 1500), None);
        assert_eq!(relay.settle_at(1520, Some(&[])), [Signal::TERM]);
        assert_eq!(relay.at(Signal::TERM, 2400), None);
        assert_eq!(relay.settle_at(2420, Some(&[])), []);
        assert_eq!(relay.at(Signal::TERM, 2500), Some(Act::EndNow));
    }

    #[test]
    fn without_a_command_any_two_demands_are_enough() {
        let mut relay = with_command();
        assert_eq!(relay.at(Signal::INT, 0), Some(Act::SendStaged));
        relay.ended();
        assert_eq!(relay.due_ns(), None);
        assert_eq!(relay.at(Signal::HUP, 500), None);
        assert_eq!(relay.at(Signal::TERM, 900), None);
        assert_eq!(relay.at(Signal::USR1, 950), Some(Act::TellStatistics));
        assert_eq!(relay.at(Signal::TERM, 1000), Some(Act::EndNow));
    }

    #[test]
    fn before_there_is_a_command() {
        for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
            assert_eq!(Relay::new(false).at(signal, 0), Some(Act::EndNow));
        }
        for signal in [Signal::USR1, Signal::USR2, Signal::ALARM] {
            assert_eq!(Relay::new(false).at(signal, 0), None);
        }
        // The whole group had it, and the command was not there.
        let mut relay = with_command();
        let early = Arrival {
            at_ns: BEGAN - 1,
            ..arrival(Signal::TERM, 0)
        };
        relay.arrived(early, BEGAN + MS);
        assert_eq!(relay.settle_at(20, Some(&[Signal::TERM])), [Signal::TERM]);
    }

    #[test]
    fn without_a_witness_the_kernel_means_the_group() {
        for (signal, by_kernel, leads_session, handed_on) in [
            (Signal::INT, true, false, false),
            (Signal::INT, true, true, false),
            (Signal::HUP, true, false, false),
            (Signal::HUP, true, true, true),
            (Signal::TERM, false, false, true),
        ] {
            let mut relay = Relay::new(leads_session);
            relay.begins(BEGAN);
            let arrival = Arrival {
                by_kernel,
                ..arrival(signal, 0)
            };
            relay.arrived(arrival, BEGAN);
            let expected: &[_] = if handed_on { &[signal] } else { &[] };
            assert_eq!(relay.settle_at(20, None), expected, "{signal:?}");
        }
    }

    #[test]
    fn a_command_that_has_left_the_group() {
        for by_kernel in [false, true] {
            let mut relay = with_command();
            let arrival = Arrival {
                by_kernel,
                ..arrival(Signal::INT, 0)
            };
            relay.arrived(arrival, BEGAN);
            let group = Some(SignalSet::of(&[Signal::INT]));
            let expected: &[_] = if by_kernel { &[] } else { &[Signal::INT] };
            assert_eq!(relay.settle(BEGAN + 20 * MS, group, false), expected);
        }
    }
}
