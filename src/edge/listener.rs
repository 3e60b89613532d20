//! The stream server's socket: made so that nobody else can connect, and
//! removed again only if it is still ours.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use rustix::io::FdFlags;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, getsockname, listen, socket_with,
    sockopt,
};

use super::place;
use super::rights;
use crate::core::Users;
use crate::limits::{BACKLOG, SOCKET_PATH_MAX};

/// A socket that streams connect to. Dropped, its path is removed if we made
/// it.
#[derive(Debug)]
pub struct StreamServer {
    pub(crate) fd: OwnedFd,
    path: PathBuf,
    users: Users,
    /// What is to be removed at the end.
    made: Option<Made>,
}

#[derive(Debug)]
struct Made {
    /// Device and inode of the socket that is ours.
    identity: (u64, u64),
    /// The private directory that was made for it.
    directory: Option<PathBuf>,
}

impl StreamServer {
    /// Listens at `path`, with access for our own user (and root) only. A
    /// socket that is left over there is replaced if it is ours and nobody
    /// listens on it.
    ///
    /// # Errors
    ///
    /// If the path is longer than 104 bytes, if something is there that is no
    /// socket, is another user's or is in use (by which process is told, where
    /// it can be known), and whatever the system reports.
    pub fn bind(path: &Path) -> io::Result<Self> {
        Self::bind_for(path, Users::default())
    }

    /// The same for more users. Then the path is open to everybody, and whose
    /// connections are taken is decided when they come.
    ///
    /// # Errors
    ///
    /// Those of [`bind`](Self::bind).
    pub fn bind_for(path: &Path, users: Users) -> io::Result<Self> {
        let len = path.as_os_str().len();
        if len > SOCKET_PATH_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the path has {len} bytes, more than {SOCKET_PATH_MAX}"),
            ));
        }
        let address = SocketAddrUnix::new(path)?;
        // Two that start at once must not both find the same socket dead, nor
        // one the other's that is bound and does not listen yet.
        let _claim = place::claim(path);
        place::clear(path, &address)?;
        let fd = new_socket()?;
        // Before it is bound: the mode of the path is the socket's own.
        fchmod(&fd, Mode::RUSR | Mode::WUSR)?;
        bind(&fd, &address)?;
        if !users.is_private() {
            place::open_to_all(path)?;
        }
        // Before anybody can connect.
        rights::refuse(&fd);
        listen(&fd, BACKLOG as i32)?;
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self {
            fd,
            path: path.into(),
            users,
            made: Some(Made {
                identity: (metadata.dev(), metadata.ino()),
                directory: None,
            }),
        })
    }

    /// Listens in a new directory that only our own user may enter.
    ///
    /// # Errors
    ///
    /// Whatever the system reports.
    pub fn bind_private() -> io::Result<Self> {
        Self::bind_private_for(Users::default())
    }

    /// The same for more users: they may enter it, and not look into it.
    ///
    /// # Errors
    ///
    /// Whatever the system reports.
    pub fn bind_private_for(users: Users) -> io::Result<Self> {
        let mut directory = temporary_directory()?;
        let name = crate::random::segment();
        directory.push(format!("butler-{}", &name[..16]));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .map_err(|error| {
                // Which TMPDIR has said.
                io::Error::new(error.kind(), format!("{}: {error}", directory.display()))
            })?;
        if !users.is_private() {
            fs::set_permissions(&directory, fs::Permissions::from_mode(0o711))?;
        }
        let bound = Self::bind_for(&directory.join("streams.sock"), users);
        match bound {
            Ok(mut server) => {
                if let Some(made) = &mut server.made {
                    made.directory = Some(directory);
                }
                Ok(server)
            }
            Err(error) => {
                // The error of binding is the one to tell.
                let _ = fs::remove_dir(&directory);
                Err(error)
            }
        }
    }

    /// Takes a Unix socket that listens at a path already, as a service
    /// manager passes it. Its path is not ours to remove.
    ///
    /// # Errors
    ///
    /// If it is anything else.
    pub fn from_listening(fd: OwnedFd, users: Users) -> io::Result<Self> {
        let refuse = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what);
        let is_stream = sockopt::socket_domain(&fd)? == AddressFamily::UNIX
            && sockopt::socket_type(&fd)? == SocketType::STREAM;
        if !is_stream || !sockopt::socket_acceptconn(&fd)? {
            return Err(refuse("it is no Unix stream socket that listens"));
        }
        let address = SocketAddrUnix::try_from(getsockname(&fd)?)?;
        let path = address
            .path_bytes()
            .ok_or_else(|| refuse("it listens at no path"))?;
        let path = Path::new(std::ffi::OsStr::from_bytes(path)).to_owned();
        rustix::io::fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
        // Who has connected already is looked at when he is accepted.
        rights::refuse(&fd);
        Ok(Self {
            fd,
            path,
            users,
            made: None,
        })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What clients are told: `unix:` and the path, which need not be UTF-8.
    pub fn uri(&self) -> OsString {
        let mut uri = OsString::from("unix:");
        uri.push(&self.path);
        uri
    }

    /// Whose connections are taken.
    pub fn users(&self) -> &Users {
        &self.users
    }

    /// The directories in which something is to be removed at the end: the
    /// socket's, and that of its private directory.
    #[cfg(feature = "cli")]
    pub(crate) fn directories(&self) -> impl Iterator<Item = &Path> {
        let made = self.made.as_ref();
        let socket = made.and_then(|_| self.path.parent());
        let private = made.and_then(|made| made.directory.as_ref()?.parent());
        socket.into_iter().chain(private)
    }

    /// Removes the path, unless somebody else's file is there now.
    pub(crate) fn unlink(&self) {
        let Some(made) = &self.made else {
            return;
        };
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == made.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            log::warn!("can't remove {}: {error}", self.path.display());
        }
        if let Some(directory) = &made.directory
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

/// TMPDIR, or /tmp if that is not set, or empty, or so long that it leaves no
/// room for a socket's path; absolute, as clients may be anywhere.
fn temporary_directory() -> io::Result<PathBuf> {
    let directory = std::env::var_os("TMPDIR").filter(|directory| !directory.is_empty());
    let Some(directory) = directory else {
        return Ok("/tmp".into());
    };
    let directory = std::path::absolute(directory)?;
    match directory.as_os_str().len() > SOCKET_PATH_MAX / 2 {
        true => Ok("/tmp".into()),
        false => Ok(directory),
    }
}

pub(super) fn new_socket() -> io::Result<OwnedFd> {
    Ok(socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

#[cfg(test)]
mod tests;
