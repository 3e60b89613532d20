//! `butler stream`: one file, or stdin, as one stream.
//!
//! If an output is named, it delivers by itself. If not, and a butler is named
//! by `--stream-server` or the environment, that one does. Only if neither is,
//! the logs go where they go by default.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::advice::told;
use super::logger;
use super::notify::Notifier;
use super::options::{Common, StreamOptions};
use super::sandbox::Needs;
use super::session::{self, Signals};
use super::stream_to;
use super::values;
use crate::wire::descriptor::StreamProperties;
use crate::wire::name::StreamName;

pub(super) async fn stream(common: Common, options: StreamOptions) -> ExitCode {
    let environment = ["LOGDOG_STREAM_SERVER_PATH", "LOGDOG_NAMESPACE"].map(std::env::var_os);
    let (source, way, properties) = match begin(&common, &options, environment) {
        Ok(begun) => begun,
        Err(what) => return session::fail(what),
    };
    // Not any sooner: nothing else ends the wait for the writer of a FIFO.
    let signals = match session::catch_signals().and_then(Signals::new) {
        Ok(signals) => signals,
        Err(error) => return session::fail(format!("signals: {error}")),
    };
    match way {
        Way::Own => deliver(common, source, &properties, signals).await,
        Way::Another(server) => {
            stream_to::send(&common, source, &properties, &server, signals).await
        }
    }
}

/// Who delivers the stream.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    /// A butler of its own.
    Own,
    /// The one that listens there.
    Another(PathBuf),
}

type Begun = (OwnedFd, Way, StreamProperties);

fn begin(
    common: &Common,
    options: &StreamOptions,
    [address, namespace]: [Option<OsString>; 2],
) -> Result<Begun, String> {
    let source = match &options.source {
        Some(path) => open(path).map_err(|error| format!("can't read {}: {error}", path.display())),
        None => io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|error| format!("can't read stdin: {error}")),
    }?;
    let mut properties = options
        .stream
        .properties()
        .ok_or("the stream has no name")?;
    let is_set = |value: &OsString| !value.is_empty();
    // Who names an output wants it to go there, wherever a job runs.
    let way = if common.runs.is_none() {
        if common.stream_server.is_some() {
            log::warn!("--stream-server has no effect: --output says where the stream goes");
        }
        Way::Own
    } else if let Some(server) = &common.stream_server {
        Way::Another(server.clone())
    } else if let Some(address) = address.filter(is_set) {
        let server = values::stream_server(&address).map_err(|reason| {
            format!(
                "LOGDOG_STREAM_SERVER_PATH is {}: {reason}",
                address.display()
            )
        })?;
        if let Some(namespace) = namespace.filter(is_set) {
            properties.name = name_in(&namespace, &properties.name)?;
        }
        Way::Another(server)
    } else {
        Way::Own
    };
    if way != Way::Own {
        properties.tags.fill_from(&common.config.global_tags);
        if !options.about_delivery.is_empty() {
            log::warn!(
                "without effect, as another butler delivers: --{}",
                options.about_delivery.join(", --")
            );
        }
    }
    Ok((source, way, properties))
}

/// As clients do that find their butler in the environment.
fn name_in(namespace: &OsStr, name: &StreamName) -> Result<StreamName, String> {
    let namespace = namespace.to_string_lossy();
    let namespace = namespace.strip_suffix('/').unwrap_or(&namespace);
    StreamName::new(format!("{namespace}/{name}"))
        .map_err(|error| format!("LOGDOG_NAMESPACE is {namespace:?}: {error}"))
}

async fn deliver(
    mut common: Common,
    source: OwnedFd,
    properties: &StreamProperties,
    mut signals: Signals,
) -> ExitCode {
    let statistics = match session::prepare_statistics(&common) {
        Ok(statistics) => statistics,
        Err(why) => return session::fail(why),
    };
    let mut directory = match session::give_directory(&mut common) {
        Ok(directory) => directory,
        Err(what) => return session::fail(what),
    };
    let notifier = Notifier::from_environment();
    let butler = match session::open(&common, &mut signals).await {
        Ok(butler) => butler,
        Err(failure) => return failure.tell(),
    };
    if let Err(error) = butler.add_stream(source, properties) {
        return session::fail(told(&error));
    }
    if let Some(directory) = &mut directory {
        directory.begin();
    }
    Needs::of(&common)
        .of_report(statistics.as_ref())
        .give_up_the_rest();
    butler.activate();
    notifier.ready();
    let result = session::wait(&butler, &common, &mut signals, &notifier).await;
    let source_failed = result.as_ref().is_ok_and(|report| report.read_errors > 0);
    let code = session::exit_code(&butler, &common, statistics, result);
    if let Some(directory) = &directory
        && common.gives_hints()
        && io::stderr().is_terminal()
    {
        let path = directory.path();
        logger::tell(&format!("the logs: butler cat {}", path.display()));
    }
    // What could not be read was not delivered.
    if source_failed {
        ExitCode::from(session::EXIT_FAILED)
    } else {
        code
    }
}

/// A directory can be opened too, and then not be read.
fn open(path: &Path) -> io::Result<OwnedFd> {
    let file = File::open(path)?;
    match file.metadata()?.is_dir() {
        true => Err(io::ErrorKind::IsADirectory.into()),
        false => Ok(file.into()),
    }
}
