//! Paths are bytes: what is not UTF-8 works everywhere, and an empty TMPDIR is
//! none.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use crate::common::process::{self, parse, parse_file};
use crate::common::reassemble;

/// A directory whose name is not UTF-8. `None`: the file system takes none.
fn odd(dir: &Path) -> Option<PathBuf> {
    let odd = dir.join(OsStr::from_bytes(b"odd-\xff\xc3"));
    match fs::create_dir(&odd) {
        Ok(()) => Some(odd),
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}

fn joined(prefix: &str, path: &Path) -> OsString {
    let mut joined = OsString::from(prefix);
    joined.push(path);
    joined
}

fn succeeds(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

#[test]
fn what_is_not_utf8_works() {
    let dir = tempfile::tempdir().unwrap();
    let Some(odd) = odd(&dir.path().canonicalize().unwrap()) else {
        return;
    };
    let butler = |output: OsString| process::command([OsString::from("--output"), output]);
    let sh = ["--", "sh", "-c"];

    let logs = odd.join("logs");
    let mut run = butler(joined("directory,path=", &logs));
    run.args(["run", "--result-path"]).arg(odd.join("result"));
    run.args(sh).arg("printf %s \"$LOGDOG_COORDINATOR_HOST\"");
    let host = joined("file://", &logs).into_vec();
    assert_eq!(succeeds(&mut run), host);
    assert_eq!(fs::read(logs.join("stdout")).unwrap(), host);
    assert!(odd.join("result").exists());

    let file = odd.join("file");
    let mut run = butler(joined("file,path=", &file));
    run.arg("--stats-path").arg(odd.join("stats"));
    run.args(["run", "--chdir"]).arg(&odd);
    run.args(sh).arg("pwd -P");
    let here = [odd.as_os_str().as_bytes(), b"\n"].concat();
    assert_eq!(succeeds(&mut run), here);
    assert_eq!(reassemble(&parse_file(&file))["stdout"].bytes, here);
    assert!(odd.join("stats").exists());

    let socket = odd.join("collector");
    let listener = UnixListener::bind(&socket).unwrap();
    let collector = thread::spawn(move || {
        let mut bytes = Vec::new();
        listener
            .accept()
            .unwrap()
            .0
            .read_to_end(&mut bytes)
            .unwrap();
        bytes
    });
    let mut stream = butler(joined("unix:", &socket));
    stream
        .args(["stream", "--stream=name=x", "--source"])
        .arg(odd.join("result"));
    succeeds(&mut stream);
    let collected = reassemble(&parse(&collector.join().unwrap()));
    assert_eq!(collected["x"].bytes, fs::read(odd.join("result")).unwrap());
}

/// The command, and who starts a server, find the very bytes at which we
/// listen.
#[test]
fn the_stream_server_need_not_be_utf8() {
    let dir = tempfile::tempdir().unwrap();
    let Some(odd) = odd(dir.path()) else {
        return;
    };
    for (option, expected) in [
        (
            joined("--stream-server=unix:", &odd.join("s")),
            odd.join("s"),
        ),
        ("--stream-server=".into(), odd.join("butler-")),
    ] {
        let mut command = process::command([&option]);
        command.args(["--output=null", "run", "--", "sh", "-c"]);
        command.arg("printf %s \"$LOGDOG_STREAM_SERVER_PATH\"");
        let found = succeeds(command.env("TMPDIR", &odd));
        let expected = joined("unix:", &expected).into_vec();
        assert!(
            found.starts_with(&expected),
            "{:?}",
            OsStr::from_bytes(&found)
        );
    }

    let mut command = process::command(["--output=null", "serve"]);
    command.env("TMPDIR", &odd).stdout(Stdio::piped());
    let mut serve = command.spawn().unwrap();
    let mut line = Vec::new();
    let mut stdout = BufReader::new(serve.stdout.take().unwrap());
    stdout.read_until(b'\n', &mut line).unwrap();
    let path = line.strip_prefix(b"unix:").unwrap().trim_ascii_end();
    let connected = UnixStream::connect(Path::new(OsStr::from_bytes(path)));
    let pid = rustix::process::Pid::from_child(&serve);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(serve.wait().unwrap().success());
    connected.unwrap();
}

#[test]
fn an_empty_or_relative_tmpdir() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().canonicalize().unwrap();
    for (tmpdir, expected) in [
        ("", PathBuf::from("/tmp/butler-")),
        (".", here.join("./butler-")),
    ] {
        let mut command = process::command(["--output=null", "run", "--", "sh", "-c"]);
        command.arg("printf %s \"$LOGDOG_STREAM_SERVER_PATH\"");
        let found = succeeds(command.env("TMPDIR", tmpdir).current_dir(&here));
        let found = String::from_utf8(found).unwrap();
        let path = found.strip_prefix("unix:").unwrap();
        let expected = expected.to_str().unwrap().replace("/./", "/");
        assert!(path.starts_with(&expected), "{tmpdir:?}: {found}");
        assert_eq!(fs::read_dir(&here).unwrap().count(), 0);
    }
}
