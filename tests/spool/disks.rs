//! What a disk can do to a spool, and others to what is on it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::arrived::segments;
use crate::bench::Bench;
use crate::common::pattern::Content;
use crate::common::process::{Ended, Serve, open, run, wait_until};
use crate::common::tracker::name;
use crate::common::writers::Writers;

const LITTLE: &str = "--max-buffered=4MiB";
const SOON: &str = "--flush-timeout=100ms";

/// A file system of its own, unmounted when dropped.
struct Disk(TempDir);

impl Disk {
    /// `None`, with the reason printed, where we may not mount.
    fn mount(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mount = ["-t", "tmpfs", "-o", options, "tmpfs"];
        let mount = Command::new("mount").args(mount).arg(dir.path()).output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(dir)),
            other => {
                println!("skipped: no file system of our own: {other:?}");
                None
            }
        }
    }

    fn remount(&self, options: &str) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,{options}")]);
        assert!(mount.arg(self.0.path()).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

/// Writes a line or two into a stream of that name.
fn say(serve: &Serve, stream: &str, said: &str) {
    let mut stream = open(&serve.socket, stream, "text");
    stream.write_all(said.as_bytes()).unwrap();
}

/// The statistics at its end, in which nothing is missing.
fn account(ended: &Ended) -> Value {
    let (_, last) = ended.stderr.rsplit_once("info: statistics: ").unwrap();
    let told: Value = serde_json::from_str(last.lines().next().unwrap()).unwrap();
    let count = |name: &str| told[name].as_u64().unwrap();
    let accounted = count("bytes_delivered") + count("bytes_dropped") + count("spooled");
    assert_eq!(count("bytes_in"), accounted, "{told}");
    told
}

#[test]
fn a_full_disk_is_freed() {
    for when in ["always", "overflow"] {
        let Some(disk) = Disk::mount("size=2m") else {
            return;
        };
        let bench = Bench::with_spool_at(disk.0.path().join("spool"));
        let content = Content::lines();
        let serve = bench.serve(&format!(",when={when}"), &[LITTLE]);
        let mut writers = Writers::open(&serve.socket, 3, "text", &content, 4_000_000);
        writers.push_until_stuck(Duration::from_secs(2));
        assert!(writers.open_count() > 0 && serve.statistics()["bytes_dropped"] == 0);
        assert!(
            serve.stderr().contains("No space left"),
            "{}",
            serve.stderr()
        );
        disk.remount("size=64m");
        writers.push_to_end();
        let far_end = bench.far_end();
        let ended = serve.terminate();
        ended.expect_success();
        drop(far_end);
        assert_eq!(account(&ended)["bytes_delivered"], 12_000_000);
        let arrived = bench.arrived();
        let streams = arrived.runs().into_values().next().unwrap();
        for number in 0..3 {
            let stream = &streams[&name(number)];
            assert!(content.matches(number, 0, &stream.bytes) && stream.terminal.is_some());
        }
    }
}

/// More than a spool of 32 MiB has room for.
const MUCH: u64 = 14_000_000;

#[test]
fn writers_wait_for_room_in_the_spool() {
    let bench = Bench::new();
    let content = Content::lines();
    let serve = bench.serve(",max=32MiB,sync=never", &[LITTLE]);
    let mut writers = Writers::open(&serve.socket, 3, "text", &content, MUCH);
    writers.push_until_stuck(Duration::from_secs(2));
    assert!(writers.open_count() > 0, "all could write everything");
    assert!(
        serve.stderr().contains("the spool is full"),
        "{}",
        serve.stderr()
    );
    let far_end = bench.far_end();
    writers.push_to_end();
    let ended = serve.terminate();
    ended.expect_success();
    drop(far_end);
    assert_eq!(account(&ended)["bytes_delivered"], 3 * MUCH);
    assert_eq!(bench.arrived().bytes(), 3 * MUCH);
}

#[test]
fn the_newest_is_dropped_if_that_is_asked_for() {
    let bench = Bench::new();
    let content = Content::lines();
    let keys = ",max=32MiB,sync=never,full=drop-newest";
    let serve = bench.serve(keys, &[LITTLE, SOON]);
    Writers::open(&serve.socket, 3, "text", &content, MUCH).push_to_end();
    let ended = serve.terminate();
    assert_eq!(ended.status.code(), Some(250), "{ended:?}");
    let told = account(&ended);
    let dropped = &told["bytes_dropped_by_reason"]["spool_full"];
    assert!(dropped.as_u64().unwrap() > 0, "{told}");
    assert_eq!(*dropped, told["bytes_dropped"]);
    bench.deliver_the_rest();
    assert_eq!(bench.arrived().bytes(), told["spooled"].as_u64().unwrap());
}

#[test]
fn a_disk_that_is_read_only() {
    let Some(disk) = Disk::mount("size=8m") else {
        return;
    };
    let bench = Bench::with_spool_at(disk.0.path().join("spool"));
    let serve = bench.serve("", &[SOON]);
    say(&serve, "s", "kept\n");
    serve.terminate().expect_success();
    disk.remount("ro");
    refused(&bench, "Read-only file system");
    disk.remount("rw");
    bench.deliver_the_rest();
    assert_eq!(bench.arrived().bytes(), 5);
}

/// A butler does not begin, and says why.
fn refused(bench: &Bench, why: &str) {
    let options = bench.options("");
    let options = options.iter().map(String::as_str);
    let output = run(options.chain(["run", "true"]));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && told.contains(why), "{told}");
}

