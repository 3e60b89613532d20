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
//! * `--follow`: goes on until the selected streams have ended. (`--list`
//!   lists what is there and does not go on.)
//!
//! On a terminal control characters are made visible, unless `--raw`.
//!
//! File outputs are read twice: first to see which streams there are, and so
//! how they are to be shown, then to show them. Data flows
//!
//! ```text
//! file: messages → pipeline: streams in order → prefixes in order → sink
//! directory: content → sink
//! ```
//!
//! and a sink is one of `show`, `json` and `list`. Memory is bounded, however
//! large the files are, and whatever is in them: a message, what came early,
//! lines that are not complete, and what is known of the streams. Where a bound
//! is reached that is told, and the exit status is not 0.

mod content;
mod datagrams;
mod directory;
mod file;
mod interleave;
mod json;
mod labelled;
mod list;
mod meta;
mod order;
mod pipeline;
mod report;
mod screen;
mod selector;
mod show;
mod sink;
mod streams;
#[cfg(test)]
mod tests;
mod trace;
mod tree;

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::directory::{Directory, Earlier};
use self::file::{Change, FileOutput};
use self::json::Json;
use self::list::{Format, List};
use self::pipeline::Pipeline;
use self::report::Report;
use self::screen::Screen;
use self::selector::Selector;
use self::show::Show;
use self::sink::Sink;
use self::streams::Streams;
use crate::cli::options::CatOptions;
use crate::cli::runs::{self, RUNS};
use crate::limits::CAT_STREAMS_MAX;

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All that was asked for was shown.
    Complete,
    /// Something could not be read, is corrupt or is missing; stderr says
    /// what.
    Incomplete,
}

impl Outcome {
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

/// How long `--follow` waits before it looks again.
const POLL: Duration = Duration::from_millis(200);
/// A directory is walked again at every so many polls.
const WALK_POLLS: u32 = 5;
/// What waits for something that did not come in so many polls, 5 s, is
/// shown: a butler by default does not hold data back for longer.
const PATIENCE_POLLS: u32 = 25;

/// `butler cat` on this process's stdout and stderr.
///
/// An error is one of writing to stdout. A reader that went away is none.
pub fn run(options: &CatOptions) -> io::Result<Outcome> {
    let mut out = io::stdout().lock();
    let mut err = io::stderr();
    cat(options, &mut out, &mut err, Terminal::of_stdout())
}

/// `butler cat` on any writers; `terminal` says what is behind `out`.
///
/// With `--follow` it returns when the selected streams have ended. An error
/// is one of writing to `out`; a broken pipe is none.
pub fn cat(
    options: &CatOptions,
    out: &mut dyn Write,
    err: &mut dyn Write,
    terminal: Terminal,
) -> io::Result<Outcome> {
    let wait = || {
        std::thread::sleep(POLL);
        true
    };
    cat_while(options, out, err, terminal, wait)
}

/// `wait` is called between polls, and says whether to go on.
fn cat_while(
    options: &CatOptions,
    out: &mut dyn Write,
    err: &mut dyn Write,
    terminal: Terminal,
    wait: impl FnMut() -> bool,
) -> io::Result<Outcome> {
    let mut report = Report::new(err);
    let selector = match Selector::new(options.stream.as_deref()) {
        Ok(selector) => selector,
        Err(sentence) => {
            report.error(sentence);
            return Ok(report.outcome());
        }
    };
    let mut cat = Cat::open(options, selector, &mut report);
    if let Some(sentence) = cat.streams.nothing_selected() {
        if !cat.follows || cat.has_nothing_left() {
            report.error(sentence);
            return Ok(report.outcome());
        }
        report.note(format_args!("{sentence}; waiting for one"));
    }
    let mut sink = sink(options, out, terminal);
    let done = if cat.follows {
        cat.follow(&mut report, &mut *sink, wait)
    } else {
        cat.show(&mut report, &mut *sink)
    };
    match done {
        // Whoever read it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Outcome::Complete),
        Err(error) => Err(error),
        Ok(()) => Ok(report.outcome()),
    }
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
            let screen = Screen::new(out, terminal.is_terminal && !options.raw);
            Box::new(Show::new(screen, terminal.color, options.timestamps))
        }
    }
}

/// All that is read.
struct Cat {
    follows: bool,
    streams: Streams,
    pipeline: Pipeline,
    files: Vec<FileOutput>,
    directories: Vec<Directory>,
    /// That streams are left out was told.
    told_left_out: bool,
}

