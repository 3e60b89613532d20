//! `butler send`: what butlers have left goes to where it should have gone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Output;

use butler::proto::logpb::ButlerLogBundle;
use butler::read::Receiver;
use rustix::process::Signal;

use super::common::content::{Sent, check_all, every_kind, noise, send_all};
use super::common::process::{Collector, Listener, Serve, command, terminal, wait_until};
use super::common::reassemble;

/// A spool in which something waits.
pub struct Waiting {
    dir: tempfile::TempDir,
}

impl Waiting {
    /// Nobody has been there yet.
    pub fn empty() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// Where else there is room.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A butler with that prefix has left everything that it took.
    pub fn of(runs: &[(&str, &[Sent])]) -> Self {
        let waiting = Self::empty();
        for (prefix, all) in runs {
            let stderr = waiting.leave(prefix, all);
            assert!(stderr.contains("wait in"), "{stderr}");
        }
        waiting
    }

    /// A butler with that prefix takes all of it, and leaves what it can't deliver.
    /// Returns what it says.
    pub fn leave(&self, prefix: &str, all: &[Sent]) -> String {
        self.leave_in("", prefix, all)
    }

    /// The same in a spool with more settings.
    pub fn leave_in(&self, more: &str, prefix: &str, all: &[Sent]) -> String {
        let spool = format!("{},when=always{more}", self.spool().display());
        let nobody = format!("unix:{}", self.dir.path().join("nobody").display());
        let serve = Serve::start(
            self.dir.path(),
            &[
                "--output",
                &nobody,
                "--spool",
                &spool,
                "--prefix",
                prefix,
                "--flush-timeout",
                "100ms",
            ],
        );
        send_all(&serve.socket, all);
        let ended = serve.terminate();
        ended.expect_success();
        ended.stderr
    }

    pub fn spool(&self) -> PathBuf {
        self.dir.path().join("spool")
    }

    fn send(&self, output: &str, more: &[&str]) -> Output {
        let spool = self.spool();
        send(&[&[spool.to_str().unwrap(), "--output", output], more].concat())
    }

    pub fn segments(&self) -> Vec<PathBuf> {
        let is_segment = |path: &PathBuf| path.extension().is_some_and(|it| it == "segment");
        let entries = fs::read_dir(self.spool()).unwrap();
        let mut paths: Vec<_> = entries.map(|it| it.unwrap().path()).collect();
        paths.retain(is_segment);
        paths.sort();
        paths
    }

    /// Everything in it, as it can be looked at.
    pub fn look(&self) -> BTreeMap<PathBuf, (Vec<u8>, i64)> {
        let entries = fs::read_dir(self.spool()).unwrap();
        entries
            .map(|entry| {
                let path = entry.unwrap().path();
                let changed = fs::metadata(&path).unwrap().ctime_nsec();
                let content = fs::read(&path).unwrap();
                (path, (content, changed))
            })
            .collect()
    }
}

