//! `butler run`: what of a command is captured, and what comes back.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod descriptors;
mod paths;
mod program;
mod reports;
mod shown;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::process::{self, Listener, parse_file};
use common::{Stream, reassemble};
use serde_json::{Value, json};

/// `butler run OPTIONS -- sh -c SCRIPT` in `dir`, with what it sends in the
/// file `logs` there.
fn run_sh(dir: &Path, options: &[&str], script: &str) -> Command {
    let mut command = process::command(["--output", "file,path=logs", "run"]);
    command.args(options).args(["--", "sh", "-c", script]);
    command.current_dir(dir);
    command
}

fn streams(dir: &Path) -> BTreeMap<String, Stream> {
    reassemble(&parse_file(&dir.join("logs")))
}

fn json_file(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn code(output: &Output) -> i32 {
    let code = output.status.code();
    code.unwrap_or_else(|| panic!("{output:?}"))
}

/// Which descriptors are captured, under which names, and what our own
/// stdout and stderr show.
#[test]
fn captures() {
    let both: &[_] = &[("stdout", "out\n"), ("stderr", "err\n")];
    for (options, captured, shown) in [
        (&[] as &[&str], both, ["out\n", "err\n"]),
        (&["--tee=false"], both, ["", ""]),
        (&["--tee"], both, ["out\n", "err\n"]),
        (&["-stdout=name=x"], &[("x", "out\n")], ["", "err\n"]),
        (
            &["--stderr", "name=x/y"],
            &[("x/y", "err\n")],
            ["out\n", ""],
        ),
        (
            &["--stdout=name=a", "-stderr", "name=b", "-tee"],
            &[("a", "out\n"), ("b", "err\n")],
            ["out\n", "err\n"],
        ),
        (&["--attach=false"], &[], ["", ""]),
        (
            &["--attach=false", "--tee", "--stderr=name=x"],
            &[],
            ["", ""],
        ),
        (&["--stdout="], &[], ["out\n", "err\n"]),
        (&["--stdout=", "--tee"], &[], ["out\n", "err\n"]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let output = run_sh(dir.path(), options, "echo out; echo err >&2")
            .output()
            .unwrap();
        assert_eq!(code(&output), 0, "{options:?}");
        let streams = streams(dir.path());
        assert_eq!(streams.len(), captured.len(), "{options:?}");
        for (name, text) in captured {
            assert_eq!(streams[*name].bytes, text.as_bytes(), "{options:?}");
            assert_eq!(streams[*name].terminal, Some(0));
        }
        let got = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap());
        assert_eq!(got, shown, "{options:?}");
    }
}

#[test]
fn types_and_tags_of_what_is_captured() {
    let dir = tempfile::tempdir().unwrap();
    let stdout = "name=o,type=binary,content-type=image/x,tag=k=v,tag=g=own";
    let options = [
        "--stdout",
        stdout,
        "--stderr=name=e,type=datagram",
        "--tag",
        "g=1",
    ];
    let script = r"printf '\0\377'; printf '\003abc\000\001x' >&2";
    let output = run_sh(dir.path(), &options, script).output().unwrap();
    assert_eq!(code(&output), 0);
    let streams = streams(dir.path());
    let (out, err) = (&streams["o"], &streams["e"]);
    assert_eq!(out.bytes, b"\0\xff");
    assert_eq!(out.desc.content_type, "image/x");
    let tags = |stream: &Stream| {
        let tags = stream.desc.tags.iter();
        tags.map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(tags(out), "g=own k=v");
    assert_eq!(err.datagrams, [&b"abc"[..], b"", b"x"]);
    assert_eq!(tags(err), "g=1");
}

#[test]
fn much_on_both_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let script = "seq 1 100000 & seq 200000 300000 >&2; wait";
    let output = run_sh(dir.path(), &[], script).output().unwrap();
    assert_eq!(code(&output), 0);
    let streams = streams(dir.path());
    let seq = |range: std::ops::RangeInclusive<u32>| {
        let lines = range.map(|number| format!("{number}\n"));
        lines.collect::<String>().into_bytes()
    };
    for (name, shown, expected) in [
        ("stdout", output.stdout, seq(1..=100_000)),
        ("stderr", output.stderr, seq(200_000..=300_000)),
    ] {
        assert!(streams[name].bytes == expected, "{name}");
        assert!(shown == expected, "{name} shown");
    }
}

#[test]
fn stdin() {
    let dir = tempfile::tempdir().unwrap();
    for (options, expected) in [
        (&[] as &[&str], "/dev/null\n"),
        (&["--forward-stdin"], "pipe\nfrom us\n"),
    ] {
        let script = r#"readlink /proc/self/fd/0 | sed 's/pipe:.*/pipe/'; cat"#;
        let _ = fs::remove_file(dir.path().join("logs"));
        let mut child = run_sh(dir.path(), options, script)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(b"from us\n");
        assert!(child.wait().unwrap().success());
        let stdout = String::from_utf8(streams(dir.path())["stdout"].bytes.clone()).unwrap();
        assert_eq!(stdout, expected);
    }
}

#[test]
fn chdir() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().canonicalize().unwrap().join("inner");
    fs::create_dir(&inner).unwrap();
    let output = run_sh(dir.path(), &["--chdir", "inner"], "pwd -P")
        .output()
        .unwrap();
    assert_eq!(code(&output), 0);
    let expected = format!("{}\n", inner.display());
    assert_eq!(streams(dir.path())["stdout"].bytes, expected.as_bytes());

    let output = run_sh(dir.path(), &["--chdir", "absent"], ": > ran")
        .output()
        .unwrap();
    assert_eq!(code(&output), 250);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("--chdir: absent is no directory"),
        "{stderr}"
    );
    assert!(!dir.path().join("ran").exists());
}

