use super::*;

/// Two text streams that take turns, one binary, one of datagrams.
fn several(writer: &mut Writer) -> Vec<u8> {
    let logs = [
        writer.log(0, text("out 1\nout ")),
        writer.log(0, text("err 1\r\n")),
        writer.log(1, text("2\nout 3\n")),
        writer.log(0, binary(b"\0\x01\xff")),
        writer.log(0, datagram(b"one", None)),
        writer.log(1, datagram(b"tw", Some((0, 3, false)))),
        writer.log(2, datagram(b"o", Some((1, 3, true)))),
        writer.log(2, text("the end")),
    ];
    let [o1, e1, o2, b1, d1, d2, d3, o3] = &logs;
    // As bundles are: by name, in each of them.
    let first = writer.bundle(vec![
        entry("a/err", StreamType::Text, &[e1]),
        entry("a/out", StreamType::Text, &[o1, o2]),
    ]);
    let second = writer.compressed(
        vec![
            terminal(entry("a/out", StreamType::Text, &[o3]), 2),
            entry("bin", StreamType::Binary, &[b1]),
            terminal(entry("grams", StreamType::Datagram, &[d1, d2, d3]), 2),
        ],
        Compression::Zlib,
    );
    [first, second].concat()
}

fn several_in(directory: &tempfile::TempDir) -> PathBuf {
    file(directory, "log", &[&several(&mut Writer::new("p/1"))])
}

#[test]
fn several_streams_are_interleaved_by_line() {
    let scratch = scratch();
    let path = several_in(&scratch);
    // A line stands where it is complete, not where it began.
    let expected = "\
a/out | out 1
a/err | err 1\r
a/out | out 2
a/out | out 3
bin   | <binary, 3 bytes>
grams | <datagram 0, 3 bytes>
grams | <datagram 1, 2 of 3 bytes>
grams | <datagram 2, 1 of 3 bytes>
a/out | the end
";
    // The helper gives parts sequences of their own; as a butler does it
    // they share one.
    let out = shown(&options(&[&path]));
    assert_eq!(out, expected);
    let out = shown(&selecting(&[&path], "a/*"));
    assert_eq!(
        out,
        "a/out | out 1\na/err | err 1\r\na/out | out 2\na/out | out 3\na/out | the end\n"
    );
}

#[test]
fn parts_of_a_datagram_are_one_line() {
    let scratch = scratch();
    let mut writer = Writer::new("p");
    let mut logs = [
        writer.log(0, datagram(b"ab", Some((0, 5, false)))),
        writer.log(1, datagram(b"cde", Some((1, 5, true)))),
        writer.log(2, datagram(b"f", Some((0, 5, false)))),
        writer.log(0, text("t\n")),
    ];
    logs[1].sequence = 0;
    logs[2].sequence = 1;
    let [d1, d2, d3, t] = &logs;
    let bundle = writer.bundle(vec![
        entry("d", StreamType::Datagram, &[d1, d2, d3]),
        entry("text", StreamType::Text, &[t]),
    ]);
    let path = file(&scratch, "log", &[&bundle]);
    assert_eq!(
        shown(&options(&[&path])),
        "d    | <datagram 0, 5 bytes>\ntext | t\nd    | <datagram 1, 1 of 5 bytes>\n"
    );
}

#[test]
fn times_stand_before_lines() {
    let scratch = scratch();
    let path = several_in(&scratch);
    let mut wanted = selecting(&[&path], "a/out");
    wanted.timestamps = true;
    assert_eq!(
        shown(&wanted),
        "2023-11-14T22:13:20Z out 1\n2023-11-14T22:13:20Z out 2\n\
         2023-11-14T22:13:20.200Z out 3\n2023-11-14T22:13:20.700Z the end"
    );
    wanted.stream = None;
    let out = shown(&wanted);
    assert!(
        out.contains("a/err | 2023-11-14T22:13:20.100Z err 1\r\n"),
        "{out}"
    );
    assert!(out.contains("a/out | 2023-11-14T22:13:20Z out 2\n"));
}

#[test]
fn prefixes_are_told_apart() {
    let scratch = scratch();
    let mut paths = Vec::new();
    for prefix in ["p/1", "p/2"] {
        let mut writer = Writer::new(prefix);
        let log = writer.log(0, text(&format!("of {prefix}\n")));
        let bundle = writer.bundle(vec![terminal(entry("s", StreamType::Text, &[&log]), 0)]);
        paths.push(file(&scratch, &prefix.replace('/', "."), &[&bundle]));
    }
    let paths: Vec<_> = paths.iter().map(PathBuf::as_path).collect();
    let expected = "p/1/+/s | of p/1\np/2/+/s | of p/2\n";
    assert_eq!(shown(&selecting(&paths, "s")), expected);
    assert_eq!(shown(&selecting(&paths, "p/2/+/s")), "of p/2\n");
    let mut wanted = options(&paths);
    wanted.list = true;
    assert_eq!(
        shown(&wanted),
        "\
PREFIX  NAME  TYPE  BYTES  CONTENT  FIRST                 LAST                  STATE     TAGS
p/1     s     text  7      1 line   2023-11-14T22:13:20Z  2023-11-14T22:13:20Z  terminal  k=\"v w\"
p/2     s     text  7      1 line   2023-11-14T22:13:20Z  2023-11-14T22:13:20Z  terminal  k=\"v w\"
"
    );
}

