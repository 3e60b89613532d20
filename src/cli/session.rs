//! What `serve`, `run` and `stream` share: starting a butler, signals, and
//! its end.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, getrlimit, set_dumpable_behavior, setrlimit,
};

use super::advice::told;
use super::demands::{Demand, Demands};
use super::notify::Notifier;
use super::options::Common;
use super::passed::Passed;
use super::report_file::ReportFile;
use super::runs::RunDirectory;
#[cfg(feature = "logdog")]
use crate::output::logdog::RegistrationError;
use crate::output::{DirectoryOutput, Output};
use crate::process::signals::{Arrivals, Caught};
use crate::{Butler, Report, StreamServer, Users};
use crate::{edge::clock, process::orphans};

/// The butler itself failed, or logs were lost.
pub(super) const EXIT_FAILED: u8 = 250;

/// Says what went wrong and what the exit status is.
pub(super) fn fail(what: impl fmt::Display) -> ExitCode {
    match current_directory_is_gone() {
        // Which is why relative paths lead nowhere.
        true => log::error!("{what} (the current directory is gone)"),
        false => log::error!("{what}"),
    }
    ExitCode::from(EXIT_FAILED)
}

/// Has somebody removed the directory that we were started in?
pub(super) fn current_directory_is_gone() -> bool {
    std::env::current_dir().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Makes way for the statistics.
pub(super) fn prepare_statistics(common: &Common) -> Result<Option<ReportFile>, String> {
    prepare_report(common, "stats-path", common.stats_path.as_deref())
}

/// Makes way for a report at `path`, which `option` names.
pub(super) fn prepare_report(
    common: &Common,
    option: &'static str,
    path: Option<&Path>,
) -> Result<Option<ReportFile>, String> {
    let Some(path) = path else {
        return Ok(None);
    };
    if let Some(output) = common.config.output.file()
        && is_same(path, output)
        && output.metadata().is_ok_and(|found| found.is_file())
    {
        return Err(format!(
            "--{option} is the file of --output: {}",
            path.display()
        ));
    }
    ReportFile::prepare(option, path).map(Some)
}

/// Why a subcommand could not do its work.
#[derive(Debug)]
pub(super) enum SessionError {
    /// The butler could not be opened.
    Butler(crate::Error),
    /// A signal came before it was.
    Interrupted,
    /// Anything else.
    Other(String),
}

impl From<crate::Error> for SessionError {
    fn from(error: crate::Error) -> Self {
        Self::Butler(error)
    }
}

impl From<String> for SessionError {
    fn from(what: String) -> Self {
        Self::Other(what)
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "logdog")]
            Self::Butler(crate::Error::Registration(error @ RegistrationError::Project { .. })) => {
                f.write_str(&told(error))
            }
            Self::Butler(error) => f.write_str(&told(error)),
            Self::Interrupted => f.write_str("ended by a signal before the output was ready"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl SessionError {
    /// What the exit status is.
    pub fn exit_code(&self) -> u8 {
        match self {
            #[cfg(feature = "logdog")]
            Self::Butler(crate::Error::Registration(RegistrationError::Project { .. })) => {
                super::EXIT_USAGE
            }
            _ => EXIT_FAILED,
        }
    }

    /// Says what went wrong and what the exit status is.
    pub fn tell(&self) -> ExitCode {
        fail(self);
        ExitCode::from(self.exit_code())
    }
}

/// Opens the butler. Clients may be waiting to be accepted by then, so a
/// signal that asks for the end leaves it the time that open streams have, and
/// [`wait`] goes on from there. The second one ends it at once.
pub(super) async fn open(common: &Common, signals: &mut Signals) -> Result<Butler, SessionError> {
    keep_secrets(common);
    let mut opening = std::pin::pin!(Butler::open(common.config.clone()));
    loop {
        tokio::select! {
            opened = &mut opening => return Ok(opened?),
            asked = signals.next() => {
                if asked == Asked::End {
                    break;
                }
            }
        }
    }
    let mut late = std::pin::pin!(tokio::time::sleep(common.drain_timeout));
    loop {
        tokio::select! {
            opened = &mut opening => return Ok(opened?),
            asked = signals.next() => {
                if asked == Asked::EndNow {
                    return Err(SessionError::Interrupted);
                }
            }
            () = &mut late => return Err(SessionError::Interrupted),
        }
    }
}

/// Makes the directory of this run, if no output was named. It is the caller's
/// to say that the run has begun.
pub(super) fn give_directory(common: &mut Common) -> Result<Option<RunDirectory>, String> {
    let Some(runs) = common.runs.take() else {
        return Ok(None);
    };
    let mut directory = RunDirectory::make(&runs).map_err(|error| {
        let runs = runs.display();
        format!("no directory for this run in {runs}: {error}; --output names another place")
    })?;
    if let Some(outer) = std::env::var_os("LOGDOG_COORDINATOR_HOST") {
        directory.is_part_of(&outer);
    }
    let path = directory.path();
    log::info!("logs go to {}", path.display());
    common.config.output = DirectoryOutput::new(path).into();
    Ok(Some(directory))
}

/// An output that registers gets a secret and tokens, and another one may have a
/// key: they must not be in a core dump. A child is not concerned: what it executes is dumpable again.
pub(super) fn keep_secrets(common: &Common) {
    if common.config.output.has_secrets()
        && let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable)
    {
        log::warn!("a core dump of this process would have secrets: {error}");
    }
}

/// Listens on the socket that was passed, or where it was told to, or at a
/// private path.
pub(super) fn listen(common: &Common, passed: Passed) -> Result<StreamServer, String> {
    let users = common.users.clone().allowed_by("--allow-uid");
    let server = match (passed, &common.stream_server) {
        (Passed::Wrong(what), _) => Err(what),
        (Passed::Socket(socket), path) => take(socket, path.as_deref(), users),
        (Passed::Nothing, Some(path)) => {
            StreamServer::bind_for(path, users).map_err(|error| not_there(path, &error))
        }
        (Passed::Nothing, None) => StreamServer::bind_private_for(users).map_err(|error| {
            let tmpdir = match std::env::var_os("TMPDIR") {
                Some(directory) => format!(" (TMPDIR is {})", directory.display()),
                None => String::new(),
            };
            format!("can't listen at a private path: {error}{tmpdir}")
        }),
    }?;
    // What it sent would come back as connections without a header.
    if let Output::Unix(unix) = &common.config.output
        && is_same(&unix.path, server.path())
    {
        return Err(format!(
            "--output is the socket at which streams are taken: {}",
            server.path().display()
        ));
    }
    log::info!("streams are taken at {}", server.uri().display());
    Ok(server)
}

/// Why nobody can listen at that path; and, if a butler does, what to do.
fn not_there(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    let mut why = format!("can't listen at {path}: {error}");
    if error.kind() == io::ErrorKind::AddrInUse {
        why.push_str(&format!(
            "; a second butler needs a path of its own, and a stream for the one that is there \
             is sent by butler stream --stream-server unix:{path}"
        ));
    }
    why
}

/// The service manager's socket, which must be where it was said to be.
fn take(socket: OwnedFd, path: Option<&Path>, users: Users) -> Result<StreamServer, String> {
    let server = StreamServer::from_listening(socket, users)
        .map_err(|error| format!("the socket that the service manager passes: {error}"))?;
    match path {
        Some(path) if !is_same(path, server.path()) => Err(format!(
            "the socket that the service manager passes is at {}, and --stream-server says {}",
            server.path().display(),
            path.display()
        )),
        _ => Ok(server),
    }
}

/// Do both lead to the same file?
fn is_same(one: &Path, other: &Path) -> bool {
    let inode = |path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.dev(), found.ino()))
    };
    one == other || inode(one).is_some_and(|found| inode(other) == Some(found))
}

