//! The clients: what was read of them, and who is read next.

use std::fmt;
use std::io;

use super::{AHEAD_WAIT_NS, Command, Machine, Stopped, Taken};
use crate::chain::Chain;
use crate::core::ClientKey;
use crate::core::clients::{Client, Ends, Phase, Reads};
use crate::keys::StreamKey;
use crate::limits::AHEAD_BUNDLES;
use crate::time::Moment;

impl<C, L> Machine<C, L> {
    /// Takes what can be read from `edge` as a stream that is open already.
    pub fn attach(&mut self, now: &Moment, stream: StreamKey, edge: C) -> ClientKey {
        let client = self.clients.insert(edge, Phase::Stream(stream));
        self.read_on(now, client, false);
        client
    }

    /// Who looks at the client's stream takes no more for now, or takes more
    /// again. What ends is read to its end, whoever looks at it.
    pub fn hold_back(&mut self, client: ClientKey, held_back: bool) {
        if let Some(known) = self.clients.find_mut(client) {
            known.held_back = held_back;
        }
    }

    /// May data be read? Not beyond what may be buffered; and while the output
    /// keeps taking bundles at a good pace, not far ahead of it either: what
    /// it sends is then still in the cache.
    pub fn may_read(&self, now: &Moment) -> bool {
        let far_ahead = self.core.is_ahead_by(AHEAD_BUNDLES);
        self.core.may_read() && !(far_ahead && now.mono_ns < self.output_took_ns + AHEAD_WAIT_NS)
    }

    /// The client can be read.
    pub fn readable(&mut self, now: &Moment, client: ClientKey) {
        let known = self.clients.get(client);
        known.reads = Reads::Idle;
        match known.ends {
            Ends::After(0) | Ends::Now => self.over(now, client),
            Ends::Measured => self.measure(client),
            Ends::After(_) | Ends::ByClient => self.wait_in_header(now, client),
        }
    }

    /// A client with an unfinished header can be read: it is when it is its turn.
    fn wait_in_header(&mut self, now: &Moment, client: ClientKey) {
        self.clients.get(client).reads = Reads::Waiting;
        self.headers.readable(client, now.mono_ns);
        self.grant_headers(now);
    }

    pub(super) fn grant_headers(&mut self, now: &Moment) {
        while self.may_read(now)
            && let Some(client) = self.headers.grant()
        {
            self.read(client, true);
        }
    }

    pub(super) fn read(&mut self, client: ClientKey, ready: bool) {
        self.clients.get(client).reads = Reads::Armed;
        self.command(Command::Read { client, ready });
    }

    /// The client's data was read, and is kept by the edge, because nothing
    /// [may be read](Self::may_read).
    pub fn parked(&mut self, client: ClientKey) {
        self.clients.get(client).reads = Reads::Parked;
    }

    /// May what was read of the client be handed on?
    pub fn takes_data(&self, now: &Moment, client: ClientKey) -> bool {
        // Who is given up can't wait until there is room.
        let known = self.clients.find(client);
        known.is_some_and(|known| known.ends == Ends::Now) || self.may_read(now)
    }

    /// Data of the client was read. `more`: there is more, as far as is known.
    pub fn data(&mut self, now: &Moment, client: ClientKey, bytes: &[u8], more: bool) -> Taken {
        let known = self.clients.get(client);
        known.reads = Reads::Idle;
        if known.ends == Ends::Now {
            // The cancellation came too late.
            self.over(now, client);
            return Taken::All;
        }
        self.largest_read = self.largest_read.max(Some(bytes.len()));
        match &mut known.phase {
            Phase::Stream(stream) => {
                let stream = *stream;
                if let Ends::After(left) = &mut known.ends {
                    *left = left.saturating_sub(bytes.len() as u64);
                }
                if let Err(error) = self.core.data(now, stream, bytes) {
                    let name = self.core.name(stream).map_or("", |name| name.as_str());
                    log::error!("stream {name} ends: {error}");
                    self.give_up(now, client);
                } else {
                    self.read_on(now, client, more);
                }
                Taken::All
            }
            Phase::Header(_) => self.header_data(now, client, bytes, more),
            Phase::Abandoned => unreachable!("who is abandoned is given up"),
        }
    }

    fn header_data(&mut self, now: &Moment, client: ClientKey, bytes: &[u8], more: bool) -> Taken {
        let known = self.clients.get(client);
        let Phase::Header(reader) = &mut known.phase else {
            unreachable!("its header is not complete")
        };
        let pushed = reader.push(bytes);
        let held = reader.buffered();
        if let Ends::After(left) = &mut known.ends {
            let used = pushed.as_ref().map_or(bytes.len(), |complete| {
                complete.as_ref().map_or(bytes.len(), |(_, used)| *used)
            });
            *left = left.saturating_sub(used as u64);
        }
        match pushed {
            Ok(None) => {
                self.headers.came(client, now.mono_ns, held);
                self.grant_headers(now);
                self.read_on(now, client, more);
                Taken::All
            }
            Ok(Some((properties, used))) => {
                self.headers.over(client);
                match self.core.open(now, &properties) {
                    Ok(stream) => {
                        self.clients.get(client).phase = Phase::Stream(stream);
                        self.grant_headers(now);
                        Taken::Header { used, stream }
                    }
                    Err(error) => {
                        log::error!("stream refused: {error}");
                        self.turn_away(now, client);
                        Taken::All
                    }
                }
            }
            Err(error) => {
                self.refuse(now, client, &Chain(&error));
                Taken::All
            }
        }
    }

