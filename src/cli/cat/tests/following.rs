use super::*;

/// Follows while `step` says so.
fn follow(options: &CatOptions, mut step: impl FnMut(usize) -> bool) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut polls = 0;
    let wait = || {
        polls += 1;
        assert!(polls < 1000, "it should have ended");
        step(polls)
    };
    let outcome = cat_while(options, &mut out, &mut err, Terminal::default(), wait).unwrap();
    Ran {
        out: String::from_utf8(out).unwrap(),
        err: String::from_utf8(err).unwrap(),
        outcome,
    }
}

fn following(path: &Path) -> CatOptions {
    CatOptions {
        follow: true,
        ..options(&[path])
    }
}

fn append(path: &Path, bytes: &[u8]) {
    let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

/// Messages of one stream, with a line each; it ends with the last.
fn messages(prefix: &'static str, lines: &[&str]) -> Vec<Vec<u8>> {
    let mut writer = Writer::new(prefix);
    let last = lines.len() as u64 - 1;
    let message = |(n, line): (usize, &&str)| {
        let log = writer.log(n as u64, text(line));
        let mut stream = entry("s", StreamType::Text, &[&log]);
        if n as u64 == last {
            stream = terminal(stream, last);
        }
        writer.bundle(vec![stream])
    };
    lines.iter().enumerate().map(message).collect()
}

#[test]
fn goes_on_until_the_stream_has_ended() {
    let scratch = scratch();
    let messages = messages("p", &["one\n", "two\n", "three\n"]);
    let path = file(&scratch, "log", &[&messages[0], &messages[1][..9]]);
    let ran = follow(&following(&path), |polls| {
        match polls {
            3 => append(&path, &messages[1][9..]),
            6 => append(&path, &messages[2]),
            _ => {}
        }
        true
    });
    assert_eq!((&*ran.out, &*ran.err), ("one\ntwo\nthree\n", ""));
    assert_eq!(ran.outcome, Outcome::Complete);
}

#[test]
fn starts_again_when_the_file_is_replaced_or_truncated() {
    for replaced in [true, false] {
        let scratch = scratch();
        let old = messages("p", &["one\n", "two\n", "three\n"]);
        // The same prefix, so that all looks like duplicates.
        let new = messages("p", &["new\n"]);
        let path = file(&scratch, "log", &[&old[0], &old[1]]);
        let ran = follow(&following(&path), |polls| {
            if polls == 2 && replaced {
                let other = file(&scratch, "other", &[&new[0]]);
                fs::rename(other, &path).unwrap();
            } else if polls == 2 {
                fs::write(&path, &new[0]).unwrap();
            }
            true
        });
        assert_eq!(ran.out, "one\ntwo\nnew\n");
        let what = if replaced { "replaced" } else { "truncated" };
        assert!(ran.err.contains(what), "{}", ran.err);
        assert_eq!(ran.outcome, Outcome::Complete);
    }
}

#[test]
fn a_second_stream_turns_lines_into_labelled_ones() {
    let scratch = scratch();
    let mut writer = Writer::new("p");
    let logs = [
        writer.log(0, text("one\ntw")),
        writer.log(0, text("other\n")),
        writer.log(1, text("three\n")),
    ];
    let message = |entries| writer.bundle(entries);
    let first = message(vec![entry("s", StreamType::Text, &[&logs[0]])]);
    let second = message(vec![
        terminal(entry("s", StreamType::Text, &[&logs[2]]), 1),
        terminal(entry("t", StreamType::Text, &[&logs[1]]), 0),
    ]);
    let path = file(&scratch, "log", &[&first]);
    let ran = follow(&following(&path), |polls| {
        if polls == 2 {
            append(&path, &second);
        }
        true
    });
    assert_eq!(
        (&*ran.out, &*ran.err),
        ("one\ntw\nt | other\ns | three\n", "")
    );
}

#[test]
fn waits_for_a_stream_and_gives_up_on_what_is_missing() {
    let scratch = scratch();
    let mut writer = Writer::new("p");
    let logs: Vec<_> = (0..3)
        .map(|n| writer.log(n, text(&format!("{n}\n"))))
        .collect();
    let gap = writer.bundle(vec![terminal(
        entry("s", StreamType::Text, &[&logs[0], &logs[2]]),
        3,
    )]);
    let path = file(&scratch, "log", &[]);
    let mut wanted = following(&path);
    wanted.stream = Some("s".into());
    let ran = follow(&wanted, |polls| {
        if polls == 2 {
            append(&path, &gap);
        }
        true
    });
    assert_eq!((&*ran.out, ran.outcome), ("0\n2\n", Outcome::Incomplete));
    assert!(ran.err.contains("waiting"), "{}", ran.err);
    assert!(ran.err.contains("2 entries are missing"), "{}", ran.err);
}

#[test]
fn follows_the_files_of_a_directory() {
    let scratch = scratch();
    let root = scratch.path();
    let meta = |name: &str| format!("{{\"name\":\"{name}\"}}");
    fs::write(root.join(".meta.a"), meta("a")).unwrap();
    fs::write(root.join("a"), "one\nt").unwrap();
    let grams = "{\"name\":\"g\",\"stream_type\":\"DATAGRAM\"}";
    let ran = follow(&following(root), |polls| {
        match polls {
            2 => append(&root.join("a"), b"wo\nthree\n"),
            4 => {
                fs::write(root.join(".meta.g"), grams).unwrap();
                fs::write(root.join("_00000.g"), "gram").unwrap();
            }
            11 => fs::write(root.join("_00001.g"), "gr").unwrap(),
            13 => fs::write(root.join("a"), "new").unwrap(),
            _ => {}
        }
        polls < 30
    });
    assert_eq!(
        ran.out,
        "one\ntwo\nthree\ng | <datagram 0, 4 bytes>\ng | <datagram 1, 2 bytes>\na | new\n"
    );
    assert!(ran.err.contains("a: the file was truncated"), "{}", ran.err);
}
