//! Signals to the group of butler and its command.

use std::fs;

use rustix::process::Signal;

use super::{SIGNALS, start_group, stdout_in, wait_for_file};

/// Says what it gets until it is told to go.
fn counts() -> String {
    let traps = SIGNALS.map(|(_, name)| format!("trap 'echo {name}; : > {name}' {name}"));
    format!(
        "{}; : > ready; while [ ! -e go ]; do sleep 0.02; done; exit 9",
        traps.join("; ")
    )
}

/// It has the signal from the group, and must not have it from us as well.
#[test]
fn the_command_sees_each_once() {
    for (signal, name) in SIGNALS {
        let dir = tempfile::tempdir().unwrap();
        let butler = start_group(dir.path(), &[], &counts());
        wait_for_file(dir.path(), "ready");
        butler.signal_group(signal);
        wait_for_file(dir.path(), name);
        // What was handed on too would have come by then.
        std::thread::sleep(std::time::Duration::from_millis(100));
        fs::write(dir.path().join("go"), "").unwrap();
        let ended = butler.wait();
        assert_eq!(ended.status.code(), Some(9), "{ended:?}");
        assert_eq!(stdout_in(dir.path()), format!("{name}\n"));
    }
}

/// One after the other, and not a decision to end.
#[test]
fn all_of_several() {
    let dir = tempfile::tempdir().unwrap();
    let butler = start_group(dir.path(), &[], &counts());
    wait_for_file(dir.path(), "ready");
    for to_group in [true, false, true, false] {
        if to_group {
            butler.signal_group(Signal::USR1);
        } else {
            butler.signal(Signal::USR1);
        }
        wait_for_file(dir.path(), "USR1");
        std::thread::sleep(std::time::Duration::from_millis(100));
        fs::remove_file(dir.path().join("USR1")).unwrap();
    }
    fs::write(dir.path().join("go"), "").unwrap();
    let ended = butler.wait();
    assert_eq!(ended.status.code(), Some(9), "{ended:?}");
    assert_eq!(stdout_in(dir.path()), "USR1\n".repeat(4));
}

/// `kill 0`, as scripts clean up.
#[test]
fn the_command_signals_its_group() {
    let dir = tempfile::tempdir().unwrap();
    let script = "trap 'echo TERM' TERM; kill 0; sleep 0.2; echo over; exit 9";
    let butler = start_group(dir.path(), &[], script);
    let ended = butler.wait();
    assert_eq!(ended.status.code(), Some(9), "{ended:?}");
    assert_eq!(stdout_in(dir.path()), "TERM\nover\n");
}

/// Then what the group gets does not reach it, and we hand it on.
#[test]
fn the_command_has_left_the_group() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = vec!["setsid", "sh", "-c"];
    let script = counts();
    job.push(&script);
    let butler = super::start_with(dir.path(), &[], &job, |command| {
        std::os::unix::process::CommandExt::process_group(command, 0);
    });
    if !std::path::Path::new("/usr/bin/setsid").exists() {
        println!("skipped: there is no setsid(1)");
        return;
    }
    wait_for_file(dir.path(), "ready");
    butler.signal_group(Signal::TERM);
    wait_for_file(dir.path(), "TERM");
    fs::write(dir.path().join("go"), "").unwrap();
    assert_eq!(butler.wait().status.code(), Some(9));
    assert_eq!(stdout_in(dir.path()), "TERM\n");
}
