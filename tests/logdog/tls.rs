//! TLS, with a certificate authority of our own.

use std::process::Output;
use std::sync::Arc;

use crate::accounts::key_file;
use crate::common::authority::{Authority, Flaw};
use crate::common::content::{check_all, every_kind, send_all};
use crate::common::process::Serve;
use crate::common::reassemble;
use crate::fakes::World;
use crate::fakes::http::{self, Reply};
use crate::fakes::publisher::Publisher;

/// Publishes to a server with such a certificate, trusting `authority`.
fn world(authority: &Authority, flaw: Flaw) -> World {
    let mut world = World::new();
    world.publisher = Publisher::secure(authority.server(flaw, "h2"));
    world
}

fn trusting(world: &World, authority: &Authority, args: &[&str]) -> std::process::Command {
    let roots = world.path().join("roots.pem");
    std::fs::write(&roots, &authority.pem).unwrap();
    let mut command = world.command(args);
    command.env("SSL_CERT_FILE", roots);
    command
}

fn run(world: &World, authority: &Authority) -> Output {
    trusting(world, authority, &["run", "echo", "x"])
        .output()
        .unwrap()
}

#[test]
fn all_that_is_sent_arrives() {
    let authority = Authority::new("tests");
    let world = world(&authority, Flaw::None);
    let command = trusting(&world, &authority, &[]);
    let serve = Serve::spawn(command, world.socket());
    let all = every_kind();
    send_all(&serve.socket, &all);
    serve.terminate().expect_success();
    check_all(&reassemble(&world.bundles()), &all);
    let calls = world.publisher.calls();
    assert!(calls.iter().all(|call| call.token.is_some()));
}

#[test]
fn who_can_not_be_trusted_is_told() {
    let authority = Authority::new("tests");
    let other = Authority::new("other");
    for (flaw, trusted, says) in [
        (Flaw::Name, &authority, "it is for another name"),
        (Flaw::Expired, &authority, "it has expired"),
        (Flaw::None, &other, "nobody whom this machine trusts"),
    ] {
        let world = world(&authority, flaw);
        let output = run(&world, trusted);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(250), "{stderr}");
        assert!(stderr.contains(says), "{stderr}");
        assert!(
            stderr.contains("Pub/Sub: no TLS with localhost:"),
            "{stderr}"
        );
    }
}

/// HTTP calls have the same rules: here the one for a token.
#[test]
fn tokens_come_over_tls() {
    let authority = Authority::new("tests");
    for (flaw, code) in [(Flaw::None, 0), (Flaw::Expired, 250)] {
        let world = World::new();
        let config = Arc::new(authority.server(flaw, "http/1.1"));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                let stream = rustls::StreamOwned::new(session, socket);
                http::answer(stream, &|_| {
                    Reply::json(r#"{"access_token":"secure","expires_in":60}"#)
                });
            }
        });
        let key = world.path().join("key.json");
        std::fs::write(&key, key_file(&format!("https://localhost:{port}/t"))).unwrap();
        let option = format!("--service-account-json={}", key.display());
        let output = trusting(&world, &authority, &[&option, "run", "echo", "x"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        if code == 0 {
            assert_eq!(world.coordinator.calls()[0].token(), "secure");
        } else {
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert!(stderr.contains("it has expired"), "{stderr}");
        }
    }
}
