//! Bytes and names, as the layout has them.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;
use rustix::fs::{CWD, Mode, OFlags, openat};

use super::*;

#[test]
fn text_and_binary_to_the_byte() {
    let temp = directory();
    let dir = temp.path().join("not/there/yet");
    let mut bench = Bench::new(&dir, 8);
    let text = bench.open("a/text", StreamType::Text);
    let binary = bench.open("a/b/binary", StreamType::Binary);
    let silent = bench.open("a/silent", StreamType::Text);
    let mut expected = (Vec::new(), Vec::new());
    let pieces: [&[u8]; 6] = [
        b"one\ntw",
        b"o\r",
        b"\n\r\n\xff\n",
        &[b'x'; 600_000],
        b"",
        b"\nend",
    ];
    for piece in pieces {
        bench.data(text, piece);
        bench.data(binary, piece);
        expected.0.extend_from_slice(piece);
        expected.1.extend_from_slice(piece);
    }
    for key in [text, binary, silent] {
        bench.end(key);
    }
    bench.finish();

    assert!(read(&dir, "a/text") == expected.0);
    assert!(read(&dir, "a/b/binary") == expected.1);
    assert_eq!(
        String::from_utf8(read(&dir, "a/b/.meta.binary")).unwrap(),
        r#"{
  "name": "a/b/binary",
  "stream_type": "BINARY",
  "content_type": "application/octet-stream",
  "timestamp": "2015-05-07T01:29:51Z"
}"#
    );
    assert_eq!(fs::read_dir(dir.join("a")).unwrap().count(), 3);
    let mode = |path: &str| fs::metadata(dir.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        [mode(""), mode("a"), mode("a/text"), mode("a/.meta.text")],
        [0o700, 0o700, 0o600, 0o600]
    );
    assert_eq!(bench.output.errors(), 0);
}

#[test]
fn datagrams() {
    let temp = directory();
    let mut bench = Bench::new(temp.path(), 8);
    let large = vec![b'd'; 700_000];
    let key = bench.open("a/b", StreamType::Datagram);
    bench.data(key, &[framed(b"zero"), framed(b"")].concat());
    // In parts: the rest comes late.
    let wire = framed(&large);
    for part in wire.chunks(300_000) {
        bench.data(key, part);
    }
    assert!(fs::exists(temp.path().join("a/_00002.b")).unwrap());
    bench.data(key, &framed(b"three"));
    // The client dies in the fifth.
    bench.data(key, &framed(b"unfinished")[..4]);
    bench.end(key);

    assert_eq!(read(temp.path(), "a/_00000.b"), b"zero");
    assert_eq!(read(temp.path(), "a/_00001.b"), b"");
    assert!(read(temp.path(), "a/_00002.b") == large);
    assert_eq!(read(temp.path(), "a/_00003.b"), b"three");
    assert_eq!(read(temp.path(), "a/_00004.b"), b"unf");
    assert_eq!(fs::read_dir(temp.path().join("a")).unwrap().count(), 6);
    let meta: Value = serde_json::from_slice(&read(temp.path(), "a/.meta.b")).unwrap();
    assert_eq!(meta["stream_type"], "DATAGRAM");
}

#[test]
fn names_that_can_not_both_be_files() {
    let temp = directory();
    let mut bench = Bench::new(temp.path(), 8);
    bench.text("a", b"1\n");
    bench.text("a/b", b"2\n");
    bench.text("a/b/c", b"3\n");
    bench.text("x/y", b"4\n");
    bench.text("x", b"5\n");
    // Datagrams take no place of their own.
    bench.datagrams("x/z", &[b"6"]);
    bench.text("x/z/w", b"7\n");
    bench.text("v/w", b"8\n");
    bench.datagrams("v", &[b"9"]);

    for (path, content) in [
        ("a", "1\n"),
        ("a~/b", "2\n"),
        ("a~/b~/c", "3\n"),
        ("x/y", "4\n"),
        ("x~", "5\n"),
        ("x/_00000.z", "6"),
        ("x/z/w", "7\n"),
        ("v/w", "8\n"),
        ("_00000.v", "9"),
    ] {
        assert_eq!(read(temp.path(), path), content.as_bytes(), "{path}");
    }
    for meta in [".meta.a", ".meta.x~", "a~/.meta.b", ".meta.v"] {
        read(temp.path(), meta);
    }
    assert_eq!(find(temp.path()).len(), 9);
}

#[test]
fn long_segments() {
    let temp = directory();
    let mut bench = Bench::new(temp.path(), 8);
    let long = "n".repeat(4000);
    let names = ["1", "2", "1/b"].map(|end| format!("{long}{end}"));
    for name in &names {
        bench.text(name, name.as_bytes());
    }
    let datagrams = format!("{long}3");
    bench.datagrams(&datagrams, &[datagrams.as_bytes()]);
    let found = find(temp.path());
    assert_eq!(found.len(), 4);
    for found in found {
        assert!(names.contains(&found.name) || found.name == datagrams);
        assert_eq!(found.content, [found.name.as_bytes()]);
    }
}

