//! Where tokens come from, and how they are kept fresh.

use std::io::Write;
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::common::process::{open, wait_until};
use crate::common::reassemble;
use crate::fakes::http::{self, Reply, Request};
use crate::fakes::publisher::Fate;
use crate::fakes::{World, bare};

const SCOPES: [&str; 2] = [
    "https://www.googleapis.com/auth/userinfo.email",
    "https://www.googleapis.com/auth/pubsub",
];

/// The key file of a service account, whose tokens come from `token_uri`.
pub fn key_file(token_uri: &str) -> String {
    json!({
        "type": "service_account",
        "client_email": "butler@tests.example",
        "private_key_id": "key-1",
        "private_key": include_str!("../common/test-key.pem"),
        "token_uri": token_uri,
    })
    .to_string()
}

fn run(world: &World, args: &[&str]) -> Output {
    bare(world.options())
        .args(args)
        .args(["run", "echo", "x"])
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn publishing_tokens(world: &World) -> Vec<String> {
    let calls = world.publisher.calls();
    calls.into_iter().filter_map(|call| call.token).collect()
}

#[test]
fn a_service_account_signs_for_its_tokens() {
    let world = World::new();
    let seen = Arc::new(Mutex::new(Vec::<Request>::new()));
    let requests = Arc::clone(&seen);
    let address = http::serve(move |request| {
        requests.lock().unwrap().push(request);
        match requests.lock().unwrap().len() {
            1 => Reply::status(503, "busy"),
            _ => Reply::json(
                r#"{"access_token":"from-key","expires_in":3600,"token_type":"Bearer"}"#,
            ),
        }
    });
    let path = world.path().join("key.json");
    std::fs::write(&path, key_file(&format!("http://{address}/token"))).unwrap();
    let output = run(&world, &["--service-account-json", path.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(world.coordinator.calls()[0].token(), "from-key");
    assert_eq!(publishing_tokens(&world), ["from-key"]);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2, "one failure, and one token for all");
    assert_eq!(seen[1].target, "/token");
    let body = String::from_utf8(seen[1].body.clone()).unwrap();
    let assertion = body
        .strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=")
        .unwrap();
    let claims = assertion.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    assert_eq!(claims["iss"], "butler@tests.example");
    assert_eq!(claims["scope"], SCOPES.join(" "));
    assert!(!stderr(&output).contains("from-key"));
    assert!(!stderr(&output).contains(assertion));
}

#[test]
fn keys_that_can_not_be_used() {
    let world = World::new();
    let address = http::serve(|_| {
        Reply::status(
            400,
            r#"{"error":"invalid_grant","error_description":"disabled"}"#,
        )
    });
    let path = world.path().join("key.json");
    for (content, says) in [
        (None, "No such file"),
        (Some("{".into()), "it is no JSON"),
        (Some("{}".into()), "token_uri is missing"),
        (
            Some(key_file(&format!("http://{address}/"))),
            "butler@tests.example: HTTP 400: invalid_grant: disabled",
        ),
    ] {
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let output = run(&world, &["--service-account-json", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(250), "{says}");
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
    }
    assert!(world.coordinator.calls().is_empty());
}

/// A metadata server, and its requests.
fn metadata_server() -> (std::net::SocketAddr, Arc<Mutex<Vec<Request>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let requests = Arc::clone(&seen);
    let address = http::serve(move |request| {
        let flavored = request
            .headers
            .get("metadata-flavor")
            .is_some_and(|it| it == "Google");
        requests.lock().unwrap().push(request);
        match flavored {
            true => Reply::json(r#"{"access_token":"from-gce","expires_in":3000}"#),
            false => Reply::status(403, "no flavor"),
        }
    });
    (address, seen)
}

/// When asked for, and when there is nothing else.
#[test]
fn the_machine_has_an_account() {
    let (address, seen) = metadata_server();
    for option in ["--service-account-json=:gce", "--service-account-json="] {
        let world = World::new();
        let output = bare(world.options())
            .env("GCE_METADATA_HOST", address.to_string())
            .args([option, "run", "echo", "x"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(world.coordinator.calls()[0].token(), "from-gce");
        assert_eq!(publishing_tokens(&world), ["from-gce"]);
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        assert_eq!(seen.len(), 1);
        let path = "/computeMetadata/v1/instance/service-accounts/default/token";
        assert!(seen[0].target.starts_with(path));
        assert!(seen[0].target.contains(&SCOPES.join(",")));
    }
}

#[test]
fn without_an_account_all_ways_to_one_are_listed() {
    let world = World::new();
    let output = run(&world, &[]);
    assert_eq!(output.status.code(), Some(250));
    let stderr = stderr(&output);
    for way in ["--service-account-json", "LUCI_CONTEXT", "Google"] {
        assert!(stderr.contains(way), "{stderr}");
    }
}

#[test]
fn luci_context_has_accounts() {
    let world = World::new();
    let output = world.command(&["run", "echo", "x"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let requests = world.luci.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0]["scopes"], json!(SCOPES));
    assert_eq!(requests[0]["account_id"], "task");

    let broken = json!({"local_auth": {
        "rpc_port": world.luci.port(), "secret": "c2VjcmV0", "default_account_id": "broken",
    }});
    let output = world
        .command_with(&broken.to_string(), &["run", "true"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(250));
    let says = "the account \"broken\" of LUCI_CONTEXT: error 5: no such account";
    assert!(stderr(&output).contains(says), "{}", stderr(&output));
}

/// As the command of the reference has it: one account registers and
/// publishes, whatever the realm is.
#[test]
fn one_account_does_it_all() {
    for realm in [
        r#"{"name":"test:ci"}"#,
        r#"{"name":"other:ci"}"#,
        r#"{"name":7}"#,
    ] {
        for option in [&[] as &[&str], &["--realm=none"], &["--realm="]] {
            let world = World::new();
            let context = world.luci.context(&format!(r#"{{"realm":{realm}}}"#));
            let output = world
                .command_with(&context, &[option, &["run", "echo", "x"]].concat())
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            let calls = world.coordinator.calls();
            assert_eq!(calls.len(), 1);
            assert_eq!((calls[0].token(), &*calls[0].request.realm), ("task-1", ""));
            assert_eq!(publishing_tokens(&world), ["task-1"]);
        }
    }
}

/// In a realm the task registers, and the system publishes.
#[test]
fn realms() {
    for (context, option, realm) in [
        (r#"{"realm":{"name":"test:ci"}}"#, "--realm=auto", "ci"),
        (
            r#"{"realm":{"name":"other:ci"}}"#,
            "--realm=try/a.b",
            "try/a.b",
        ),
        ("{}", "--realm=@root", "@root"),
    ] {
        let world = World::new();
        let context = world.luci.context(context);
        let output = world
            .command_with(&context, &[option, "run", "echo", "x"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let calls = world.coordinator.calls();
        assert_eq!(
            (calls[0].token(), &*calls[0].request.realm),
            ("task-1", realm)
        );
        assert_eq!(publishing_tokens(&world), ["system-2"]);
    }
    // There is none to be in.
    let world = World::new();
    let output = world
        .command(&["--realm=auto", "run", "echo", "x"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(world.coordinator.calls()[0].request.realm, "");
    assert_eq!(publishing_tokens(&world), ["task-1"]);
}

#[test]
fn who_is_denied_in_a_realm_tries_as_the_system() {
    let world = World::new();
    world.coordinator.deny("task-1");
    let context = world.luci.context(r#"{"realm":{"name":"test:ci"}}"#);
    let output = world
        .command_with(&context, &["--realm=auto", "run", "echo", "x"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let calls = world.coordinator.calls();
    let tokens: Vec<_> = calls.iter().map(|call| call.token()).collect();
    assert_eq!(tokens, ["task-1", "system-2"]);
    assert_eq!(calls[0].request, calls[1].request);
    assert_eq!(publishing_tokens(&world), ["system-2"]);

    // Once.
    world.coordinator.deny("task-3");
    world.coordinator.deny("system-4");
    let output = world
        .command_with(&context, &["--realm=auto", "run", "true"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(250));
    assert!(stderr(&output).contains("realm test:ci"), "{output:?}");
    assert_eq!(world.coordinator.calls().len(), 4);

    // And not where no realm is asked for.
    world.coordinator.deny("task-5");
    let output = world
        .command_with(&context, &["run", "true"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(250));
    assert_eq!(world.coordinator.calls().len(), 5);
}

#[test]
fn realms_that_are_refused() {
    let world = World::new();
    let context = world.luci.context(r#"{"realm":{"name":"other:ci"}}"#);
    for (option, says) in [
        ("--realm=auto", "the project other"),
        ("--realm=test:ci", "--realm \"test:ci\" is not allowed"),
    ] {
        let output = world
            .command_with(&context, &[option, "run", "true"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(says), "{output:?}");
    }
    assert!(world.coordinator.calls().is_empty());
}

/// It is an error only where something of it is needed.
#[test]
fn a_luci_context_that_can_not_be_read() {
    let tokens = http::serve(|_| Reply::json(r#"{"access_token":"from-key","expires_in":3600}"#));
    let world = World::new();
    let key = world.path().join("key.json");
    std::fs::write(&key, key_file(&format!("http://{tokens}/"))).unwrap();
    let account = format!("--service-account-json={}", key.display());
    let broken = world.path().join("broken.json");
    std::fs::write(&broken, r#"{"local_auth":{}}"#).unwrap();
    for (path, says) in [
        (world.path().join("absent.json"), "No such file"),
        (broken, "local_auth.rpc_port is no port"),
    ] {
        for (options, code) in [
            (&[&*account] as &[&str], 0),
            (&[], 250),
            (&[&account, "--realm=auto"], 250),
        ] {
            let output = bare(world.options())
                .env("LUCI_CONTEXT", &path)
                .args(options)
                .args(["run", "echo", "x"])
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(code), "{options:?}: {output:?}");
            let stderr = stderr(&output);
            assert!(stderr.contains(says), "{stderr}");
            let level = if code == 0 {
                "warning: LUCI_CONTEXT="
            } else {
                "error: "
            };
            let told = stderr.lines().find(|line| line.contains(says)).unwrap();
            assert!(told.contains(level), "{told}");
        }
    }
    assert_eq!(publishing_tokens(&world), ["from-key", "from-key"]);
}

/// Against an emulator and a Coordinator on this machine nobody has to be
/// anybody; who is somebody says so.
#[test]
fn no_account_is_needed_where_nobody_asks() {
    let world = World::new();
    let emulator = format!("127.0.0.1:{}", world.publisher.port());
    let command = || {
        let mut command = bare(world.options());
        command.env("PUBSUB_EMULATOR_HOST", &emulator);
        command
    };
    let output = command().args(["run", "echo", "x"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let call = &world.coordinator.calls()[0];
    assert!(!call.http.headers.contains_key("authorization"));
    assert_eq!(world.publisher.calls()[0].token, None);

    let output = world
        .command(&["run", "true"])
        .env("PUBSUB_EMULATOR_HOST", &emulator)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(world.coordinator.calls()[1].token(), "task-1");
    assert!(publishing_tokens(&world).is_empty());

    // A Coordinator that wants to know.
    world.coordinator.then(Reply::status(401, "who are you?"));
    let output = command().args(["run", "true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(250), "{output:?}");
    let says = "wants an account (--service-account-json): Unauthenticated: who are you?";
    assert!(stderr(&output).contains(says), "{output:?}");
    assert_eq!(world.coordinator.calls().len(), 3);

    // One that is somewhere else.
    let host = "--coordinator-host=coordinator.invalid";
    let output = command().args([host, "run", "true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(250), "{output:?}");
    assert!(
        stderr(&output).contains("there are no credentials"),
        "{output:?}"
    );
}

/// Tokens live 4 s here, so they are renewed after 2.
#[test]
fn tokens_are_renewed_before_they_expire() {
    let world = World::new();
    world.luci.set_lifetime(4);
    let serve = world.serve(&["--output-no-buffer"]);
    let mut stream = open(&serve.socket, "s", "text");
    for round in 0..50 {
        if round == 15 {
            // The old token is good for a while yet.
            world.luci.fail(3);
        }
        stream.write_all(b"line\n").unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(stream);
    let ended = serve.terminate();
    ended.expect_success();
    assert!(!ended.stderr.contains("; trying again"), "{ended:?}");
    let renewals = world.luci.requests().len();
    assert!((2..=5).contains(&renewals), "{renewals}");
    let streams = reassemble(&world.bundles());
    assert_eq!(streams["s"].lines.len(), 50);
}

/// The server forgets a token while many publishes are under way: they are
/// all sent again, with one new token.
#[test]
fn one_new_token_for_all_who_need_it() {
    let world = World::new();
    world.publisher.set(|call| match call.token.as_deref() {
        Some("task-1") if call.number > 3 => Fate::Refuse(16),
        _ => Fate::Slow(Duration::from_millis(50)),
    });
    let serve = world.serve(&["--output-no-buffer"]);
    let mut stream = open(&serve.socket, "s", "text");
    for _ in 0..300 {
        stream.write_all(b"line\n").unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    drop(stream);
    let ended = serve.terminate();
    ended.expect_success();
    assert_eq!(world.luci.requests().len(), 2);
    assert_eq!(reassemble(&world.bundles())["s"].lines.len(), 300);
}

/// A token that is refused, and then the next one too, is final.
#[test]
fn who_is_not_known_at_all_loses() {
    let world = World::new();
    world.publisher.set(|_| Fate::Refuse(16));
    let serve = world.serve(&[]);
    let mut stream = open(&serve.socket, "s", "text");
    stream.write_all(b"lost\n").unwrap();
    drop(stream);
    wait_until("it is read", || !serve.statistics()["streams"].is_null());
    let ended = serve.terminate();
    assert_eq!(ended.status.code(), Some(250), "{ended:?}");
    assert!(ended.stderr.contains("stream s: 5 bytes lost"), "{ended:?}");
    assert_eq!(world.publisher.calls().len(), 2);
}
