use super::*;
use proptest::prelude::*;

fn content() -> impl Strategy<Value = log_entry::Content> {
    prop_oneof![
        "[ab\r\n\u{9b}\u{202e}]{0,9}".prop_map(|line| text(&line)),
        Just(binary(b"\x1b\xff")),
        Just(datagram(b"abc", None)),
        (any::<u32>(), any::<u64>(), any::<bool>())
            .prop_map(|partial| datagram(b"abc", Some(partial))),
    ]
}

/// Entries of two streams with indices that may be anything.
fn bundles() -> impl Strategy<Value = Vec<u8>> {
    let index = prop_oneof![0..4u64, Just(u64::MAX), any::<u64>()];
    let log = (index.clone(), index.clone(), any::<bool>(), content());
    let bundle = (
        prop::collection::vec(log, 0..4),
        prop::option::of(index),
        any::<bool>(),
    );
    prop::collection::vec(bundle, 0..5).prop_map(|bundles| {
        let mut file = Vec::new();
        for (logs, last, zlib) in bundles {
            let mut writer = Writer::new("p");
            let mut of = [Vec::new(), Vec::new()];
            for (prefix_index, stream_index, which, content) in logs {
                let mut log = writer.log(stream_index, content);
                log.prefix_index = prefix_index;
                of[usize::from(which)].push(log);
            }
            let of = of.each_ref().map(|logs| logs.iter().collect::<Vec<_>>());
            let mut entries = vec![
                entry("a", StreamType::Text, &of[0]),
                entry("b", StreamType::Binary, &of[1]),
            ];
            if let Some(last) = last {
                let ending = entries.remove(1);
                entries.push(terminal(ending, last));
            }
            let how = if zlib {
                Compression::Zlib
            } else {
                Compression::None
            };
            file.extend(writer.compressed(entries, how));
        }
        file
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_panics(
        bytes in bundles(),
        flips in prop::collection::vec((any::<u16>(), any::<u8>()), 0..4),
        more in prop::collection::vec(any::<u8>(), 0..200),
        flags in prop::array::uniform5(any::<bool>()),
        stream in prop::sample::select(vec![None, Some("a"), Some("*")]),
    ) {
        let mut bytes = [bytes, more].concat();
        if !bytes.is_empty() {
            for (at, byte) in flips {
                let at = at as usize % bytes.len();
                bytes[at] = byte;
            }
        }
        let scratch = scratch();
        let path = file(&scratch, "log", &[&bytes]);
        let [list, timestamps, json, follow, is_terminal] = flags;
        let wanted = CatOptions {
            stream: stream.map(str::to_owned),
            list, timestamps, json, follow,
            ..options(&[&path])
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let terminal = Terminal { is_terminal, color: false };
        let mut polls = 0;
        let wait = || { polls += 1; polls < 40 };
        cat(&wanted, &mut out, &mut err, terminal, wait).unwrap();
        if is_terminal {
            let out = String::from_utf8(out).unwrap();
            let out = out.replace("\r\n", "").replace(['\n', '\t'], "");
            prop_assert!(!out.contains(crate::escape::is_hidden));
        }
    }
}

/// A file's tags may have any keys.
#[test]
fn a_list_is_safe_too() {
    let scratch = scratch();
    let writer = Writer::new("p");
    let mut stream = entry("s", StreamType::Text, &[]);
    stream.desc.as_mut().unwrap().tags = [("\x1b[2J".into(), "\x07".into())].into();
    let path = file(&scratch, "log", &[&writer.bundle(vec![stream])]);
    let wanted = CatOptions {
        list: true,
        ..options(&[&path])
    };
    let list = shown(&wanted);
    assert!(list.ends_with("\"\\x1b[2J\"=\"\\x07\"\n"), "{list}");
}
