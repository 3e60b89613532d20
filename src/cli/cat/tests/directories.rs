use super::*;

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
    scratch
}

#[test]
fn several_come_one_after_the_other() {
    let output = output();
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
fn lists_and_json() {
    let output = output();
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
