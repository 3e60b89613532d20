//! `butler stream` and a butler that is there already.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::common::content::noise;
use super::common::process::{Serve, command, datagram, parse_file, wait_until};
use super::common::{Stream, reassemble};
use super::text;

/// A butler that takes streams, and what it has taken.
struct Live {
    dir: tempfile::TempDir,
    serve: Serve,
}

impl Live {
    fn start(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let logs = format!("file,path={}", dir.path().join("live").display());
        let serve = Serve::start(dir.path(), &[&["--output", &logs], options].concat());
        Self { dir, serve }
    }

    fn uri(&self) -> String {
        format!("unix:{}", self.serve.socket.display())
    }

    /// `butler ARGS` beside it, with `stdin` and that environment.
    fn butler(&self, args: &[&str], env: &[(&str, &str)], stdin: &[u8]) -> Output {
        let mut child = self.spawn(args, env);
        // It may have ended without reading it.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        child.wait_with_output().unwrap()
    }

    fn spawn(&self, args: &[&str], env: &[(&str, &str)]) -> Child {
        self.command(args, env).spawn().unwrap()
    }

    fn command(&self, args: &[&str], env: &[(&str, &str)]) -> Command {
        let mut command = command(args);
        command
            .current_dir(self.dir.path())
            .envs(env.iter().copied());
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// What stands beside its socket and its output.
    fn others(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.dir.path()).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        paths.retain(|name| name != "live" && name != "streams.sock");
        paths.into_iter().map(PathBuf::from).collect()
    }

    fn end(self) -> std::collections::BTreeMap<String, Stream> {
        self.serve.terminate().expect_success();
        reassemble(&parse_file(&self.dir.path().join("live")))
    }
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

#[test]
fn it_goes_to_the_butler_that_is_named() {
    let live = Live::start(&["--tag", "by=live", "--tag", "k=live"]);
    let uri = live.uri();
    let server = ["stream", "--stream-server", &uri];
    let with = |more: &[&'static str]| [&server[..], more].concat();
    let large = noise(3_000_000);
    let wire = [datagram(b"one"), datagram(b""), datagram(b"three")].concat();
    for (args, stdin) in [
        (
            with(&["--stream", "name=a/text,tag=k=v", "--tag", "g=1"]),
            &b"a line\nrest"[..],
        ),
        (
            with(&["--stream", "name=binary,type=binary,content-type=x/y"]),
            &large,
        ),
        (with(&["--stream=name=grams,type=datagram"]), &wire),
        (with(&["--stream=name=empty"]), b""),
    ] {
        let output = live.butler(&args, &[], stdin);
        assert_eq!(code(&output), Some(0), "{args:?}: {output:?}");
        assert_eq!(text(&output.stderr), "", "{args:?}");
    }
    // In the environment of a job, where a namespace may be too.
    let found = [
        ("LOGDOG_STREAM_SERVER_PATH", &*uri),
        ("LOGDOG_NAMESPACE", "n/s/"),
    ];
    fs::write(live.dir.path().join("a file"), "content").unwrap();
    let output = live.butler(&["stream", "--source", "a file"], &found, b"");
    assert_eq!(code(&output), Some(0), "{output:?}");
    fs::remove_file(live.dir.path().join("a file")).unwrap();

    assert_eq!(live.others(), [] as [&Path; 0]);
    let streams = live.end();
    let names: Vec<_> = streams.keys().map(String::as_str).collect();
    assert_eq!(names, ["a/text", "binary", "grams", "n/s/a_file"]);
    assert_eq!(streams["a/text"].bytes, b"a line\nrest");
    let tags = streams["a/text"].desc.tags.iter();
    let tags: Vec<_> = tags.map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(tags, ["by=live", "g=1", "k=v"]);
    assert!(streams["binary"].bytes == large);
    assert_eq!(streams["binary"].desc.content_type, "x/y");
    assert_eq!(streams["grams"].datagrams, [&b"one"[..], b"", b"three"]);
    assert_eq!(streams["n/s/a_file"].bytes, b"content");
}

/// Has the process a handler for the signal?
fn handles(child: &Child, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = u64::from_str_radix(caught.unwrap().trim(), 16).unwrap();
    caught >> (signal.as_raw() - 1) & 1 == 1
}

/// Never quietly somewhere else.
#[expect(clippy::too_many_lines, reason = "a table")]
#[test]
fn where_it_goes() {
    let live = Live::start(&[]);
    let uri = live.uri();
    let server = ["--stream-server", &uri];
    let found = [("LOGDOG_STREAM_SERVER_PATH", &*uri)];
    let own = ["--output", "file,path=own"];
    for (args, env, says, wrote) in [
        // An output that is named is meant, in a job too.
        (&own[..], &found[..], "", Some("own")),
        (
            &[own, server].concat(),
            &[],
            "--stream-server has no effect",
            Some("own"),
        ),
        // An empty variable is none.
        (
            &[],
            &[("LOGDOG_STREAM_SERVER_PATH", "")],
            "",
            Some("butler-logs"),
        ),
        (
            &["--stream-server", "unix:absent"],
            &found,
            "nobody takes streams there",
            None,
        ),
        (
            &[],
            &[("LOGDOG_STREAM_SERVER_PATH", "unix:/absent")],
            "nobody takes streams",
            None,
        ),
        (
            &[],
            &[("LOGDOG_STREAM_SERVER_PATH", "absent")],
            "unix:PATH",
            None,
        ),
        (
            &[],
            &[found[0], ("LOGDOG_NAMESPACE", "/x")],
            "LOGDOG_NAMESPACE",
            None,
        ),
        // What can't be done is said.
        (
            &["--prefix=p/q"],
            &found,
            "without effect, as another butler delivers: --prefix",
            None,
        ),
    ] {
        let output = live.butler(&[args, &["stream"]].concat(), env, b"a line\n");
        let stderr = text(&output.stderr);
        let succeeds = wrote.is_some() || says.starts_with("without effect");
        assert_eq!(
            code(&output),
            Some(if succeeds { 0 } else { 250 }),
            "{args:?}: {stderr}"
        );
        assert!(stderr.contains(says), "{args:?}: {stderr}");
        assert_eq!(stderr.is_empty(), says.is_empty(), "{args:?}: {stderr}");
        let wrote: Vec<_> = wrote.into_iter().map(PathBuf::from).collect();
        assert_eq!(live.others(), wrote, "{args:?}");
        for path in wrote.iter().map(|path| live.dir.path().join(path)) {
            match path.is_dir() {
                true => fs::remove_dir_all(path).unwrap(),
                false => fs::remove_file(path).unwrap(),
            }
        }
    }
    assert_eq!(live.end()["stdin"].bytes, b"a line\n");
}

/// The exit status says whether it was taken, though the server never answers.
#[test]
fn a_stream_that_is_refused() {
    let live = Live::start(&[]);
    let uri = live.uri();
    let args = ["stream", "--stream-server", &uri, "--stream", "name=twice"];
    assert_eq!(code(&live.butler(&args, &[], b"first\n")), Some(0));
    for _ in 0..20 {
        let output = live.butler(&args, &[], b"second\n");
        let stderr = text(&output.stderr);
        assert_eq!(code(&output), Some(250), "{stderr}");
        assert!(
            stderr.contains("stream twice") && stderr.contains("refused"),
            "{stderr}"
        );
    }
    // Also before there is anything to send.
    let mut child = live.spawn(&args, &[]);
    let _open = child.stdin.take();
    assert_eq!(child.wait().unwrap().code(), Some(250));
    assert_eq!(live.end()["twice"].bytes, b"first\n");
}

#[test]
fn a_butler_that_dies() {
    let live = Live::start(&[]);
    let uri = live.uri();
    let mut child = live.spawn(&["stream", "--stream-server", &uri], &[]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"a line\n").unwrap();
    live.serve.wait_for_counter("bytes_in", 7);
    live.serve.signal(Signal::KILL);
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), Some(250));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("7 bytes"), "{stderr}");
}

