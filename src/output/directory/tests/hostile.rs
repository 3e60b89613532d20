//! Links and other things in our way, put there before or while we write.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, Mode, RenameFlags, mkfifoat, renameat_with};

use super::*;

/// A directory that nothing may be written to, with a file in it.
fn outside(temp: &TempDir) -> PathBuf {
    let outside = temp.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "untouched").unwrap();
    outside
}

fn assert_untouched(outside: &Path) {
    assert_eq!(fs::read_dir(outside).unwrap().count(), 1);
    assert_eq!(read(outside, "file"), b"untouched");
}

#[test]
fn links_lead_nowhere() {
    let temp = directory();
    let outside = outside(&temp);
    let dir = temp.path().join("dir");
    fs::create_dir(&dir).unwrap();
    symlink(outside.join("file"), dir.join("symlink")).unwrap();
    symlink(outside.join("new"), dir.join("dangling")).unwrap();
    symlink(outside.join("new"), dir.join(".meta.text")).unwrap();
    symlink(outside.join("new"), dir.join("_00001.d")).unwrap();
    symlink(&outside, dir.join("directory")).unwrap();
    symlink("..", dir.join("up")).unwrap();
    symlink(outside.join("nowhere"), dir.join("nowhere")).unwrap();
    fs::hard_link(outside.join("file"), dir.join("hard")).unwrap();
    mkfifoat(CWD, dir.join("fifo"), Mode::RWXU).unwrap();
    fs::create_dir(dir.join(".meta.m")).unwrap();
    fs::create_dir(dir.join("_00002.d")).unwrap();

    let mut bench = Bench::new(&dir, 8);
    let names = [
        "symlink",
        "dangling",
        "text",
        "directory/x",
        "up/x",
        "nowhere/x",
        "hard",
        "fifo",
        "m",
    ];
    for name in names {
        bench.text(name, name.as_bytes());
    }
    bench.text("directory", b"directory");
    bench.datagrams("d", &[b"0", b"1", b"2", b"3"]);

    assert_untouched(&outside);
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 2);
    let found = find(&dir);
    assert_eq!(found.len(), names.len() + 2);
    for found in found.iter().filter(|found| found.name != "d") {
        assert_eq!(found.content, [found.name.as_bytes()]);
    }
    assert!(fs::exists(dir.join("directory~/x")).unwrap());
    assert!(fs::exists(dir.join("m~")).unwrap());
    assert_eq!(read(&dir, "_00001.d"), b"1");
    assert_eq!(read(&dir, "_00002~.d"), b"2");
    assert_eq!(read(&dir, "_00003.d"), b"3");
    assert_eq!(bench.output.errors(), 0);
}

/// Stops the threads, even when the test fails.
struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Exchanges the two until it is told to stop.
fn exchange(a: PathBuf, b: PathBuf, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let _ = renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE);
    }
}

#[test]
fn links_that_are_swapped_in_while_we_write() {
    let temp = directory();
    let outside = outside(&temp);
    let dir = temp.path().join("dir");
    fs::create_dir_all(dir.join("a/b")).unwrap();
    symlink(&outside, dir.join("link")).unwrap();
    symlink(outside.join("file"), dir.join("link2")).unwrap();
    fs::write(dir.join("a/b/f"), "").unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| exchange(dir.join("a"), dir.join("link"), &stop));
        scope.spawn(|| exchange(dir.join("a/b/f"), dir.join("link2"), &stop));
        let _stop = StopWhenDropped(&stop);
        {
            let mut bench = Bench::new(&dir, 64);
            let mut texts = Vec::new();
            for n in 0..300 {
                let key = bench.open(&format!("a/b/{n}"), StreamType::Text);
                bench.data(key, b"first\n");
                texts.push(key);
                bench.datagrams(&format!("a/d{n}"), &[b"1", b"22"]);
                if n >= 30 {
                    let key = texts.remove(0);
                    bench.data(key, b"second\n");
                    bench.end(key);
                }
            }
            let key = bench.open("a/b/f", StreamType::Text);
            for _ in 0..300 {
                bench.data(key, b"f\n");
                bench.close_files();
            }
            bench.end(key);
        }
    });
    assert_untouched(&outside);
    // None of these was ever reopened, so all of it is in one file.
    let found = find(&dir);
    for n in 0..270 {
        let name = format!("a/b/{n}");
        assert!(
            found
                .iter()
                .any(|found| found.name == name && found.content == [b"first\nsecond\n"]),
            "{name}"
        );
    }
}