#[test]
fn result_and_command_as_json() {
    let dir = tempfile::tempdir().unwrap();
    let result = dir.path().join("result");
    let options = ["--result-path", "result"];
    let output = run_sh(dir.path(), &options, "exit 3").output().unwrap();
    assert_eq!(code(&output), 3);
    let sh = program::in_path("sh");
    let expected = json!({
        "return_code": 3, "command": [sh, "-c", "exit 3"], "delivered": true,
    });
    assert_eq!(json_file(&result), expected);

    let mut command = json!(["sh", "-c", "echo \"$1\"; kill -9 $$", "zero", "ä b\n"]);
    fs::write(dir.path().join("args"), command.to_string()).unwrap();
    let output = process::command(["run", "--json-args-path=args", "-result-path=result"])
        .arg("--output=file,path=logs")
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert_eq!(code(&output), 137);
    command[0] = sh.into();
    let expected = json!({"return_code": 137, "command": command, "delivered": true});
    assert_eq!(json_file(&result), expected);
    assert_eq!(streams(dir.path())["stdout"].bytes, "ä b\n\n".as_bytes());
}

#[test]
fn exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("plain"), "no program").unwrap();
    let sh = |script| ["sh", "-c", script].to_vec();
    for (command, expected, says) in [
        (sh("exit 0"), 0, ""),
        (sh("exit 3"), 3, ""),
        (sh("exit 255"), 255, ""),
        (sh("kill -KILL $$"), 137, ""),
        (sh("kill -TERM $$"), 143, ""),
        (vec!["./plain"], 126, "can't run ./plain"),
        (vec!["."], 126, "can't run ."),
        (vec!["no-such-command"], 127, "can't run no-such-command"),
        (vec!["/no/such/command"], 127, "can't run /no/such/command"),
        (vec![], 2, "run needs a command"),
    ] {
        let tmp = tempfile::tempdir().unwrap();
        let output = process::command(["--output=null", "--stats-path=stats", "run", "--"])
            .args(&command)
            .current_dir(dir.path())
            .env("TMPDIR", tmp.path())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(code(&output), expected, "{command:?}: {stderr}");
        assert!(stderr.contains(says), "{command:?}: {stderr}");
        assert_eq!(stderr.is_empty(), says.is_empty(), "{command:?}: {stderr}");
        // The private socket is gone in any case, and statistics are there.
        assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0, "{command:?}");
        let stats = fs::remove_file(dir.path().join("stats"));
        assert_eq!(stats.is_ok(), expected != 2, "{command:?}");
    }
}

