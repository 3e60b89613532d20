//! What peers send back of what they got is not shown.

use std::process::Output;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use butler::proto::registration::RegisterPrefixRequest;
use prost::Message;
use serde_json::{Value, json};

use crate::accounts::key_file;
use crate::fakes::coordinator::{error, success};
use crate::fakes::http::{self, Reply};
use crate::fakes::publisher::Fate;
use crate::fakes::{SECRET, TOPIC, World, bare};

/// In place of what is not shown.
const MASK: &str = "[secret]";

fn secret() -> &'static str {
    std::str::from_utf8(SECRET).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What it said, in which none of `secrets` is to be found.
fn stderr_without(output: &Output, secrets: &[&str]) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    for secret in secrets {
        let bytes = secret.as_bytes();
        for form in [secret.to_string(), hex(bytes), STANDARD.encode(bytes)] {
            assert!(!stderr.contains(&form), "{form}: {stderr}");
        }
    }
    assert!(!stderr.contains('\x1b'), "{stderr}");
    assert!(!stderr.contains(&"x".repeat(200)), "{stderr}");
    stderr
}

/// Without its code a success is none, and still may have the secret in it;
/// so may an error in the encoding of a response.
#[test]
fn the_body_of_a_response_is_not_shown() {
    let body = || match success(SECRET, TOPIC) {
        Reply::Answer { body, .. } => body,
        Reply::Cut => unreachable!(),
    };
    let answer = |status, headers| Reply::Answer {
        status,
        headers,
        body: body(),
    };
    let world = World::new();
    world.coordinator.then(answer(200, vec![]));
    let code = ("X-Prpc-Grpc-Code", "13".to_string());
    world.coordinator.then(answer(200, vec![code.clone()]));
    let encoding = ("Content-Type", "application/prpc; encoding=binary".into());
    world.coordinator.then(answer(500, vec![code, encoding]));
    let output = world.command(&["run", "true"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(world.coordinator.calls().len(), 4);
    let stderr = stderr_without(&output, &[secret()]);
    assert!(
        stderr.contains("HTTP 200 without x-prpc-grpc-code"),
        "{stderr}"
    );
    assert!(stderr.contains("Internal: HTTP 500"), "{stderr}");
}

/// A Coordinator, or what stands before it, that quotes the whole call.
#[test]
fn a_call_that_is_quoted() {
    let address = http::serve(|call| {
        let request = RegisterPrefixRequest::decode(&*call.body).unwrap();
        let nonce = hex(&request.op_nonce);
        let token = &call.headers["authorization"];
        let mut text = format!("\x1b[31mno: {token}, nonce {nonce}\n").into_bytes();
        text.extend_from_slice(b"\xff ");
        text.extend_from_slice(&vec![b'x'; 100_000]);
        Reply::Answer {
            status: 400,
            headers: vec![("X-Prpc-Grpc-Code", "3".into())],
            body: text,
        }
    });
    let world = World::new();
    let host = format!("--coordinator-host={address}");
    let output = world.command(&[&host, "run", "true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(250), "{output:?}");
    let stderr = stderr_without(&output, &["task-1"]);
    let says = format!(r"\x1b[31mno: Bearer {MASK}, nonce {MASK}\n\xff xxx");
    assert!(stderr.contains(&says), "{stderr}");
    assert!(stderr.contains("x…"), "{stderr}");
}

/// Half of it too: who quotes it may cut it.
#[test]
fn the_secret_as_a_topic() {
    let world = World::new();
    for (topic, says) in [
        (
            secret().to_owned(),
            format!("gives no valid topic: \"{MASK}\""),
        ),
        (
            format!("projects/{}/topics/1", &secret()[..20]),
            format!("projects/{MASK}/topics/1"),
        ),
    ] {
        world.coordinator.then(success(SECRET, &topic));
        let output = world.command(&["run", "true"]).output().unwrap();
        assert_eq!(output.status.code(), Some(250), "{output:?}");
        let stderr = stderr_without(&output, &[secret(), &secret()[..20]]);
        assert!(stderr.contains(&says), "{stderr}");
    }
    // One that is valid is published to, and not shown.
    let topic = format!("projects/p/topics/t{}", secret());
    world.coordinator.then(success(SECRET, &topic));
    world.publisher.set(|call| match call.number {
        0 => Fate::Refuse(14),
        _ => Fate::Accept,
    });
    let output = world.command(&["run", "echo", "x"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(world.publisher.calls()[0].topic, topic);
    let stderr = stderr_without(&output, &[secret()]);
    let says = format!("output logdog (projects/p/topics/t{MASK}): Unavailable");
    assert!(stderr.contains(&says), "{stderr}");
}

/// LUCI's token server quotes the secret that it is shown.
#[test]
fn the_secret_of_local_auth() {
    const LUCI_SECRET: &str = "bG9jYWwtYXV0aC1zZWNyZXQ=";
    let replies: [fn(&Value) -> Reply; 4] = [
        |call| Reply::status(403, format!("wrong: {}", call["secret"])),
        |call| Reply::status(403, json!({"error": call["secret"]}).to_string()),
        |call| Reply::json(json!({"error_code": 1, "error_message": call}).to_string()),
        |call| Reply::json(json!({"error_code": 1, "error_message": call["secret"]}).to_string()),
    ];
    for reply in replies {
        let address = http::serve(move |call| reply(&serde_json::from_slice(&call.body).unwrap()));
        let world = World::new();
        let context = json!({"local_auth": {
            "rpc_port": address.port(), "secret": LUCI_SECRET, "default_account_id": "task",
        }});
        let output = world
            .command_with(&context.to_string(), &["run", "true"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(250), "{output:?}");
        stderr_without(&output, &[LUCI_SECRET, &LUCI_SECRET[..12]]);
    }
}

/// The token server of a service account quotes the assertion, which is as
/// good as a key for an hour; or sends a token with a status that has none.
#[test]
fn an_assertion_and_a_token_of_no_use() {
    let replies: [fn(&str) -> Reply; 3] = [
        |assertion| Reply::status(400, format!("bad: {assertion}")),
        |assertion| {
            let json = json!({"error": "invalid_grant", "error_description": assertion});
            Reply::status(400, json.to_string())
        },
        |_| Reply::status(201, "access_token=not-for-logs"),
    ];
    for reply in replies {
        let seen = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let assertion = std::sync::Arc::clone(&seen);
        let address = http::serve(move |call| {
            let body = String::from_utf8(call.body).unwrap();
            let (_, given) = body.rsplit_once('=').unwrap();
            *assertion.lock().unwrap() = given.to_owned();
            reply(given)
        });
        let world = World::new();
        let key = world.path().join("key.json");
        std::fs::write(&key, key_file(&format!("http://{address}/"))).unwrap();
        let output = bare(world.options())
            .arg("--service-account-json")
            .arg(&key)
            .args(["run", "true"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(250), "{output:?}");
        let assertion = seen.lock().unwrap().clone();
        stderr_without(&output, &[&assertion[..30], "not-for-logs"]);
    }
}

/// Pub/Sub quotes the token, or the message.
#[test]
fn what_is_published() {
    let world = World::new();
    world.publisher.set(|call| match call.number {
        0 => Fate::RefuseSaying(14, "for Bearer task-1"),
        1 => Fate::RefuseSaying(13, "in 0123456789abcdefghijklmnopqrstuvwxyz"),
        2 => Fate::RefuseSaying(16, "in 3031323334353637383961626364656667"),
        3 => Fate::RefuseSaying(3, "for task-1 and task-2%0a%1b[31m"),
        _ => Fate::Accept,
    });
    let output = world.command(&["run", "echo", "x"]).output().unwrap();
    let stderr = stderr_without(&output, &[secret(), "task-1", "task-2"]);
    let says = format!(r"InvalidArgument: for {MASK} and {MASK}\n\x1b[31m;");
    assert!(stderr.contains(&says), "{stderr}");
    assert!(world.bundles().is_empty(), "it was one message");
    let output = world.command(&["run", "true"]).output().unwrap();
    stderr_without(&output, &[secret(), "task-3"]);
}

/// What is said is shown, where there is no secret in it.
#[test]
fn reasons_are_shown() {
    let world = World::new();
    world
        .coordinator
        .then(error(7, "the project is closed: see \u{e9}\n"));
    let output = world.command(&["run", "true"]).output().unwrap();
    let stderr = stderr_without(&output, &[secret()]);
    assert!(
        stderr.contains("the project is closed: see \u{e9}"),
        "{stderr}"
    );
}
