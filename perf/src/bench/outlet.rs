//! Where the output of a run goes: a sink, a collector, or files.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Environment;
use super::program::Program;
use super::scenario::Output;
use super::streams::Setup;
use crate::{Result, clock};

/// A sink tells where it listens at once, and registration is a few calls.
const PATIENCE: Duration = Duration::from_secs(60);
/// What would make a butler publish elsewhere, or as somebody else.
const MISLEADING: [&str; 2] = ["LUCI_CONTEXT", "PUBSUB_EMULATOR_HOST"];

/// See the module.
#[derive(Debug)]
pub struct Outlet {
    /// Reads what comes, if a program does.
    pub sink: Option<Program>,
    /// What the system is told: a SPEC of butler's `--output`.
    pub spec: String,
    /// The file or directory that is written.
    pub path: Option<PathBuf>,
    /// Where a butler finds the collector's services.
    services: Option<String>,
}

impl Outlet {
    /// Starts what it needs, with files and sockets in `dir`.
    pub fn open(env: &Environment, dir: &Path, setup: &Setup<'_>) -> Result<Self> {
        let path = dir.join("output");
        let to_path = |kind: &str| Self {
            sink: None,
            spec: format!("{kind},path={}", path.display()),
            path: Some(path.clone()),
            services: None,
        };
        let mut outlet = match setup.output {
            Output::Unix => {
                let socket = dir.join("sink.sock");
                Self::sink(env, dir, setup, &format!("unix:{}", socket.display()))?
            }
            Output::Tcp => Self::sink(env, dir, setup, "tcp:127.0.0.1:0")?,
            Output::File => to_path("file"),
            Output::Directory => to_path("directory"),
            Output::Logdog => Self::collector(env, dir)?,
        };
        outlet.spec += &setup.output_options;
        Ok(outlet)
    }

    fn sink(env: &Environment, dir: &Path, setup: &Setup<'_>, listen: &str) -> Result<Self> {
        let mut command = Command::new(env.program("sink"));
        command.args(["--listen", listen]).args(setup.sink);
        let mut sink = Program::start("sink", &mut command, env.cores.1, dir)?;
        let report = sink.report(PATIENCE)?;
        let address = report["listening"].as_str().ok_or("the sink listens")?;
        Ok(Self {
            spec: address.to_owned(),
            sink: Some(sink),
            path: None,
            services: None,
        })
    }

    fn collector(env: &Environment, dir: &Path) -> Result<Self> {
        let mut command = Command::new(env.program("collector"));
        let mut collector = Program::start("collector", &mut command, env.cores.1, dir)?;
        let report = collector.report(PATIENCE)?;
        let address = |name: &str| {
            let address = report["listening"][name].as_str();
            address.ok_or_else(|| format!("the collector tells no address of its {name}"))
        };
        // With credentials, which an emulator would not be given: they are a
        // part of every call.
        Ok(Self {
            spec: format!("logdog,pubsub-endpoint=http://{}", address("pubsub")?),
            services: Some(address("services")?.to_owned()),
            sink: Some(collector),
            path: None,
        })
    }

    /// Tells a butler what is not in the SPEC.
    pub fn tell(&self, command: &mut Command) {
        let Some(services) = &self.services else {
            return;
        };
        for name in MISLEADING {
            command.env_remove(name);
        }
        command
            .env("GCE_METADATA_HOST", services)
            .args(["--coordinator-host", services])
            .args(["--service-account-json", ":gce"]);
    }

    /// Waits until the system is ready to write, which takes calls of the
    /// collector: they are not to be a part of what is measured.
    pub fn reached(&mut self, system: &mut Program) -> Result<()> {
        match (&self.services, &mut self.sink) {
            (Some(_), Some(collector)) => collector.report_beside(system, PATIENCE).map(drop),
            _ => Ok(()),
        }
    }
}

/// Bytes of a file, or of all files below a directory.
pub fn size_of(path: &Path) -> Result<u64> {
    let metadata = std::fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    let mut all = 0;
    for entry in std::fs::read_dir(path)? {
        all += size_of(&entry?.path())?;
    }
    Ok(all)
}

/// Gives back the space. A directory is only emptied of bytes, and removed at
/// the very end: ext4 takes no inode that was freed minutes ago, and looking
/// for others costs whoever creates files next more than all the copying.
pub fn dispose(path: &Path) -> Result<()> {
    if !path.is_dir() {
        return Ok(std::fs::remove_file(path)?);
    }
    truncate_below(path)?;
    let run_dir = path.parent().ok_or("an output is in a directory")?;
    let aside = run_dir.with_file_name(format!("used-{}", clock::monotonic_ns()));
    Ok(std::fs::rename(path, aside)?)
}

fn truncate_below(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            truncate_below(&entry.path())?;
        } else {
            std::fs::File::options()
                .write(true)
                .open(entry.path())?
                .set_len(0)?;
        }
    }
    Ok(())
}
