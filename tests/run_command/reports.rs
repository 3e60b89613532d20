//! `--result-path` and `--stats-path`: they tell of this run, and hold up
//! nobody.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output};

use rustix::fs::{FileType, Mode, OFlags};

use crate::common::process::{self, Serve};
use crate::{code, json_file};

const BOTH: [&str; 2] = ["result", "stats"];

/// `butler --stats-path STATS run --result-path RESULT -- sh -c SCRIPT`.
fn run_with(dir: &Path, [result, stats]: [&str; 2], script: &str) -> Command {
    let mut command = process::command(["--output=null", "--stats-path", stats, "run"]);
    command
        .args(["--result-path", result, "--", "sh", "-c", script])
        .current_dir(dir);
    command
}

fn says(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// While the command runs nothing of an earlier run is there; at its end both
/// are whole, and nothing is left beside them.
#[test]
fn tell_of_this_run() {
    let dir = tempfile::tempdir().unwrap();
    for name in BOTH {
        fs::write(dir.path().join(name), "{\"return_code\":77}").unwrap();
        let mode = fs::Permissions::from_mode(0o640);
        fs::set_permissions(dir.path().join(name), mode).unwrap();
    }
    let script = "cat result stats 2>/dev/null | wc -c; exit 3";
    let output = run_with(dir.path(), BOTH, script).output().unwrap();
    assert_eq!(code(&output), 3);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "0");
    assert_eq!(json_file(&dir.path().join("result"))["return_code"], 3);
    assert_eq!(json_file(&dir.path().join("stats"))["streams"], 2);
    for name in BOTH {
        let found = fs::metadata(dir.path().join(name)).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, 0o640, "{name}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn a_butler_that_is_killed_leaves_none() {
    let dir = tempfile::tempdir().unwrap();
    for name in BOTH {
        fs::write(dir.path().join(name), "{}").unwrap();
    }
    let mut child = run_with(dir.path(), BOTH, ": > ready; exec sleep 1000");
    let mut child = child.spawn().unwrap();
    process::wait_until("it runs", || dir.path().join("ready").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    for name in BOTH {
        assert!(!dir.path().join(name).exists(), "{name}");
    }
}

#[test]
fn are_written_when_the_command_is_not_run() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("plain"), "").unwrap();
    for (name, expected) in [("./plain", 126), ("./absent", 127)] {
        for old in BOTH {
            fs::write(dir.path().join(old), "old").unwrap();
        }
        let output = process::command(["--output=null", "--stats-path=stats", "run"])
            .args(["--result-path=result", name, "arg"])
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert_eq!(code(&output), expected);
        let result = json_file(&dir.path().join("result"));
        assert_eq!(result["return_code"], expected);
        assert_eq!(result["command"], serde_json::json!([name, "arg"]));
        assert_eq!(json_file(&dir.path().join("stats"))["bytes_in"], 0);
    }
    // The output does not work: nothing was run, and the result says so.
    fs::write(dir.path().join("stats"), "old").unwrap();
    let output = process::command(["--output=file,path=no/file", "--stats-path=stats", "run"])
        .args(["--result-path=result", "--", "touch", "ran"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert_eq!(code(&output), 250);
    let result = json_file(&dir.path().join("result"));
    assert_eq!(result["return_code"], 250);
    assert_eq!(result["delivered"], false);
    assert!(
        result["error"].as_str().unwrap().contains("no/file"),
        "{result}"
    );
    assert!(!dir.path().join("stats").exists());
    assert!(!dir.path().join("ran").exists());
}

/// Before the command starts.
#[test]
fn what_can_not_be_written_is_told_first() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("directory")).unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let socket = dir.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for (path, why) in [
        ("directory", "it is a directory"),
        ("file/x", "Not a directory"),
        ("socket", "it is a socket"),
        ("/dev/fd/99", "/dev/fd/99"),
        ("logs", "--stats-path is the file of --output"),
    ] {
        fs::write(dir.path().join("logs"), "").unwrap();
        let output = process::command(["--output=file,path=logs", "--stats-path", path])
            .args(["run", "--", "touch", "ran"])
            .current_dir(dir.path())
            .output()
            .unwrap();
        let says = says(&output);
        assert!(says.contains(why), "{path}: {says}");
        assert!(says.contains("--stats-path"), "{path}: {says}");
        assert_eq!(code(&output), 250, "{path}: {says}");
        assert!(!dir.path().join("ran").exists(), "{path}");
    }
    // The job may make the directory.
    let output = run_with(dir.path(), ["later/result", "stats"], "echo it runs >&2")
        .output()
        .unwrap();
    let says = says(&output);
    let at = |word: &str| says.find(word).unwrap_or_else(|| panic!("{word}: {says}"));
    assert!(at("unless the directory is made") < at("it runs"), "{says}");
    assert!(at("it runs") < at("error: --result-path: can't write to later/result"));
    assert_eq!(code(&output), 0);
}