#[test]
fn lists() {
    let scratch = scratch();
    let path = several_in(&scratch);
    let mut wanted = options(&[&path]);
    wanted.list = true;
    assert_eq!(
        shown(&wanted),
        "\
NAME   TYPE      BYTES  CONTENT      FIRST                     LAST                      STATE     TAGS
a/err  text      7      1 line       2023-11-14T22:13:20.100Z  2023-11-14T22:13:20.100Z  open      k=\"v w\"
a/out  text      25     4 lines      2023-11-14T22:13:20Z      2023-11-14T22:13:20.700Z  terminal  k=\"v w\"
bin    binary    3      -            2023-11-14T22:13:20.300Z  2023-11-14T22:13:20.300Z  open      k=\"v w\"
grams  datagram  6      2 datagrams  2023-11-14T22:13:20.400Z  2023-11-14T22:13:20.600Z  terminal  k=\"v w\"
"
    );
    wanted.json = true;
    wanted.stream = Some("grams".into());
    assert_eq!(
        shown(&wanted),
        "{\"prefix\":\"p/1\",\"stream\":\"grams\",\"type\":\"datagram\",\"content_type\":\"c/t\",\
         \"bytes\":6,\"datagrams\":2,\"first\":\"2023-11-14T22:13:20.400Z\",\
         \"last\":\"2023-11-14T22:13:20.600Z\",\"terminal\":true,\"tags\":{\"k\":\"v w\"}}\n"
    );
}

#[test]
fn json_has_all_of_an_entry() {
    let scratch = scratch();
    let path = several_in(&scratch);
    let mut wanted = options(&[&path]);
    wanted.json = true;
    let lines: Vec<serde_json::Value> = shown(&wanted)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let indices: Vec<_> = lines
        .iter()
        .map(|line| line["prefix_index"].as_u64().unwrap())
        .collect();
    assert_eq!(indices, (0..8).collect::<Vec<_>>());
    assert_eq!(
        lines[2],
        serde_json::json!({
            "prefix": "p/1", "stream": "a/out", "type": "text",
            "stream_index": 1, "prefix_index": 2, "sequence": 1,
            "timestamp": "2023-11-14T22:13:20.200Z",
            "lines": [{"value": "2", "delimiter": "\n"}, {"value": "out 3", "delimiter": "\n"}],
        })
    );
    assert_eq!(lines[3]["data"], "AAH/");
    assert_eq!(lines[5]["data"], "dHc=");
    let partial = serde_json::json!({"index": 0, "size": 3, "last": false});
    assert_eq!(lines[5]["partial"], partial);
    assert_eq!(lines[4].get("partial"), None);
}

#[test]
fn a_terminal_is_safe_and_coloured() {
    let scratch = scratch();
    let mut writer = Writer::new("p");
    let logs = [
        writer.log(0, text("\x1b[2Jred\r\n50%\r")),
        writer.log(1, text("\n")),
        writer.log(0, text("ok\n")),
    ];
    let path = file(
        &scratch,
        "log",
        &[&writer.bundle(vec![
            entry("s", StreamType::Text, &[&logs[0], &logs[1]]),
            entry("t", StreamType::Text, &[&logs[2]]),
        ])],
    );
    let on_terminal = Terminal {
        is_terminal: true,
        color: false,
    };
    let out = |options: &CatOptions, terminal| {
        let (out, _, _) = run_bytes(options, terminal);
        String::from_utf8(out).unwrap()
    };
    let mut wanted = selecting(&[&path], "s");
    // The two entries' bytes make one `\r\n`.
    assert_eq!(out(&wanted, on_terminal), "\\x1b[2Jred\r\n50%\r\n");
    assert_eq!(out(&wanted, Terminal::default()), "\x1b[2Jred\r\n50%\r\n");
    wanted.raw = true;
    assert_eq!(out(&wanted, on_terminal), "\x1b[2Jred\r\n50%\r\n");

    wanted = options(&[&path]);
    assert_eq!(
        out(&wanted, on_terminal),
        "s | \\x1b[2Jred\r\ns | 50%\r\nt | ok\n"
    );
    let coloured = out(
        &wanted,
        Terminal {
            is_terminal: true,
            color: true,
        },
    );
    assert!(coloured.starts_with("\x1b["), "{coloured}");
    assert!(coloured.contains("m | \\x1b[2Jred\r\n"), "{coloured}");
    assert_eq!(coloured.matches('\x1b').count(), 6);
}

#[test]
fn errors_name_what_is_wrong() {
    let scratch = scratch();
    let path = several_in(&scratch);
    let ran = run(&selecting(&[&path], "none/*"));
    assert_eq!((&*ran.out, ran.outcome), ("", Completeness::Incomplete));
    assert_eq!(
        ran.err,
        "butler cat: no stream matches \"none/*\"; there are a/err, a/out, bin, grams\n"
    );
    let missing = scratch.path().join("missing");
    let ran = run(&selecting(&[&missing, &path], "a/err"));
    assert_eq!(
        (&*ran.out, ran.outcome),
        ("err 1\r\n", Completeness::Incomplete)
    );
    assert!(ran.err.contains("missing: can't be opened: No such file"));
    let ran = run(&selecting(&[&path], "a["));
    assert_eq!(ran.outcome, Completeness::Incomplete);
    let ran = run(&options(&[Path::new("/dev/null")]));
    assert!(ran.err.contains("/dev/null: is neither"), "{}", ran.err);
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let scratch = scratch();
    let path = several_in(&scratch);
    for (json, list) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut wanted = options(&[&path]);
        (wanted.json, wanted.list) = (json, list);
        let mut err = Vec::new();
        let done = cat(&wanted, &mut Gone, &mut err, Terminal::default(), || false);
        assert_eq!((done.unwrap(), err), (Completeness::Complete, Vec::new()));
    }
}
