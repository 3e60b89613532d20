//! The floor: copies streams to an output with plain reads and writes.
//!
//! epoll, 256 KiB at a time, one thread. It parses nothing and skips nothing:
//! headers go along. What it costs is what the kernel takes for the copying
//! alone; a butler can come near, and hardly below.

use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;

use butler_perf::Result;
use butler_perf::address::Address;
use butler_perf::args::value;
use butler_perf::inlet::{self, Consumer};
use butler_perf::report;

const USAGE: &str = "relay --listen unix:PATH|tcp:HOST:PORT --output SPEC

SPEC: unix:PATH, tcp:HOST:PORT, file,path=FILE (appended to), or
directory,path=DIR (a file for each stream)";

const READ_SIZE: usize = 256 * 1024;

fn main() -> ExitCode {
    report::exit("relay", run())
}

fn run() -> Result<()> {
    let mut listen: Option<Address> = None;
    let mut output: Option<String> = None;
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            lexopt::Arg::Long("listen") => listen = Some(value(&mut parser)?),
            lexopt::Arg::Long("output") => output = Some(value(&mut parser)?),
            lexopt::Arg::Long("help") => {
                println!("{USAGE}");
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let (Some(listen), Some(output)) = (listen, output) else {
        return Err(USAGE.into());
    };
    butler_perf::raise_descriptor_limit()?;
    let (listener, _) = listen.listen()?;
    if let Some(dir) = output.strip_prefix("directory,path=") {
        std::fs::create_dir_all(dir)?;
        inlet::run(&listener, READ_SIZE, &mut ToFiles::new(dir.into()))
    } else {
        let output = open(&output)?;
        inlet::run(&listener, READ_SIZE, &mut ToOne { output })
    }
}

fn open(output: &str) -> Result<OwnedFd> {
    if let Some(path) = output.strip_prefix("file,path=") {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        return Ok(file.into());
    }
    Ok(output.parse::<Address>()?.connect()?)
}

/// All streams to one descriptor.
struct ToOne {
    output: OwnedFd,
}

impl Consumer for ToOne {
    fn data(&mut self, _: usize, data: &[u8]) -> Result<bool> {
        inlet::write_all(&self.output, data)?;
        Ok(true)
    }
}

/// A file for each stream.
struct ToFiles {
    dir: PathBuf,
    made: usize,
    files: Vec<Option<OwnedFd>>,
}

impl ToFiles {
    fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            made: 0,
            files: Vec::new(),
        }
    }
}

impl Consumer for ToFiles {
    fn opened(&mut self, id: usize) -> Result<()> {
        let file = File::create_new(self.dir.join(self.made.to_string()))?;
        self.made += 1;
        if self.files.len() <= id {
            self.files.resize_with(id + 1, || None);
        }
        self.files[id] = Some(file.into());
        Ok(())
    }

    fn data(&mut self, id: usize, data: &[u8]) -> Result<bool> {
        match &self.files[id] {
            Some(file) => inlet::write_all(file, data)?,
            None => return Err(format!("no file for connection {id}").into()),
        }
        Ok(true)
    }

    fn closed(&mut self, id: usize) {
        self.files[id] = None;
    }
}
