//! Data has one way through the program, and the rooms stand along it: none uses
//! one that stands above it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom to the top: a room uses those of the lines before its own, and
/// none of its own line.
const ROOMS: &[&[&str]] = &[
    &["limits", "utf8", "chain", "random", "proto"],
    &["escape", "memory", "arena", "secret", "time", "units"],
    &["keys", "segments", "layout", "wire"],
    &["spool"],
    &["pairs", "ledger", "watch", "read"],
    &["delivery"],
    &["bundler", "stats"],
    &["stream"],
    &["core"],
    &["edge"],
    &["output"],
    &["config"],
    &["butler"],
    &["api", "process"],
    &["cli"],
];
/// No file has more lines.
const LINES_MAX: usize = 500;

/// All `.rs` files below `src`, with what they are without tests.
fn sources() -> Vec<(PathBuf, String)> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(&path, found),
                false => found.push(path),
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    paths.retain(|path| path.extension().is_some_and(|it| it == "rs"));
    paths.sort_unstable();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path.strip_prefix(&root).unwrap().to_owned(), text)
    };
    paths.into_iter().map(read).collect()
}

fn is_of_tests(path: &Path) -> bool {
    path.components().any(|part| {
        let part = part.as_os_str().to_str().unwrap();
        part.contains("test") || part == "sources.rs"
    })
}

/// The room that a file is in.
fn room(path: &Path) -> String {
    let first = path.components().next().unwrap();
    let name = Path::new(first.as_os_str()).file_stem().unwrap();
    name.to_str().unwrap().to_owned()
}

/// The rooms that a file names behind `crate::`, besides in comments and tests.
fn uses(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = code.lines().map(|line| line.split("//").next().unwrap());
    let code = lines.collect::<Vec<_>>().join(" ");
    let mut uses = Vec::new();
    for behind in code.split("crate::").skip(1) {
        match behind.strip_prefix('{') {
            None => uses.push(first_name(behind)),
            Some(list) => uses.extend(names_of(list)),
        }
    }
    uses
}

/// Of what the crate's root shows by itself, all is the butler's or its
/// configuration's.
fn first_name(text: &str) -> String {
    let name: String = text
        .trim_start()
        .chars()
        .take_while(|it| it.is_ascii_alphanumeric() || *it == '_')
        .collect();
    match name.as_str() {
        "start" | "start_with" => "butler".to_owned(),
        of_root if of_root.starts_with(char::is_uppercase) => "butler".to_owned(),
        _ => name,
    }
}

/// The first names of a list in braces, whose opening one is gone.
fn names_of(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 0;
    let mut begins = true;
    for (at, character) in list.char_indices() {
        match character {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            _ if begins && !character.is_whitespace() => {
                names.push(first_name(&list[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    names
}

#[test]
fn names_are_found() {
    let text = "use crate::a::B;\n// crate::no\nuse crate::{\n    C, d::{E, F},\n    g,\n};\nlet x = crate::h::i();";
    assert_eq!(uses(text), ["a", "butler", "d", "g", "h"]);
}

#[test]
fn no_arrow_runs_up() {
    let levels: BTreeMap<&str, usize> = ROOMS
        .iter()
        .enumerate()
        .flat_map(|(level, rooms)| rooms.iter().map(move |room| (*room, level)))
        .collect();
    let mut arrows = 0;
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let from = room(&path);
        if is_of_tests(&path) || ["lib", "main"].contains(&from.as_str()) {
            continue;
        }
        let level = levels.get(from.as_str());
        for to in uses(&text).into_iter().filter(|to| *to != from) {
            arrows += 1;
            let below = levels.get(to.as_str());
            if below.is_none() || level.is_none() || below >= level {
                wrong.push(format!("{}: {from} uses {to}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(arrows > 200, "{arrows} arrows: they are not found");
}

#[test]
fn a_file_is_read_at_a_sitting() {
    let long = sources().into_iter().filter_map(|(path, text)| {
        let lines = text.lines().count();
        (lines > LINES_MAX).then_some((path, lines))
    });
    let long: Vec<_> = long.collect();
    assert!(long.is_empty(), "{long:?}");
}
