//! Registration with the Coordinator.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use butler::output::logdog::{Credentials, LogdogOutput};
use butler::wire::descriptor::{StreamProperties, StreamType};
use butler::wire::name::ProjectName;
use butler::{Butler, Config};
use rustix::process::Signal;

use crate::accounts::key_file;
use crate::common::content::{check_all, every_kind, send_all};
use crate::common::process::{Serve, open, wait_until};
use crate::common::reassemble;
use crate::fakes::coordinator::{error, success};
use crate::fakes::http::Reply;
use crate::fakes::{SECRET, TOPIC, World};

#[test]
fn all_that_is_sent_arrives() {
    let world = World::new();
    let serve = world.serve(&[]);
    let all = every_kind();
    send_all(&serve.socket, &all);
    let ended = serve.terminate();
    ended.expect_success();
    check_all(&reassemble(&world.bundles()), &all);

    let calls = world.coordinator.calls();
    assert_eq!(calls.len(), 1);
    let call = &calls[0];
    assert_eq!(call.http.method, "POST");
    assert_eq!(call.http.target, "/prpc/logdog.Registration/RegisterPrefix");
    for (name, value) in [
        ("content-type", "application/prpc; encoding=binary"),
        ("accept", "application/prpc; encoding=binary"),
        ("x-prpc-grpc-timeout", "30000000u"),
        ("host", &world.coordinator.host()),
    ] {
        assert_eq!(call.http.headers[name], value);
    }
    let request = &call.request;
    assert_eq!(
        (&*request.project, &*request.prefix),
        ("test", "tests/prefix")
    );
    assert_eq!(request.source_info[0], "LogDog Butler");
    assert_eq!(request.op_nonce.len(), 32);
    assert_eq!((&*request.realm, request.expiration), ("", None));
    for call in world.publisher.calls() {
        assert_eq!(call.topic, TOPIC);
        assert_eq!(call.params, "topic=projects%2Ftest-cloud%2Ftopics%2Flogs");
        assert_eq!(call.token.as_deref(), Some("task-1"));
    }
    assert_eq!(world.publisher.connections(), 1);
    let secret = std::str::from_utf8(SECRET).unwrap();
    for hidden in [secret, "task-1", "c2VjcmV0"] {
        assert!(!ended.stderr.contains(hidden), "{}", ended.stderr);
    }
}

/// A job that is over before the prefix is registered is delivered too.
#[test]
fn a_signal_leaves_time_to_register() {
    let world = World::new();
    world.coordinator.hold(true);
    let serve = Serve::begin(world.command(&[]), world.socket());
    wait_until("it listens", || UnixStream::connect(world.socket()).is_ok());
    let mut early = open(&world.socket(), "early", "text");
    early.write_all(b"all\n").unwrap();
    drop(early);
    serve.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(300));
    world.coordinator.hold(false);
    serve.wait().expect_success();
    assert_eq!(reassemble(&world.bundles())["early"].bytes, b"all\n");
}

/// As it is written for the reference.
#[test]
fn a_command_is_captured_and_told_of_it() {
    let world = World::new();
    let output = world
        .command(&["run", "-stdout", "name=stdout", "--", "sh", "-c"])
        .arg("echo $LOGDOG_COORDINATOR_HOST $LOGDOG_STREAM_PREFIX $LOGDOG_STREAM_PROJECT; exit 3")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let streams = reassemble(&world.bundles());
    let expected = format!("{} tests/prefix test\n", world.coordinator.host());
    assert_eq!(streams["stdout"].bytes, expected.as_bytes());
}

