//! What the driver is asked for.

use std::path::PathBuf;

use regex_lite::Regex;

use super::scenario::Amounts;
use super::system::System;
use crate::Result;
use crate::args::value;

/// The help.
pub const USAGE: &str =
    "Runs butler and what it is compared with, in turn, and prints how they compare.

Usage: scripts/bench [OPTIONS]

  --quick              fewer scenarios and bytes: under two minutes
  --filter REGEX       only scenarios with such names
  --repetitions N      of every run (3)
  --peer NAME=COMMAND  another butler beside it; {socket} and {output} in COMMAND
                       are filled in: the path to listen at, and a SPEC of
                       butler's --output; {path} is the path or address in that;
                       {options} further options, in butler's words: without it
                       the peer is left out where some are needed. COMMAND is
                       split at blanks, without a shell. May be given many times
  --json FILE          all figures, for programs
  --svg FILE           a plot of the ratios
  --list               only tell what would be run

For closer looks:
  --system NAME        only butler, relay or a peer
  --scale F            so many times the bytes and seconds
  --zlib-level N       tell butler and the codec to use this level
  --attach COMMAND     run beside each system under test; {pid} is filled in
  --butler FILE        the butler to measure (beside this program)
  --dir DIR            where outputs are written (the system's temporary
                       directory); nothing is left there";

/// See the module.
#[derive(Debug)]
pub struct Options {
    /// Fewer scenarios.
    pub quick: bool,
    /// Names of scenarios.
    pub filter: Option<Regex>,
    /// Of every run.
    pub repetitions: usize,
    /// Beside butler and the floor.
    pub peers: Vec<System>,
    /// Where to write.
    pub json: Option<PathBuf>,
    /// Where to write.
    pub svg: Option<PathBuf>,
    /// Run nothing.
    pub list: bool,
    /// Only this one.
    pub system: Option<String>,
    scale: f64,
    /// Instead of the default level.
    pub zlib_level: Option<u32>,
    /// Run beside each system.
    pub attach: Option<String>,
    /// Instead of the one beside this program.
    pub butler: Option<PathBuf>,
    /// Instead of the temporary directory.
    pub dir: Option<PathBuf>,
}

impl Options {
    /// From the command line; `None` if help was asked for.
    pub fn parse() -> Result<Option<Self>> {
        let mut options = Self {
            quick: false,
            filter: None,
            repetitions: 3,
            peers: Vec::new(),
            json: None,
            svg: None,
            list: false,
            system: None,
            scale: 1.0,
            zlib_level: None,
            attach: None,
            butler: None,
            dir: None,
        };
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            let lexopt::Arg::Long(name) = arg else {
                return Err(arg.unexpected().into());
            };
            match name {
                "quick" => options.quick = true,
                "list" => options.list = true,
                "help" => return Ok(None),
                "filter" => options.filter = Some(Regex::new(&value::<String>(&mut parser)?)?),
                "repetitions" => options.repetitions = value::<usize>(&mut parser)?.max(1),
                "peer" => options.peers.push(value(&mut parser)?),
                "json" => options.json = Some(value(&mut parser)?),
                "svg" => options.svg = Some(value(&mut parser)?),
                "system" => options.system = Some(value(&mut parser)?),
                "scale" => options.scale = value(&mut parser)?,
                "zlib-level" => options.zlib_level = Some(value(&mut parser)?),
                "attach" => options.attach = Some(value(&mut parser)?),
                "butler" => options.butler = Some(value(&mut parser)?),
                "dir" => options.dir = Some(value(&mut parser)?),
                _ => return Err(arg.unexpected().into()),
            }
        }
        if !(options.scale > 0.0 && options.scale.is_finite()) {
            return Err("--scale must be more than 0".into());
        }
        Ok(Some(options))
    }

    /// How much of everything.
    pub fn amounts(&self) -> Amounts {
        let amounts = if self.quick {
            Amounts::QUICK
        } else {
            Amounts::FULL
        };
        amounts.scaled(self.scale)
    }

    /// Butler, the floor and the peers, or the one that was asked for.
    pub fn systems(&self) -> Result<Vec<System>> {
        let mut all = vec![System::Butler, System::Relay];
        all.extend(self.peers.iter().cloned());
        if let Some(name) = &self.system {
            all.retain(|system| system.name() == name);
            if all.is_empty() {
                return Err(format!("there is no system {name:?}").into());
            }
        }
        Ok(all)
    }
}