/// Allows as many descriptors as the system lets us have.
pub(super) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        log::warn!(
            "the limit of open files stays at {:?}: {error}",
            limit.current
        );
    }
}

/// What asks `serve` and `stream` for the end.
const ENDS: [Signal; 5] = [
    Signal::TERM,
    Signal::INT,
    Signal::HUP,
    Signal::QUIT,
    Signal::XCPU,
];

/// What must not end a process that holds data. A write beyond the limit of a
/// file's size (XFSZ) fails with an error as well, which is handled. That these
/// are caught and not ignored is for the command of `run`, which would inherit
/// that.
pub(super) const WITHOUT_EFFECT: [Signal; 9] = [
    Signal::USR2,
    Signal::ALARM,
    Signal::VTALARM,
    Signal::PROF,
    Signal::IO,
    Signal::POWER,
    Signal::STKFLT,
    Signal::XCPU,
    Signal::XFSZ,
];

/// Catches what [`Signals`] is to see. It is the first that is done.
pub(super) fn catch_signals() -> io::Result<Caught> {
    let others = [Signal::USR1, Signal::CHILD];
    let all: Vec<_> = ENDS
        .into_iter()
        .chain(WITHOUT_EFFECT)
        .chain(others)
        .collect();
    Caught::new(&all)
}

/// The signals that end a butler, and the one that asks for statistics.
pub(super) struct Signals {
    arrivals: Arrivals,
    demands: Demands,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// To come to an end.
    End,
    /// To come to it at once.
    EndNow,
    /// To tell statistics.
    Statistics,
}

