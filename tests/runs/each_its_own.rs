//! Without `--output` every run has a directory of its own.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::common::process;
use super::{butler, cat, text};

/// The directories of runs, by what their stdout has.
fn runs(dir: &Path) -> BTreeMap<String, PathBuf> {
    let entries = fs::read_dir(dir.join("butler-logs")).unwrap();
    let directories = entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_dir());
    directories
        .map(|entry| (stdout(&entry.path()), entry.path()))
        .collect()
}

fn stdout(run: &Path) -> String {
    fs::read_to_string(run.join("stdout")).unwrap()
}

/// `butler run -- sh -c SCRIPT`, in which `$BUTLER` is butler.
fn run_sh(dir: &Path, script: &str) -> std::process::Command {
    let mut command = process::command(["run", "--", "sh", "-c", script]);
    command.env("BUTLER", env!("CARGO_BIN_EXE_butler"));
    command.current_dir(dir);
    command
}

#[test]
fn one_inside_another() {
    let dir = tempfile::tempdir().unwrap();
    let script = r#"echo outer begins; "$BUTLER" run -- echo inner; echo outer ends"#;
    let output = run_sh(dir.path(), script).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let runs = runs(dir.path());
    assert_eq!(runs.len(), 2, "{runs:?}");
    assert!(runs.contains_key("inner\n"), "{runs:?}");
    let (outer, _) = runs
        .iter()
        .find(|(text, _)| text.starts_with("outer"))
        .unwrap();
    assert!(outer.ends_with("outer ends\n"), "{outer}");
    // The one that was asked for.
    assert_eq!(&cat(dir.path(), &["--stream", "stdout"]), outer);
}

#[test]
fn many_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let script = |number| format!("sleep 0.1; echo {number}");
    let children: Vec<_> = (0..20)
        .map(|number| {
            let mut command = run_sh(dir.path(), &script(number));
            command.stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let found = runs(dir.path());
    assert_eq!(found.len(), 20, "{found:?}");
    let latest = fs::canonicalize(dir.path().join("butler-logs/latest")).unwrap();
    assert!(found.contains_key(&stdout(&latest)));
}

/// What is told to the child, and what it costs others: nothing.
#[test]
fn where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let script = r#"echo "$LOGDOG_COORDINATOR_HOST" > host"#;
    let output = run_sh(dir.path(), script).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let latest = dir.path().join("butler-logs/latest");
    let name = fs::read_link(&latest).unwrap();
    // It leads there wherever the workspace is moved to.
    assert!(
        name.is_relative() && name.components().count() == 1,
        "{name:?}"
    );
    let host = fs::read_to_string(dir.path().join("host")).unwrap();
    let run = fs::canonicalize(&latest).unwrap();
    assert_eq!(host, format!("file://{}\n", run.display()));
    let mode = fs::metadata(&run).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    // Sorted by time: 20250102T030405.678Z-4711.
    let name = name.to_str().unwrap();
    let (time, pid) = name.split_once("Z-").unwrap();
    assert_eq!(time.len(), "20250102T030405.678".len(), "{name}");
    assert!(pid.parse::<u32>().is_ok(), "{name}");
}

/// By no path, by that of the directory of runs, and by the link.
#[test]
fn what_cat_reads() {
    let dir = tempfile::tempdir().unwrap();
    let nothing = butler(dir.path(), &["cat"]);
    assert_eq!(nothing.status.code(), Some(1));
    let stderr = text(&nothing.stderr);
    assert!(
        stderr.contains("there are no logs in butler-logs"),
        "{stderr}"
    );
    for number in ["one", "two"] {
        let output = butler(dir.path(), &["run", "echo", number]);
        assert!(output.status.success(), "{output:?}");
        for path in [&[] as &[&str], &["butler-logs"], &["butler-logs/latest"]] {
            assert_eq!(cat(dir.path(), path), format!("{number}\n"), "{path:?}");
        }
    }
    // Without the link it is the last one by name.
    fs::remove_file(dir.path().join("butler-logs/latest")).unwrap();
    assert_eq!(cat(dir.path(), &[]), "two\n");
}

/// A name that is somebody else's stays so, and the run goes on.
#[test]
fn latest_is_something_else() {
    for make in [
        (|path| fs::write(path, "mine").unwrap()) as fn(&Path),
        |path| fs::create_dir(path).unwrap(),
        |path| symlink("nowhere", path).unwrap(),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let latest = dir.path().join("butler-logs/latest");
        fs::create_dir(latest.parent().unwrap()).unwrap();
        make(&latest);
        let was_link = latest.is_symlink();
        let output = butler(dir.path(), &["run", "echo", "here"]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(latest.is_symlink(), was_link);
        let stderr = text(&output.stderr);
        let says = "butler-logs/latest does not lead to";
        assert_eq!(stderr.contains(says), !was_link, "{stderr}");
        assert_eq!(cat(dir.path(), &[]), "here\n");
    }
}

/// What a version without directories for runs has left there stays.
#[test]
fn logs_that_are_right_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("butler-logs");
    fs::create_dir(&logs).unwrap();
    fs::write(logs.join("stdout"), "old\n").unwrap();
    fs::write(logs.join(".meta.stdout"), r#"{"name":"stdout"}"#).unwrap();
    assert_eq!(cat(dir.path(), &["butler-logs"]), "old\n");
    assert!(butler(dir.path(), &["run", "echo", "new"]).status.success());
    assert_eq!(cat(dir.path(), &["butler-logs"]), "new\n");
    assert_eq!(fs::read(logs.join("stdout")).unwrap(), b"old\n");
}

/// A run that does not come about leaves nothing, and `latest` as it is.
#[test]
fn what_does_not_begin_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for (args, code) in [
        (&["run", "no-such-command"] as &[&str], 127),
        (&["run", "--chdir", "nowhere", "true"], 250),
        (&["--stream-server", "unix:no/dir/s", "run", "true"], 250),
        (&["--stream-server", "unix:no/dir/s"], 250),
        (&["run"], 2),
    ] {
        let output = butler(dir.path(), args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
        assert!(!dir.path().join("butler-logs").exists(), "{args:?}");
    }
}

#[test]
fn it_can_not_be_made() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("butler-logs"), "a file").unwrap();
    let output = butler(dir.path(), &["run", "touch", "ran"]);
    assert_eq!(output.status.code(), Some(250));
    let stderr = text(&output.stderr);
    for part in ["butler-logs", "--output names another place"] {
        assert!(stderr.contains(part), "{stderr}");
    }
    assert!(!dir.path().join("ran").exists());
}
