//! A limit on the size of files (`ulimit -f`): for the kernel not only an
//! error (EFBIG) but a signal too, which by default kills.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::common::content::noise;
use crate::common::process::{Serve, open, parse_file, run};
use crate::common::reassemble;
use crate::messages;

/// Lets the butler write files of that size. The hard limit stays, so that
/// the limit may be raised again.
pub fn limit_files(serve: &Serve, bytes: Option<u64>) {
    let pid = Pid::from_raw(serve.pid());
    let limit = |current, maximum| Rlimit { current, maximum };
    let before = prlimit(pid, Resource::Fsize, limit(bytes, None)).unwrap();
    // It came back as it was: not limited by whoever runs the tests.
    assert_eq!(before.maximum, None);
}

fn serve(dir: &Path, output: &str) -> Serve {
    let serve = Serve::start(dir, &["--output", output, "--output-max-buffer-age=20ms"]);
    limit_files(&serve, Some(100_000));
    serve
}

/// Writes more than files may have, raises the limit when that is noticed,
/// and ends well.
fn write_beyond(serve: Serve, data: &[u8], at_the_limit: impl FnOnce()) {
    let mut stream = open(&serve.socket, "s", "binary");
    stream.write_all(data).unwrap();
    drop(stream);
    serve.wait_for_stderr("; trying again");
    assert!(
        serve.stderr().contains("File too large"),
        "{}",
        serve.stderr()
    );
    at_the_limit();
    limit_files(&serve, None);
    let ended = serve.terminate();
    ended.expect_success();
    assert!(ended.stderr.contains("works again"), "{ended:?}");
}

#[test]
fn a_file_at_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("logs");
    let data = noise(300_000);
    let serve = serve(dir.path(), &format!("file,path={}", path.display()));
    write_beyond(serve, &data, || {
        let found = messages::parse(&fs::read(&path).unwrap());
        assert_eq!(found.end + found.torn, 100_000);
    });
    let streams = reassemble(&parse_file(&path));
    assert!(streams["s"].bytes == data, "other bytes");
}

#[test]
fn a_directory_at_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let data = noise(300_000);
    let serve = serve(dir.path(), &format!("directory,path={}", out.display()));
    write_beyond(serve, &data, || {
        let found = fs::read(out.join("s")).unwrap();
        assert!(found.len() <= 100_000 && data.starts_with(&found));
    });
    assert!(fs::read(out.join("s")).unwrap() == data, "other bytes");
}

/// Nor does it kill us where we write by ourselves: the statistics are lost,
/// the logs are not.
#[test]
fn statistics_at_their_limit() {
    let dir = tempfile::tempdir().unwrap();
    let (path, stats) = (dir.path().join("logs"), dir.path().join("stats"));
    let output = format!("file,path={}", path.display());
    let options = [
        "--output-no-buffer",
        "--stats-path",
        stats.to_str().unwrap(),
    ];
    let serve = Serve::start(dir.path(), &[&["--output", &output], &options[..]].concat());
    open(&serve.socket, "s", "text")
        .write_all(b"line\n")
        .unwrap();
    serve.wait_for_counter("bytes_delivered", 5);
    serve.wait_for_counter("streams_open", 0);
    limit_files(&serve, Some(0));
    let ended = serve.terminate();
    assert_eq!(ended.status.signal(), None, "{ended:?}");
    assert!(ended.stderr.contains("stats: File too large"), "{ended:?}");
    assert_eq!(reassemble(&parse_file(&path))["s"].bytes, b"line\n");
}

/// That it does not kill us is not passed on to the job.
#[test]
fn a_command_is_killed_by_its_own_limit() {
    let dir = tempfile::tempdir().unwrap();
    let output = format!("file,path={}", dir.path().join("logs").display());
    let big = dir.path().join("big");
    let script = format!(
        "ulimit -c 0; ulimit -f 8; exec head -c 100000 /dev/zero > {}",
        big.display()
    );
    let ended = run(["--output", &output, "run", "--", "sh", "-c", &script]);
    let xfsz = rustix::process::Signal::XFSZ.as_raw();
    assert_eq!(ended.status.code(), Some(128 + xfsz), "{ended:?}");
}