impl Cat {
    /// Opens what can be opened, and sees what streams there are.
    fn open(options: &CatOptions, selector: Selector, report: &mut Report<'_>) -> Self {
        let mut cat = Self {
            follows: options.follow && !options.list,
            streams: Streams::new(selector),
            pipeline: Pipeline::default(),
            files: Vec::new(),
            directories: Vec::new(),
            told_left_out: false,
        };
        let earlier = match (options.list, &options.stream) {
            (true, _) => Earlier::Listed,
            (false, Some(_)) => Earlier::Shown,
            (false, None) => Earlier::LeftOut,
        };
        let Some(paths) = paths(options) else {
            report.error(format_args!(
                "there are no logs in {RUNS}; name a file or a directory: butler cat PATH"
            ));
            return cat;
        };
        for path in &paths {
            let shown = path.display();
            match fs::metadata(path) {
                Ok(found) if found.is_dir() => {
                    let mut directory = Directory::new(path, earlier, cat.follows);
                    directory.walk(report, &mut cat.streams);
                    if options.timestamps && !options.list && !options.json {
                        report.error(format_args!(
                            "{shown}: a directory output has no times, so --timestamps shows none"
                        ));
                    }
                    if directory.left_out > 0 {
                        report.note(format_args!(
                            "{shown}: streams of earlier runs, not shown: {} (--list tells which)",
                            directory.left_out
                        ));
                    }
                    for output in &directory.within {
                        let output = output.display();
                        report.note(format_args!("{output}: an output of its own, not shown"));
                    }
                    cat.directories.push(directory);
                }
                Ok(found) if found.is_file() => match FileOutput::open(path) {
                    Ok(file) => cat.files.push(file),
                    Err(error) => report.error(format_args!("{shown}: can't be opened: {error}")),
                },
                Ok(_) => report.error(format_args!(
                    "{shown}: is neither a file nor a directory, and must be one to be read twice"
                )),
                Err(error) => report.error(format_args!("{shown}: can't be opened: {error}")),
            }
        }
        cat.survey();
        cat.tell_left_out(report);
        cat
    }

    fn survey(&mut self) {
        let (streams, pipeline) = (&mut self.streams, &mut self.pipeline);
        for file in &mut self.files {
            // What is wrong is reported when it is read for good. Nothing is
            // written here that could fail.
            let _ = file.read(&mut Report::muted(), |bundle| {
                pipeline.survey(streams, bundle)
            });
            file.rewind(self.follows);
        }
        pipeline.surveyed();
    }

    fn tell_left_out(&mut self, report: &mut Report<'_>) {
        if self.streams.left_out() && !self.told_left_out {
            self.told_left_out = true;
            report.error(format_args!(
                "there are more streams than there is room for ({} MiB): {} are there, the others \
                 are left out; --stream selects",
                CAT_STREAMS_MAX >> 20,
                self.streams.len()
            ));
        }
    }

    fn show(&mut self, report: &mut Report<'_>, sink: &mut dyn Sink) -> io::Result<()> {
        self.read_files(report, sink)?;
        for file in &mut self.files {
            file.report_tail(report);
        }
        self.pipeline.finish(&self.streams, sink, report)?;
        for directory in &mut self.directories {
            directory.read(report, &mut self.streams, sink)?;
        }
        sink.finish(&self.streams)
    }

    fn follow(
        &mut self,
        report: &mut Report<'_>,
        sink: &mut dyn Sink,
        mut wait: impl FnMut() -> bool,
    ) -> io::Result<()> {
        let mut polls = 0u32;
        let mut idle_polls = 0u32;
        loop {
            let is_idle = !self.read_files(report, sink)?;
            self.restart_changed(report, sink)?;
            idle_polls = if is_idle { idle_polls + 1 } else { 0 };
            self.pipeline.poll(&self.streams, sink, PATIENCE_POLLS)?;
            if idle_polls >= PATIENCE_POLLS {
                self.pipeline.release(&self.streams, sink)?;
                idle_polls = 0;
            }
            for directory in &mut self.directories {
                if polls.is_multiple_of(WALK_POLLS) {
                    directory.walk(report, &mut self.streams);
                }
                directory.read(report, &mut self.streams, sink)?;
            }
            self.tell_left_out(report);
            sink.flush()?;
            polls = polls.wrapping_add(1);
            if self.has_nothing_left() || !wait() {
                break;
            }
        }
        self.pipeline.finish(&self.streams, sink, report)?;
        sink.finish(&self.streams)
    }

    /// Says whether anything came.
    fn read_files(&mut self, report: &mut Report<'_>, sink: &mut dyn Sink) -> io::Result<bool> {
        let mut any = false;
        for (source, file) in self.files.iter_mut().enumerate() {
            let (streams, pipeline) = (&mut self.streams, &mut self.pipeline);
            file.read(report, |bundle| {
                any = true;
                pipeline.feed(streams, sink, source, bundle)
            })?;
        }
        Ok(any)
    }

    fn restart_changed(&mut self, report: &mut Report<'_>, sink: &mut dyn Sink) -> io::Result<()> {
        for (source, file) in self.files.iter_mut().enumerate() {
            let what = match file.change() {
                None => continue,
                Some(Change::Replaced) => "replaced",
                Some(Change::Truncated) => "truncated",
            };
            // It may be replaced again this moment; then the next poll sees.
            let Ok(new) = FileOutput::open(file.path()) else {
                continue;
            };
            *file = new;
            report.note(format_args!(
                "{}: the file was {what}; it is read from its beginning",
                file.path().display()
            ));
            let streams = &mut self.streams;
            self.pipeline.restart(streams, sink, report, source)?;
        }
        Ok(())
    }

    /// Is there nothing to follow any more?
    fn has_nothing_left(&self) -> bool {
        self.directories.is_empty()
            && (self.files.iter().all(FileOutput::is_broken)
                || self.pipeline.is_complete(&self.streams))
    }
}