/// Whatever a name has of segments: so many inodes a stream.
#[test]
fn deep_names() {
    let temp = directory();
    let mut bench = Bench::new(temp.path(), 8);
    let deep = "d/".repeat(2046);
    let names = ["e", "f", "e/g"].map(|end| deep.clone() + end);
    for name in &names {
        bench.text(name, name.as_bytes());
    }
    let datagrams = deep.clone() + "d";
    bench.datagrams(&datagrams, &[b"0", b"1"]);
    let found = find(temp.path());
    assert_eq!(found.len(), 4);
    for found in found {
        assert_eq!(
            found.path.components().count(),
            temp.path().components().count() + 32
        );
        match found.name == datagrams {
            true => assert_eq!(found.content, [b"0", b"1"]),
            false => assert_eq!(found.content, [found.name.as_bytes()]),
        }
    }
}

#[test]
fn paths_that_the_kernel_would_not_take() {
    let temp = directory();
    let mut bench = Bench::new(temp.path(), 8);
    let segment = "d".repeat(131);
    bench.text(
        format!("{segment}/").repeat(31).trim_end_matches('/'),
        b"deep",
    );
    let flags = OFlags::RDONLY;
    let mut directory = openat(CWD, temp.path(), flags, Mode::empty()).unwrap();
    for _ in 0..30 {
        directory = openat(directory, &segment, flags, Mode::empty()).unwrap();
    }
    let file = openat(directory, &segment, flags, Mode::empty()).unwrap();
    let mut content = String::new();
    fs::File::from(file).read_to_string(&mut content).unwrap();
    assert_eq!(content, "deep");
}

#[test]
fn more_streams_than_open_files() {
    let temp = directory();
    let mut bench = Bench::new(temp.path(), 3);
    let keys: Vec<_> = (0..20)
        .map(|n| {
            let stream_type = StreamType::ALL[n % 3];
            (bench.open(&format!("s/{n}"), stream_type), stream_type)
        })
        .collect();
    let mut expected = Vec::new();
    for round in 0..30u8 {
        let piece = vec![round; 100];
        for (at, (key, stream_type)) in keys.iter().enumerate() {
            // Datagrams of three rounds, in parts.
            let header = *stream_type == StreamType::Datagram && round % 3 == 0;
            if header {
                let header = &framed(&[0; 300])[..2];
                bench.core.data(&NOW, *key, header).unwrap();
            }
            bench.core.data(&NOW, *key, &piece).unwrap();
            if at % 7 == 0 {
                bench.pump();
            }
        }
        bench.pump();
        expected.extend_from_slice(&piece);
    }
    for (key, _) in keys {
        bench.end(key);
    }
    let found = find(temp.path());
    assert_eq!(found.len(), 20);
    for found in found {
        assert_eq!(found.content.concat(), expected, "{}", found.name);
    }
    assert_eq!(bench.output.errors(), 0);
}

#[test]
fn what_an_earlier_run_left() {
    let temp = directory();
    let mut bench = Bench::new(temp.path(), 8);
    bench.text("file", b"an old and longer text");
    bench.text("other", b"old");
    bench.text("kept/old", b"old");
    bench.text("dir/x", b"old");
    bench.datagrams("d", &[b"old 0", b"old 1", b"old 2"]);

    drop(bench);
    let mut bench = Bench::new(temp.path(), 8);
    bench.text("file", b"new");
    bench.text("other/x", b"new");
    bench.text("kept/new", b"new");
    bench.text("dir", b"new");
    bench.datagrams("d", &[b"new 0"]);

    let found: BTreeMap<_, _> = find(temp.path())
        .into_iter()
        .map(|found| (found.name, found.content.concat()))
        .collect();
    for name in ["file", "other/x", "kept/new", "dir"] {
        assert_eq!(found[name], b"new", "{name}");
    }
    for name in ["other", "kept/old", "dir/x"] {
        assert_eq!(found[name], b"old", "{name}");
    }
    assert_eq!(found["d"], b"new 0");
    assert!(!fs::exists(temp.path().join("_00001.d")).unwrap());
    assert!(!fs::exists(temp.path().join("_00002.d")).unwrap());
    assert!(fs::exists(temp.path().join("other~/x")).unwrap());
    assert!(fs::exists(temp.path().join("dir~")).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Streams of names that are in each other's way, of all types and in any
    /// order: all are found, with what was written.
    #[test]
    fn nothing_is_lost(
        names in prop::collection::hash_set("[ab](/[ab]){0,3}", 1..12),
        writes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..300usize), 1..60),
        open_files in 1..6usize,
    ) {
        {
            let temp = directory();
            let mut bench = Bench::new(temp.path(), open_files);
            let names: Vec<_> = names.into_iter().collect();
            let keys: Vec<_> = (0..).zip(&names)
                .map(|(at, name)| bench.open(name, StreamType::ALL[at % 3]))
                .collect();
            let mut expected: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
            for (index, byte, len) in writes {
                let at = index.index(names.len());
                let data = vec![byte; len];
                if StreamType::ALL[at % 3] == StreamType::Datagram {
                    bench.data(keys[at], &framed(&data));
                    expected.entry(names[at].clone()).or_default().push(data);
                } else if !data.is_empty() {
                    bench.data(keys[at], &data);
                    let content = expected.entry(names[at].clone()).or_default();
                    content.resize(1, Vec::new());
                    content[0].extend_from_slice(&data);
                }
            }
            for key in keys {
                bench.end(key);
            }
            let found: BTreeMap<_, _> = find(temp.path())
                .into_iter()
                .map(|found| (found.name, found.content))
                .collect();
            assert_eq!(found, expected);
        }
    }
}