impl Signals {
    pub fn new(caught: Caught) -> io::Result<Self> {
        Ok(Self {
            arrivals: caught.arrivals()?,
            demands: Demands::default(),
        })
    }

    pub async fn next(&mut self) -> Asked {
        loop {
            let arrival = self.arrivals.next().await;
            match arrival.signal {
                Signal::USR1 => return Asked::Statistics,
                Signal::CHILD => orphans::reap(None),
                signal if ENDS.contains(&signal) => {
                    match self.demands.take(arrival.at_ns, clock::mono_ns()) {
                        Demand::First => return Asked::End,
                        Demand::Again => return Asked::EndNow,
                        Demand::Same => {}
                    }
                }
                _ => {}
            }
        }
    }
}

/// Waits for the butler's end. The first signal begins it, the second brings
/// it at once.
pub(super) async fn wait(
    butler: &Butler,
    common: &Common,
    signals: &mut Signals,
    notifier: &Notifier,
) -> Result<Report, crate::Error> {
    let mut ended = std::pin::pin!(butler.wait());
    let end = || {
        notifier.stopping();
        butler.stop_buffering();
        butler.shutdown(common.drain_timeout);
    };
    if signals.demands.any() {
        end();
    }
    loop {
        tokio::select! {
            result = &mut ended => return result,
            asked = signals.next() => match asked {
                Asked::Statistics => tell_statistics(butler),
                Asked::EndNow => butler.abort(),
                Asked::End => {
                    log::info!("ending; once more to end at once");
                    end();
                }
            },
        }
    }
}

/// For SIGUSR1.
pub(super) fn tell_statistics(butler: &Butler) {
    tell(&format!("statistics: {}", butler.statistics()));
}

/// Tells what was asked for: at any level.
pub(super) fn tell(what: &str) {
    log::logger().log(
        &log::Record::builder()
            .level(log::Level::Info)
            .target(module_path!())
            .args(format_args!("{what}"))
            .build(),
    );
}

/// What became of all that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// It is delivered.
    Whole,
    /// It is delivered, or kept in the spool.
    Spooled,
    /// Some of it is lost.
    Lossy,
}

impl Delivery {
    fn of(report: &Report) -> Self {
        match (report.is_complete(), report.is_spooled()) {
            (false, _) => Self::Lossy,
            (true, true) => Self::Spooled,
            (true, false) => Self::Whole,
        }
    }
}

/// Tells how it went and writes the statistics. What became of it all, and what
/// was wrong with the butler itself.
pub(super) fn conclude(
    butler: &Butler,
    statistics: Option<ReportFile>,
    result: Result<Report, crate::Error>,
) -> (Delivery, Option<String>) {
    let report = match result {
        Ok(report) => report,
        Err(error) => {
            if let Some(file) = statistics {
                file.write(&butler.statistics());
            }
            let error = told(&error);
            log::error!("{error}");
            return (Delivery::Lossy, Some(error));
        }
    };
    log::info!("statistics: {}", report.snapshot);
    for loss in &report.losses {
        log::error!("{loss}");
    }
    if let Some(summary) = report.summary() {
        log::error!("{summary}");
    }
    if let Some(left) = report.left.as_ref().filter(|left| left.messages > 0) {
        log::warn!(
            "{left}; the next butler with that spool sends them, and so does butler send {}",
            left.path.display()
        );
    }
    if let Some(file) = statistics {
        file.write(&report.snapshot.to_json());
    }
    (Delivery::of(&report), None)
}

/// How many streams are named in one message.
const NAMED: usize = 8;

/// Tells which streams were cut, as they were still open when the time was over
/// that they had since `when`; `why` is what is known of that.
pub(super) fn tell_cut(report: &Report, drain_timeout: Duration, when: &str, why: &str) {
    if report.cut.is_empty() {
        return;
    }
    let named: Vec<_> = report.cut.iter().take(NAMED).map(AsRef::as_ref).collect();
    let named = named.join(", ");
    let more = match report.cut.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    log::warn!("still open {drain_timeout:?} after {when}, and cut there: {named}{more}{why}");
}

/// The exit status of `serve` and `stream`.
pub(super) fn exit_code(
    butler: &Butler,
    common: &Common,
    statistics: Option<ReportFile>,
    result: Result<Report, crate::Error>,
) -> ExitCode {
    if let Ok(report) = &result {
        tell_cut(report, common.drain_timeout, "the end began", "");
    }
    match conclude(butler, statistics, result) {
        (Delivery::Whole | Delivery::Spooled, _) => ExitCode::SUCCESS,
        (Delivery::Lossy, _) => ExitCode::from(EXIT_FAILED),
    }
}
