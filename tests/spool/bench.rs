//! A spool, a far end, and butlers one after the other.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;

use crate::arrived::{Messages, segments};
use crate::common::process::{Ended, Serve, command, wait_until};
use crate::far_end::{FarEnd, file_of};

/// See the module.
pub struct Bench {
    dir: TempDir,
    spool: PathBuf,
}

impl Bench {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            spool: dir.path().join("spool"),
            dir,
        }
    }

    /// The spool is there instead.
    pub fn with_spool_at(spool: PathBuf) -> Self {
        Self {
            spool,
            ..Self::new()
        }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn spool(&self) -> &Path {
        &self.spool
    }

    /// Where the far end listens.
    pub fn socket(&self) -> PathBuf {
        self.path().join("far.sock")
    }

    pub fn far_end(&self) -> FarEnd {
        FarEnd::listen(&self.socket())
    }

    /// Options for that far end, and the spool with `keys` behind it.
    pub fn options(&self, keys: &str) -> [String; 3] {
        [
            format!("--output=unix:{},ack=yes", self.socket().display()),
            format!("--spool={}{keys}", self.spool.display()),
            "--output-max-buffer-age=20ms".into(),
        ]
    }

    /// A butler that waits for streams.
    pub fn serve(&self, keys: &str, more: &[&str]) -> Serve {
        let options = self.options(keys);
        let options = options.iter().map(String::as_str);
        let options: Vec<_> = options.chain(more.iter().copied()).collect();
        // Of one that was killed the kernel closes the socket a little later.
        let socket = self.path().join("streams.sock");
        wait_until("nobody listens", || UnixStream::connect(&socket).is_err());
        Serve::start(self.path(), &options)
    }

    /// The same, and it is not waited for.
    pub fn begin(&self, keys: &str, more: &[&str]) -> Serve {
        let socket = self.path().join("streams.sock");
        let mut butler = command(["--log-level=info"]);
        butler
            .arg(format!("--stream-server=unix:{}", socket.display()))
            .args(self.options(keys))
            .args(more);
        Serve::begin(butler, socket)
    }

    /// `butler run`, with a shell script for a command.
    pub fn run(&self, keys: &str, more: &[&str], script: &str) -> Serve {
        let mut run = command(["--log-level=info"]);
        run.args(self.options(keys)).args(more);
        run.args(["run", "--", "sh", "-c", script]);
        run.current_dir(self.path()).stdout(Stdio::null());
        Serve::begin(run, PathBuf::new())
    }

    /// What the far end has.
    pub fn arrived(&self) -> Messages {
        Messages::arrived(&file_of(&self.socket()))
    }

    /// How long its file is.
    pub fn arrived_bytes(&self) -> u64 {
        fs::metadata(file_of(&self.socket())).map_or(0, |it| it.len())
    }

    /// Another butler, which has nothing to say itself, delivers all that is in
    /// the spool.
    pub fn deliver_the_rest(&self) -> Ended {
        let _far_end = self.far_end();
        let serve = self.serve("", &[]);
        wait_until("the spool is empty", || segments(&self.spool).is_empty());
        let ended = serve.terminate();
        ended.expect_success();
        assert!(!ended.stderr.contains("error: spool /"), "{ended:?}");
        ended
    }
}