fn fifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
}

/// Neither waits for a reader, and who reads has all of it.
#[test]
fn a_fifo() {
    let dir = tempfile::tempdir().unwrap();
    let paths = BOTH.map(|name| dir.path().join(name));
    paths.iter().for_each(|path| fifo(path));
    let output = run_with(dir.path(), BOTH, "exit 4").output().unwrap();
    assert_eq!(code(&output), 4);
    for path in BOTH {
        let told = format!("can't write to {path}: nobody reads it");
        assert!(says(&output).contains(&told), "{output:?}");
    }
    let readers = paths.clone().map(|path| {
        let flags = OFlags::NONBLOCK.bits() as i32;
        OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(path)
            .unwrap()
    });
    let output = run_with(dir.path(), BOTH, "exit 4").output().unwrap();
    assert_eq!((code(&output), &*says(&output)), (4, ""));
    let [result, stats] = readers.map(|mut reader| {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    });
    assert_eq!(
        (&result["return_code"], &stats["streams"]),
        (&4.into(), &2.into())
    );
}

/// A full one is not waited for either.
#[test]
fn a_fifo_whose_reader_stands_still() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("result");
    fifo(&path);
    let both = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    while rustix::event::poll(
        &mut [rustix::event::PollFd::new(
            &both,
            rustix::event::PollFlags::OUT,
        )],
        Some(&rustix::event::Timespec::default()),
    )
    .unwrap()
        > 0
    {
        rustix::io::write(&both, &[0; 4096]).unwrap();
    }
    let output = run_with(dir.path(), BOTH, "exit 4").output().unwrap();
    assert_eq!(code(&output), 4);
    let told = "can't write to result: its reader takes nothing";
    assert!(says(&output).contains(told), "{output:?}");
}

/// What a job has put in its place does not matter.
#[test]
fn a_fifo_or_link_that_the_job_made() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("other"), "untouched").unwrap();
    let script = "mkfifo stats && ln -s other result";
    let output = run_with(dir.path(), BOTH, script).output().unwrap();
    assert_eq!((code(&output), &*says(&output)), (0, ""));
    for name in BOTH {
        let found = fs::symlink_metadata(dir.path().join(name)).unwrap();
        assert!(found.is_file(), "{name}");
    }
    assert_eq!(fs::read(dir.path().join("other")).unwrap(), b"untouched");

    // The same for butlers that serve.
    let dir = tempfile::tempdir().unwrap();
    let stats = dir.path().join("stats");
    let serve = Serve::start(
        dir.path(),
        &["--output=null", "--stats-path", stats.to_str().unwrap()],
    );
    fifo(&stats);
    serve.terminate().expect_success();
    assert!(fs::metadata(&stats).unwrap().is_file());
}

#[test]
fn devices_links_and_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere/result", dir.path().join("result")).unwrap();
    for _ in 0..2 {
        let output = run_with(dir.path(), ["result", "/dev/null"], "exit 4");
        let output = { output }.output().unwrap();
        assert_eq!((code(&output), &*says(&output)), (4, ""));
        let result = json_file(&dir.path().join("elsewhere/result"));
        assert_eq!(result["return_code"], 4);
        let link = fs::symlink_metadata(dir.path().join("result")).unwrap();
        assert!(link.is_symlink());
        assert!(
            fs::metadata("/dev/null")
                .unwrap()
                .file_type()
                .is_char_device()
        );
    }
    // What our stdout goes to is appended to, by any name.
    for name in ["/dev/stdout", "/dev/fd/1", "out"] {
        fs::write(dir.path().join("out"), "before\n").unwrap();
        let out = File::options().append(true).open(dir.path().join("out"));
        let status = run_with(dir.path(), [name, "/dev/full"], "echo shown")
            .stdout(out.unwrap())
            .status()
            .unwrap();
        assert!(status.success());
        let out = fs::read_to_string(dir.path().join("out")).unwrap();
        assert!(out.starts_with("before\nshown\n{\"return_code\":"), "{out}");
    }
}

/// As in /tmp, where others could put a file of theirs in our file's place.
#[test]
fn a_file_in_a_shared_directory_stays() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    let path = dir.path().join("result");
    fs::write(&path, "old".repeat(1000)).unwrap();
    let before = fs::metadata(&path).unwrap().ino();
    let output = run_with(dir.path(), BOTH, "wc -c < result")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "0");
    assert_eq!(json_file(&path)["return_code"], 0);
    assert_eq!(fs::metadata(&path).unwrap().ino(), before);
}
