//! The virtual edge: drives the core as the engine does, in the same order,
//! on the virtual kernel.

use std::collections::VecDeque;
use std::sync::Arc;

use butler::StreamInfo;
use butler::core::Core;
use butler::limits::{AHEAD_BUNDLES, AHEAD_WAIT, HEADER_TIMEOUT};
use butler::stream::StreamKey;
use butler::time::Moment;
use butler::wire::header::HeaderReader;

use crate::broken::Broken;
use crate::chance::Chance;
use crate::kernel::Kernel;
use crate::listener::Listener;
use crate::plan::Fault;
use crate::trace::Trace;

/// The output takes one bundle at a time.
const AT_ONCE: usize = 1;
const AHEAD_WAIT_NS: u64 = AHEAD_WAIT.as_nanos() as u64;

/// What the rest of the world is to a round of the edge.
pub struct Around<'a> {
    pub core: &'a mut Core,
    pub kernel: &'a mut Kernel,
    pub chance: &'a mut Chance,
    pub trace: &'a mut Trace,
    pub now: &'a Moment,
}

/// A stream that was opened.
#[derive(Debug)]
pub struct Opened {
    pub client: usize,
    pub info: Arc<StreamInfo>,
    /// Bytes of the header, and of what was read and never handed to the core
    /// because it had to stop.
    pub not_data: usize,
    /// It ended before what was in its socket was read.
    pub cut_short: bool,
}

#[derive(Debug)]
enum Phase {
    Header(HeaderReader, u64),
    Stream(StreamKey, usize),
}

#[derive(Debug)]
struct Connection {
    client: usize,
    phase: Phase,
    /// A read is under way; else one is wanted when there is room.
    armed: bool,
}

#[derive(Debug)]
pub struct Edge {
    connections: Vec<Connection>,
    listener: Listener,
    /// Read, but there was no room for it.
    parked: VecDeque<(usize, Vec<u8>)>,
    /// Connections end after what is there, also those that come yet.
    ending: bool,
    /// When the output last took a bundle.
    pub output_took_ns: u64,
    pub opened: Vec<Opened>,
}

impl Edge {
    pub fn new() -> Self {
        Self {
            connections: Vec::new(),
            listener: Listener::default(),
            parked: VecDeque::new(),
            ending: false,
            output_took_ns: 0,
            opened: Vec::new(),
        }
    }

    pub fn is_idle(&self) -> bool {
        self.connections.is_empty()
    }

    pub fn is_closed(&self) -> bool {
        self.listener.is_closed()
    }

    fn may_read(&self, core: &Core, chance: &Chance, now_ns: u64) -> bool {
        if chance.broken == Some(Broken::ReadsOn) {
            return true;
        }
        let ahead = core.messages_waiting() >= AT_ONCE + AHEAD_BUNDLES;
        core.may_read() && !(ahead && now_ns < self.output_took_ns + AHEAD_WAIT_NS)
    }

    /// Would a round do anything?
    pub fn has_work(&self, core: &Core, kernel: &Kernel, chance: &Chance, now: &Moment) -> bool {
        let readable = |it: &Connection| it.armed && kernel.sockets[it.client].is_readable();
        let waits = !self.parked.is_empty() || self.connections.iter().any(|it| !it.armed);
        self.connections.iter().any(readable)
            || self.listener.has_work(kernel)
            || waits && self.may_read(core, chance, now.mono_ns)
            || self.due(core, now).is_some_and(|due| due <= now.mono_ns)
    }

    /// When the next round is due for reasons of time.
    pub fn due(&self, core: &Core, now: &Moment) -> Option<u64> {
        let headers = self.connections.iter().filter_map(|it| match it.phase {
            Phase::Header(_, deadline) => Some(deadline),
            Phase::Stream(..) => None,
        });
        let waits = !self.parked.is_empty() || self.connections.iter().any(|it| !it.armed);
        let resume = self.output_took_ns + AHEAD_WAIT_NS;
        headers
            .chain(core.next_tick_ns(now))
            .chain(self.listener.retry_ns)
            .chain((waits && resume > now.mono_ns).then_some(resume))
            .min()
    }

    /// Everything that has come is handled.
    pub fn round(&mut self, around: &mut Around<'_>) {
        let now_ns = around.now.mono_ns;
        around.core.tick(around.now);
        self.refuse_late_headers(around);
        self.accept(around);
        self.step(around);
        if self.may_read(around.core, around.chance, now_ns) {
            for connection in &mut self.connections {
                connection.armed |= !self.parked.iter().any(|it| it.0 == connection.client);
            }
        }
    }

    fn refuse_late_headers(&mut self, around: &mut Around<'_>) {
        let may_read = self.may_read(around.core, around.chance, around.now.mono_ns);
        let mut late = Vec::new();
        for connection in &mut self.connections {
            if let Phase::Header(_, deadline) = &mut connection.phase
                && *deadline <= around.now.mono_ns
            {
                if may_read {
                    late.push(connection.client);
                } else {
                    // We did not read; it is not the client that is slow.
                    *deadline = around.now.mono_ns + HEADER_TIMEOUT.as_nanos() as u64;
                }
            }
        }
        for client in late {
            around.trace.note(|| format!("header of {client} is late"));
            self.end(around, client, true);
        }
    }

    fn accept(&mut self, around: &mut Around<'_>) {
        while let Some(client) = self.listener.accept(around) {
            around.trace.note(|| format!("accepted {client}"));
            let deadline = around.now.mono_ns + HEADER_TIMEOUT.as_nanos() as u64;
            self.connections.push(Connection {
                client,
                phase: Phase::Header(HeaderReader::default(), deadline),
                armed: true,
            });
            if self.ending {
                around.kernel.sockets[client].shut();
            }
        }
    }

