//! What a terminal sends: Ctrl-C, and that it hangs up.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;

use super::{ignore_nothing, stdout_in, wait_for_file};
use crate::common::process::{self, Serve, terminal as new_terminal};

/// `butler run`, leading the session of a terminal of its own, whose other end
/// is returned. `None` where that can't be had.
fn in_terminal(dir: &Path) -> Option<(Serve, OwnedFd)> {
    ignore_nothing();
    let Ok((ours, theirs)) = new_terminal() else {
        println!("skipped: there are no terminals here");
        return None;
    };
    if Command::new("setsid").arg("--version").output().is_err() {
        println!("skipped: there is no setsid(1)");
        return None;
    }
    let traps = ["INT", "HUP", "QUIT"].map(|name| format!("trap 'echo {name}; : > {name}' {name}"));
    let script = format!(
        "{}; : > ready; while [ ! -e go ]; do sleep 0.02; done; exit 9",
        traps.join("; ")
    );
    let butler = process::command([
        "--output=file,path=logs",
        "run",
        "--tee=false",
        "--",
        "sh",
        "-c",
        &script,
    ]);
    let mut command = Command::new("setsid");
    command
        .arg("--ctty")
        .arg(butler.get_program())
        .args(butler.get_args())
        .current_dir(dir)
        .stdin(theirs);
    Some((Serve::begin(command, dir.join("none")), ours))
}

fn go(dir: &Path, butler: Serve, seen: &str) {
    // What was handed on too would have come by then.
    std::thread::sleep(std::time::Duration::from_millis(100));
    fs::write(dir.join("go"), "").unwrap();
    let ended = butler.wait();
    assert_eq!(ended.status.code(), Some(9), "{ended:?}");
    assert_eq!(stdout_in(dir), seen);
}

#[test]
fn what_is_typed_is_seen_once() {
    for (typed, name) in [(b"\x03", "INT"), (b"\x1c", "QUIT")] {
        let dir = tempfile::tempdir().unwrap();
        let Some((butler, terminal)) = in_terminal(dir.path()) else {
            return;
        };
        wait_for_file(dir.path(), "ready");
        File::from(terminal.try_clone().unwrap())
            .write_all(typed)
            .unwrap();
        wait_for_file(dir.path(), name);
        go(dir.path(), butler, &format!("{name}\n"));
    }
}

/// The kernel tells only the process that leads the session: without us that
/// would be the command.
#[test]
fn that_it_hangs_up_is_handed_on() {
    let dir = tempfile::tempdir().unwrap();
    let Some((butler, terminal)) = in_terminal(dir.path()) else {
        return;
    };
    wait_for_file(dir.path(), "ready");
    drop(terminal);
    wait_for_file(dir.path(), "HUP");
    go(dir.path(), butler, "HUP\n");
}
