//! A plan: all that is decided before a run begins. It follows from a seed,
//! can be made smaller, and is printed when a run fails.

use butler::limits::READ_BUFFER_SIZE;
use butler::wire::descriptor::StreamType;

use crate::content::{self, Header};
use crate::random::Random;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// What may go wrong. Each seed allows some of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Reads bring less than is there.
    ShortReads,
    /// The kernel completes some reads later than others.
    LateReads,
    /// A read fails; what was not read is gone.
    ReadErrors,
    /// Reads and accepts are interrupted, or find nothing.
    Interrupts,
    /// The process is stopped for a while, and goes on.
    Stops,
    /// Accepting fails for want of descriptors, for a while.
    NoDescriptors,
    /// The wall clock jumps.
    WallJumps,
    /// The output takes part of a write.
    ShortWrites,
    /// Files can't be opened, made or written to.
    FileErrors,
    /// Somebody removes the directory that is written to.
    Removals,
    /// The output takes nothing for some seconds.
    Stalls,
    /// The output's connection breaks inside a message.
    Cuts,
    /// The output refuses to be connected to.
    Refusals,
    /// The far end says of messages what it must not.
    WrongAnswers,
    /// The output refuses a bundle for good.
    Losses,
    /// From some time on the output takes nothing at all.
    Hangs,
}

impl Fault {
    pub const ALL: [Self; 16] = [
        Self::ShortReads,
        Self::LateReads,
        Self::ReadErrors,
        Self::Interrupts,
        Self::Stops,
        Self::NoDescriptors,
        Self::WallJumps,
        Self::ShortWrites,
        Self::FileErrors,
        Self::Removals,
        Self::Stalls,
        Self::Cuts,
        Self::Refusals,
        Self::WrongAnswers,
        Self::Losses,
        Self::Hangs,
    ];
}

/// What a client does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// In nanoseconds.
    Wait(u64),
    /// So many bytes, however long that takes.
    Write(usize),
}

/// How a client ends once it has done everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Closes,
    /// It stays and does nothing.
    Stays,
}

/// With as many descriptors, some are kept back for the output.
pub const SPARE_FROM: usize = 10;

/// How a client comes to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Connects,
    /// It is a user who may not.
    Stranger,
    /// Nobody knows who it is.
    Unknown,
    /// It passes descriptors over its connection.
    PassesDescriptors,
    /// Its pipe is attached.
    Attached,
    /// The same, and somebody looks at what it writes.
    Shown,
}

impl How {
    pub fn is_attached(self) -> bool {
        matches!(self, Self::Attached | Self::Shown)
    }

    /// Does it get no stream, whatever it writes?
    pub fn is_refused(self) -> bool {
        !self.is_attached() && self != Self::Connects
    }
}

/// Where messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    Unix,
    Tcp,
    /// A Unix socket whose far end says which messages are safe.
    UnixAcknowledged,
    /// The same over TCP.
    TcpAcknowledged,
    File,
    Directory,
    /// An output that takes so many at once, and tells of them in any order.
    Window(usize),
}

#[derive(Debug, Clone)]
pub struct Client {
    /// What its stream's content follows from.
    pub number: usize,
    pub how: How,
    pub stream_type: StreamType,
    pub header: Header,
    /// Bytes of spaces in it.
    pub padding: usize,
    /// Bytes it writes at most, its header included.
    pub bytes: usize,
    pub acts: Vec<Act>,
    pub end: End,
    /// When it dies, whatever it is doing.
    pub dies_ns: Option<u64>,
}

impl Client {
    /// All it means to write.
    pub fn wire(&self) -> Vec<u8> {
        let mut wire = self.header_bytes();
        let data = self.bytes.saturating_sub(wire.len());
        wire.extend(content::data(self.number, self.stream_type, data));
        wire.truncate(self.bytes);
        wire
    }