    /// Takes what was read before, and what the kernel has read now.
    fn step(&mut self, around: &mut Around<'_>) {
        let now_ns = around.now.mono_ns;
        while self.may_read(around.core, around.chance, now_ns)
            && let Some((client, data)) = self.parked.pop_front()
        {
            self.data(around, client, &data);
        }
        let armed = self.connections.iter().filter(|it| it.armed);
        let mut clients: Vec<_> = armed.map(|it| it.client).collect();
        if around.chance.is_allowed(Fault::LateReads) {
            let first = around.chance.random.size(0, clients.len());
            clients.rotate_left(first);
            clients.retain(|_| !around.chance.random.one_in(2));
        }
        for client in clients {
            if around.kernel.sockets[client].is_readable() {
                self.completed(around, client);
            }
        }
    }

    /// A read has come back.
    fn completed(&mut self, around: &mut Around<'_>, client: usize) {
        let Some(connection) = self.connections.iter_mut().find(|it| it.client == client) else {
            return;
        };
        connection.armed = false;
        if around.chance.happens(Fault::ReadErrors, 40) {
            around.trace.note(|| format!("read of {client} fails"));
            self.end(around, client, true);
            return;
        }
        let max = around.chance.read_len();
        let data = around.kernel.sockets[client].read(max);
        around
            .trace
            .note(|| format!("read {} of {client}", data.len()));
        if data.is_empty() {
            self.end(around, client, false);
        } else if self.may_read(around.core, around.chance, around.now.mono_ns) {
            self.data(around, client, &data);
        } else {
            self.parked.push_back((client, data));
        }
    }

    fn data(&mut self, around: &mut Around<'_>, client: usize, data: &[u8]) {
        let Some(connection) = self.connections.iter_mut().find(|it| it.client == client) else {
            return;
        };
        let mut used = 0;
        if let Phase::Header(reader, _) = &mut connection.phase {
            let properties = match reader.push(data) {
                Ok(Some((properties, end))) => {
                    used = end;
                    properties
                }
                Ok(None) => return self.read_on(around, client),
                Err(error) => {
                    around.trace.note(|| format!("refused {client}: {error}"));
                    return self.end(around, client, true);
                }
            };
            match around.core.open(around.now, &properties) {
                Err(error) => {
                    around.trace.note(|| format!("refused {client}: {error}"));
                    return self.end(around, client, true);
                }
                Ok(key) => {
                    let info = around.core.info(key).expect("it was just opened");
                    connection.phase = Phase::Stream(key, self.opened.len());
                    let read = around.kernel.sockets[client].read;
                    self.opened.push(Opened {
                        client,
                        info,
                        not_data: read - (data.len() - used),
                        cut_short: false,
                    });
                }
            }
        }
        let Phase::Stream(key, _) = connection.phase else {
            return;
        };
        let (key, data) = around.chance.mangle(key, &data[used..], self.keys());
        match around.core.data(around.now, key, &data) {
            Ok(()) => self.read_on(around, client),
            Err(error) => {
                around.trace.note(|| format!("{client}: {error}"));
                self.end(around, client, true);
            }
        }
    }

    fn keys(&self) -> Vec<StreamKey> {
        let keys = self.connections.iter().filter_map(|it| match it.phase {
            Phase::Stream(key, _) => Some(key),
            Phase::Header(..) => None,
        });
        keys.collect()
    }

    fn read_on(&mut self, around: &mut Around<'_>, client: usize) {
        let may_read = self.may_read(around.core, around.chance, around.now.mono_ns);
        if let Some(connection) = self.connections.iter_mut().find(|it| it.client == client) {
            connection.armed = may_read;
        }
    }

    /// A connection is over, before its end (`cut_short`) or at it.
    fn end(&mut self, around: &mut Around<'_>, client: usize, cut_short: bool) {
        let Some(at) = self.connections.iter().position(|it| it.client == client) else {
            return;
        };
        let connection = self.connections.swap_remove(at);
        around.trace.note(|| format!("end of {client}"));
        around.kernel.release(client);
        self.listener.descriptor_back();
        if let Phase::Stream(key, opened) = connection.phase {
            self.opened[opened].cut_short = cut_short;
            if !around.chance.breaks(Broken::ForgetsEnd) {
                around.core.end(around.now, key);
            }
        }
    }

    /// Takes those who wait to be accepted, and nobody after them.
    pub fn stop_accepting(&mut self, kernel: &mut Kernel) {
        kernel.stop_listening();
        self.listener.close();
    }

    /// Ends the connections without a complete header after what is there.
    pub fn end_headers(&mut self, kernel: &mut Kernel) {
        for connection in &self.connections {
            if matches!(connection.phase, Phase::Header(..)) {
                kernel.sockets[connection.client].shut();
            }
        }
    }

    /// Ends all connections after what is there, also those that come yet.
    pub fn end_all(&mut self, around: &mut Around<'_>) {
        self.ending = true;
        let clients: Vec<_> = self.connections.iter().map(|it| it.client).collect();
        for client in clients {
            if around.chance.breaks(Broken::EndsEarly) {
                self.end(around, client, false);
            } else {
                around.kernel.sockets[client].shut();
            }
        }
    }

    /// All streams end; what was not handed to the core is left.
    pub fn abandon(&mut self, around: &mut Around<'_>) {
        for (client, data) in self.parked.drain(..) {
            if let Some(opened) = self.opened.iter_mut().find(|it| it.client == client) {
                opened.not_data += data.len();
            }
        }
        let clients: Vec<_> = self.connections.iter().map(|it| it.client).collect();
        for client in clients {
            self.end(around, client, true);
        }
    }
}