/// One that takes its time is waited for.
#[test]
fn a_butler_that_stands_still() {
    let live = Live::start(&[]);
    let uri = live.uri();
    let sent = noise(2_000_000);
    fs::write(live.dir.path().join("sent"), &sent).unwrap();
    let args = [
        "stream",
        "--stream-server",
        &uri,
        "--stream=name=s,type=binary",
    ];
    let args = [&args[..], &["--source", "sent"]].concat();
    live.serve.signal(Signal::STOP);
    let mut child = live.spawn(&args, &[]);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none());
    live.serve.signal(Signal::CONT);
    assert_eq!(child.wait().unwrap().code(), Some(0));

    // Not for ever, if it is told to end.
    live.serve.signal(Signal::STOP);
    let args = ["stream", "--stream-server", &uri, "--stream=name=t"];
    let hasty = [&args[..], &["--drain-timeout=10ms", "--flush-timeout=10ms"]].concat();
    let mut child = live.spawn(&hasty, &[]);
    wait_until("it handles signals", || handles(&child, Signal::TERM));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(250));
    live.serve.signal(Signal::CONT);
    assert!(live.end()["s"].bytes == sent);
}

/// A signal ends a stream that stays open, after what was written.
#[test]
fn a_stream_that_stays_open() {
    let live = Live::start(&[]);
    let uri = live.uri();
    let args = ["stream", "--stream-server", &uri, "--drain-timeout=50ms"];
    let mut child = live.spawn(&args, &[]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"a line\nand").unwrap();
    live.serve.wait_for_counter("bytes_in", 10);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), Some(0), "{output:?}");
    assert_eq!(live.end()["stdin"].bytes, b"a line\nand");
}

/// `run` and `serve` listen at a path of their own.
#[test]
fn a_second_one_does_not_listen_there() {
    let live = Live::start(&[]);
    let uri = live.uri();
    for subcommand in [&["run", "touch", "ran"] as &[&str], &["serve"]] {
        let server = ["--output=null", "--stream-server", &uri];
        let output = live.butler(&[&server[..], subcommand].concat(), &[], b"");
        assert_eq!(code(&output), Some(250), "{output:?}");
        let stderr = text(&output.stderr);
        for part in [
            "somebody listens there",
            "butler stream --stream-server",
            "a path of its own",
        ] {
            assert!(stderr.contains(part), "{stderr}");
        }
    }
    assert_eq!(live.others(), [] as [&Path; 0]);

    // In a job of another one, streams of its command are its own.
    let script = r#"echo inner | "$BUTLER" stream --stream name=of/inner"#;
    let found = [
        ("LOGDOG_STREAM_SERVER_PATH", &*uri),
        ("BUTLER", env!("CARGO_BIN_EXE_butler")),
    ];
    let run = ["--output=file,path=inner", "run", "--", "sh", "-c", script];
    let output = live.butler(&run, &found, b"");
    assert_eq!(code(&output), Some(0), "{output:?}");
    let inner = reassemble(&parse_file(&live.dir.path().join("inner")));
    assert_eq!(inner["of/inner"].bytes, b"inner\n");
    assert!(live.serve.statistics()["streams"] == 0);
    live.serve.terminate().expect_success();
}
