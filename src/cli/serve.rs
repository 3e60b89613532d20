//! `butler serve`: streams until a signal comes.

use std::io::Write;
use std::process::ExitCode;

use super::options::Common;
use super::session::{self, Failure, Signals};
use crate::{Butler, StreamServer};

pub(super) async fn serve(common: Common) -> ExitCode {
    session::raise_descriptor_limit();
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return session::fail(format!("signals: {error}")),
    };
    let (butler, server) = match begin(&common, &mut signals).await {
        Ok(begun) => begun,
        Err(failure) => return failure.tell(),
    };
    butler.add_stream_server(server);
    let result = session::wait(&butler, &common, &mut signals).await;
    session::exit_code(&common, result)
}

async fn begin(common: &Common, signals: &mut Signals) -> Result<(Butler, StreamServer), Failure> {
    if common.config.output.must_register() {
        // That may take a while, and launchers wait for the socket: whoever
        // connects meanwhile waits to be accepted.
        let server = listen(common)?;
        let butler = session::open(common, signals).await?;
        return Ok((butler, server));
    }
    // Whoever can connect is served: the output works by then.
    let butler = session::open(common, signals).await?;
    let server = listen(common)?;
    Ok((butler, server))
}

fn listen(common: &Common) -> Result<StreamServer, String> {
    let server = session::listen(common)?;
    if common.stream_server.is_none() {
        let mut stdout = std::io::stdout();
        writeln!(stdout, "{}", server.uri())
            .and_then(|()| stdout.flush())
            .map_err(|error| format!("can't tell on stdout where it listens: {error}"))?;
    }
    Ok(server)
}
