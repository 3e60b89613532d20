//! `butler stream`: one file, or stdin, as one stream.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

use super::notify::Notifier;
use super::options::{Common, StreamOptions};
use super::sandbox::Needs;
use super::session;

pub(super) async fn stream(mut common: Common, options: StreamOptions) -> ExitCode {
    let source: OwnedFd = match &options.source {
        Some(path) => match open(path) {
            Ok(file) => file.into(),
            Err(error) => {
                return session::fail(format!("can't read {}: {error}", path.display()));
            }
        },
        None => match io::stdin().as_fd().try_clone_to_owned() {
            Ok(stdin) => stdin,
            Err(error) => return session::fail(format!("can't read stdin: {error}")),
        },
    };
    let Some(properties) = options.stream.properties() else {
        return session::fail("the stream has no name");
    };
    let mut signals = match session::Signals::new() {
        Ok(signals) => signals,
        Err(error) => return session::fail(format!("signals: {error}")),
    };
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
    if let Err(error) = butler.add_stream(source, &properties) {
        return session::fail(error);
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
    let code = session::exit_code(&butler, statistics, result);
    // What could not be read was not delivered.
    if source_failed {
        ExitCode::from(session::EXIT_FAILED)
    } else {
        code
    }
}

/// A directory can be opened too, and then not be read.
fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    match file.metadata()?.is_dir() {
        true => Err(io::ErrorKind::IsADirectory.into()),
        false => Ok(file),
    }
}
