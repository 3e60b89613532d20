//! `butler serve`: streams until a signal comes.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::process::ExitCode;

use super::logger;
use super::notify::Notifier;
use super::options::Common;
use super::passed::Passed;
use super::sandbox::Needs;
use super::session::{self, SessionError, Signals};
use crate::process::signals::Caught;
use crate::{Butler, StreamServer};

pub(super) async fn serve(mut common: Common, passed: Passed, caught: Caught) -> ExitCode {
    session::raise_descriptor_limit();
    let mut signals = match Signals::new(caught) {
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
    let (butler, server) = match begin(&common, passed, &mut signals).await {
        Ok(begun) => begun,
        Err(failure) => return failure.tell(),
    };
    if let Some(directory) = &mut directory {
        directory.begin();
    }
    let people_look_on = common.gives_hints() && stdout().is_terminal() && stderr().is_terminal();
    if people_look_on {
        tell_what_to_do(&server);
    }
    Needs::of(&common)
        .of_server(&server)
        .of_report(statistics.as_ref())
        .give_up_the_rest();
    butler.add_stream_server(server);
    notifier.ready();
    let result = session::wait(&butler, &common, &mut signals, &notifier).await;
    let code = session::exit_code(&butler, &common, statistics, result);
    if let Some(directory) = &directory
        && people_look_on
    {
        let path = directory.path();
        logger::tell(&format!("the logs: butler cat {}", path.display()));
    }
    code
}

/// For somebody who has typed `butler` to see what happens.
fn tell_what_to_do(server: &StreamServer) {
    let uri = server.uri();
    let uri = uri.display();
    for line in [
        format!("waiting for streams at {uri}; Ctrl-C ends it"),
        format!("to send one: echo hello | butler stream --stream-server {uri}"),
        "to capture a command instead: butler run -- COMMAND (see butler help)".to_owned(),
    ] {
        logger::tell(&line);
    }
}

async fn begin(
    common: &Common,
    passed: Passed,
    signals: &mut Signals,
) -> Result<(Butler, StreamServer), SessionError> {
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
        let mut stdout = stdout();
        let mut line = server.uri().into_encoded_bytes();
        line.push(b'\n');
        stdout
            .write_all(&line)
            .and_then(|()| stdout.flush())
            .map_err(|error| format!("can't tell on stdout where it listens: {error}"))?;
    }
    Ok(server)
}
