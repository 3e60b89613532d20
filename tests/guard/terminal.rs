//! What a client wrote can't command the terminal that it is shown on.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;

use crate::common::process::{command, terminal as terminal_of_its_own};

/// A colour, a title, a bell, one of the C1 set, DEL, a turn of the direction;
/// and what may stay.
const NASTY: &[u8] = b"red \x1b[31m \x1b]0;title\x07 \xc2\x9b1m \x7f \xe2\x80\xae\ttab \xc3\xa9\n";
const SHOWN: &str = "red \\x1b[31m \\x1b]0;title\\x07 \\u{9b}1m \\x7f \\u{202e}";

/// What of its stdout reaches a terminal, or a pipe.
fn shown(dir: &Path, args: &[&str], terminal: bool) -> Vec<u8> {
    let mut command = command(args);
    command.current_dir(dir).stdin(Stdio::piped());
    let (controller, stdout): (OwnedFd, OwnedFd) = if terminal {
        terminal_of_its_own().unwrap()
    } else {
        let (reader, writer) = std::io::pipe().unwrap();
        (reader.into(), writer.into())
    };
    let mut child = command.stdout(stdout).spawn().unwrap();
    // Its end must be the only one.
    drop(command);
    let mut stdin = child.stdin.take().unwrap();
    // `cat` has no use for it.
    let _ = stdin.write_all(NASTY);
    drop(stdin);
    let mut all = Vec::new();
    // A terminal whose other end is closed fails instead of ending.
    let _ = File::from(controller).read_to_end(&mut all);
    assert!(child.wait().unwrap().success());
    all
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn control_characters_are_escaped_unless_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    shown(dir.path(), &["--output=file,path=logs", "stream"], false);
    let outputs: [(&[&str], _); 2] = [
        (&["cat", "logs"], "\ttab é\r\n"),
        (&["--output=log", "stream"], "\\ttab é\r\n"),
    ];
    for (args, end) in outputs {
        let text = String::from_utf8(shown(dir.path(), args, true)).unwrap();
        assert!(text.contains(&format!("{SHOWN}{end}")), "{text:?}");
        let controls = text.replace("\r\n", "").replace('\t', "");
        assert!(!controls.contains(char::is_control), "{text:?}");
        // The terminal itself adds the \r.
        let line = &NASTY[..NASTY.len() - 1];
        let raw = shown(dir.path(), &[args, &["--raw"]].concat(), true);
        assert!(contains(&raw, line), "{raw:?}");
    }
    // Only whoever reads for people is protected from the bytes.
    assert_eq!(shown(dir.path(), &["cat", "logs"], false), NASTY);
}
