//! Where the logdog output goes: see `butler_perf::collector`.

use std::net::Ipv4Addr;
use std::process::ExitCode;

use butler_perf::args::value;
use butler_perf::{Result, collector, report};

const USAGE: &str = "collector [--host ADDRESS]

Listens at free ports of ADDRESS (127.0.0.1) until SIGTERM: a Coordinator that
registers any prefix, a metadata server that gives tokens to anybody, and a
Pub/Sub that counts and discards what is published.

Prints {\"listening\": {\"services\": ADDRESS, \"pubsub\": ADDRESS}} when it does,
{\"connected\": ADDRESS} when somebody has first connected to publish, and what it
counted at the end. For a butler that publishes there:

  GCE_METADATA_HOST=SERVICES butler --project P --prefix X \\
    --service-account-json :gce --coordinator-host SERVICES \\
    --output logdog,pubsub-endpoint=http://PUBSUB …";

fn main() -> ExitCode {
    report::exit("collector", run())
}

fn run() -> Result<()> {
    let mut host = Ipv4Addr::LOCALHOST.into();
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            lexopt::Arg::Long("host") => host = value(&mut parser)?,
            lexopt::Arg::Long("help") => {
                println!("{USAGE}");
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    collector::run(host)
}