/// What was in it is lost, and told. The butler goes on as one without a spool.
#[test]
fn the_directory_is_removed() {
    let bench = Bench::new();
    let serve = bench.serve(",when=always", &["--flush-timeout=30s", LITTLE]);
    let content = Content::lines();
    Writers::open(&serve.socket, 3, "text", &content, 3_000_000).push_to_end();
    serve.wait_for_counter("streams_open", 0);
    fs::remove_dir_all(bench.spool()).unwrap();
    say(&serve, "after", "somebody has removed it\n");
    let far_end = bench.far_end();
    let ended = serve.terminate();
    drop(far_end);
    let told = account(&ended);
    assert_eq!(told["spooled"], 0, "{ended:?}");
    let lost = told["bytes_dropped_by_reason"]["unreadable"]
        .as_u64()
        .unwrap();
    assert_eq!(
        ended.status.code(),
        Some(if lost > 0 { 250 } else { 0 }),
        "{ended:?}"
    );
    assert_eq!(
        bench.arrived().bytes(),
        told["bytes_delivered"].as_u64().unwrap()
    );
}

/// Where a record has `said` in its body.
fn place_of(spool: &Path, said: &str) -> Option<(PathBuf, usize)> {
    segments(spool).into_iter().find_map(|path| {
        let bytes = fs::read(&path).unwrap();
        let mut windows = bytes.windows(said.len());
        let at = windows.position(|it| it == said.as_bytes())?;
        Some((path, at))
    })
}

/// So many streams say something, each in a message of its own.
fn many_say(bench: &Bench, serve: &Serve) {
    for at in 0..10 {
        let said = format!("said by {at}");
        say(serve, &format!("said/{at}"), &format!("{said}\n"));
        wait_until("it is there", || place_of(bench.spool(), &said).is_some());
    }
}

/// Changes one byte of that.
fn damage(spool: &Path, said: &str) {
    let (path, at) = place_of(spool, said).expect("somebody has said it");
    // In place: whoever has it open sees it.
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(b"S", at as u64).unwrap();
}