    /// Asks for the client's next read, at once or when there is room.
    pub(super) fn read_on(&mut self, now: &Moment, client: ClientKey, more: bool) {
        let may_read = self.may_read(now);
        let known = self.clients.get(client);
        match known.ends {
            Ends::After(0) | Ends::Now => return self.over(now, client),
            Ends::Measured => return self.measure(client),
            Ends::After(_) | Ends::ByClient => {}
        }
        if matches!(known.phase, Phase::Header(_)) {
            return match more {
                true => self.wait_in_header(now, client),
                false => {
                    known.reads = Reads::Armed;
                    self.command(Command::Await(client));
                }
            };
        }
        if let Phase::Stream(stream) = known.phase
            && (known.held_back || self.core.is_held_up(stream))
            && known.ends == Ends::ByClient
            && !self.ending
        {
            return self.clients.hold(client);
        }
        match (may_read, more) {
            (false, _) => self.clients.wait(client),
            (true, true) => self.clients.queue(client),
            (true, false) => self.read(client, false),
        }
    }

    /// Nothing more came of the client, for now or for ever.
    pub fn ended(&mut self, now: &Moment, client: ClientKey, why: Stopped) {
        let known = self.clients.get(client);
        known.reads = Reads::Idle;
        match why {
            Stopped::AtEnd => {
                known.at_end = true;
                self.over(now, client);
            }
            Stopped::Cancelled | Stopped::NoBuffer | Stopped::Again
                if known.ends == Ends::Measured =>
            {
                self.measure(client);
            }
            Stopped::Cancelled => self.over(now, client),
            _ if known.ends == Ends::Now => self.over(now, client),
            Stopped::Failed(error) => self.failed(now, client, &error),
            Stopped::NoBuffer | Stopped::Again if matches!(known.phase, Phase::Header(_)) => {
                let held = match &known.phase {
                    Phase::Header(reader) => reader.buffered(),
                    _ => 0,
                };
                self.headers.came(client, now.mono_ns, held);
                self.read_on(now, client, matches!(why, Stopped::NoBuffer));
            }
            Stopped::NoBuffer => self.clients.queue(client),
            Stopped::Again => self.read(client, false),
        }
    }

    /// The client can't be read.
    fn failed(&mut self, now: &Moment, client: ClientKey, error: &io::Error) {
        match &self.clients.get(client).phase {
            Phase::Stream(stream) => {
                let name = self.core.name(*stream).map_or("", |name| name.as_str());
                log::warn!("stream {name}: reading failed, it ends here: {error}");
                self.core.stats_mut().read_errors += 1;
                self.over(now, client);
            }
            Phase::Header(_) => self.refuse(now, client, error),
            Phase::Abandoned => self.over(now, client),
        }
    }

    /// The client of an unfinished header is turned away.
    pub(super) fn refuse(&mut self, now: &Moment, client: ClientKey, why: &dyn fmt::Display) {
        log::error!("stream refused: {why}");
        self.core.stats_mut().streams_refused += 1;
        self.turn_away(now, client);
    }

    pub(super) fn turn_away(&mut self, now: &Moment, client: ClientKey) {
        self.clients.get(client).phase = Phase::Abandoned;
        self.headers.over(client);
        self.grant_headers(now);
        self.give_up(now, client);
    }

    /// Ends a client from our side: as soon as its read, if there is one, comes
    /// back.
    pub(super) fn give_up(&mut self, now: &Moment, client: ClientKey) {
        let known = self.clients.get(client);
        known.ends = Ends::Now;
        match known.reads {
            Reads::Armed => self.command(Command::Cancel(client)),
            // The driver finds out when it looks at what it has.
            Reads::Parked => {}
            Reads::Idle | Reads::Waiting => self.over(now, client),
        }
    }

    /// A client is over: its stream ends, its descriptor is closed.
    pub(super) fn over(&mut self, now: &Moment, client: ClientKey) {
        let Some(known) = self.clients.remove(client) else {
            return;
        };
        let Client {
            edge,
            phase,
            at_end,
            ..
        } = known;
        let had_header = matches!(phase, Phase::Header(_));
        self.phase_over(now, client, phase);
        if had_header {
            self.grant_headers(now);
        }
        self.listeners.descriptor_is_free();
        self.changes += 1;
        self.command(Command::Close {
            client,
            edge,
            unread: !at_end,
        });
    }

    /// Nothing more comes of what the client was.
    pub(super) fn phase_over(&mut self, now: &Moment, client: ClientKey, phase: Phase) {
        match phase {
            // That was told already.
            Phase::Abandoned => {}
            Phase::Stream(stream) => self.core.end(now, stream),
            Phase::Header(reader) => {
                self.headers.over(client);
                // Somebody who only tried whether we listen is no stream.
                if reader.buffered() > 0 {
                    log::error!("stream refused: {}", reader.end());
                    self.core.stats_mut().streams_refused += 1;
                }
            }
        }
    }
}