#[test]
fn nothing_is_run_if_the_output_does_not_work() {
    let dir = tempfile::tempdir().unwrap();
    let output = process::command(["--output=file,path=no/file", "run", "touch", "ran"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert_eq!(code(&output), 250);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("no/file"), "{stderr}");
    assert!(!dir.path().join("ran").exists());
}

/// What the child finds of LOGDOG_*, with that output.
fn environment(dir: &Path, output: &str, options: &[&str]) -> BTreeMap<String, String> {
    let _ = fs::remove_file(dir.join("env"));
    let mut command = process::command(["--prefix", "p/q", "--project", "proj"]);
    command.args(["--output", output]).args(options);
    command.args(["run", "--attach=false", "sh", "-c", "env > env"]);
    // What an outer butler has set.
    for name in [
        "STREAM_SERVER_PATH",
        "COORDINATOR_HOST",
        "STREAM_PREFIX",
        "STREAM_PROJECT",
    ] {
        command.env(format!("LOGDOG_{name}"), "stale");
    }
    command.env("LOGDOG_NAMESPACE", "outer/space");
    let ended = command
        .current_dir(dir)
        .stdout(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(code(&ended), 0, "{ended:?}");
    let env = fs::read_to_string(dir.join("env")).unwrap();
    env.lines()
        .filter_map(|line| line.strip_prefix("LOGDOG_")?.split_once('='))
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

#[test]
fn environment_of_the_child() {
    let dir = tempfile::tempdir().unwrap();
    let absolute = dir.path().canonicalize().unwrap();
    let logs = format!("file://{}/logs", absolute.display());
    let carried: &[_] = &[("STREAM_PREFIX", "p/q"), ("STREAM_PROJECT", "proj")];
    let tcp = Listener::tcp().output();
    for (output, expected) in [
        (
            "null",
            &[("STREAM_PREFIX", "null"), ("STREAM_PROJECT", "null")] as &[_],
        ),
        ("log", &[]),
        ("directory,path=logs", &[("COORDINATOR_HOST", &*logs)]),
        ("file,path=file", carried),
        ("unix:absent.sock", carried),
        (&tcp, carried),
    ] {
        let mut env = environment(dir.path(), output, &[]);
        let server = env.remove("STREAM_SERVER_PATH").unwrap();
        assert!(server.starts_with("unix:/"), "{output}: {server}");
        assert_eq!(env.remove("NAMESPACE").as_deref(), Some("outer/space"));
        let env: Vec<_> = env
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        assert_eq!(env, expected, "{output}");
    }

    let options = ["--coordinator-host=host", "--stream-server=unix:s.sock"];
    let env = environment(dir.path(), "file,path=file", &options);
    assert_eq!(env["COORDINATOR_HOST"], "host");
    let server = format!("unix:{}/s.sock", absolute.display());
    assert_eq!(env["STREAM_SERVER_PATH"], server);
}

/// A child that opens streams of its own.
#[test]
fn streams_of_the_child() {
    let dir = tempfile::tempdir().unwrap();
    let script = r#"echo "$LOGDOG_STREAM_SERVER_PATH" > address; mv address there
        while [ ! -e done ]; do sleep 0.02; done; echo end"#;
    let mut child = run_sh(dir.path(), &[], script).spawn().unwrap();
    let there = dir.path().join("there");
    process::wait_until("the child's address", || there.exists());
    let address = fs::read_to_string(there).unwrap();
    let socket = Path::new(address.trim_end().strip_prefix("unix:").unwrap());
    let all = common::content::every_kind();
    common::content::send_all(socket, &all);
    fs::write(dir.path().join("done"), "").unwrap();
    assert!(child.wait().unwrap().success());
    let mut streams = streams(dir.path());
    assert_eq!(streams.remove("stdout").unwrap().bytes, b"end\n");
    common::content::check_all(&streams, &all);
}

#[test]
fn statistics() {
    let dir = tempfile::tempdir().unwrap();
    let options = ["--stats-path", "stats"];
    let script = "printf 12345; echo err >&2; echo err >&2";
    let output = run_sh(dir.path(), &options, script).output().unwrap();
    assert_eq!(code(&output), 0);
    let stats = json_file(&dir.path().join("stats"));
    let streams = streams(dir.path());
    let entries: u64 = streams.values().map(|stream| stream.entries).sum();
    for (key, expected) in [
        ("streams", 2),
        ("streams_refused", 0),
        ("bytes_in", 13),
        ("entries", entries),
        ("bundles", parse_file(&dir.path().join("logs")).len() as u64),
        (
            "bytes_out",
            fs::metadata(dir.path().join("logs")).unwrap().len(),
        ),
        ("bytes_dropped", 0),
        ("output_errors", 0),
    ] {
        assert_eq!(stats[key], expected, "{key} in {stats}");
    }
    let us = |key: &str| stats["read_to_sent_us"][key].as_u64().unwrap();
    let quantiles = ["p50", "p90", "p99", "p999", "max"].map(us);
    assert!(quantiles.is_sorted(), "{stats}");
    assert!(stats["peak_buffered"].as_u64() > Some(0), "{stats}");
}
