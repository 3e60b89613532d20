//! What a run did not write is not shown as its own.

use std::path::Path;

use super::{butler, cat, text};

/// `echo SAYS` as the stream NAME, in the directory `logs`.
fn say(dir: &Path, name: &str, says: &str) {
    let stdout = format!("--stdout=name={name}");
    let args = ["--output", "directory,path=logs", "run", &stdout];
    let output = butler(dir, &[&args[..], &["--", "printf", "%s", says]].concat());
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn what_an_earlier_run_left_is_told() {
    let dir = tempfile::tempdir().unwrap();
    say(dir.path(), "a/old", "old");
    say(dir.path(), "new", "new");
    let shown = butler(dir.path(), &["cat", "logs"]);
    assert_eq!(text(&shown.stdout), "new");
    let stderr = text(&shown.stderr);
    assert!(
        stderr.contains("streams of earlier runs, not shown: 1"),
        "{stderr}"
    );
    assert!(shown.status.success());

    let list = cat(dir.path(), &["--list", "logs"]);
    let state = |name| {
        let row = list.lines().find(|row| row.starts_with(name)).unwrap();
        row.split_whitespace().nth_back(0).unwrap().to_owned()
    };
    assert_eq!(
        (&*state("a/old"), &*state("new")),
        ("earlier", "-"),
        "{list}"
    );
    let json = cat(dir.path(), &["--list", "--json", "--stream=a/old", "logs"]);
    assert!(json.contains("\"earlier_run\":true"), "{json}");

    // Asked for, it is shown as what it is.
    let shown = butler(dir.path(), &["cat", "--stream", "a/old", "logs"]);
    assert_eq!(text(&shown.stdout), "old");
    let stderr = text(&shown.stderr);
    assert!(stderr.contains("a/old is of an earlier run"), "{stderr}");
}

/// A directory in which another butler wrote is an output of its own.
#[test]
fn an_output_in_another() {
    let dir = tempfile::tempdir().unwrap();
    say(dir.path(), "x", "outer");
    let inner = [
        "--output",
        "directory,path=logs/in",
        "run",
        "--stdout=name=x",
        "--",
    ];
    let output = butler(dir.path(), &[&inner[..], &["printf", "inner"]].concat());
    assert!(output.status.success(), "{output:?}");
    assert_eq!(cat(dir.path(), &["logs"]), "outer");
    assert_eq!(cat(dir.path(), &["logs/in"]), "inner");
}