#[test]
fn a_stream_is_delivered() {
    let world = World::new();
    let file = world.path().join("file");
    std::fs::write(&file, "content\n").unwrap();
    let output = world
        .command(&["stream", "--stream=name=s", "--source"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(reassemble(&world.bundles())["s"].bytes, b"content\n");
}

/// Clients that come before the prefix is registered wait, and lose nothing.
#[test]
fn listens_before_it_registers() {
    let world = World::new();
    world.coordinator.hold(true);
    let serve = Serve::begin(world.command(&[]), world.socket());
    wait_until("it listens", || UnixStream::connect(world.socket()).is_ok());
    let mut early = open(&world.socket(), "early", "text");
    early.write_all(b"before\n").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(world.coordinator.calls().is_empty());
    world.coordinator.hold(false);
    early.write_all(b"after\n").unwrap();
    drop(early);
    wait_until("it is registered", || !world.coordinator.calls().is_empty());
    serve.terminate().expect_success();
    assert_eq!(
        reassemble(&world.bundles())["early"].bytes,
        b"before\nafter\n"
    );
}

#[test]
fn transient_errors_are_tried_again_as_the_same_registration() {
    let world = World::new();
    world.coordinator.then(error(14, "unavailable"));
    world.coordinator.then(Reply::Cut);
    world.coordinator.then(Reply::status(500, "no code"));
    world.luci.fail(1);
    let serve = world.serve(&["--tag", "a"]);
    wait_until("it is registered", || world.coordinator.calls().len() == 4);
    serve.terminate().expect_success();
    let calls = world.coordinator.calls();
    for call in &calls {
        assert_eq!(call.request, calls[0].request);
    }
}

#[test]
fn codes_that_are_tried_again() {
    for code in [2, 4, 13, 14] {
        let world = World::new();
        world.coordinator.then(error(code, "later"));
        let output = world.command(&["run", "true"]).output().unwrap();
        assert!(output.status.success(), "{code}: {output:?}");
        assert_eq!(world.coordinator.calls().len(), 2);
    }
}

#[test]
fn what_is_final_is_explained() {
    for (reply, says) in [
        (error(6, "exists"), "registered in the project test already"),
        (
            error(7, "no way"),
            "may not register prefixes in the project test",
        ),
        (error(3, "what prefix?"), "InvalidArgument: what prefix?"),
        (Reply::status(403, "a proxy"), "may not register prefixes"),
        (
            success(b"short", TOPIC),
            "a secret of 5 bytes instead of 36",
        ),
        (
            success(&[7; 37], TOPIC),
            "a secret of 37 bytes instead of 36",
        ),
        (success(SECRET, "logs"), "gives no valid topic: \"logs\""),
        (success(SECRET, ""), "gives no valid topic"),
    ] {
        let world = World::new();
        world.coordinator.then(reply);
        let marker = world.path().join("ran");
        let output = world
            .command(&["run", "touch"])
            .arg(&marker)
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(250), "{says}: {stderr}");
        assert!(stderr.contains(says), "{says}: {stderr}");
        assert!(!marker.exists(), "{says}: the command was run");
        assert_eq!(world.coordinator.calls().len(), 1, "{says}");
        let secret = std::str::from_utf8(SECRET).unwrap();
        assert!(!stderr.contains(secret));
    }
}

/// Once, with another token.
#[test]
fn a_token_that_is_not_accepted_is_renewed() {
    let world = World::new();
    world.coordinator.then(Reply::status(401, "expired"));
    let output = world.command(&["run", "true"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let calls = world.coordinator.calls();
    let tokens: Vec<_> = calls.iter().map(|call| call.token()).collect();
    assert_eq!(tokens, ["task-1", "task-2"]);

    for _ in 0..2 {
        world.coordinator.then(Reply::status(401, "unknown"));
    }
    let output = world.command(&["run", "true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(250), "{output:?}");
    assert_eq!(world.coordinator.calls().len(), 4);
}

#[test]
fn signals_end_it() {
    for subcommand in [&[] as &[&str], &["run", "true"]] {
        let world = World::new();
        world.coordinator.hold(true);
        let serve = Serve::begin(world.command(subcommand), world.socket());
        wait_until("it listens", || UnixStream::connect(world.socket()).is_ok());
        std::thread::sleep(Duration::from_millis(200));
        serve.signal(Signal::TERM);
        if subcommand.is_empty() {
            serve.signal_again(Signal::TERM);
        }
        let ended = serve.wait();
        assert_eq!(ended.status.code(), Some(250), "{ended:?}");
        assert!(ended.stderr.contains("ended by a signal"), "{ended:?}");
        world.coordinator.hold(false);
    }
}

#[test]
fn services_and_expirations() {
    let world = World::new();
    let output = format!(
        "--output=logdog,service=\"s1\",prefix-expiration=\"1h30m\",pubsub-endpoint={}",
        world.publisher.url()
    );
    let output = world
        .command(&[&output, "run", "--stdout=name=s", "printenv"])
        .arg("LOGDOG_COORDINATOR_HOST")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let calls = world.coordinator.calls();
    let host = format!("s1-dot-{}", world.coordinator.host());
    assert_eq!(calls[0].http.headers["host"], host);
    // Where links to the logs lead.
    assert_eq!(
        reassemble(&world.bundles())["s"].bytes,
        format!("{host}\n").as_bytes()
    );
    assert_eq!(calls[0].request.expiration.unwrap().seconds, 5400);
}

/// A program that embeds a butler has the output too.
#[test]
fn the_library_registers_and_publishes() {
    let world = World::new();
    let key = world.path().join("key.json");
    let tokens = crate::fakes::http::serve(|_| {
        Reply::json(r#"{"access_token":"from-key","expires_in":3600}"#)
    });
    std::fs::write(&key, key_file(&format!("http://{tokens}/"))).unwrap();
    let settings = LogdogOutput {
        credentials: Credentials::KeyFile(key),
        pubsub_endpoint: Some(world.publisher.url().parse().unwrap()),
        ..LogdogOutput::new(world.coordinator.host())
    };
    let mut config = Config::new(settings);
    config.project = ProjectName::new("test").unwrap();
    config.prefix = "tests/prefix".parse().unwrap();
    let report = crate::common::process::start(async {
        let error = Butler::new(config.clone()).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("Butler::open"), "{cause}");
        let butler = Butler::open(config).await.unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        let properties = StreamProperties::new("a/b".parse().unwrap(), StreamType::Text);
        butler.add_stream(reader.into(), &properties).unwrap();
        writer.write_all(b"hello\n").unwrap();
        drop(writer);
        butler.activate();
        butler.wait().await.unwrap()
    });
    assert!(report.unwrap().is_complete());
    assert_eq!(reassemble(&world.bundles())["a/b"].bytes, b"hello\n");
}
