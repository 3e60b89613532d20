//! The stream server's socket: made so that nobody else can connect, and
//! removed again only if it is still ours.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};

use crate::limits::SOCKET_PATH_MAX;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// A socket that streams connect to. Dropped, its path is removed.
#[derive(Debug)]
pub struct StreamServer {
    pub(crate) fd: OwnedFd,
    path: PathBuf,
    /// Device and inode of the socket that is ours.
    identity: (u64, u64),
    /// The private directory that was made for it.
    directory: Option<PathBuf>,
}

impl StreamServer {
    /// Listens at `path`, with access for our own user only. A socket that
    /// is left over there is replaced if nobody listens on it.
    ///
    /// # Errors
    ///
    /// If the path is longer than 104 bytes, if something is there that is no
    /// socket or is in use, and whatever the system reports.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let len = path.as_os_str().len();
        if len > SOCKET_PATH_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the path has {len} bytes, more than {SOCKET_PATH_MAX}"),
            ));
        }
        let address = SocketAddrUnix::new(path)?;
        let new_socket = || {
            socket_with(
                AddressFamily::UNIX,
                SocketType::STREAM,
                SocketFlags::CLOEXEC,
                None,
            )
        };
        remove_stale(path, || Ok(connect(&new_socket()?, &address)?))?;
        let fd = new_socket()?;
        // Before it is bound: the mode of the path is the socket's own.
        fchmod(&fd, Mode::RUSR | Mode::WUSR)?;
        bind(&fd, &address)?;
        listen(&fd, BACKLOG)?;
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self {
            fd,
            path: path.into(),
            identity: (metadata.dev(), metadata.ino()),
            directory: None,
        })
    }

    /// Listens in a new directory that only our own user may enter.
    pub fn bind_private() -> io::Result<Self> {
        let mut directory = std::env::temp_dir();
        // A long TMPDIR leaves no room for a socket's path.
        if directory.as_os_str().len() > SOCKET_PATH_MAX / 2 {
            directory = "/tmp".into();
        }
        let name = crate::config::random_segment();
        directory.push(format!("butler-{}", &name[..16]));
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        let bound = Self::bind(&directory.join("streams.sock"));
        match bound {
            Ok(mut server) => {
                server.directory = Some(directory);
                Ok(server)
            }
            Err(error) => {
                // The error of binding is the one to tell.
                let _ = fs::remove_dir(&directory);
                Err(error)
            }
        }
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What clients are told: `unix:` and the path.
    pub fn uri(&self) -> String {
        format!("unix:{}", self.path.display())
    }

    /// Removes the path, unless somebody else's file is there now.
    pub(crate) fn unlink(&self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            log::warn!("can't remove {}: {error}", self.path.display());
        }
        if let Some(directory) = &self.directory
            && directory.exists()
            && let Err(error) = fs::remove_dir(directory)
        {
            log::warn!("can't remove {}: {error}", directory.display());
        }
    }
}

impl Drop for StreamServer {
    fn drop(&mut self) {
        self.unlink();
    }
}

/// Makes way at `path`: a socket of our own that `connect` finds dead is
/// removed; anything else is an error.
fn remove_stale(path: &Path, connect: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let refuse = |why: &str| {
        Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("{why}: remove it or choose another path"),
        ))
    };
    if !metadata.file_type().is_socket() {
        return refuse("there is a file of that name that is no socket");
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return refuse("there is a socket of another user");
    }
    match connect() {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => refuse("somebody listens there"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn only_a_dead_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");

        drop(UnixListener::bind(&path).unwrap());
        let server = StreamServer::bind(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();

        let error = StreamServer::bind(&path).unwrap_err();
        assert!(error.to_string().contains("somebody listens"), "{error}");
        drop(server);
        assert!(!path.exists());

        fs::write(&path, "x").unwrap();
        let error = StreamServer::bind(&path).unwrap_err();
        assert!(error.to_string().contains("no socket"), "{error}");
        assert!(path.exists());

        let long = dir.path().join("l".repeat(105));
        assert!(StreamServer::bind(&long).is_err());
    }

    #[test]
    fn what_took_its_place_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let server = StreamServer::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "another's").unwrap();
        drop(server);
        assert!(path.exists());
    }

    #[test]
    fn a_private_directory_comes_and_goes() {
        let server = StreamServer::bind_private().unwrap();
        let directory = server.path().parent().unwrap().to_owned();
        let mode = fs::metadata(&directory).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        drop(server);
        assert!(!directory.exists());
    }
}