    pub fn header_bytes(&self) -> Vec<u8> {
        match self.how.is_attached() {
            true => Vec::new(),
            false => content::header(self.number, self.header, self.stream_type, self.padding),
        }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What decides all that the plan leaves open.
    pub seed: u64,
    pub faults: Vec<Fault>,
    pub clients: Vec<Client>,
    pub destination: Destination,
    pub bundle_target: usize,
    pub bundle_max: usize,
    pub age_ns: u64,
    pub buffered_max: usize,
    pub stream_size_max: u64,
    pub text_in_lines: bool,
    /// Bytes of one read at most.
    pub read_max: usize,
    /// Bytes that a client's socket holds.
    pub socket_capacity: usize,
    /// Descriptors there may be at a time.
    pub descriptors: usize,
    /// Buffers to read into.
    pub buffers: usize,
    /// The kernel also works while its completions are taken.
    pub eager: bool,
    /// They are taken one at a time.
    pub single: bool,
    pub grace_ns: u64,
    /// At which step SIGTERM comes; none: once all clients are done.
    pub sigterm: Option<usize>,
    /// Steps from there to a second one, if it comes.
    pub sigterm_again: Option<usize>,
    /// At which step the kernel does not work any more.
    pub fails: Option<usize>,
}

impl Plan {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let random = &mut random;
        let mut faults: Vec<_> = Fault::ALL
            .into_iter()
            .filter(|_| random.one_in(3))
            .collect();
        if !random.one_in(4) {
            faults.retain(|fault| *fault != Fault::Hangs);
        }
        let target = random.pick(&[4096, 4096, 6000, 20_000]);
        let clients = match random.one_in(8) {
            true => random.size(9, 14),
            false => random.size(1, 8),
        };
        let mut plan = Self {
            seed: random.bits(),
            clients: (0..clients).map(|number| client(random, number)).collect(),
            faults,
            destination: random.pick(&DESTINATIONS),
            bundle_target: target,
            bundle_max: random.pick(&[target, target, 1 << 20]),
            age_ns: random.pick(&[0, 100 * MS, 5 * SECOND]),
            buffered_max: random.pick(&[8_000, 30_000, 30_000, 1 << 20]),
            stream_size_max: if random.one_in(2) {
                u64::MAX
            } else {
                random.within(1, 3000)
            },
            text_in_lines: !random.one_in(5),
            read_max: random.pick(&[40, 700, 5000, 20_000]),
            socket_capacity: random.pick(&[20, 100, 4000, 50_000]),
            descriptors: random.pick(&[2, 3, SPARE_FROM, 100]),
            buffers: random.pick(&[1, 2, 8, 8]),
            eager: random.one_in(2),
            single: random.one_in(3),
            grace_ns: random.pick(&[0, 500 * MS, 5 * SECOND]),
            sigterm: (!random.one_in(3)).then(|| random.size(0, 400)),
            sigterm_again: random.one_in(4).then(|| random.size(0, 100)),
            fails: random.one_in(20).then(|| random.size(0, 400)),
        };
        if plan.clients.len() > 8 {
            plan.descriptors = random.pick(&[SPARE_FROM, SPARE_FROM, 100]);
        }
        if random.one_in(40) {
            plan.crowd(random);
        }
        plan
    }

    /// Headers so large that there is no room for all of them.
    fn crowd(&mut self, random: &mut Random) {
        (self.socket_capacity, self.read_max) = (200_000, READ_BUFFER_SIZE);
        for client in &mut self.clients {
            if !client.how.is_attached() {
                client.padding = random.size(300_000, 1_000_000);
                client.bytes += client.padding;
                for act in &mut client.acts {
                    if let Act::Write(len) = act {
                        *len = *len * 40 + 20_000;
                    }
                }
            }
        }
    }

    /// Descriptors that the output has for files.
    pub fn open_files(&self) -> usize {
        match self.destination {
            Destination::Directory => 40,
            Destination::File => 1,
            _ => 0,
        }
    }

    /// Is a client asked to show that it writes, as others wait for room?
    pub fn is_crowded(&self) -> bool {
        self.clients.iter().any(|it| it.padding > 0)
    }
}

impl Destination {
    pub fn is_acknowledged(self) -> bool {
        matches!(self, Self::UnixAcknowledged | Self::TcpAcknowledged)
    }
}

const DESTINATIONS: [Destination; 10] = [
    Destination::Unix,
    Destination::Unix,
    Destination::Tcp,
    Destination::UnixAcknowledged,
    Destination::UnixAcknowledged,
    Destination::TcpAcknowledged,
    Destination::File,
    Destination::Directory,
    Destination::Window(1),
    Destination::Window(4),
];

fn how(random: &mut Random) -> How {
    match random.below(24) {
        0 => How::Stranger,
        1 => How::Unknown,
        2 => How::PassesDescriptors,
        3..6 => How::Attached,
        6..9 => How::Shown,
        _ => How::Connects,
    }
}

fn client(random: &mut Random, number: usize) -> Client {
    let header = match random.below(16) {
        0 => Header::NameOfTheFirst,
        1 => Header::BadMagic,
        2 => Header::BadJson,
        3 => Header::BadLength,
        _ => Header::Good,
    };
    // One byte decides where it breaks off, so that every place is hit: in
    // the header, in a character, in a datagram's size.
    let bytes = match random.below(6) {
        0 => random.size(0, 80),
        1 => random.size(0, 20_000),
        _ => random.size(60, 3000),
    };
    let piece = random.pick(&[1, 10, 300, 5000]);
    let pause = random.pick(&[0, 2 * MS, 400 * MS, 12 * SECOND]);
    let mut acts = vec![Act::Wait(random.below(pause + 1))];
    let mut left = bytes;
    while left > 0 && acts.len() < 60 {
        let len = random.size(1, piece).min(left);
        acts.push(Act::Write(len));
        left -= len;
        if random.one_in(3) {
            acts.push(Act::Wait(random.below(pause + 1)));
        }
    }
    acts.push(Act::Write(left));
    Client {
        number,
        how: how(random),
        padding: 0,
        stream_type: random.pick(&StreamType::ALL),
        header,
        bytes,
        acts,
        end: if random.one_in(8) {
            End::Stays
        } else {
            End::Closes
        },
        dies_ns: random.one_in(5).then(|| random.below(20 * SECOND)),
    }
}
