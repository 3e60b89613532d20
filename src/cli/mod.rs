//! The command line: what it says, and the subcommands that do it.

mod advice;
pub mod args;
pub mod cat;
mod demands;
mod flags;
pub mod help;
mod logger;
mod notify;
pub mod options;
mod passed;
mod report_file;
mod run;
mod runs;
mod sandbox;
mod send;
mod serve;
mod session;
mod stream;
mod stream_to;
pub mod table;
pub mod usage;
mod values;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use log::LevelFilter;

use options::{Common, Invocation};
use passed::Passed;

use crate::IoMode;
use crate::escape::EscapedText;
use crate::process::passed::Inherited;

/// Wrong usage or configuration.
const EXIT_USAGE: u8 = 2;

/// Does what the command line says. `args` has not the program's name. It is
/// the first that a process does: descriptors that it was started with are
/// taken, for us or for the command that we run.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let code = execute(args);
    logger::finish();
    code
}

fn execute(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let passed = Passed::take();
    let inherited = Inherited::take();
    let invocation = match args::parse(args) {
        Ok(invocation) => invocation,
        Err(error) => {
            logger::init(LevelFilter::Warn);
            // Usage errors are told as they are, over several lines.
            let error = error.to_string();
            let _ = writeln!(
                std::io::stderr(),
                "butler: {}",
                EscapedText(error.as_bytes())
            );
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match invocation {
        Invocation::Help(text) => print(&text),
        Invocation::Version => print(concat!("butler ", env!("CARGO_PKG_VERSION"), "\n")),
        Invocation::Cat(options) => {
            logger::init(options.log_level);
            match cat::run(&options) {
                Ok(outcome) => ExitCode::from(outcome.exit_status()),
                Err(error) => session::fail(format!("can't write to stdout: {error}")),
            }
        }
        Invocation::Serve(common) => {
            begin_log(&common);
            match session::catch_signals() {
                Ok(caught) => start(common.io, serve::serve(common, passed, caught)),
                Err(error) => no_signals(&error),
            }
        }
        Invocation::Run(common, options) => {
            begin_log(&common);
            let io = common.io;
            match run::Prepared::new() {
                Ok(prepared) => {
                    let run = run::run(common, options, passed, inherited, prepared);
                    start(io, run)
                }
                Err(error) => no_signals(&error),
            }
        }
        Invocation::Stream(common, options) => {
            begin_log(&common);
            start(common.io, stream::stream(common, options))
        }
        Invocation::Send(common, options) => {
            begin_log(&common);
            match session::catch_signals() {
                Ok(caught) => start(common.io, send::send(common, options, caught)),
                Err(error) => no_signals(&error),
            }
        }
    }
}

/// What is to be said of the command line comes first.
fn begin_log(common: &Common) {
    logger::init(common.log_level);
    for remark in &common.remarks {
        log::log!(remark.level, "{}", remark.text);
    }
}

fn no_signals(error: &std::io::Error) -> ExitCode {
    session::fail(format!("signals: {error}"))
}

fn start(io: IoMode, subcommand: impl Future<Output = ExitCode>) -> ExitCode {
    crate::process::allocator::keep_no_large_holes();
    let logging = async {
        tokio::select! {
            code = subcommand => code,
            never = logger::offer_again() => match never {},
        }
    };
    crate::start_with(io, logging).unwrap_or_else(|error| session::fail(advice::told(&error)))
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        // `butler help | head` has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => session::fail(format!("can't write to stdout: {error}")),
    }
}
