//! `butler serve`: streams until a signal comes.

use std::io::Write;
use std::process::ExitCode;

use super::notify::Notifier;
use super::options::Common;
use super::passed::Passed;
use super::sandbox::Needs;
use super::session::{self, Failure, Signals};
use crate::{Butler, StreamServer};

pub(super) async fn serve(mut common: Common, passed: Passed) -> ExitCode {
    session::raise_descriptor_limit();
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return session::fail(format!("signals: {error}")),
    };
    let mut directory = match session::give_directory(&mut common) {
        Ok(directory) => directory,
        Err(what) => return session::fail(what),
    };
    let notifier = Notifier::from_environment();
    let (butler, server) = match begin(&common, passed, &mut signals).await {
        Ok(begun) => begun,
        Err(failure) => return failure.tell(),
    };
    if let Some(directory) = &mut directory {
        directory.begin();
    }
    Needs::of(&common).of_server(&server).give_up_the_rest();
    butler.add_stream_server(server);
    notifier.ready();
    let result = session::wait(&butler, &common, &mut signals, &notifier).await;
    session::exit_code(&common, result)
}

async fn begin(
    common: &Common,
    passed: Passed,
    signals: &mut Signals,
) -> Result<(Butler, StreamServer), Failure> {
    if common.config.output.must_register() {
        // That may take a while, and launchers wait for the socket: whoever
        // connects meanwhile waits to be accepted.
        let server = listen(common, passed)?;
        let butler = session::open(common, signals).await?;
        return Ok((butler, server));
    }
    // Whoever can connect is served: the output works by then.
    let butler = session::open(common, signals).await?;
    let server = listen(common, passed)?;
    Ok((butler, server))
}

fn listen(common: &Common, passed: Passed) -> Result<StreamServer, String> {
    let server = session::listen(common, passed)?;
    if common.stream_server.is_none() {
        let mut stdout = std::io::stdout();
        writeln!(stdout, "{}", server.uri())
            .and_then(|()| stdout.flush())
            .map_err(|error| format!("can't tell on stdout where it listens: {error}"))?;
    }
    Ok(server)
}
