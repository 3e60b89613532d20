//! The command line of the real binary: what it says, and how `serve` and
//! `stream` begin and end.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use common::process::{self, Serve, open, parse_file};
use common::{Stream, reassemble};
use rustix::process::Signal;

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn help_and_version() {
    let version = concat!("butler ", env!("CARGO_PKG_VERSION"), "\n");
    for (args, says) in [
        (&["help"] as &[&str], "\nUsage:\n  butler [OPTIONS] [serve]"),
        (&["--help"], "\n  --output SPEC"),
        (&["-help"], "\nExit status:"),
        (&["-h"], "\nOutputs, for --output SPEC:"),
        (&["help", "run"], "--json-args-path FILE"),
        (&["run", "--help"], "--json-args-path FILE"),
        (&["help", "stream"], "--source FILE"),
        (&["cat", "-h"], "--timestamps"),
        (&["serve", "--help"], "LOGDOG_STREAM_SERVER_PATH"),
        (&["--output", "help"], "tcp:HOST:PORT[,compress=none|zlib]"),
        (&["run", "-output=help", "x"], "unix:PATH"),
        (&["help", "environment"], "\n  LOGDOG_STREAM_SERVER_PATH\n"),
        (&["help", "glossary"], "\n  bundle "),
        (&["-output", "help,logdog"], "logdog[,service=S]"),
        (&["ver"], version),
        (&["version"], version),
        (&["--version"], version),
        (&["-V"], version),
    ] {
        let output = process::run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
        assert_eq!(output.stderr, b"", "{args:?}");
        let stdout = text(output.stdout);
        assert!(stdout.contains(says), "{args:?}: {stdout}");
    }
}

/// What the README tells a newcomer to begin with.
#[test]
fn the_first_command() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let (_, first) = readme.split_once("```sh\n").unwrap();
    let first = first.lines().next().unwrap();
    let (run, cat) = first.split_once(" && ").unwrap();
    let (_, run) = run.split_once(" -- ").unwrap();
    let (_, cat) = cat.split_once(" -- ").unwrap();

    let dir = tempfile::tempdir().unwrap();
    let butler = |args: &str| {
        let in_root = args.replace("scripts/", &format!("{}/scripts/", root.display()));
        let mut command = process::command(in_root.split(' '));
        command
            .env("BUTLER", env!("CARGO_BIN_EXE_butler"))
            .current_dir(dir.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output
    };
    let ran = butler(run);
    assert!(text(ran.stdout).ends_with("one loaf of bread\n"));
    assert!(text(ran.stderr).contains("warning: it is in no hurry\n"));
    let list = text(butler(cat).stdout);
    for stream in ["oven/thermometer", "report", "stderr", "stdout"] {
        assert!(list.contains(&format!("\n{stream} ")), "{list}");
    }
    let shown = text(butler("cat --stream report").stdout);
    assert_eq!(shown, "crust: golden\ncrumb: light\n");
}

