use super::*;

/// Messages of the stream `s`, with a line each.
fn messages(lines: &[&str]) -> Vec<Vec<u8>> {
    let mut writer = Writer::new("p");
    let message = |(n, line): (usize, &&str)| {
        let log = writer.log(n as u64, text(line));
        writer.bundle(vec![entry("s", StreamType::Text, &[&log])])
    };
    lines.iter().enumerate().map(message).collect()
}

#[test]
fn a_torn_tail_is_tolerated_at_every_cut() {
    let scratch = scratch();
    let lines = ["line 0\n", "line 1\n", "line 2\n"];
    let messages = messages(&lines);
    let all = messages.concat();
    for cut in 0..all.len() {
        let path = file(&scratch, "log", &[&all[..cut]]);
        let (mut whole, mut expected) = (0, String::new());
        for (message, line) in messages.iter().zip(lines) {
            if whole + message.len() > cut {
                break;
            }
            whole += message.len();
            expected.push_str(line);
        }
        let told = read(&[&path], None);
        assert_eq!((told.content(), told.losses.len()), (expected, 0));
        let tail = format!("offset {whole}: {} bytes of it", cut - whole);
        assert_eq!(told.notes.len(), usize::from(cut > whole));
        assert!(told.notes.iter().all(|it| it.contains(&tail)), "{told:?}");
    }
}

#[test]
fn corruption_is_a_loss_and_what_came_before_is_given() {
    let scratch = scratch();
    let mut writer = Writer::new("p");
    let logs = [writer.log(0, text("one\n")), writer.log(1, text("two\n"))];
    let [one, two] = logs.map(|log| {
        let entries = vec![entry("s", StreamType::Text, &[&log])];
        writer.compressed(entries, Compression::Zlib)
    });
    let at = format!("offset {}", one.len());
    let path = file(&scratch, "log", &[&one, &[0; 40], &two]);
    let told = read(&[&path], None);
    assert_eq!((told.content(), told.losses.len()), ("one\n".into(), 1));
    assert!(told.losses[0].contains(&format!("{at}: the metadata")));

    // A frame that holds, around what does not: the next one is read.
    let mut broken = two.clone();
    let len = broken.len();
    broken[len / 2..].fill(7);
    let path = file(&scratch, "log", &[&one, &broken, &two]);
    let told = read(&[&path], None);
    assert_eq!(
        (told.content(), told.losses.len()),
        ("one\ntwo\n".into(), 1)
    );
    assert!(told.losses[0].contains(&format!("{at} is left out")));
}

#[test]
fn duplicates_and_disorder_do_not_show() {
    let scratch = scratch();
    let mut writer = Writer::new("p");
    let mut messages = Vec::new();
    for n in 0..4 {
        let a = writer.log(n, text(&format!("a{n}\n")));
        let b = writer.log(n, text(&format!("b{n}\n")));
        messages.push(writer.bundle(vec![
            entry("b", StreamType::Text, &[&b]),
            entry("a", StreamType::Text, &[&a]),
        ]));
    }
    let in_order: String = (0..4).map(|n| format!("a{n}\nb{n}\n")).collect();
    let write = |name, order: &[usize]| {
        let content: Vec<_> = order.iter().map(|&at| &messages[at][..]).collect();
        file(&scratch, name, &content)
    };
    for order in [&[0, 1, 2, 3][..], &[3, 2, 1, 0], &[0, 0, 2, 2, 1, 1, 3, 0]] {
        let path = write("log", order);
        assert_eq!(read(&[&path], None), Told::only(&*in_order));
        assert_eq!(read(&[&path], Some("b")), Told::only("b0\nb1\nb2\nb3\n"));
    }
    let (one, two) = (write("one", &[2, 3]), write("two", &[0, 1, 2]));
    assert_eq!(read(&[&one, &two], None), Told::only(in_order));
}

#[test]
fn what_is_missing_is_told() {
    let scratch = scratch();
    let mut writer = Writer::new("p");
    let logs = [1, 2, 4].map(|n| writer.log(n, text(&format!("{n}\n"))));
    let stream = entry("s", StreamType::Text, &logs.each_ref());
    let path = file(
        &scratch,
        "log",
        &[&writer.bundle(vec![terminal(stream, 5)])],
    );
    let told = read(&[&path], None);
    assert_eq!(told.content(), "1\n2\n4\n");
    assert_eq!(
        told.losses,
        ["stream s: 3 entries are missing, from stream_index 0 on"]
    );
}
