use super::*;

fn put(root: &Path, path: &str, content: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn meta(name: &str, kind: &str) -> Vec<u8> {
    let kind = match kind {
        "" => String::new(),
        kind => format!("\n  \"stream_type\": \"{kind}\","),
    };
    format!(
        "{{\n  \"name\": \"{name}\",{kind}\n  \"content_type\": \"c/t\",\n  \
         \"timestamp\": \"2025-01-02T03:04:05.678901234Z\",\n  \"tags\": {{\"k\": \"v\"}}\n}}"
    )
    .into_bytes()
}

/// Streams `a`, `a/b`, `bin` and `c/d/grams`.
fn output() -> tempfile::TempDir {
    let scratch = scratch();
    let root = scratch.path();
    put(root, "a", b"of a\nno end");
    put(root, ".meta.a", &meta("a", ""));
    put(root, "a~/b", b"of a/b\r\n\n");
    put(root, "a~/.meta.b", &meta("a/b", "TEXT"));
    put(root, "bin", b"\0\xff");
    put(root, ".meta.bin", &meta("bin", "BINARY"));
    put(root, "c/d/.meta.grams", &meta("c/d/grams", "DATAGRAM"));
    put(root, "c/d/_00000.grams", b"zero");
    put(root, "c/d/_00001.grams", b"");
    put(root, "c/d/_100000.grams", b"far");
    scratch
}

#[test]
fn one_stream_is_exact() {
    let output = output();
    for (name, expected) in [
        ("a", &b"of a\nno end"[..]),
        ("a/b", b"of a/b\r\n\n"),
        ("bin", b"\0\xff"),
    ] {
        let wanted = selecting(&[output.path()], name);
        let (out, err, outcome) = run_bytes(&wanted, Terminal::default());
        assert_eq!((&*out, &*err, outcome), (expected, "", Outcome::Complete));
    }
    let ran = run(&selecting(&[output.path()], "**/grams"));
    assert_eq!((&*ran.out, ran.outcome), ("zerofar", Outcome::Incomplete));
    assert!(
        ran.err
            .contains("datagrams 2 to 99999 of stream c/d/grams are missing"),
        "{}",
        ran.err
    );
}

#[test]
fn several_come_one_after_the_other() {
    let output = output();
    fs::remove_file(output.path().join("c/d/_100000.grams")).unwrap();
    assert_eq!(
        shown(&options(&[output.path()])),
        "\
a         | of a
a         | no end
a/b       | of a/b\r
a/b       |\x20
bin       | <binary, 2 bytes>
c/d/grams | <datagram 0, 4 bytes>
c/d/grams | <datagram 1, 0 bytes>
"
    );
}

#[test]
fn the_other_conflict_is_read_as_well() {
    let scratch = scratch();
    let root = scratch.path();
    put(root, "a/b", b"inner\n");
    put(root, "a/.meta.b", &meta("a/b", ""));
    put(root, "a~", b"outer\n");
    put(root, ".meta.a~", &meta("a", ""));
    put(root, "x~/.meta.y~", &meta("x/y", "DATAGRAM"));
    put(root, "x~/_00000.y~", b"gram");
    assert_eq!(shown(&selecting(&[root], "a")), "outer\n");
    assert_eq!(shown(&selecting(&[root], "a/b")), "inner\n");
    assert_eq!(shown(&selecting(&[root], "x/y")), "gram");
}

#[test]
fn lists_and_json() {
    let output = output();
    fs::remove_file(output.path().join("c/d/_100000.grams")).unwrap();
    let mut wanted = options(&[output.path()]);
    wanted.list = true;
    let list = shown(&wanted);
    let rows: Vec<Vec<_>> = list
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let first = "2025-01-02T03:04:05.678901234Z";
    assert_eq!(rows[0][..3], ["NAME", "TYPE", "BYTES"]);
    assert_eq!(rows[1][..6], ["a", "text", "11", "2", "lines", first]);
    assert_eq!(rows[2][..5], ["a/b", "text", "9", "2", "lines"]);
    assert_eq!(rows[3][..5], ["bin", "binary", "2", "-", first]);
    assert_eq!(
        rows[4][..5],
        ["c/d/grams", "datagram", "4", "2", "datagrams"]
    );
    assert_eq!(rows[1][7..], ["-", "k=v"]);

    wanted.list = false;
    wanted.json = true;
    let directory = serde_json::to_string(&output.path().display().to_string()).unwrap();
    let head = |name: &str, kind: &str| {
        format!("{{\"directory\":{directory},\"stream\":\"{name}\",\"type\":\"{kind}\",")
    };
    let expected = [
        head("a", "text") + "\"line\":1,\"value\":\"of a\",\"delimiter\":\"\\n\"}",
        head("a", "text") + "\"line\":2,\"value\":\"no end\",\"delimiter\":\"\"}",
        head("a/b", "text") + "\"line\":1,\"value\":\"of a/b\",\"delimiter\":\"\\r\\n\"}",
        head("a/b", "text") + "\"line\":2,\"value\":\"\",\"delimiter\":\"\\n\"}",
        head("bin", "binary") + "\"offset\":0,\"data\":\"AP8=\"}",
        head("c/d/grams", "datagram") + "\"sequence\":0,\"data\":\"emVybw==\"}",
        head("c/d/grams", "datagram") + "\"sequence\":1,\"data\":\"\"}",
    ];
    let out = shown(&wanted);
    assert_eq!(out.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn links_are_not_followed_and_wrong_descriptors_are_reported() {
    let scratch = scratch();
    let outside = scratch.path().join("outside");
    put(&outside, "secret", b"secret\n");
    put(&outside, ".meta.secret", &meta("secret", ""));
    let root = scratch.path().join("root");
    put(&root, "good", b"good\n");
    put(&root, ".meta.good", &meta("good", ""));
    put(&root, ".meta.linked", &meta("linked", ""));
    put(&root, ".meta.bad", b"{");
    put(&root, ".meta.twice", &meta("good", ""));
    put(&root, "unrelated.txt", b"no stream");
    std::os::unix::fs::symlink(&outside, root.join("link")).unwrap();
    std::os::unix::fs::symlink(outside.join("secret"), root.join("linked")).unwrap();
    std::os::unix::fs::symlink(outside.join(".meta.secret"), root.join(".meta.x")).unwrap();

    let ran = run(&options(&[&root]));
    assert_eq!(
        (&*ran.out, ran.outcome),
        ("good   | good\n", Outcome::Incomplete)
    );
    for part in [
        ".meta.bad: is not a stream's descriptor",
        ".meta.twice: describes stream good",
        "root/linked: can't be read at offset 0",
    ] {
        assert!(ran.err.contains(part), "{}", ran.err);
    }
    assert_eq!(ran.err.lines().count(), 3);
}