#[test]
fn damage_while_it_runs_costs_what_is_damaged() {
    let bench = Bench::new();
    let far_end = bench.far_end();
    let serve = bench.serve(",when=always", &[]);
    say(&serve, "first", "the connection is there\n");
    wait_until("it has arrived", || bench.arrived().len() > 0);
    far_end.stop();
    // As much as may be under way.
    let content = Content::lines();
    Writers::open(&serve.socket, 8, "text", &content, 3_000_000).push_to_end();
    serve.wait_for_counter("streams_open", 0);
    many_say(&bench, &serve);
    damage(bench.spool(), "said by 4");
    far_end.go_on();
    let ended = serve.terminate();
    drop(far_end);
    assert_eq!(ended.status.code(), Some(250), "{ended:?}");
    let told = account(&ended);
    let lost = told["bytes_dropped_by_reason"]["unreadable"]
        .as_u64()
        .unwrap();
    assert!((10..1000).contains(&lost), "{told}");
    assert!(ended.stderr.contains("said/4 (10 bytes"), "{ended:?}");
    assert_eq!(
        bench.arrived().bytes(),
        told["bytes_delivered"].as_u64().unwrap()
    );
    let kept = fs::read_dir(bench.spool().join("corrupt")).unwrap();
    assert_eq!(kept.count(), 1, "for those who want to know");
}

#[test]
fn damage_between_two_butlers() {
    let bench = Bench::new();
    let serve = bench.serve(",when=always", &[SOON]);
    many_say(&bench, &serve);
    serve.terminate().expect_success();
    damage(bench.spool(), "said by 4");
    let last = segments(bench.spool()).pop().unwrap();
    let file = fs::File::options().write(true).open(&last).unwrap();
    let len = file.metadata().unwrap().len();
    file.set_len(len - 5).unwrap();
    let ended = bench.deliver_the_rest();
    for told in ["said/4 (10 bytes", "ends in the middle of a message"] {
        assert!(ended.stderr.contains(told), "{ended:?}");
    }
    let runs = bench.arrived();
    let runs = runs.streams();
    assert!(!runs.contains("said/4") && runs.len() >= 8, "{runs:?}");
}

#[test]
fn a_second_butler_is_refused() {
    let bench = Bench::new();
    let serve = bench.serve("", &[]);
    let whose = format!("is another butler's (process {})", serve.pid());
    refused(&bench, &whose);
    serve.terminate().expect_success();
}

#[test]
fn others_have_no_business_there() {
    let bench = Bench::new();
    let spool = bench.spool();
    fs::create_dir(spool).unwrap();
    fs::set_permissions(spool, fs::Permissions::from_mode(0o755)).unwrap();
    let serve = bench.serve(",when=always", &[SOON]);
    say(&serve, "s", "secret\n");
    serve.terminate().expect_success();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(spool), 0o700);
    for entry in fs::read_dir(spool).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    if chown(spool, Some(12345), None).is_err() {
        println!("skipped: we can't give a directory away");
        return;
    }
    refused(&bench, "belongs to another user");
}

/// Nothing that is a link is followed, and what it leads to stays as it is.
#[test]
fn links_in_place_of_files() {
    let bench = Bench::new();
    let theirs = bench.path().join("theirs");
    fs::write(&theirs, "theirs").unwrap();
    fs::create_dir(bench.spool()).unwrap();
    for file in [
        "acks",
        "0000000000000001.segment",
        "0000000000000002.segment.new",
    ] {
        symlink(&theirs, bench.spool().join(file)).unwrap();
    }
    let serve = bench.serve(",when=always", &[]);
    let far_end = bench.far_end();
    say(&serve, "s", "ours\n");
    serve.terminate().expect_success();
    drop(far_end);
    assert_eq!(bench.arrived().bytes(), 5);
    fs::remove_file(bench.spool().join("lock")).unwrap();
    symlink(&theirs, bench.spool().join("lock")).unwrap();
    let output = run(bench
        .options("")
        .iter()
        .map(String::as_str)
        .chain(["run", "true"]));
    assert!(!output.status.success(), "{output:?}");
    assert_eq!(fs::read(&theirs).unwrap(), b"theirs");
}
