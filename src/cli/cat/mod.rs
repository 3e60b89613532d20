//! `butler cat`: reads back what `file` and `directory` outputs wrote.
//!
//! * One stream, in all or selected by `--stream`: its bytes, exactly.
//!   Datagrams stand back to back; their boundaries are visible with `--json`.
//! * Several streams: line by line, each behind its stream's name, in the
//!   order of their prefix_index; a directory output has none, so there it is
//!   one stream after the other. What is not text shows as its size.
//! * Of runs that have appended to a file with the same prefix, the later ones
//!   have a number behind the names of their streams.
//! * `--timestamps`: the time at which it was read before each line of text; a
//!   directory output has none.
//! * `--json`: one object for every log entry, or for every line of a
//!   directory output. `--list`: what streams there are.
//! * Of a directory output, what the last run has written; what is left of
//!   earlier ones is in `--list`, and shown if `--stream` selects it. Of a
//!   directory of runs, the last run.
//! * Of a spool, or one of its segments: all messages that are in the files. Those
//!   that are delivered by now are among them until all of their segment is; what
//!   is not there is no loss. A butler may be running in it.
//! * `--follow`: goes on until the selected streams have ended. (`--list`
//!   lists what is there and does not go on.)
//!
//! On a terminal control characters are made visible, unless `--raw`.
//!
//! [`read`](crate::read) reads; what is here shows it, in one of three ways
//! (`Sink`): `show`, `json` and `list`. What is held here is lines that are
//! not complete, [`READER_HELD_MAX`](crate::limits::READER_HELD_MAX) at most, and
//! what `--list` has of each stream.

mod json;
mod labelled;
mod list;
mod report;
mod screen;
mod selector;
mod show;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use self::json::Json;
use self::list::{Format, List};
use self::report::Diagnostics;
use self::screen::TextSink;
use self::selector::NamePattern;
use self::show::Show;
use crate::chain::Chain;
use crate::cli::options::CatOptions;
use crate::cli::runs::{self, RUNS};
use crate::read::{Catalog, EarlierRuns, Event, Opened, POLL, Reader};

/// Shows what is read, in one of several ways. Errors are those of writing.
trait Sink {
    /// Takes what comes next.
    fn take(&mut self, catalog: &Catalog, event: &Event<'_>) -> io::Result<()>;

    /// Nothing comes any more.
    fn finish(&mut self, catalog: &Catalog) -> io::Result<()>;

    /// Lets go of what is buffered.
    fn flush(&mut self) -> io::Result<()>;
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completeness {
    /// All that was asked for was shown.
    Complete,
    /// Something could not be read, is corrupt or is missing; stderr says
    /// what.
    Incomplete,
}

impl Completeness {
    /// The exit status.
    pub const fn exit_status(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::Incomplete => 1,
        }
    }
}

/// What is behind stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terminal {
    /// A terminal, so that control characters would do something.
    pub is_terminal: bool,
    /// Colours are wanted.
    pub color: bool,
}

impl Terminal {
    /// What stdout of this process is, and what `NO_COLOR` says.
    pub fn of_stdout() -> Self {
        let is_terminal = io::stdout().is_terminal();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            is_terminal,
            color: is_terminal && !no_color,
        }
    }
}

/// `butler cat` on this process's stdout and stderr.
///
/// With `--follow` it returns when the selected streams have ended. An error is
/// one of writing to stdout; a reader that went away is none.
pub fn run(options: &CatOptions) -> io::Result<Completeness> {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr());
    cat(options, &mut out, &mut err, Terminal::of_stdout(), || {
        std::thread::sleep(POLL);
        true
    })
}

/// The same on any writers; `terminal` says what is behind `out`. `wait` is
/// called between polls, and says whether to go on.
fn cat(
    options: &CatOptions,
    out: &mut dyn Write,
    err: &mut dyn Write,
    terminal: Terminal,
    wait: impl FnMut() -> bool,
) -> io::Result<Completeness> {
    let mut report = Diagnostics::new(err);
    let selector = match NamePattern::new(options.stream.as_deref()) {
        Ok(selector) => selector,
        Err(sentence) => {
            report.error(sentence);
            return Ok(report.completeness());
        }
    };
    let follows = options.follow && !options.list;
    let reader = open(options, selector, follows, &mut report)?;
    let asked = options.stream.as_deref();
    if let Some(sentence) = asked.and_then(|it| nothing_selected(it, reader.catalog())) {
        if !follows || reader.is_over() {
            report.error(sentence);
            return Ok(report.completeness());
        }
        report.note(format_args!("{sentence}; waiting for one"));
    }
    let mut sink = sink(options, out, terminal);
    let done = match follows {
        true => follow(reader, &mut report, &mut *sink, wait),
        false => show(reader, &mut report, &mut *sink),
    };
    match done {
        // Whoever read it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Completeness::Complete),
        Err(error) => Err(error),
        Ok(()) => Ok(report.completeness()),
    }
}

