use super::*;

/// Messages of the stream `s`, which has lines and ends with the last.
fn messages(lines: &[&str]) -> Vec<Vec<u8>> {
    let mut writer = Writer::new("p");
    let last = lines.len() as u64 - 1;
    let message = |(n, line): (u64, &&str)| {
        let log = writer.log(n, text(line));
        let stream = entry("s", StreamType::Text, &[&log]);
        writer.bundle(vec![if n == last {
            terminal(stream, n)
        } else {
            stream
        }])
    };
    (0..).zip(lines).map(message).collect()
}

#[test]
fn goes_on_until_the_stream_has_ended() {
    let scratch = scratch();
    let messages = messages(&["one\n", "two\n", "three\n"]);
    let path = file(&scratch, "log", &[&messages[0], &messages[1][..9]]);
    let told = follow(&path, |polls| {
        match polls {
            3 => append(&path, &messages[1][9..]),
            6 => append(&path, &messages[2]),
            _ => {}
        }
        true
    });
    assert_eq!(told, Told::only("one\ntwo\nthree\n"));
}

#[test]
fn starts_again_when_the_file_is_replaced_or_truncated() {
    for replaced in [true, false] {
        let scratch = scratch();
        let old = messages(&["one\n", "two\n", "three\n"]);
        // The same prefix, so that all looks like duplicates.
        let new = messages(&["new\n"]);
        let path = file(&scratch, "log", &[&old[0], &old[1]]);
        let told = follow(&path, |polls| {
            if polls == 2 && replaced {
                let other = file(&scratch, "other", &[&new[0]]);
                fs::rename(other, &path).unwrap();
            } else if polls == 2 {
                fs::write(&path, &new[0]).unwrap();
            }
            true
        });
        assert_eq!(told.content(), "one\ntwo\nnew\n");
        let what = if replaced { "replaced" } else { "truncated" };
        assert!(told.notes[0].contains(what), "{told:?}");
        assert!(told.losses.is_empty(), "{told:?}");
    }
}

#[test]
fn gives_up_on_what_is_missing() {
    let scratch = scratch();
    let mut writer = Writer::new("p");
    let logs = [0, 2].map(|n| writer.log(n, text(&format!("{n}\n"))));
    let stream = entry("s", StreamType::Text, &logs.each_ref());
    let gap = writer.bundle(vec![terminal(stream, 3)]);
    let path = file(&scratch, "log", &[]);
    let told = follow(&path, |polls| {
        if polls == 2 {
            append(&path, &gap);
        }
        true
    });
    assert_eq!(told.content(), "0\n2\n");
    assert!(told.losses[0].contains("2 entries are missing"), "{told:?}");
}

#[test]
fn follows_the_files_of_a_directory() {
    let scratch = scratch();
    let root = scratch.path();
    put(root, ".meta.a", &meta("a", ""));
    put(root, "a", b"one\nt");
    let told = follow(root, |polls| {
        match polls {
            2 => append(&root.join("a"), b"wo\nthree\n"),
            4 => {
                put(root, ".meta.g", &meta("g", "DATAGRAM"));
                put(root, "_00000.g", b"gram ");
            }
            11 => put(root, "_00001.g", b"gr\n"),
            13 => put(root, "a", b"new"),
            _ => {}
        }
        polls < 30
    });
    assert_eq!(told.content(), "one\ntwo\nthree\ngram gr\nnew");
    assert_eq!((told.losses.len(), told.notes.len()), (0, 1));
    assert!(
        told.notes[0].contains("a: the file was truncated"),
        "{told:?}"
    );
}