/// Every refusal says which part of the command line it is about.
#[expect(clippy::too_many_lines, reason = "a table")]
#[test]
fn usage_errors() {
    for (args, says) in [
        (
            &["--outptu=null"] as &[&str],
            "--outptu; did you mean --output?",
        ),
        (&["-x"], "unknown option -x; the only ones of one letter"),
        (&["cat", "-f", "x"], "-f; did you mean --follow?"),
        (&["run", "-v", "x"], "-v; did you mean --log-level debug or"),
        (&["help", "glosary"], "did you mean glossary?"),
        (&["--output"], "--output needs a value"),
        (&["--output=nul"], "--output: there is no output \"nul\""),
        (&["--output=null,path=x"], "--output: the null output"),
        (
            &["--output=file"],
            "--output: the file output: the key path",
        ),
        #[cfg(not(feature = "logdog"))]
        (&["--output=logdog"], "--output: the logdog output is not"),
        #[cfg(feature = "logdog")]
        (
            &["--output=logdog", "--project=p"],
            "the logdog output needs the option --coordinator-host",
        ),
        #[cfg(feature = "logdog")]
        (
            &["--output=logdog"],
            "the logdog output needs the options --project and --coordinator-host",
        ),
        (&["--output=tcp:host"], "--output: the tcp output"),
        (&["--stream-server=tcp:x"], "--stream-server"),
        (&["--stream-server", "unix:"], "--stream-server"),
        (&["--project=UPPER"], "--project"),
        (&["--prefix=a//b"], "--prefix"),
        (&["--tag==x"], "--tag"),
        (&["--tag=a", "--tag=a=2"], "--tag"),
        (&["--output-max-buffer-age=5"], "--output-max-buffer-age"),
        (&["--drain-timeout=-1s"], "--drain-timeout"),
        (&["--max-buffered=1MiB"], "--max-buffered"),
        (&["--max-stream-size=0"], "--max-stream-size"),
        (&["--max-stream-size=1MB"], "--max-stream-size"),
        (&["--log-level=loud"], "--log-level"),
        (&["--output-no-buffer=maybe"], "--output-no-buffer"),
        (&["--stdout=name=x"], "--stdout is for run, not for serve"),
        (&["cat", "--tee", "x"], "--tee is for run, not for cat"),
        (&["-profile-cpu=x"], "--profile-cpu is not supported"),
        (
            &["-output-workers", "4"],
            "--output-workers is not supported",
        ),
        (&["run"], "run needs a command"),
        (&["run", "--stdout=name=/x", "y"], "--stdout: name=/x"),
        (
            &["run", "--stdout=name=x", "--stderr=name=x", "y"],
            "--stderr",
        ),
        (&["run", "--json-args-path=/no/file"], "--json-args-path"),
        (&["stream", "--stream=type=odd"], "--stream: type=odd"),
        (&["version", "file"], "version takes no argument"),
        (&["sevre"], "did you mean serve?"),
    ] {
        let output = process::run(args);
        let stderr = text(output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert_eq!(output.stdout, b"", "{args:?}");
        let first = stderr.lines().next().unwrap();
        assert!(first.starts_with("butler: "), "{args:?}: {stderr}");
        assert!(first.contains(says), "{args:?}: {stderr}");
        assert!(stderr.contains("see 'butler help"), "{args:?}: {stderr}");
    }
}

/// Lists are those of the reference: quotes and backslashes do not become
/// part of names.
#[test]
fn values_are_quoted() {
    let dir = tempfile::tempdir().unwrap();
    for (spec, path) in [
        (r#"directory,path="x/a,b""#, "x/a,b"),
        (r"directory,path=x/c\,d", "x/c,d"),
        (r#"directory,path=no,"path=x/e""#, "x/e"),
        (r#"directory,path="x/f"#, "x/f"),
        (r"directory,path=x/g\", "x/g"),
    ] {
        let mut command = process::command(["--output", spec, "run"]);
        let command = command
            .arg(r#"--stdout=name="st"dout,content-type="text/plain",tag=a=b\,c,tag="k=v w""#)
            .args(["echo", "hello"])
            .current_dir(dir.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{spec}: {output:?}");
        let path = dir.path().join(path);
        assert_eq!(fs::read(path.join("stdout")).unwrap(), b"hello\n", "{spec}");
        let meta = fs::read(path.join(".meta.stdout")).unwrap();
        let meta: serde_json::Value = serde_json::from_slice(&meta).unwrap();
        assert_eq!(meta["content_type"], "text/plain");
        assert_eq!(meta["tags"], serde_json::json!({"a": "b,c", "k": "v w"}));
    }
    let names = fs::read_dir(dir.path()).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["x"], "and nothing beside it");
}

/// However small bundles are to be, all of it is printed.
#[test]
fn small_bundles() {
    for size in [1, 100, 2048] {
        let spec = format!("log,bundle-size={size}");
        let output = process::run(["--output", &spec, "run", "--stdout=name=s", "seq", "1000"]);
        assert!(output.status.success(), "{output:?}");
        let shown = text(output.stdout);
        let lines = shown.lines().filter_map(|line| line.split_once(" line "));
        let numbers: Vec<_> = lines.map(|(_, line)| line.to_owned()).collect();
        let expected = (1..=1000).map(|number| format!("{}: {number}", number - 1));
        assert!(expected.eq(numbers.iter().cloned()), "{size}: {shown}");
        assert!(shown.matches("bundle of").count() > 3, "{size}: {shown}");
    }
}

/// What the reference passes over is passed over here, and told.
#[test]
fn what_has_no_effect_is_told() {
    let stream = |args: &[&str]| {
        let mut command = process::command(["-output=log", "-log-level=info"]);
        let output = command.args(args).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        text(output.stderr)
    };
    let says = "warning: stream takes no arguments, and ignores: file more;";
    let stderr = stream(&["str", "file", "more"]);
    assert!(stderr.contains(says), "{stderr}");
    let stderr = stream(&["-service-account-json=/no/file", "stream"]);
    let says = "info: --service-account-json is for the logdog output";
    assert!(stderr.contains(says), "{stderr}");
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), &["--output=null", "ser", "word"]);
    let ended = serve.terminate();
    ended.expect_success();
    assert!(ended.stderr.contains("and ignores: word;"), "{ended:?}");
}

/// As the reference reads it: what is to wait less than no time does not wait.
#[test]
fn an_age_below_zero() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(
        dir.path(),
        &["--output=null", "--output-max-buffer-age=-5s"],
    );
    let mut stream = open(&serve.socket, "s", "text");
    stream.write_all(b"at once\n").unwrap();
    serve.wait_for_counter("bytes_delivered", 8);
    drop(stream);
    serve.terminate().expect_success();
}

/// Under whatever name.
#[test]
fn the_output_is_not_the_stream_server() {
    let dir = tempfile::tempdir().unwrap();
    for output in ["s.sock", "./s.sock", "link"] {
        let _ = std::os::unix::fs::symlink("s.sock", dir.path().join("link"));
        let mut command = process::command([&*format!("--output=unix:{output}")]);
        let command = command
            .arg("--stream-server=unix:s.sock")
            .current_dir(dir.path());
        let output = command.output().unwrap();
        let stderr = text(output.stderr);
        assert!(
            stderr.contains("--output is the socket at which"),
            "{stderr}"
        );
        assert_eq!(output.status.code(), Some(250));
        assert!(!dir.path().join("s.sock").exists());
    }
}

fn stream(dir: &Path, args: &[&str], stdin: Stdio) -> Output {
    let mut command = process::command(["-output=file,path=logs", "stream"]);
    let command = command.args(args).current_dir(dir).stdin(stdin);
    command.output().unwrap()
}

fn the_stream(dir: &Path) -> Stream {
    let mut streams = reassemble(&parse_file(&dir.join("logs")));
    fs::remove_file(dir.join("logs")).unwrap();
    let (name, stream) = streams.pop_first().unwrap();
    assert!(streams.is_empty(), "besides {name}: {:?}", streams.keys());
    stream
}

#[test]
fn stream_of_a_file() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("in.log"), b"\x03a\nb\x01c").unwrap();
    let absolute = dir.path().join("in.log");
    let absolute_name = format!("file:{}", absolute.display().to_string().replace('/', "_"));
    for (args, name, content_type, tags) in [
        (
            &["--source", "in.log"] as &[&str],
            "in.log",
            "text/plain; charset=utf-8",
            "",
        ),
        (
            &["-source", absolute.to_str().unwrap()],
            &absolute_name,
            "text/plain; charset=utf-8",
            "",
        ),
        (
            &[
                "-source=in.log",
                "-stream=name=b/c,type=binary,tag=k=v,tag=l",
            ],
            "b/c",
            "application/octet-stream",
            "k=v l=",
        ),
        (
            &[
                "--source=in.log",
                "--stream",
                "type=datagram,content-type=x/y",
            ],
            "in.log",
            "x/y",
            "",
        ),
    ] {
        let output = stream(dir.path(), args, Stdio::null());
        assert!(output.status.success(), "{args:?}: {output:?}");
        let stream = the_stream(dir.path());
        assert_eq!(stream.desc.name, name);
        assert_eq!(stream.desc.content_type, content_type);
        let given = stream.desc.tags.iter();
        let given: Vec<_> = given.map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(given.join(" "), tags);
        match stream.desc.stream_type().as_str_name() {
            "DATAGRAM" => assert_eq!(stream.datagrams, [&b"a\nb"[..], b"c"]),
            _ => assert_eq!(stream.bytes, b"\x03a\nb\x01c"),
        }
    }
    for (source, says) in [("absent", "No such file"), (".", "is a directory")] {
        let output = stream(dir.path(), &["--source", source], Stdio::null());
        assert_eq!(output.status.code(), Some(250), "{source}");
        let stderr = text(output.stderr);
        let says = format!("can't read {source}: {says}");
        assert!(stderr.contains(&says), "{stderr}");
    }
}

#[test]
fn stream_of_stdin() {
    let dir = tempfile::tempdir().unwrap();
    for args in [&[] as &[&str], &["--source", "-"]] {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let content = "through a pipe\n".repeat(10_000);
        let written = content.clone();
        let client = std::thread::spawn(move || writer.write_all(written.as_bytes()));
        let output = stream(dir.path(), args, reader.into());
        client.join().unwrap().unwrap();
        assert!(output.status.success(), "{output:?}");
        let stream = the_stream(dir.path());
        assert_eq!(stream.desc.name, "stdin");
        assert!(stream.bytes == content.as_bytes(), "{args:?}");
    }
    // A file as stdin, from where it stands.
    fs::write(dir.path().join("in"), "0123456789").unwrap();
    let mut file = fs::File::open(dir.path().join("in")).unwrap();
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(4)).unwrap();
    let output = stream(dir.path(), &[], file.into());
    assert!(output.status.success(), "{output:?}");
    assert_eq!(the_stream(dir.path()).bytes, b"456789");
}

