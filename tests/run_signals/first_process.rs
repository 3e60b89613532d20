//! As process 1 of a container, all whose parents have gone are left to us.

use std::process::Command;

use super::stdout_in;
use crate::common::process;

/// In a new space of process numbers; `None` where that can't be had.
fn unshare() -> Option<Command> {
    let as_root = ["--pid", "--fork", "--mount-proc"];
    let as_user = ["--user", "--map-root-user"];
    [&as_root[..], &[&as_user[..], &as_root].concat()]
        .into_iter()
        .map(|options| {
            let mut command = Command::new("unshare");
            command.args(options);
            command
        })
        .find(|command| {
            Command::new(command.get_program())
                .args(command.get_args())
                .arg("true")
                .output()
                .is_ok_and(|output| output.status.success())
        })
}

#[test]
fn orphans_are_taken_and_the_status_is_the_commands() {
    let Some(mut command) = unshare() else {
        println!("skipped: there is no space of process numbers of our own here");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    // Ten that end after their parents have, and the last before the command
    // does.
    let script = "for at in 1 2 3 4 5 6 7 8 9 10; do sh -c 'sleep 0.1 & exit'; done
        until [ $(cat /proc/[0-9]*/comm | grep -c sleep) = 0 ]; do :; done
        zombies() { cat /proc/[0-9]*/stat 2> /dev/null | grep -c ') Z '; }
        for at in $(seq 200); do [ $(zombies) = 0 ] && break; sleep 0.02; done
        echo $(zombies) zombies; exit 7";
    let butler = process::command(["--output=file,path=logs", "run", "--", "sh", "-c", script]);
    let output = command
        .arg(butler.get_program())
        .args(butler.get_args())
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert_eq!(stdout_in(dir.path()), "0 zombies\n");
}