fn send(args: &[&str]) -> Output {
    command([&["--log-level", "info", "send"], args].concat())
        .output()
        .unwrap()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn says(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The bundles of that prefix.
fn of(prefix: &str, bundles: &[ButlerLogBundle]) -> Vec<ButlerLogBundle> {
    let of_it = bundles.iter().filter(|bundle| bundle.prefix == prefix);
    of_it.cloned().collect()
}

#[test]
fn what_is_left_goes_out_under_its_prefix() {
    let (one, two) = (every_kind(), [Sent::text("a", b"of two\n")]);
    let waiting = Waiting::of(&[("a/one", &one), ("a/two", &two)]);
    let stats = waiting.path().join("stats");
    let stats_path = format!("--stats-path={}", stats.display());
    let collector = Collector::listen(waiting.path());
    let output = collector.output() + ",compress=zlib";
    let sent = waiting.send(&output, &[&stats_path]);
    assert_eq!(code(&sent), Some(0), "{}", says(&sent));
    let bundles = collector.bundles();
    check_all(&reassemble(&of("a/one", &bundles)), &one);
    check_all(&reassemble(&of("a/two", &bundles)), &two);
    assert_eq!(waiting.segments(), [] as [PathBuf; 0]);

    let stats: serde_json::Value = serde_json::from_slice(&fs::read(stats).unwrap()).unwrap();
    let written: usize = one.iter().chain(&two).map(|it| it.written.len()).sum();
    assert_eq!(stats["bytes"], written);
    assert_eq!(stats["bytes_delivered"], written);
    assert_eq!(stats["messages"], bundles.len());
    assert_eq!(stats["messages_delivered"], bundles.len());

    // There is nothing left.
    let again = waiting.send("unix:/nobody/listens", &[]);
    assert_eq!(code(&again), Some(0));
    assert!(
        says(&again).contains("nothing waits there"),
        "{}",
        says(&again)
    );
}

#[test]
fn several_spools_are_sent_at_once() {
    let all = [("a/one", every_kind()), ("a/two", every_kind())];
    let waiting = all
        .each_ref()
        .map(|(prefix, all)| Waiting::of(&[(prefix, all)]));
    let collector = Collector::new(Listener::tcp());
    let spools = waiting
        .each_ref()
        .map(|it| it.spool().into_os_string().into_string().unwrap());
    let sent = send(&[
        &spools[0],
        "--output",
        &collector.output(),
        &spools[1],
        "/not/there",
    ]);
    assert_eq!(code(&sent), Some(250));
    assert!(
        says(&sent).contains("error: the spool: the spool /not/there: "),
        "{}",
        says(&sent)
    );
    // Over two connections at once, which this one reads one after the other.
    let bundles = collector.bundles();
    for (prefix, all) in &all {
        check_all(&reassemble(&of(prefix, &bundles)), all);
    }
}

#[test]
fn a_spool_that_is_kept_is_not_touched() {
    let all = every_kind();
    let waiting = Waiting::of(&[("a/one", &all)]);
    let before = waiting.look();
    let copies = [(), ()].map(|()| {
        let collector = Collector::new(Listener::tcp());
        let sent = waiting.send(&collector.output(), &["--keep"]);
        assert_eq!(code(&sent), Some(0), "{}", says(&sent));
        assert!(waiting.look() == before);
        collector.bundles()
    });
    check_all(&reassemble(&copies[0]), &all);
    assert!(copies[0] == copies[1]);
}

#[test]
fn what_nobody_takes_stays_and_is_told() {
    let all = [Sent::text("a", b"eleven byte")];
    let waiting = Waiting::of(&[("a/one", &all)]);
    let before = waiting.segments();
    let sent = waiting.send("unix:/nobody/listens", &["--flush-timeout=50ms"]);
    assert_eq!(code(&sent), Some(250));
    let spool = waiting.spool().canonicalize().unwrap();
    let says_left = format!("1 stream, 11 bytes wait in {} still\n", spool.display());
    assert!(says(&sent).contains(&says_left), "{}", says(&sent));
    assert_eq!(waiting.segments(), before);
    let collector = Collector::listen(waiting.path());
    assert_eq!(code(&waiting.send(&collector.output(), &[])), Some(0));
    check_all(&reassemble(&collector.bundles()), &all);
}

#[test]
fn a_running_butler_keeps_its_spool() {
    let waiting = Waiting::empty();
    let spool = waiting.spool().into_os_string().into_string().unwrap();
    let options = ["--output", "unix:/nobody", "--spool", &spool];
    let serve = Serve::start(waiting.path(), &options);
    for keep in ["--keep=false", "--keep"] {
        let sent = waiting.send("unix:/nobody/listens", &[keep]);
        assert_eq!(code(&sent), Some(250));
        let found = format!(
            "that of a running butler (process {}), which sends what is in it\n",
            serve.pid()
        );
        assert!(says(&sent).contains(&found), "{}", says(&sent));
    }
    serve.terminate().expect_success();
}

#[test]
fn what_is_no_spool_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
    let path = home.to_str().unwrap();
    let empty = send(&[path, "--output", "unix:/nobody"]);
    assert_eq!(code(&empty), Some(0), "{}", says(&empty));
    assert_eq!(fs::read_dir(&home).unwrap().count(), 0);

    fs::write(home.join("lock"), "of something else").unwrap();
    fs::write(home.join("notes"), "mine").unwrap();
    let refused = send(&[path, "--output", "unix:/nobody"]);
    assert_eq!(code(&refused), Some(250));
    assert!(
        says(&refused).contains("is no spool: "),
        "{}",
        says(&refused)
    );
    assert_eq!(fs::metadata(&home).unwrap().mode() & 0o777, 0o755);
    assert_eq!(fs::read(home.join("lock")).unwrap(), b"of something else");
}

#[test]
fn what_is_damaged_is_told_and_the_rest_is_sent() {
    let all = [
        Sent::text("a", b"first\n"),
        Sent::binary("b", &noise(3_000_000)),
        Sent::text("c", b"last\n"),
    ];
    let waiting = Waiting::empty();
    for (prefix, sent) in ["p/1", "p/2", "p/3"].into_iter().zip(&all) {
        waiting.leave(prefix, std::slice::from_ref(sent));
    }
    let segments = waiting.segments();
    let mut bytes = fs::read(&segments[1]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segments[1], bytes).unwrap();
    let collector = Collector::listen(waiting.path());
    let sent = waiting.send(&collector.output(), &[]);
    assert_eq!(code(&sent), Some(250), "{}", says(&sent));
    for found in [" is damaged: ", ", of b (", "or can't be read: 1\n"] {
        assert!(says(&sent).contains(found), "{}", says(&sent));
    }
    let bundles = collector.bundles();
    check_all(&reassemble(&of("p/1", &bundles)), &all[..1]);
    check_all(&reassemble(&of("p/3", &bundles)), &all[2..]);
    assert_eq!(waiting.segments(), [] as [PathBuf; 0]);
    assert!(
        waiting
            .spool()
            .join("corrupt")
            .join(segments[1].file_name().unwrap())
            .exists()
    );
    // It is told once.
    let again = waiting.send("unix:/nobody/listens", &[]);
    assert_eq!(code(&again), Some(0), "{}", says(&again));
}

#[test]
fn a_cut_end_was_never_counted() {
    let all = [Sent::text("a", b"first\n")];
    let waiting = Waiting::of(&[("a/one", &all)]);
    let segments = waiting.segments();
    let mut file = File::options().append(true).open(&segments[0]).unwrap();
    file.write_all(b"the beginning of a record").unwrap();
    let collector = Collector::listen(waiting.path());
    let sent = waiting.send(&collector.output(), &[]);
    assert_eq!(code(&sent), Some(0), "{}", says(&sent));
    check_all(&reassemble(&collector.bundles()), &all);
}

/// A far end that acknowledges.
struct Far {
    listener: UnixListener,
    path: PathBuf,
}

impl Far {
    fn listen(dir: &Path) -> Self {
        let path = dir.join("far");
        let listener = UnixListener::bind(&path).unwrap();
        Self { listener, path }
    }

    fn output(&self) -> String {
        format!("unix:{},ack=yes", self.path.display())
    }

    /// Takes and acknowledges what comes over one connection.
    fn take_all(&self) -> Vec<Vec<u8>> {
        let (mut connection, _) = self.listener.accept().unwrap();
        let (mut receiver, mut messages) = (Receiver::new(), Vec::new());
        while receiver.read_from(&mut connection).unwrap() > 0 {
            while let Some(message) = receiver.message().unwrap() {
                messages.push(message.bytes().to_vec());
            }
            connection.write_all(&receiver.acknowledge()).unwrap();
        }
        messages
    }

    /// Takes what comes over one connection, and acknowledges `count` messages.
    fn take(&self, count: u64, then: impl FnOnce()) -> Vec<Vec<u8>> {
        let (mut connection, _) = self.listener.accept().unwrap();
        let (mut receiver, mut messages) = (Receiver::new(), Vec::new());
        let mut then = Some(then);
        while receiver.read_from(&mut connection).unwrap() > 0 {
            while let Some(message) = receiver.message().unwrap() {
                messages.push(message.bytes().to_vec());
            }
            if messages.len() as u64 >= count
                && let Some(then) = then.take()
            {
                let frame = receiver.acknowledge_first(count);
                connection.write_all(&frame).unwrap();
                then();
            } else if then.is_none() {
                let _ = connection.write_all(&receiver.acknowledge_first(count));
            }
        }
        messages
    }
}

#[test]
fn a_signal_ends_it_and_what_was_acknowledged_is_noted() {
    let all: Vec<_> = ["a", "b", "c", "d"]
        .map(|name| Sent::binary(name, &noise(900_000)))
        .into();
    let waiting = Waiting::empty();
    for (at, sent) in all.iter().enumerate() {
        waiting.leave(&format!("p/{at}"), std::slice::from_ref(sent));
    }
    let far = Far::listen(waiting.path());
    let spool = waiting.spool();
    let mut command = command(["--log-level", "info", "send", "--output", &far.output()]);
    let sending = Serve::begin(
        {
            command.arg(&spool);
            command
        },
        PathBuf::new(),
    );
    // Two are delivered, and nothing more is heard of the far end.
    let first = far.take(2, || {
        wait_until("it is noted", || {
            spool.join("acks").exists() || waiting.segments().len() < 4
        });
        sending.signal(Signal::TERM);
        sending.wait_for_stderr("ending; once more");
        sending.signal_again(Signal::TERM);
    });
    let ended = sending.wait();
    assert_eq!(ended.status.code(), Some(250));
    assert!(
        ended.stderr.contains("delivered 2 messages"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("still\n"), "{}", ended.stderr);

    // The others are sent again, the same.
    let rest = std::thread::scope(|scope| {
        let far = scope.spawn(|| far.take_all());
        let sent = waiting.send(
            &format!("unix:{},ack=yes", waiting.path().join("far").display()),
            &[],
        );
        assert_eq!(code(&sent), Some(0), "{}", says(&sent));
        far.join().unwrap()
    });
    assert!(first[2..].iter().all(|message| rest.contains(message)));
    let mut every = [&first[..2], &rest].concat();
    every.dedup();
    let bundles: Vec<_> = every
        .iter()
        .flat_map(|it| super::common::process::parse(it))
        .collect();
    for (at, sent) in all.iter().enumerate() {
        check_all(
            &reassemble(&of(&format!("p/{at}"), &bundles)),
            std::slice::from_ref(sent),
        );
    }
}

/// What a terminal shows of its stderr. The far end is there when `is_awaited` is
/// shown.
fn shown(waiting: &Waiting, more: &[&str], is_awaited: &str) -> String {
    let (ours, theirs) = terminal().unwrap();
    let path = waiting.path().join("output.sock");
    let output = format!("unix:{}", path.display());
    let mut command = command(["send", "--keep", "--output", &output]);
    command.arg(waiting.spool()).args(more);
    let mut child = command.stderr(theirs).spawn().unwrap();
    drop(command);
    let (mut ours, mut all) = (File::from(ours), Vec::new());
    let mut read = || {
        let mut some = [0; 4096];
        // A terminal whose other end is closed fails instead of ending.
        let len = ours.read(&mut some).unwrap_or(0);
        all.extend_from_slice(&some[..len]);
        (len > 0, String::from_utf8(all.clone()).unwrap())
    };
    while !is_awaited.is_empty() && !read().1.contains(is_awaited) {}
    let collector = Collector::listen(waiting.path());
    while read().0 {}
    assert!(child.wait().unwrap().success());
    drop(collector.bundles());
    fs::remove_file(path).unwrap();
    String::from_utf8(all).unwrap()
}

#[test]
fn people_see_how_far_it_is() {
    let waiting = Waiting::of(&[("a/one", &every_kind())]);
    let line = "[                    ] 0% of 1.4 MiB, 0 B/s";
    let shows = shown(&waiting, &[], line);
    // It stays below messages, and at the end there is no trace of it.
    let (_, last) = shows.rsplit_once("\r\x1b[K").unwrap();
    assert!(last.starts_with("butler: "), "{shows:?}");
    assert!(last.contains(": delivered "), "{shows:?}");
    let shows = shown(&waiting, &["--quiet"], "trying again");
    assert!(shows.starts_with("butler: error: "), "{shows:?}");
    assert!(!shows.contains('\x1b'), "{shows:?}");
}
