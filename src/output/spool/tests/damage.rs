//! Files that are not what was written.

use super::*;

#[test]
fn damage_is_told_and_passed_over() {
    let mut bench = Bench::new();
    let mut store = bench.open("x");
    let all = messages(4);
    all.iter().for_each(|it| {
        bench.append(&mut store, it);
    });
    drop(store);
    let path = bench.segments().remove(0);
    let mut bytes = fs::read(&path).unwrap();
    let wanted = body(&all[2]);
    let at = bytes.windows(wanted.len()).position(|it| it == wanted);
    bytes[at.unwrap() + 10] ^= 1;
    bytes.extend_from_slice(b"and a tail that is torn");
    fs::write(&path, &bytes).unwrap();
    let mut store = bench.open("y");
    let read = bench.all_earlier(&mut store);
    let indices: Vec<_> = read.iter().map(|it| it.record.index).collect();
    assert_eq!(indices, [0, 1, 3]);
    let losses = store.take_losses();
    let told: Vec<_> = losses
        .iter()
        .map(|it| (it.is_own, it.records, it.streams.as_slice()))
        .collect();
    let streams = manifest_of(&all[2]).streams;
    assert_eq!(told, [(false, Some(1), &streams[..]), (false, None, &[])]);
    for read in read {
        store.done(read.record, Done::Delivered);
    }
    bench.poll(&mut store);
    assert_eq!(bench.names(), ["corrupt", "lock"]);
    let kept = bench.path().join("corrupt").join(path.file_name().unwrap());
    assert_eq!(fs::read(kept).unwrap(), bytes);
    // Its number is not used again.
    let id = bench.append(&mut store, &all[0]);
    assert_eq!(id.segment, 2);
}

#[test]
fn what_is_no_segment_is_put_away() {
    let mut bench = Bench::new();
    drop(bench.open("x"));
    let name = |number: u64| bench.path().join(format!("{number:016x}.segment"));
    let secret = bench.dir.path().join("secret");
    fs::write(&secret, "others'").unwrap();
    symlink(&secret, name(3)).unwrap();
    fs::write(name(4), "no header is so").unwrap();
    fs::create_dir(name(5)).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        name(6),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    fs::write(name(7), "").unwrap();
    fs::write(name(u64::MAX), "nobody's").unwrap();
    fs::write(bench.path().join("0000000000000001.segment.new"), "draft").unwrap();
    let mut store = bench.open("y");
    let all = ["corrupt", "ffffffffffffffff.segment", "lock"];
    assert_eq!(bench.names(), all);
    let corrupt = fs::read_dir(bench.path().join("corrupt")).unwrap();
    let kinds: Vec<_> = corrupt.map(|it| it.unwrap().file_type().unwrap()).collect();
    assert_eq!(kinds.len(), 4);
    assert!(kinds.iter().any(|it| it.is_symlink()) && kinds.iter().any(|it| it.is_fifo()));
    assert_eq!(fs::read(secret).unwrap(), b"others'");
    let id = bench.append(&mut store, &messages(1)[0]);
    assert_eq!(id.segment, 8);
}

#[test]
fn a_newer_spool_is_refused() {
    let mut bench = Bench::new();
    let mut store = bench.open("x");
    bench.append(&mut store, &messages(1)[0]);
    drop(store);
    let path = bench.segments().remove(0);
    let good = fs::read(&path).unwrap();
    let mut newer = good.clone();
    newer[8] = 2;
    fs::write(&path, &newer).unwrap();
    // It is not known to be newer: the checksum says that it is damaged.
    drop(bench.open("y"));
    assert!(bench.segments().is_empty());
    let run_len = u32::from_le_bytes(newer[12..16].try_into().unwrap()) as usize;
    let crc = crate::spool::checksum([&newer[..24], &newer[28..28 + run_len]]);
    newer[24..28].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, &newer).unwrap();
    let error = bench.try_open("y").unwrap_err();
    assert!(error.to_string().contains("in version 2"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), newer, "it is left alone");
}

/// A segment's number may come again after it was removed, and its facts stay.
#[test]
fn old_facts_are_not_about_new_segments() {
    let mut bench = Bench::new();
    let mut store = bench.open("x");
    let id = bench.append(&mut store, &messages(2)[0]);
    bench.append(&mut store, &messages(2)[1]);
    bench.next_own(&mut store).unwrap();
    store.done(id, Done::Delivered);
    bench.poll(&mut store);
    drop(store);
    let acks = bench.path().join("acks");
    let facts = fs::read(&acks).unwrap();
    fs::remove_file(bench.segments().remove(0)).unwrap();
    let mut store = bench.open("y");
    assert_eq!(bench.append(&mut store, &messages(1)[0]), id);
    drop(store);
    fs::write(&acks, facts).unwrap();
    let mut store = bench.open("z");
    assert_eq!(bench.all_earlier(&mut store).len(), 1);
}

#[test]
fn facts_that_are_damaged_make_messages_go_again() {
    for (cut, found) in [(0, 3), (3, 3), (20, 3), (1000, 1)] {
        let mut bench = Bench::new();
        let mut store = bench.open("x");
        let all = messages(3);
        let ids: Vec<_> = all.iter().map(|it| bench.append(&mut store, it)).collect();
        for id in &ids[..2] {
            bench.next_own(&mut store).unwrap();
            store.done(*id, Done::Delivered);
        }
        bench.poll(&mut store);
        drop(store);
        let acks = bench.path().join("acks");
        let mut facts = fs::read(&acks).unwrap();
        facts.truncate(cut);
        fs::write(&acks, &facts).unwrap();
        let mut store = bench.open("y");
        let read = bench.all_earlier(&mut store);
        assert_eq!(read.len(), found, "{cut}");
        // And can be written on.
        store.done(read[0].record, Done::Delivered);
        bench.poll(&mut store);
        drop(store);
        let mut store = bench.open("z");
        assert_eq!(bench.all_earlier(&mut store).len(), found - 1, "{cut}");
    }
}
