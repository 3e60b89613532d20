//! What is measured and compared: butler, the floor, and peers.

use std::path::Path;
use std::process::Command;
use std::str::FromStr;

use super::Environment;
use crate::Result;

/// A system under test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum System {
    /// The butler of this repository.
    Butler,
    /// The floor.
    Relay,
    /// Any other butler.
    Peer {
        /// As it is called in tables.
        name: String,
        /// Its command line, with braces to be filled in.
        command: String,
    },
}

impl FromStr for System {
    type Err = String;

    /// A peer: `NAME=COMMAND`.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (name, command) = text
            .split_once('=')
            .ok_or_else(|| format!("{text:?} is not NAME=COMMAND"))?;
        if name.is_empty() || ["butler", "relay"].contains(&name) {
            return Err(format!("a peer can't be called {name:?}"));
        }
        let has = |brace| command.contains(brace);
        if !has("{socket}") || !(has("{output}") || has("{path}")) {
            return Err(format!(
                "the command of {name} must have {{socket}}, and {{output}} or {{path}}"
            ));
        }
        Ok(Self::Peer {
            name: name.into(),
            command: command.into(),
        })
    }
}

impl System {
    /// As it is called in tables.
    pub fn name(&self) -> &str {
        match self {
            Self::Butler => "butler",
            Self::Relay => "relay",
            Self::Peer { name, .. } => name,
        }
    }

    /// Can it be told these options? The floor has none to be told.
    pub fn takes(&self, options: &[&str]) -> bool {
        match self {
            Self::Butler | Self::Relay => true,
            Self::Peer { command, .. } => options.is_empty() || command.contains("{options}"),
        }
    }

    /// Its command line. `output` is a SPEC of butler's `--output`.
    pub fn command(
        &self,
        env: &Environment,
        socket: &Path,
        output: &str,
        options: &[&str],
        stats: &Path,
    ) -> Result<Command> {
        let mut command;
        match self {
            Self::Butler => {
                command = Command::new(&env.butler);
                command
                    .arg("--stream-server")
                    .arg(format!("unix:{}", socket.display()))
                    .args(["--output", output])
                    .arg("--stats-path")
                    .arg(stats)
                    .args(options);
                if env.attach.is_some() {
                    // In its sandbox nobody but root may attach to it.
                    command.arg("--sandbox=off");
                }
            }
            Self::Relay => {
                command = Command::new(env.program("relay"));
                command
                    .arg("--listen")
                    .arg(format!("unix:{}", socket.display()))
                    .args(["--output", output]);
            }
            Self::Peer { command: line, .. } => {
                let words = words(line, socket, output, options);
                let (program, args) = words.split_first().ok_or("a peer has a command")?;
                command = Command::new(program);
                command.args(args);
            }
        }
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LOGDOG_") {
                command.env_remove(name);
            }
        }
        Ok(command)
    }
}

/// The words of a peer's command line, filled in.
fn words(line: &str, socket: &Path, output: &str, options: &[&str]) -> Vec<String> {
    let path = output
        .split_once("path=")
        .or_else(|| output.split_once(':'))
        .map_or(output, |(_, path)| path);
    line.split_whitespace()
        .flat_map(|word| match word {
            "{options}" => options.iter().map(|it| (*it).to_owned()).collect(),
            _ => vec![
                word.replace("{socket}", &socket.display().to_string())
                    .replace("{output}", output)
                    .replace("{path}", path),
            ],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_filled_in() {
        let socket = Path::new("/s");
        let fill = |line: &str, output: &str| words(line, socket, output, &["-a", "-b"]).join(" ");
        assert_eq!(
            fill("x unix:{socket} -o={output} {options}", "tcp:h:1"),
            "x unix:/s -o=tcp:h:1 -a -b"
        );
        assert_eq!(fill("x {path}", "file,path=/f"), "x /f");
        assert_eq!(fill("x {path}", "unix:/u"), "x /u");
        assert!("x=y {socket}".parse::<System>().is_err());
        assert!("butler={socket} {output}".parse::<System>().is_err());
        let peer: System = "go=b {socket} {path}".parse().unwrap();
        assert!(peer.takes(&[]) && !peer.takes(&["--output-no-buffer"]));
    }
}
