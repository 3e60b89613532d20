//! The far end of a socket that acknowledges: a process of its own, which can be
//! stopped and killed, and whose file stays.

use std::env;
use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::process::wait_until;

#[allow(dead_code, reason = "its main is not ours")]
#[path = "../../examples/receive.rs"]
mod receive;

/// Tells the process where it listens; beside that is its file.
const SOCKET: &str = "BUTLER_TEST_FAR_END";

/// See the module. It is killed when dropped.
pub struct FarEnd {
    child: Child,
    socket: PathBuf,
}

impl FarEnd {
    /// Listens there, and appends to the file of that name with `.messages` behind
    /// it.
    pub fn listen(socket: &Path) -> Self {
        let _ = fs::remove_file(socket);
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "far_end::process", "--ignored", "--quiet"])
            .env(SOCKET, socket)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let far_end = Self {
            child,
            socket: socket.to_owned(),
        };
        wait_until("the far end listens", || far_end.socket.exists());
        far_end
    }

    /// It goes on with nothing.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// It goes on.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.socket);
    }
}

/// The file of the far end that listens there.
pub fn file_of(socket: &Path) -> PathBuf {
    socket.with_extension("messages")
}

#[test]
#[ignore = "this is the process, which others start"]
fn process() {
    let Some(socket) = env::var_os(SOCKET).map(PathBuf::from) else {
        return;
    };
    // Nobody finds it before it listens.
    let unready = socket.with_extension("unready");
    let listener = UnixListener::bind(&unready).unwrap();
    fs::rename(&unready, &socket).unwrap();
    let file = file_of(&socket);
    for connection in listener.incoming() {
        serve(connection.unwrap(), &file);
    }
}

fn serve(connection: UnixStream, file: &Path) {
    // Whoever was killed in the middle of a message has left a connection that
    // ends there.
    if let Err(error) = receive::receive(connection, file) {
        eprintln!("{error}");
    }
}
