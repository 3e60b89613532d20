//! TLS over a connection that never waits.

use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion};

use crate::edge::io::{Io, Wait};
use crate::output::Tls;
use crate::output::peer_text::PeerText;
use crate::output::tls::{self, CertificateError};

/// How often in a row something is read that has nothing for us: others have a turn
/// too.
const READS_AT_ONCE: usize = 16;

/// What all sessions of an output have in common.
#[derive(Debug, Clone)]
pub(super) struct Client {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// One session.
#[derive(Debug)]
pub(super) struct Session(Box<ClientConnection>);

impl Client {
    /// Reads what the settings name. `host`: whom the certificate must be for, if
    /// they don't say.
    pub fn new(settings: &Tls, host: &str) -> io::Result<Self> {
        let roots = match &settings.ca {
            Some(path) => tls::roots_of(path)?,
            None => tls::roots_of_machine()?,
        };
        let builder = tls::client(roots)?;
        let config = match &settings.certificate {
            None => builder.with_no_client_auth(),
            Some((path, key_path)) => {
                let chain = tls::certificates(path)?;
                let key = PrivateKeyDer::from_pem_file(key_path)
                    .map_err(|error| tls::unfit(key_path, &error))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| tls::unfit(key_path, &error))?
            }
        };
        let name = settings.server_name.as_deref().unwrap_or(host);
        let refused = |error| io::Error::other(format!("{name:?}: {error}"));
        Ok(Self {
            name: ServerName::try_from(name.to_owned()).map_err(refused)?,
            config: Arc::new(config),
        })
    }

    /// Begins a session.
    pub fn session(&self) -> io::Result<Session> {
        let config = Arc::clone(&self.config);
        let connection = ClientConnection::new(config, self.name.clone());
        Ok(Session(Box::new(connection.map_err(io::Error::other)?)))
    }
}

impl Session {
    /// Goes on until each knows who the other is. `Some`: it waits for that.
    pub fn shake_hands<I: Io>(&mut self, io: &mut I, fd: &I::Fd) -> io::Result<Option<Wait>> {
        loop {
            match self.flush(io, fd) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Some(Wait::Writable));
                }
                flushed => flushed?,
            }
            if !self.0.is_handshaking() {
                return Ok(None);
            }
            match self.read(io, fd) {
                Ok(0) => {
                    return Err(io::Error::other(
                        "no TLS: the server has closed the connection",
                    ));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Some(Wait::Readable));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// After the handshake: may the server still refuse our certificate? In TLS 1.3
    /// it has not seen it by then.
    pub fn may_be_refused(&self) -> bool {
        self.0.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// Reads what the server says once it has seen our certificate. False: nothing
    /// yet.
    pub fn hear<I: Io>(&mut self, io: &mut I, fd: &I::Fd) -> io::Result<bool> {
        match self.read(io, fd) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            read => read.map(|_| true),
        }
    }

    /// Encrypts some of the slices, once all that was encrypted before is sent, and
    /// sends what is taken of it.
    pub fn send<I: Io>(
        &mut self,
        io: &mut I,
        fd: &I::Fd,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        self.flush(io, fd)?;
        let taken = self.0.writer().write_vectored(slices)?;
        match self.flush(io, fd) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            flushed => flushed?,
        }
        Ok(taken)
    }

    /// Sends all that is encrypted.
    pub fn flush<I: Io>(&mut self, io: &mut I, fd: &I::Fd) -> io::Result<()> {
        while self.0.wants_write() {
            self.0.write_tls(&mut Wire { io, fd })?;
        }
        Ok(())
    }

    /// Reads what the server has sent; 0 at its end.
    pub fn receive<I: Io>(&mut self, io: &mut I, fd: &I::Fd, into: &mut [u8]) -> io::Result<usize> {
        for _ in 0..READS_AT_ONCE {
            match self.0.reader().read(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // It has closed the connection without saying so. What it has said by
                // then is whole: frames have lengths.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            self.read(io, fd)?;
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Tells the server that nothing follows, as far as there is room.
    pub fn finish<I: Io>(&mut self, io: &mut I, fd: &I::Fd) -> io::Result<()> {
        self.0.send_close_notify();
        match self.flush(io, fd) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            flushed => flushed,
        }
    }

    /// Reads once what is encrypted; 0 at its end.
    fn read<I: Io>(&mut self, io: &mut I, fd: &I::Fd) -> io::Result<usize> {
        let read = self.0.read_tls(&mut Wire { io, fd })?;
        if let Err(error) = self.0.process_new_packets() {
            // Whoever it is is told, if there is room.
            let _ = self.flush(io, fd);
            return Err(told(error));
        }
        Ok(read)
    }
}

/// What is wrong, for people. A peer has a part in most of it.
fn told(error: rustls::Error) -> io::Error {
    let what = PeerText::of(&error);
    let error = io::Error::other(error);
    io::Error::other(match CertificateError::of(&error) {
        Some(certificate) => format!("no TLS: {certificate}"),
        None => format!("no TLS: {what}"),
    })
}

/// What is encrypted goes over that.
struct Wire<'a, I: Io> {
    io: &'a mut I,
    fd: &'a I::Fd,
}

impl<I: Io> Read for Wire<'_, I> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.io.receive(self.fd, into)
    }
}

impl<I: Io> Write for Wire<'_, I> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.io.send(self.fd, &[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.io.send(self.fd, slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
