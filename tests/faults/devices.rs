//! Outputs that are pipes, terminals, FIFOs and sockets: whoever is at their
//! other end may have gone, or stand still, and holds up nobody.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::process::{Serve, command, open, terminal, wait_until};

/// Serves with that output, and with `stdout` as its own.
fn serve(dir: &Path, output: &str, stdout: Option<OwnedFd>, options: &[&str]) -> Serve {
    let socket = dir.join("streams.sock");
    let mut command = command(["--log-level=info", "--output-no-buffer"]);
    command
        .arg(format!("--output={output}"))
        .arg(format!("--stream-server=unix:{}", socket.display()))
        .args(options);
    if let Some(stdout) = stdout {
        command.stdout(stdout);
    }
    Serve::spawn(command, socket)
}

/// All that was lost is told, and nothing was waited for.
fn gives_up(serve: Serve) {
    let mut stream = open(&serve.socket, "s", "text");
    stream.write_all(b"a line\n").unwrap();
    serve.wait_for_stderr("; giving up");
    stream.write_all(b"a line\n").unwrap();
    drop(stream);
    let ended = serve.terminate();
    assert_eq!(ended.status.code(), Some(250), "{ended:?}");
    assert!(ended.stderr.contains("; giving up"), "{ended:?}");
    assert!(ended.stderr.contains("14 bytes lost"), "{ended:?}");
    assert!(!ended.stderr.contains("did not take"), "{ended:?}");
}

/// Nobody can open a pipe that has no name, so it is over. The end would
/// otherwise take two minutes.
#[test]
fn a_pipeline_whose_reader_has_gone() {
    for output in [
        "log",
        "file,path=/dev/stdout",
        "file,path=/proc/self/fd/1,compress=zlib",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        let serve = serve(dir.path(), output, Some(writer.into()), &[]);
        drop(reader);
        gives_up(serve);
    }
}

#[test]
fn a_terminal_that_is_closed() {
    for output in ["log", "file,path=/dev/stdout"] {
        let (ours, theirs) = match terminal() {
            Ok(ends) => ends,
            Err(error) => return println!("skipped: no terminals here: {error}"),
        };
        let dir = tempfile::tempdir().unwrap();
        let serve = serve(dir.path(), output, Some(theirs), &[]);
        drop(ours);
        gives_up(serve);
    }
}

/// As where somebody has typed Ctrl-S. No signal comes that could cut a wait.
#[test]
fn a_terminal_that_stands_still() {
    for by_path in [true, false] {
        let (ours, theirs) = match terminal() {
            Ok(ends) => ends,
            Err(error) => return println!("skipped: no terminals here: {error}"),
        };
        let path = rustix::termios::ttyname(&theirs, Vec::new()).unwrap();
        let output = match by_path {
            true => format!("--output=file,path={}", path.to_str().unwrap()),
            false => "--output=log".to_owned(),
        };
        let mut run = command(["--flush-timeout=200ms", &output]);
        run.args(["run", "--stdout=name=s", "--", "seq", "100000"]);
        let mut child = run.stdout(theirs).stderr(Stdio::piped()).spawn().unwrap();
        let mut status = None;
        wait_until("it ends", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.unwrap().code(), Some(0));
        let mut stderr = String::new();
        child.stderr.unwrap().read_to_string(&mut stderr).unwrap();
        assert!(stderr.contains("stream s: 588895 bytes lost"), "{stderr}");
        drop(ours);
    }
}

/// Its reader may come as long as the end allows.
#[test]
fn a_fifo_that_nobody_reads() {
    for has_reader in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(made.success());
        // One that has it open and does not read; opened for both, so that
        // this waits for nobody.
        let mut both = File::options();
        let open_file = has_reader.then(|| both.read(true).write(true).open(&fifo).unwrap());
        let output = format!("file,path={}", fifo.display());
        let serve = serve(dir.path(), &output, None, &["--flush-timeout=200ms"]);
        let mut stream = open(&serve.socket, "s", "text");
        stream.write_all(&b"a line\n".repeat(20_000)).unwrap();
        serve.wait_for_counter("bytes_in", 140_000);
        drop(stream);
        let ended = serve.terminate();
        assert_eq!(ended.status.code(), Some(250), "{ended:?}");
        assert!(
            ended.stderr.contains("stream s: 140000 bytes lost"),
            "{ended:?}"
        );
        drop(open_file);
    }
}

#[test]
fn a_socket_is_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("socket");
    let _listens = UnixListener::bind(&socket).unwrap();
    let output = format!("--output=file,path={}", socket.display());
    let refused = command([&output, "run", "true"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(250));
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert!(
        stderr.contains("socket: it is a socket: the unix output"),
        "{stderr}"
    );
}
