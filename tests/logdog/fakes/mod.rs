//! Servers under a test's control, and a butler that talks to them.

pub mod coordinator;
pub mod http;
pub mod publisher;
pub mod tokens;

use std::path::{Path, PathBuf};
use std::process::Command;

use butler::proto::logpb::ButlerLogBundle;
use butler::wire::message::MessageView;
use coordinator::Coordinator;
use publisher::Publisher;
use tempfile::TempDir;
use tokens::LuciServer;

use crate::common::process::{self, Serve};

/// What the Coordinator gives.
pub const SECRET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
pub const TOPIC: &str = "projects/test-cloud/topics/logs";

/// All servers, with everything as it should be.
pub struct World {
    pub dir: TempDir,
    pub coordinator: Coordinator,
    pub publisher: Publisher,
    pub luci: LuciServer,
}

impl World {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            coordinator: Coordinator::start(),
            publisher: Publisher::start(),
            luci: LuciServer::start(),
        }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn socket(&self) -> PathBuf {
        self.path().join("streams.sock")
    }

    /// The options that a butler needs here.
    pub fn options(&self) -> Vec<String> {
        [
            "--log-level=debug".to_owned(),
            format!("--stream-server=unix:{}", self.socket().display()),
            "--project=test".into(),
            "--prefix=tests/prefix".into(),
            format!("--coordinator-host={}", self.coordinator.host()),
            format!("--output=logdog,pubsub-endpoint={}", self.publisher.url()),
        ]
        .into()
    }

    /// Such a butler, with an account of LUCI_CONTEXT.
    pub fn command(&self, more: &[&str]) -> Command {
        self.command_with(&self.luci.context("{}"), more)
    }

    /// The same with another LUCI_CONTEXT.
    pub fn command_with(&self, context: &str, more: &[&str]) -> Command {
        let path = self.path().join("luci_context.json");
        std::fs::write(&path, context).unwrap();
        let mut command = bare(self.options());
        command.args(more).env("LUCI_CONTEXT", path);
        command
    }

    /// `butler send` of a spool, which knows its projects and Coordinators.
    pub fn sending(&self, spool: &Path) -> Command {
        let path = self.path().join("luci_context.json");
        std::fs::write(&path, self.luci.context("{}")).unwrap();
        let endpoint = self.publisher.url();
        let mut command = bare(["send", "--flush-timeout=20s"]);
        command
            .arg(spool)
            .arg(format!("--output=logdog,pubsub-endpoint={endpoint}"))
            .env("LUCI_CONTEXT", path);
        command
    }

    /// Serves, and has registered its prefix.
    pub fn serve(&self, more: &[&str]) -> Serve {
        let serve = Serve::spawn(self.command(more), self.socket());
        serve.wait_for_stderr("bundles are published at");
        serve
    }

    /// What the Collector would take, each once and in order.
    pub fn bundles(&self) -> Vec<ButlerLogBundle> {
        bundles(&self.publisher.accepted())
    }
}

/// A butler that finds no account in its environment.
pub fn bare<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = process::command(args);
    command
        .env_remove("LUCI_CONTEXT")
        .env_remove("PUBSUB_EMULATOR_HOST")
        .env_remove("SSL_CERT_FILE")
        .env_remove("SSL_CERT_DIR")
        // Nobody listens there.
        .env("GCE_METADATA_HOST", "127.0.0.1:1");
    command
}

/// Checks messages as the Collector does, drops those that came before, and
/// puts the rest in the order in which they were cut.
pub fn bundles(messages: &[Vec<u8>]) -> Vec<ButlerLogBundle> {
    bundles_of(messages, "tests/prefix", SECRET)
}

/// The same of another prefix.
pub fn bundles_of(messages: &[Vec<u8>], prefix: &str, secret: &[u8]) -> Vec<ButlerLogBundle> {
    let mut messages = messages.to_vec();
    messages.sort_unstable();
    messages.dedup();
    let mut bundles: Vec<_> = messages
        .iter()
        .map(|message| {
            assert!(message.len() <= 10_000_000);
            let view = MessageView::parse(message).unwrap().unwrap();
            assert_eq!(view.len, message.len());
            let mut plain = Vec::new();
            let len = view.bundle_bytes(&mut plain).unwrap().len();
            assert!(len <= 5_000_000, "{len}");
            let zlib = view.compression == butler::wire::message::Compression::Zlib;
            assert_eq!(zlib, len >= 860);
            let bundle = view.bundle().unwrap();
            assert_eq!(&bundle.secret[..], secret);
            assert_eq!((&*bundle.project, &*bundle.prefix), ("test", prefix));
            bundle
        })
        .collect();
    bundles.sort_by_key(|bundle| {
        let logs = bundle.entries.iter().flat_map(|entry| &entry.logs);
        logs.map(|log| log.prefix_index).min().unwrap_or(u64::MAX)
    });
    bundles
}
