//! The sink of any output.

use std::io;

use super::directory::DirectorySink;
use super::file::FileSink;
use super::health::Health;
use super::log_text::LogSink;
use super::memory::MemorySink;
use super::null::NullSink;
use super::socket::{Address, SocketSink};
use super::{Output, Sink};
use crate::delivery::message::Message;
use crate::delivery::outcome::Outcome;
use crate::wire::name::StreamName;

/// One sink of those there are.
#[derive(Debug)]
pub(crate) enum AnySink {
    Null(NullSink),
    Log(LogSink),
    Directory(DirectorySink),
    File(FileSink),
    Socket(SocketSink),
    Memory(MemorySink),
}

impl AnySink {
    /// Opens what can be opened at once. Who listens on a socket is only
    /// sought when there is something to send.
    pub fn open(output: &Output) -> io::Result<Self> {
        Ok(match output {
            Output::Null => Self::Null(NullSink::new()),
            Output::Log { controls, .. } => Self::Log(LogSink::stdout(*controls)?),
            Output::Directory { path } => Self::Directory(DirectorySink::open(path)?),
            Output::File { path, compress } => Self::File(FileSink::open(path, *compress)?),
            Output::Unix { path, compress } => {
                Self::Socket(SocketSink::new(Address::Unix(path.clone()), *compress))
            }
            Output::Tcp {
                host,
                port,
                compress,
            } => {
                let address = Address::Tcp {
                    host: host.clone(),
                    port: *port,
                };
                Self::Socket(SocketSink::new(address, *compress))
            }
            #[cfg(feature = "logdog")]
            Output::Logdog(_) => {
                return Err(io::Error::other(
                    "the prefix must be registered first: Butler::open does that",
                ));
            }
            Output::Memory(memory) => Self::Memory(MemorySink::new(memory.clone())),
        })
    }
}

impl AnySink {
    /// To be told the outcome of bundles, again and again.
    pub fn outcome(&self) -> Outcome {
        match self {
            // There is no mark of a stream's end on disk.
            Self::Directory(_) => Outcome::default().without_ends(),
            _ => Outcome::default(),
        }
    }

    /// Is it to hear of streams before their first bundle?
    pub fn wants_registrations(&self) -> bool {
        match self {
            Self::Directory(sink) => sink.wants_registrations(),
            _ => false,
        }
    }

    /// A stream of that name has begun, of which nothing was delivered yet.
    pub async fn registered(&mut self, name: &StreamName) {
        if let Self::Directory(sink) = self {
            sink.registered(name).await;
        }
    }

    /// Delivers a bundle; what becomes of it is in `outcome` at any moment,
    /// so the future may be dropped.
    pub async fn deliver(&mut self, bundle: &Message, outcome: &mut Outcome) {
        match self {
            Self::Directory(sink) => sink.deliver(bundle, outcome).await,
            Self::Null(sink) => outcome.end(sink.deliver(bundle).await),
            Self::Log(sink) => sink.deliver(bundle, outcome).await,
            Self::File(sink) => outcome.end(sink.deliver(bundle).await),
            Self::Socket(sink) => outcome.end(sink.deliver(bundle).await),
            Self::Memory(sink) => outcome.end(sink.deliver(bundle).await),
        }
    }

    /// While no bundle comes: returns when something has become of what is
    /// held of earlier ones, which is for ever if nothing is. The future may
    /// be dropped.
    pub async fn go_on(&mut self, outcome: &mut Outcome) {
        match self {
            Self::Directory(sink) => sink.go_on(outcome).await,
            _ => std::future::pending().await,
        }
    }

    /// No bundle follows: brings what is still held or buffered to its
    /// destination.
    pub async fn finish(&mut self, outcome: &mut Outcome) {
        match self {
            // It keeps nothing back.
            Self::Log(_) => {}
            Self::Null(sink) => sink.finish().await,
            Self::Directory(sink) => sink.finish(outcome).await,
            Self::File(sink) => sink.finish().await,
            Self::Socket(sink) => sink.finish().await,
            Self::Memory(sink) => sink.finish().await,
        }
    }

    /// Nothing is tried any more: what is held is lost.
    pub fn give_up(&mut self, outcome: &mut Outcome) {
        if let Self::Directory(sink) = self {
            sink.give_up(outcome);
        }
    }

    /// Whether it works, and how often it did not.
    pub fn health(&self) -> &Health {
        match self {
            Self::Null(sink) => sink.health(),
            Self::Log(sink) => sink.health(),
            Self::Directory(sink) => sink.health(),
            Self::File(sink) => sink.health(),
            Self::Socket(sink) => sink.health(),
            Self::Memory(sink) => sink.health(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::testing::{start, text_bundle};
    use crate::output::{Compress, MemoryOutput};
    use crate::wire::message::MessageView;

    #[test]
    fn opens_what_an_output_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let memory = MemoryOutput::default();
        let bundle = text_bundle(b"hello\n");
        start(async {
            let file = Output::File {
                path: path.clone(),
                compress: Compress::None,
            };
            for output in [Output::Null, file, Output::Memory(memory.clone())] {
                let mut sink = AnySink::open(&output).unwrap();
                let mut outcome = sink.outcome();
                outcome.begin(bundle.ticket());
                assert!(outcome.split(0, 6).end_lost, "nothing is done");
                sink.deliver(&bundle, &mut outcome).await;
                assert_eq!(outcome.split(0, 6).delivered, 6);
                assert!(outcome.take_bytes_out() >= bundle.len() as u64);
                sink.finish(&mut outcome).await;
                sink.give_up(&mut outcome);
                assert!(outcome.take_later().is_empty());
                assert_eq!(sink.health().errors(), 0);
            }
            let missing = Output::File {
                path: dir.path().join("no/such/dir"),
                compress: Compress::None,
            };
            let error = AnySink::open(&missing).unwrap_err();
            assert!(error.to_string().contains("no/such/dir"), "{error}");
        });
        let bytes = std::fs::read(&path).unwrap();
        let view = MessageView::parse(&bytes).unwrap().unwrap();
        assert_eq!(view.bundle().unwrap(), bundle.decode());
        assert_eq!(memory.bundles(), [bundle.decode()]);
    }
}
