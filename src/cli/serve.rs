//! `butler serve`: streams until a signal comes.

use std::io::Write;
use std::process::ExitCode;

use super::options::Common;
use super::session;
use crate::Butler;

pub(super) async fn serve(common: Common) -> ExitCode {
    session::raise_descriptor_limit();
    let mut signals = match session::Signals::new() {
        Ok(signals) => signals,
        Err(error) => return session::fail(format!("signals: {error}")),
    };
    // Whoever can connect is served: the output works by then.
    let butler = match Butler::new(common.config.clone()) {
        Ok(butler) => butler,
        Err(error) => return session::fail(error),
    };
    let server = match session::listen(&common) {
        Ok(server) => server,
        Err(error) => return session::fail(error),
    };
    if common.stream_server.is_none() {
        let mut stdout = std::io::stdout();
        let told = writeln!(stdout, "{}", server.uri()).and_then(|()| stdout.flush());
        if let Err(error) = told {
            return session::fail(format!("can't tell on stdout where it listens: {error}"));
        }
    }
    butler.add_stream_server(server);
    let result = session::wait(&butler, &common, &mut signals).await;
    session::exit_code(&common, result)
}
