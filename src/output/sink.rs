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
use crate::bundle::Bundle;
use crate::ledger::DropReason;

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

impl Sink for AnySink {
    async fn deliver(&mut self, bundle: &Bundle) -> Result<u64, DropReason> {
        match self {
            Self::Null(sink) => sink.deliver(bundle).await,
            Self::Log(sink) => sink.deliver(bundle).await,
            Self::Directory(sink) => sink.deliver(bundle).await,
            Self::File(sink) => sink.deliver(bundle).await,
            Self::Socket(sink) => sink.deliver(bundle).await,
            Self::Memory(sink) => sink.deliver(bundle).await,
        }
    }

    async fn finish(&mut self) {
        match self {
            Self::Null(sink) => sink.finish().await,
            Self::Log(sink) => sink.finish().await,
            Self::Directory(sink) => sink.finish().await,
            Self::File(sink) => sink.finish().await,
            Self::Socket(sink) => sink.finish().await,
            Self::Memory(sink) => sink.finish().await,
        }
    }

    fn health(&self) -> &Health {
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
                assert!(sink.deliver(&bundle).await.unwrap() >= bundle.len() as u64);
                sink.finish().await;
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
