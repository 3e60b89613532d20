//! With a spool, neither the Coordinator nor Pub/Sub need be there while the job
//! runs.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::common::content::{check_all, every_kind, send_all};
use crate::common::process::{Serve, open, wait_until};
use crate::common::reassemble;
use crate::fakes::coordinator::{Call, error, success};
use crate::fakes::http::Reply;
use crate::fakes::publisher::Fate;
use crate::fakes::{SECRET, TOPIC, World, bundles_of};

/// What the Coordinator gives for another prefix.
const OTHER_SECRET: &[u8; 36] = b"zyxwvutsrqponmlkjihgfedcba9876543210";
const OTHER_TOPIC: &str = "projects/test-cloud/topics/other";
/// A butler has waited for the Coordinator, and begins without it.
const GOES_ON: &str = "that is tried again";

fn spool(world: &World) -> PathBuf {
    world.path().join("spool")
}

/// A butler with the spool, for that prefix.
fn command(world: &World, prefix: &str, more: &[&str]) -> Command {
    let spool = format!("--spool={}", spool(world).display());
    let prefix = format!("--prefix={prefix}");
    let mut options = vec![&*spool, &*prefix];
    options.extend(more);
    world.command(&options)
}

/// It runs a job of one line.
fn run(world: &World, prefix: &str) -> Output {
    let options = [
        "--flush-timeout=1s",
        "run",
        "--stdout=name=s",
        "echo",
        "line",
    ];
    command(world, prefix, &options).output().unwrap()
}

