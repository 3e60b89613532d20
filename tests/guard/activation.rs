//! A service manager that listens for us.

use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::common::process::{Serve, command, open, parse_file};
use crate::common::reassemble;

/// Butler with that socket passed to it, as systemd does it.
pub(crate) fn activated(listening: &UnixListener, options: &[&str]) -> Command {
    let butler = command(["--log-level=info"]);
    let script = r#"exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@""#;
    let mut shell = Command::new("sh");
    shell
        .args(["-c", script, "sh"])
        .arg(butler.get_program())
        .args(butler.get_args());
    let passed: OwnedFd = listening.try_clone().unwrap().into();
    shell
        .args(options)
        .stdin(Stdio::from(passed))
        .stdout(Stdio::null());
    shell
}

fn listen(path: &Path) -> UnixListener {
    UnixListener::bind(path).unwrap()
}

#[test]
fn who_connected_before_is_served_and_the_socket_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activated.sock");
    let logs = dir.path().join("logs");
    let listening = listen(&path);
    let mut early = open(&path, "early", "text");
    early.write_all(b"before\n").unwrap();
    drop(early);
    let uri = format!("unix:{}", path.display());
    let output = format!("directory,path={}", logs.display());
    for (name, options) in [
        ("named", &["--output", &output, "--stream-server", &uri][..]),
        ("not named", &["--output", &output]),
    ] {
        let serve = Serve::spawn(activated(&listening, options), path.clone());
        serve.wait_for_stderr("streams are taken at");
        let mut stream = open(&path, &name.replace(' ', "_"), "text");
        stream.write_all(b"a line\n").unwrap();
        drop(stream);
        serve.terminate().expect_success();
        assert!(path.exists(), "it is the service manager's");
    }
    assert_eq!(fs::read(logs.join("early")).unwrap(), b"before\n");
    assert_eq!(fs::read(logs.join("not_named")).unwrap(), b"a line\n");
}

/// The socket is not ours, so nothing keeps them from connecting on and on: they
/// are left for the next butler, and what the first one has is delivered.
#[test]
fn a_flood_of_connects_does_not_hold_up_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activated.sock");
    let listening = listen(&path);
    let output = format!("file,path={}", dir.path().join("log").display());
    let options = ["--output", &output, "--drain-timeout", "200ms"];
    let serve = Serve::spawn(activated(&listening, &options), path.clone());
    serve.wait_for_stderr("streams are taken at");
    let mut stream = open(&path, "beside", "text");
    stream.write_all(b"a line\n").unwrap();
    serve.wait_for_counter("bytes_in", 7);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    // When too many wait it waits too, or is told so.
                    drop(UnixStream::connect(&path));
                }
            });
        }
        std::thread::sleep(Duration::from_millis(300));
        serve.signal(Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut serve = serve;
        while serve.child.try_wait().unwrap().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let has_ended = serve.child.try_wait().unwrap().is_some();
        // Whoever waits for a place in the queue goes on.
        over.store(true, Ordering::Relaxed);
        drop(listening);
        assert!(has_ended, "it does not end");
        serve.wait().expect_success();
    });
    let streams = reassemble(&parse_file(&dir.path().join("log")));
    assert_eq!(streams["beside"].bytes, b"a line\n");
}

#[test]
fn a_child_is_told_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activated.sock");
    let script = "echo $LOGDOG_STREAM_SERVER_PATH; ls /proc/self/fd";
    let options = [
        "--output=null",
        "run",
        "--stdout=type=text",
        "--",
        "sh",
        "-c",
        script,
    ];
    let mut butler = activated(&listen(&path), &options);
    let output = butler.stdout(Stdio::piped()).output().unwrap();
    // The socket is ours alone: the command finds what it finds without it.
    let plain = Command::new("ls")
        .arg("/proc/self/fd")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let plain = String::from_utf8(plain.stdout).unwrap();
    let expected = format!("unix:{}\n{plain}", path.display());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

#[test]
fn another_path_is_a_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let listening = listen(&dir.path().join("activated.sock"));
    let uri = format!("unix:{}", dir.path().join("other.sock").display());
    let options = ["--output=null", "--stream-server", &uri];
    let output = activated(&listening, &options).output().unwrap();
    assert_eq!(output.status.code(), Some(250));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("activated.sock, and --stream-server says"),
        "{stderr}"
    );
}

/// The units in scripts/systemd, as far as systemd is here to look at them.
#[test]
fn the_units_are_valid() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/systemd");
    let dir = tempfile::tempdir().unwrap();
    for name in ["butler.service", "butler.socket"] {
        let unit = fs::read_to_string(units.join(name)).unwrap();
        let unit = unit.replace("/usr/bin/butler", env!("CARGO_BIN_EXE_butler"));
        fs::write(dir.path().join(name), unit).unwrap();
    }
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .args(["butler.service", "butler.socket"].map(|name| dir.path().join(name)))
        .output();
    match verified {
        Err(error) => println!("skipped: systemd-analyze: {error}"),
        Ok(output) => {
            let stderr = String::from_utf8_lossy(&output.stderr);
            // It may have more to say of the machine's own units.
            assert!(!stderr.contains("butler."), "{stderr}");
            assert!(
                output.status.success() || !stderr.contains("butler"),
                "{stderr}"
            );
        }
    }
}
