//! Every promise in the README is held by tests that exist.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

/// The tests that a line names, as `TARGET/PATH`.
fn named(line: &str) -> Vec<&str> {
    let spans = line.split('`').skip(1).step_by(2);
    spans.filter(|span| !span.starts_with('-')).collect()
}

/// Is there such a test? `path` is modules and a function.
fn exists(target: &str, path: &str) -> bool {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let (modules, function) = path.rsplit_once("::").unwrap_or(("", path));
    let file = match modules {
        "" if dir.join(target).is_dir() => dir.join(target).join("main.rs"),
        "" => dir.join(format!("{target}.rs")),
        modules => dir.join(target).join(modules.replace("::", "/") + ".rs"),
    };
    let source = fs::read_to_string(file).unwrap_or_default();
    let Some(at) = source.find(&format!("fn {function}(")) else {
        return false;
    };
    let before = source[..at].trim_end();
    before.ends_with("#[test]")
}

#[test]
fn promises_name_tests_that_exist() {
    let readme = include_str!("../README.md");
    let (_, promises) = readme.split_once("\n## Promises\n").unwrap();
    let (promises, _) = promises.split_once("**Delivered**").unwrap();
    let mut count = 0;
    for row in promises
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
    {
        let (promise, held_by) = row.trim_end_matches(" |").rsplit_once(" | ").unwrap();
        let tests = named(held_by);
        assert!(!tests.is_empty(), "nothing holds: {promise}");
        for test in tests {
            let (target, path) = test.split_once('/').unwrap();
            assert!(exists(target, path), "there is no test {test}");
            count += 1;
        }
    }
    assert!(count > 10, "{count} tests");
}

#[test]
fn what_is_not_there_is_noticed() {
    assert!(exists("promises", "what_is_not_there_is_noticed"));
    assert!(!exists("promises", "exists"), "it is no test");
    assert!(!exists("promises", "nowhere::what_is_not_there_is_noticed"));
}