/// Without `--stream-server`: a socket that only we may use, told on stdout.
#[test]
fn private_socket() {
    let dir = tempfile::tempdir().unwrap();
    for args in [&["serve", "-output=null"] as &[&str], &["-output=null"]] {
        let mut command = process::command(args);
        let mut child = command
            .env("TMPDIR", dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = stdout.next().unwrap().unwrap();
        let socket = PathBuf::from(first.strip_prefix("unix:").unwrap());
        UnixStream::connect(&socket).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        let directory = socket.parent().unwrap();
        assert_eq!(directory.parent(), Some(dir.path()));
        assert_eq!((mode(&socket), mode(directory)), (0o600, 0o700));

        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, Signal::TERM).unwrap();
        assert!(child.wait().unwrap().success());
        assert!(!directory.exists());
        assert!(stdout.next().is_none(), "nothing else on stdout");
    }
}

#[test]
fn signals_end_serve() {
    for signal in [Signal::TERM, Signal::INT] {
        let dir = tempfile::tempdir().unwrap();
        let serve = Serve::start(dir.path(), &["--output=null"]);
        let mode = fs::metadata(&serve.socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let socket = serve.socket.clone();
        serve.signal(signal);
        let ended = serve.wait();
        ended.expect_success();
        assert!(!socket.exists());
        assert!(ended.stderr.contains("info: statistics: {"), "{ended:?}");
    }
}

#[test]
fn statistics_on_demand() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), &["--output=null"]);
    let mut stream = open(&serve.socket, "s", "text");
    stream.write_all(b"12345").unwrap();
    serve.wait_for_counter("bytes_in", 5);
    assert_eq!(serve.statistics()["streams_open"], 1);
    drop(stream);
    serve.wait_for_counter("streams_open", 0);
    let stderr = serve.terminate().stderr;
    assert!(stderr.contains("butler: info: statistics: {"), "{stderr}");
}