#[test]
fn a_file_that_is_removed_or_replaced() {
    let temp = directory();
    let outside = outside(&temp);
    let dir = temp.path().join("dir");
    let mut bench = Bench::new(&dir, 8);
    let names = [
        "removed",
        "linked",
        "hard",
        "dir/removed",
        "other",
        "emptied",
        "stays",
    ];
    let keys = names.map(|name| bench.open(name, StreamType::Text));
    for key in keys {
        bench.data(key, b"one\n");
    }
    bench.close_files();
    fs::remove_file(dir.join("removed")).unwrap();
    fs::remove_file(dir.join("linked")).unwrap();
    symlink(outside.join("file"), dir.join("linked")).unwrap();
    fs::remove_file(dir.join("hard")).unwrap();
    fs::hard_link(outside.join("file"), dir.join("hard")).unwrap();
    fs::remove_dir_all(dir.join("dir")).unwrap();
    symlink(&outside, dir.join("dir")).unwrap();
    fs::remove_file(dir.join("other")).unwrap();
    fs::create_dir(dir.join("other")).unwrap();
    fs::write(dir.join("emptied"), "").unwrap();
    for key in keys {
        bench.data(key, b"two\n");
        bench.end(key);
    }
    assert_untouched(&outside);
    for path in [
        "removed",
        "linked",
        "hard",
        "dir~/removed",
        "other~",
        "emptied",
    ] {
        assert_eq!(read(&dir, path), b"two\n", "{path}");
    }
    read(&dir, "dir~/.meta.removed");
    assert_eq!(read(&dir, "stays"), b"one\ntwo\n");
    // All but the last have lost what they had.
    assert_eq!(bench.lost(DropReason::Removed), 6 * 4);
    assert_eq!(bench.core.losses().len(), 6);
}

#[test]
fn a_directory_that_is_removed() {
    let temp = directory();
    let dir = temp.path().join("dir");
    let mut bench = Bench::new(&dir, 8);
    let key = bench.open("a/d", StreamType::Datagram);
    bench.data(key, &framed(b"0"));
    fs::remove_dir_all(dir.join("a")).unwrap();
    bench.data(key, &framed(b"1"));
    assert_eq!(read(&dir, "a/_00001.d"), b"1");
    read(&dir, "a/.meta.d");

    // All of it: it is made again, but not where a link leads.
    let outside = outside(&temp);
    fs::remove_dir_all(&dir).unwrap();
    symlink(&outside, &dir).unwrap();
    bench.core.data(&NOW, key, &framed(b"2")).unwrap();
    bench.pump();
    bench.output.poll_for(Duration::from_millis(300), |_| false);
    assert_untouched(&outside);
    fs::remove_file(&dir).unwrap();
    bench.settle();
    assert_eq!(read(&dir, "a/_00002.d"), b"2");
    assert_eq!(bench.lost(DropReason::Removed), 4);
    assert_eq!(bench.core.account().delivered(), 2);
    assert!(bench.output.errors() > 0);
}

/// While its file is open it is noticed too, after a while or at its end; so
/// is that somebody empties it.
#[test]
fn a_file_that_is_removed_while_it_is_open() {
    let temp = directory();
    let mut bench = Bench::new(temp.path(), 8);
    let keys = ["removed", "emptied", "ends", "stays"].map(|name| {
        let key = bench.open(name, StreamType::Text);
        (name, key)
    });
    let datagrams = bench.open("d", StreamType::Datagram);
    for (_, key) in keys {
        bench.data(key, b"one\n");
    }
    bench.data(datagrams, &framed(b"0"));
    // The beginning of the next.
    bench.data(datagrams, &framed(b"one")[..3]);
    fs::remove_file(temp.path().join("removed")).unwrap();
    fs::remove_file(temp.path().join("ends")).unwrap();
    fs::remove_file(temp.path().join("_00001.d")).unwrap();
    fs::write(temp.path().join("emptied"), "").unwrap();
    bench.end(keys[2].1);
    std::thread::sleep(crate::limits::LINK_CHECK_INTERVAL);
    for at in [0, 1, 3] {
        bench.data(keys[at].1, b"two\n");
    }
    bench.data(datagrams, &framed(b"one")[3..]);
    bench.finish();
    assert_eq!(read(temp.path(), "removed"), b"two\n");
    assert_eq!(read(temp.path(), "emptied"), b"two\n");
    assert_eq!(read(temp.path(), "stays"), b"one\ntwo\n");
    // That of an earlier one stays, as it is complete.
    assert_eq!(read(temp.path(), "_00000.d"), b"0");
    assert_eq!(read(temp.path(), "_00001.d"), b"e");
    let lost: Vec<_> = bench
        .core
        .losses()
        .iter()
        .map(|(name, lost)| (name.as_str(), lost.dropped(DropReason::Removed)))
        .collect();
    assert_eq!(lost, [("d", 3), ("ends", 4), ("removed", 4)]);
}

/// With the root goes what streams that have ended wrote.
#[test]
fn a_root_that_is_removed() {
    let temp = directory();
    let dir = temp.path().join("above/dir");
    let mut bench = Bench::new(&dir, 8);
    let key = bench.open("a/s", StreamType::Text);
    bench.data(key, b"one\n");
    bench.text("b/ended", b"ended\n");
    fs::remove_dir_all(temp.path().join("above")).unwrap();
    bench.data(key, b"two\n");
    bench.end(key);
    assert_eq!(read(&dir, "a/s"), b"two\n");
    read(&dir, "a/.meta.s");
    assert_eq!(bench.lost(DropReason::Removed), 4 + 6);
    assert_eq!(bench.core.losses().len(), 2);
    assert_eq!(bench.core.account().delivered(), 4);
    bench.finish();
}