fn serve(world: &World, prefix: &str) -> Serve {
    let command = command(world, prefix, &["--flush-timeout=3s"]);
    Serve::spawn(command, world.socket())
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Is there nothing to be sent?
pub fn is_empty(spool: &Path) -> bool {
    let entries = std::fs::read_dir(spool).unwrap();
    !entries
        .map(|entry| entry.unwrap().file_name())
        .any(|name| name.to_string_lossy().ends_with(".segment"))
}

fn calls_for(world: &World, prefix: &str) -> Vec<Call> {
    let mut calls = world.coordinator.calls();
    calls.retain(|call| call.request.prefix == prefix);
    calls
}

/// What came to that topic.
fn sent_to(world: &World, topic: &str) -> Vec<Vec<u8>> {
    let calls = world.publisher.calls().into_iter();
    let of_topic = calls.filter(|call| call.topic == topic);
    of_topic.map(|call| call.message).collect()
}

/// The next butler registers the prefix, as the same registration, and sends
/// what waits under it, beside its own.
#[test]
fn a_prefix_is_registered_when_the_coordinator_is_back() {
    let world = World::new();
    world.coordinator.set_away(true);
    let first = serve(&world, "tests/prefix");
    first.wait_for_stderr(GOES_ON);
    let all = every_kind();
    send_all(&first.socket, &all);
    let ended = first.terminate();
    ended.expect_success();
    assert!(ended.stderr.contains("wait in"), "{}", ended.stderr);
    assert!(world.publisher.calls().is_empty() && !is_empty(&spool(&world)));

    world.coordinator.set_away(false);
    world.coordinator.then(success(OTHER_SECRET, OTHER_TOPIC));
    let second = serve(&world, "tests/other");
    let mut own = open(&second.socket, "own", "text");
    own.write_all(b"of the second\n").unwrap();
    drop(own);
    wait_until("what was left is sent", || is_empty(&spool(&world)));
    second.terminate().expect_success();
    let earlier = bundles_of(&sent_to(&world, TOPIC), "tests/prefix", SECRET);
    check_all(&reassemble(&earlier), &all);
    let own = bundles_of(&sent_to(&world, OTHER_TOPIC), "tests/other", OTHER_SECRET);
    assert_eq!(reassemble(&own)["own"].bytes, b"of the second\n");

    let calls = calls_for(&world, "tests/prefix");
    assert!(calls.len() > 2);
    for call in &calls {
        assert_eq!(call.request, calls[0].request);
    }
    assert_eq!(calls_for(&world, "tests/other").len(), 1);
}

/// Or `butler send` does that, which is told neither project nor Coordinator.
#[test]
fn what_waits_is_registered_and_sent() {
    let world = World::new();
    world.coordinator.set_away(true);
    for prefix in ["tests/taken", "tests/prefix"] {
        let output = run(&world, prefix);
        assert!(output.status.success(), "{output:?}");
    }
    // As long as nobody is there all stays.
    let mut command = world.sending(&spool(&world));
    let output = command.arg("--flush-timeout=100ms").output().unwrap();
    assert_eq!(output.status.code(), Some(250), "{output:?}");
    assert!(stderr(&output).contains("2 streams, 10 bytes wait"));

    world.coordinator.set_away(false);
    world.coordinator.then(error(6, "exists"));
    let output = world.sending(&spool(&world)).output().unwrap();
    assert_eq!(output.status.code(), Some(250), "{output:?}");
    assert!(stderr(&output).contains("and lost: 1 message of 5 bytes"));
    assert_eq!(reassemble(&world.bundles())["s"].bytes, b"line\n");
    assert!(is_empty(&spool(&world)));
    let calls = calls_for(&world, "tests/prefix");
    assert!(calls.iter().all(|call| call.request == calls[0].request));
}

/// Nor does a job that goes on wait for the next butler.
#[test]
fn a_job_is_delivered_when_the_coordinator_comes() {
    let world = World::new();
    world.coordinator.hold(true);
    let serve = serve(&world, "tests/prefix");
    serve.wait_for_stderr(GOES_ON);
    let all = every_kind();
    send_all(&serve.socket, &all);
    world.coordinator.hold(false);
    serve.wait_for_stderr("is registered; its topic is");
    let mut late = open(&serve.socket, "late", "text");
    late.write_all(b"with a secret\n").unwrap();
    drop(late);
    let ended = serve.terminate();
    ended.expect_success();
    assert!(!ended.stderr.contains("wait in"), "{}", ended.stderr);
    let mut streams = reassemble(&world.bundles());
    assert_eq!(streams.remove("late").unwrap().bytes, b"with a secret\n");
    check_all(&streams, &all);
    assert!(is_empty(&spool(&world)));
    // It was one question, to which the answer took long.
    assert_eq!(world.coordinator.calls().len(), 1);
}

/// As seldom as it likes.
#[test]
fn a_coordinator_is_left_alone_when_it_says_so() {
    let world = World::new();
    world.coordinator.then(Reply::Answer {
        status: 429,
        headers: vec![("Retry-After", "2".into())],
        body: b"too many".to_vec(),
    });
    let output = run(&world, "tests/prefix");
    assert!(output.status.success(), "{output:?}");
    let calls = world.coordinator.calls();
    assert_eq!(calls.len(), 2);
    assert!(calls[1].at - calls[0].at >= Duration::from_secs(2));
    assert_eq!(reassemble(&world.bundles())["s"].bytes, b"line\n");
}

/// What is final at the start fails it, as without a spool.
#[test]
fn a_prefix_that_is_refused_at_the_start() {
    for code in [6, 7] {
        let world = World::new();
        world.coordinator.then(error(code, "no"));
        let output = run(&world, "tests/prefix");
        assert_eq!(output.status.code(), Some(250), "{output:?}");
        assert_eq!(world.coordinator.calls().len(), 1);
    }
}

/// What nobody can ever send is lost, and said to be; what another account might
/// send stays. Both are told once, and others don't wait for them.
#[test]
fn a_prefix_that_is_refused_later() {
    let world = World::new();
    world.coordinator.set_away(true);
    for prefix in ["tests/taken", "tests/denied"] {
        let output = run(&world, prefix);
        assert!(output.status.success(), "{output:?}");
    }
    world.coordinator.set_away(false);
    let replies = [
        success(SECRET, TOPIC),
        error(6, "exists"),
        error(7, "not you"),
        success(SECRET, TOPIC),
        success(OTHER_SECRET, OTHER_TOPIC),
    ];
    replies
        .into_iter()
        .for_each(|it| world.coordinator.then(it));
    let next = serve(&world, "tests/prefix");
    next.wait_for_stderr("of the prefix tests/taken of the project test can't be sent");
    next.wait_for_stderr("of the prefix tests/denied of the project test stay");
    let ended = next.terminate();
    ended.expect_success();
    assert!(
        ended.stderr.contains("1 stream, 5 bytes wait"),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.stderr.matches("registered in the project").count(), 1);
    assert_eq!(world.coordinator.under_way_max(), 1);

    let last = serve(&world, "tests/last");
    wait_until("what was denied is sent", || is_empty(&spool(&world)));
    last.terminate().expect_success();
    let denied = bundles_of(&sent_to(&world, OTHER_TOPIC), "tests/denied", OTHER_SECRET);
    assert_eq!(reassemble(&denied)["s"].bytes, b"line\n");
}

/// The account may be one that can't publish: nothing is lost by that.
#[test]
fn what_may_not_be_published_stays() {
    let world = World::new();
    world.publisher.set(|_| Fate::Refuse(7));
    let output = run(&world, "tests/prefix");
    assert!(output.status.success(), "{output:?}");
    let stderr = stderr(&output);
    assert!(stderr.contains("stay in the spool; giving up"), "{stderr}");
    assert!(stderr.contains("1 stream, 5 bytes wait"), "{stderr}");
    world.publisher.set(|_| Fate::Accept);
    world.coordinator.then(success(OTHER_SECRET, OTHER_TOPIC));
    let next = serve(&world, "tests/other");
    wait_until("it is sent", || is_empty(&spool(&world)));
    next.terminate().expect_success();
    let sent = bundles_of(&world.publisher.accepted(), "tests/prefix", SECRET);
    assert_eq!(reassemble(&sent)["s"].bytes, b"line\n");
}