/// The log has the level that was asked for.
#[test]
fn log_levels() {
    for (level, says) in [
        (None, &[] as &[&str]),
        (Some("error"), &[]),
        (Some("info"), &["butler: info: streams are taken at unix:"]),
    ] {
        let mut command =
            process::command(level.into_iter().flat_map(|level| ["--log-level", level]));
        let output = command
            .args(["-output=null", "run", "true"])
            .output()
            .unwrap();
        let stderr = text(output.stderr);
        assert_eq!(stderr.is_empty(), says.is_empty(), "{level:?}: {stderr}");
        for says in says {
            assert!(stderr.contains(says), "{level:?}: {stderr}");
        }
    }
}

/// Somebody else's file or butler is not put out of the way.
#[test]
fn socket_path_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), &["--output=null"]);
    let file = dir.path().join("file");
    fs::write(&file, "mine").unwrap();
    for (path, says) in [
        (&serve.socket, "somebody listens there"),
        (&file, "no socket"),
    ] {
        let server = format!("--stream-server=unix:{}", path.display());
        let output = process::run(["--output=null", &server]);
        assert_eq!(output.status.code(), Some(250));
        let stderr = text(output.stderr);
        assert!(stderr.contains(says), "{stderr}");
        assert!(stderr.contains(path.to_str().unwrap()), "{stderr}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    UnixStream::connect(&serve.socket).unwrap();
    serve.terminate().expect_success();
}

/// The output takes nothing: what is lost is told, by name and to the byte.
#[test]
fn the_second_signal_ends_serve_with_a_stuck_output() {
    let dir = tempfile::tempdir().unwrap();
    let options = ["--output=unix:absent.sock", "--stats-path"];
    let stats = dir.path().join("stats");
    let serve = Serve::start(
        dir.path(),
        &[options[0], options[1], stats.to_str().unwrap()],
    );
    for (name, bytes) in [("a/one", 100), ("two", 20_000)] {
        let mut stream = open(&serve.socket, name, "text");
        stream.write_all(&vec![b'x'; bytes]).unwrap();
    }
    let open_one = open(&serve.socket, "open", "text");
    (&open_one).write_all(b"12345\n").unwrap();
    serve.wait_for_counter("bytes_in", 20_106);
    serve.signal(Signal::TERM);
    serve.wait_for_stderr("once more to end at once");
    serve.signal_again(Signal::TERM);
    let ended = serve.wait();
    assert_eq!(ended.status.code(), Some(250));
    for says in [
        "error: stream a/one: 100 bytes lost, not delivered in time",
        "error: stream two: 20000 bytes lost, not delivered in time",
        "error: stream open: 6 bytes lost, not delivered in time",
        "error: logs were lost: 20106 bytes of 3 streams",
    ] {
        assert!(ended.stderr.contains(says), "{says}: {ended:?}");
    }
    let stats: serde_json::Value = serde_json::from_slice(&fs::read(stats).unwrap()).unwrap();
    assert_eq!(stats["bytes_dropped"], 20_106);
    assert_eq!(stats["bytes_delivered"], 0);
}
