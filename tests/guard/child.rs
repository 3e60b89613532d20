//! What the command of `butler run` finds, beside what it would find without
//! butler: the LOGDOG variables and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use crate::common::process::command;

/// The stdout of a script under butler.
fn under_butler(script: &str) -> String {
    let mut command = command(["--output=null", "run", "--stdout=type=text", "--", "sh"]);
    let output = command.args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What whoever starts butler passes on, under the same numbers, and nothing of
/// ours.
#[test]
fn no_descriptor_of_ours() {
    let butler = command(["--output=null", "run", "--stdout=type=text", "--"]);
    let [plain, found] = [false, true].map(|under_butler| {
        let (_reader, writer) = std::io::pipe().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"exec 7<&0; exec "$@""#, "sh"]);
        if under_butler {
            shell.arg(butler.get_program()).args(butler.get_args());
        }
        // The last is that of the directory that ls reads.
        shell
            .args(["ls", "/proc/self/fd"])
            .stdin(Stdio::from(writer));
        String::from_utf8(shell.output().unwrap().stdout).unwrap()
    });
    assert!(plain.contains("\n7\n"), "{plain}");
    assert_eq!(found, plain);
}

#[test]
fn the_environment() {
    let lines = |text: String| -> BTreeSet<String> { text.lines().map(str::to_owned).collect() };
    let names = |text: String| -> BTreeSet<String> {
        lines(text)
            .iter()
            .filter_map(|line| Some(line.split_once('=')?.0.to_owned()))
            .collect()
    };
    let mut without = command([] as [&str; 0]);
    let mut plain = Command::new("env");
    for (name, _) in without
        .env("X", "")
        .get_envs()
        .filter(|(_, value)| value.is_none())
    {
        plain.env_remove(name);
    }
    let plain = names(String::from_utf8(plain.output().unwrap().stdout).unwrap());
    let found = names(under_butler("exec env"));
    let more: Vec<_> = found
        .difference(&plain)
        .filter(|name| *name != "_" && *name != "PWD")
        .collect();
    assert_eq!(
        more,
        [
            "LOGDOG_STREAM_PREFIX",
            "LOGDOG_STREAM_PROJECT",
            "LOGDOG_STREAM_SERVER_PATH"
        ]
    );
    let gone: Vec<_> = plain
        .difference(&found)
        .filter(|name| *name != "_")
        .collect();
    assert!(gone.is_empty(), "{gone:?}");
}

#[test]
fn the_environment_is_never_logged() {
    let dir = tempfile::tempdir().unwrap();
    let output = command(["--log-level=debug", "--output=directory,path=logs"])
        .args([
            "--stats-path=stats",
            "run",
            "--result-path=result",
            "--",
            "sh",
            "-c",
            "exit 3",
        ])
        .env("TOKEN", "hunter2")
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    for text in [
        output.stdout,
        output.stderr,
        fs::read(dir.path().join("stats")).unwrap(),
        fs::read(dir.path().join("result")).unwrap(),
    ] {
        assert!(!String::from_utf8_lossy(&text).contains("hunter2"));
    }
}

/// `Sig…` of /proc/PID/status.
fn signals(status: &str) -> Vec<&str> {
    status
        .lines()
        .filter(|line| line.starts_with("SigBlk") || line.starts_with("SigIgn"))
        .collect()
}

#[test]
fn signals_as_we_found_them() {
    let env = |args: &[&str]| {
        let mut env = Command::new("env");
        env.args(args);
        env
    };
    let changed = [
        "--ignore-signal=HUP,INT,CHLD,PIPE,XFSZ,USR2",
        "--block-signal=USR1,WINCH",
    ];
    if !env(&changed)
        .arg("true")
        .status()
        .is_ok_and(|status| status.success())
    {
        println!("skipped: env can't change signals here");
        return;
    }
    for changed in [&changed[..], &[]] {
        let status = ["cat", "/proc/self/status"];
        let plain = env(changed).args(status).output().unwrap();
        let butler = command(["--output=null", "run", "--stdout=type=text", "--"]);
        let found = env(changed)
            .arg(butler.get_program())
            .args(butler.get_args())
            .args(status)
            .output()
            .unwrap();
        assert!(found.status.success(), "{found:?}");
        let [plain, found] = [plain, found].map(|it| String::from_utf8(it.stdout).unwrap());
        assert_eq!(signals(&found), signals(&plain), "{changed:?}");
    }
}

#[test]
fn limits_as_we_found_them() {
    let plain = Command::new("sh")
        .args(["-c", "ulimit -n 77; ulimit -a"])
        .output()
        .unwrap();
    let butler = command(["--output=null", "run", "--stdout=type=text", "--"]);
    let found = Command::new("sh")
        .args([
            "-c",
            r#"ulimit -S -n 77; exec "$@" sh -c 'ulimit -a'"#,
            "sh",
        ])
        .arg(butler.get_program())
        .args(butler.get_args())
        .output()
        .unwrap();
    let [plain, found] = [plain, found].map(|it| String::from_utf8(it.stdout).unwrap());
    assert_eq!(found, plain);
}

/// The sandbox is ours alone.
#[test]
fn no_bounds_of_ours() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("made by the child");
    // Long after butler has put itself into its sandbox.
    let script = format!(
        "sleep 0.5; echo x > '{}'; sh -c true; grep -E 'NoNewPrivs' /proc/self/status",
        file.display()
    );
    assert_eq!(under_butler(&script), "NoNewPrivs:\t0\n");
    assert_eq!(fs::read(file).unwrap(), b"x\n");
}
