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
    let outcome = cat(options, &mut out, &mut err, Terminal::default(), wait).unwrap();
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
fn waits_for_a_stream_that_is_selected() {
    let scratch = scratch();
    let mut writer = Writer::new("p");
    let log = writer.log(0, text("one\n"));
    let message = writer.bundle(vec![terminal(entry("s", StreamType::Text, &[&log]), 0)]);
    let path = file(&scratch, "log", &[]);
    let mut wanted = following(&path);
    wanted.stream = Some("s".into());
    let ran = follow(&wanted, |polls| {
        if polls == 2 {
            append(&path, &message);
        }
        true
    });
    assert_eq!((&*ran.out, ran.outcome), ("one\n", Completeness::Complete));
    assert!(ran.err.ends_with("; waiting for one\n"), "{}", ran.err);
}
