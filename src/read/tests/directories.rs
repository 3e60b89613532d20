use super::*;

#[test]
fn missing_datagrams_are_told() {
    let scratch = scratch();
    let root = scratch.path();
    put(root, "c/d/.meta.grams", &meta("c/d/grams", "DATAGRAM"));
    put(root, "c/d/_00000.grams", b"zero");
    put(root, "c/d/_00001.grams", b"");
    put(root, "c/d/_100000.grams", b"far");
    let told = read(&[root], None);
    assert_eq!(told.content(), "zerofar");
    assert_eq!(
        told.losses,
        ["datagrams 2 to 99999 of stream c/d/grams are missing"]
    );
}

#[test]
fn names_on_disk_lead_to_the_true_ones() {
    let scratch = scratch();
    let root = scratch.path();
    put(root, "a/b", b"inner\n");
    put(root, "a/.meta.b", &meta("a/b", ""));
    put(root, "a~", b"outer\n");
    put(root, ".meta.a~", &meta("a", ""));
    put(root, "x~/.meta.y~", &meta("x/y", "DATAGRAM"));
    put(root, "x~/_00000.y~", b"gram");
    for (name, expected) in [("a", "outer\n"), ("a/b", "inner\n"), ("x/y", "gram")] {
        assert_eq!(read(&[root], Some(name)), Told::only(expected));
    }
}

#[test]
fn links_are_not_followed_and_wrong_descriptors_are_told() {
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

    let told = read(&[&root], None);
    assert_eq!((told.content(), told.losses.len()), ("good\n".into(), 3));
    for part in [
        ".meta.bad: is not a stream's descriptor: EOF",
        ".meta.twice: describes stream good",
        "root/linked: can't be read at offset 0: ",
    ] {
        assert!(told.losses.iter().any(|it| it.contains(part)), "{told:?}");
    }
}