fn show(mut reader: Reader, report: &mut Diagnostics<'_>, sink: &mut dyn Sink) -> io::Result<()> {
    reader.read(&mut |catalog, event| take(report, sink, catalog, event))?;
    sink.finish(reader.catalog())
}

fn follow(
    mut reader: Reader,
    report: &mut Diagnostics<'_>,
    sink: &mut dyn Sink,
    mut wait: impl FnMut() -> bool,
) -> io::Result<()> {
    loop {
        reader.poll(&mut |catalog, event| take(report, sink, catalog, event))?;
        sink.flush()?;
        if reader.is_over() || !wait() {
            break;
        }
    }
    reader.finish(&mut |catalog, event| take(report, sink, catalog, event))?;
    sink.finish(reader.catalog())
}

fn take(
    report: &mut Diagnostics<'_>,
    sink: &mut dyn Sink,
    catalog: &Catalog,
    event: Event<'_>,
) -> io::Result<()> {
    match event {
        Event::Finding(finding) => {
            report.finding(&finding);
            Ok(())
        }
        event => sink.take(catalog, &event),
    }
}

/// Opens what can be opened, and sees what streams there are.
fn open(
    options: &CatOptions,
    selector: NamePattern,
    follows: bool,
    report: &mut Diagnostics<'_>,
) -> io::Result<Reader> {
    let earlier = match (options.list, &options.stream) {
        (true, _) => EarlierRuns::Read,
        (false, Some(_)) => EarlierRuns::Told,
        (false, None) => EarlierRuns::LeftOut,
    };
    let mut reader = Reader::new(move |origin, name| selector.matches(origin, name));
    reader = reader.earlier_runs(earlier);
    if follows {
        reader = reader.following();
    }
    let Some(paths) = paths(options) else {
        report.error(format_args!(
            "there are no logs in {RUNS}; name a file or a directory: butler cat PATH"
        ));
        return Ok(reader);
    };
    for path in &paths {
        let opened = reader.open(path, &mut |_, event| tell(report, event));
        let shown = path.display();
        match opened {
            Err(error) => report.error(format_args!("{shown}: {}", Chain(&error))),
            Ok(Opened::Directory { left_out, within }) => {
                if options.timestamps && !options.list && !options.json {
                    report.error(format_args!(
                        "{shown}: a directory output has no times, so --timestamps shows none"
                    ));
                }
                if left_out > 0 {
                    report.note(format_args!(
                        "{shown}: streams of earlier runs, not shown: {left_out} (--list tells \
                         which)"
                    ));
                }
                for output in &within {
                    let output = output.display();
                    report.note(format_args!("{output}: an output of its own, not shown"));
                }
            }
            Ok(_) => {}
        }
    }
    reader.survey(&mut |_, event| tell(report, event))?;
    Ok(reader)
}

fn tell(report: &mut Diagnostics<'_>, event: Event<'_>) -> io::Result<()> {
    if let Event::Finding(finding) = event {
        report.finding(&finding);
    }
    Ok(())
}

/// Why nothing is selected; `None` if something is.
fn nothing_selected(asked: &str, catalog: &Catalog) -> Option<String> {
    if !catalog.is_empty() || catalog.left_out() {
        return None;
    }
    let unwanted = catalog.unwanted();
    let Some((_, first)) = unwanted.named().next() else {
        return Some(format!(
            "no stream matches {asked:?}: there are no streams at all"
        ));
    };
    let is_one = unwanted.named().all(|(_, origin)| origin == first);
    let labels: Vec<_> = unwanted
        .named()
        .map(|(name, origin)| match is_one {
            true => name.to_owned(),
            false => origin.path_of(name),
        })
        .collect();
    let more = if unwanted.has_more() { " and more" } else { "" };
    let labels = labels.join(", ");
    Some(format!(
        "no stream matches {asked:?}; there are {labels}{more}"
    ))
}

/// What is to be read: of a directory of runs, the last one's. `None` if no
/// path is given, and there are no runs.
fn paths(options: &CatOptions) -> Option<Vec<PathBuf>> {
    if options.paths.is_empty() {
        return runs::last(Path::new(RUNS)).map(|last| vec![last]);
    }
    let paths = options.paths.iter();
    Some(paths.map(|path| runs::meant(path)).collect())
}

fn sink<'a>(
    options: &CatOptions,
    out: &'a mut dyn Write,
    terminal: Terminal,
) -> Box<dyn Sink + 'a> {
    match (options.list, options.json) {
        (true, true) => Box::new(List::new(out, Format::Json)),
        (true, false) => Box::new(List::new(out, Format::Table)),
        (false, true) => Box::new(Json::new(out)),
        (false, false) => {
            let screen = TextSink::new(out, terminal.is_terminal && !options.raw);
            Box::new(Show::new(screen, terminal.color, options.timestamps))
        }
    }
}
