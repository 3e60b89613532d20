//! Over TLS, with a certificate authority of our own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::common::authority::{Authority, Flaw};
use crate::common::content::{Sent, check_all, every_kind, noise, send_all};
use crate::common::process::{self, Serve, open, parse};
use crate::common::reassemble;
use crate::far::Store;

type Secure = StreamOwned<ServerConnection, TcpStream>;

/// A server, and the SPEC that leads to it.
struct Server {
    listener: TcpListener,
    config: Arc<ServerConfig>,
    spec: String,
}

impl Server {
    fn new(dir: &Path, authority: &Authority, config: ServerConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let ca = dir.join("ca.pem");
        std::fs::write(&ca, &authority.pem).unwrap();
        Self {
            listener,
            config: Arc::new(config),
            spec: format!("tcp:localhost:{port},tls=yes,ca={}", ca.display()),
        }
    }

    fn accept(&self) -> Secure {
        let (socket, _) = self.listener.accept().unwrap();
        let session = ServerConnection::new(Arc::clone(&self.config)).unwrap();
        StreamOwned::new(session, socket)
    }
}

/// A certificate of a client and its key, for the SPEC.
fn certificate(dir: &Path, authority: &Authority) -> String {
    let (certificate, key) = authority.client();
    let (path, key_path) = (dir.join("client.pem"), dir.join("client.key"));
    std::fs::write(&path, certificate).unwrap();
    std::fs::write(&key_path, key).unwrap();
    format!(",cert={},key={}", path.display(), key_path.display())
}

/// With and without acknowledgements and compression, all comes, and the session
/// ends as it should.
#[test]
fn all_that_is_sent_arrives() {
    let authority = Authority::new("tests");
    for (ack, compress) in [
        (true, "none"),
        (true, "zlib"),
        (false, "none"),
        (false, "zlib"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::new(dir.path(), &authority, authority.server(Flaw::None, ""));
        let keys = if ack { ",ack=yes" } else { "" };
        let output = format!("{}{keys},compress={compress}", server.spec);
        let serve = Serve::start(dir.path(), &["--output", &output]);
        let far = std::thread::spawn(move || {
            let mut connection = server.accept();
            if ack {
                let mut store = Store::default();
                store.take_all(connection);
                return store.bundles();
            }
            let mut bytes = Vec::new();
            // An end that the peer has not announced would be an error.
            connection.read_to_end(&mut bytes).unwrap();
            parse(&bytes)
        });
        let mut all = every_kind();
        all.push(Sent::binary("much", &noise(8 << 20)));
        send_all(&serve.socket, &all);
        let ended = serve.terminate();
        ended.expect_success();
        assert!(!ended.stderr.contains("not encrypted"), "{ended:?}");
        check_all(&reassemble(&far.join().unwrap()), &all);
    }
}

/// What was not acknowledged comes again over the next session.
#[test]
fn a_far_end_that_is_killed() {
    let authority = Authority::new("tests");
    let dir = tempfile::tempdir().unwrap();
    let server = Server::new(dir.path(), &authority, authority.server(Flaw::None, ""));
    let output = format!("{},ack=yes", server.spec);
    let serve = Serve::start(dir.path(), &["--output", &output]);
    let far = std::thread::spawn(move || {
        let mut store = Store::default();
        store.take(server.accept(), 3, 2);
        store.take(server.accept(), 2, 2);
        store.take_all(server.accept());
        store
    });
    let sent = Sent::binary("s", &noise(12 << 20));
    sent.send(&serve.socket);
    serve.terminate().expect_success();
    let store = far.join().unwrap();
    let bundles = store.bundles();
    assert!(store.len() > bundles.len());
    check_all(&reassemble(&bundles), &[sent]);
}

/// Sends a line to a server that should not get it; says what was said.
fn refused(server: Server, keys: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    std::fs::write(&source, "a line\n").unwrap();
    let output = format!("{}{keys}", server.spec);
    std::thread::spawn(move || {
        loop {
            let mut connection = server.accept();
            let mut bytes = Vec::new();
            let _ = connection.read_to_end(&mut bytes);
            assert!(bytes.is_empty(), "it was sent something");
        }
    });
    let args = ["--flush-timeout=700ms", "--output", &output, "stream"];
    let source = format!("--source={}", source.display());
    let ended = process::run(args.into_iter().chain(["--stream=name=s", &source]));
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(250), "{stderr}");
    assert!(stderr.contains("stream s: 7 bytes lost"), "{stderr}");
    assert!(stderr.contains("; trying again"), "{stderr}");
    stderr
}

/// Nothing is sent to who is not who it should be, and that is told.
#[test]
fn a_server_that_can_not_be_trusted() {
    let authority = Authority::new("tests");
    let other = Authority::new("other");
    for (flaw, issuer, says) in [
        (Flaw::Name, &authority, "it is for another name"),
        (Flaw::Expired, &authority, "it has expired"),
        (
            Flaw::None,
            &other,
            "nobody whom this machine trusts has issued it",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::new(dir.path(), &authority, issuer.server(flaw, ""));
        let stderr = refused(server, "");
        let says = format!("no TLS: the server's certificate is refused: {says}");
        assert!(stderr.contains(&says), "{stderr}");
    }
}

/// The name that is asked for is the host's, or the one that is given.
#[test]
fn a_server_of_another_name() {
    let authority = Authority::new("tests");
    let dir = tempfile::tempdir().unwrap();
    let server = Server::new(dir.path(), &authority, authority.server(Flaw::Name, ""));
    let output = format!("{},ack=yes,server-name=elsewhere.example", server.spec);
    let serve = Serve::start(dir.path(), &["--output", &output]);
    let far = std::thread::spawn(move || {
        let mut store = Store::default();
        store.take_all(server.accept());
        store.bundles()
    });
    let sent = Sent::text("s", b"a line\n");
    sent.send(&serve.socket);
    serve.terminate().expect_success();
    check_all(&reassemble(&far.join().unwrap()), &[sent]);
}

/// A server that wants to know who we are: only with a certificate that it trusts
/// does anything count as delivered, also without acknowledgements.
#[test]
fn certificates_of_clients() {
    let authority = Authority::new("tests");
    let clients = Authority::new("clients");
    let asking = || authority.server_for(Flaw::None, "", Some(&clients));
    for ack in [",ack=yes", ""] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::new(dir.path(), &authority, asking());
        let keys = certificate(dir.path(), &clients);
        let output = format!("{}{keys}{ack}", server.spec);
        let serve = Serve::start(dir.path(), &["--output", &output]);
        let far = std::thread::spawn(move || {
            let mut store = Store::default();
            let mut connection = server.accept();
            match ack {
                "" => {
                    let mut bytes = Vec::new();
                    connection.read_to_end(&mut bytes).unwrap();
                    parse(&bytes)
                }
                _ => {
                    store.take_all(connection);
                    store.bundles()
                }
            }
        });
        let sent = Sent::text("s", b"a line\n");
        sent.send(&serve.socket);
        serve.terminate().expect_success();
        check_all(&reassemble(&far.join().unwrap()), &[sent]);

        let other = certificate(dir.path(), &Authority::new("other"));
        let server = Server::new(dir.path(), &authority, asking());
        let stderr = refused(server, &format!("{other}{ack}"));
        assert!(stderr.contains("no TLS: "), "{stderr}");
    }
    // Whoever has none is told too, where it is known in time.
    let dir = tempfile::tempdir().unwrap();
    let server = Server::new(dir.path(), &authority, asking());
    let stderr = refused(server, ",ack=yes");
    assert!(stderr.contains("CertificateRequired"), "{stderr}");
}

/// Files that can't be used are named before anything begins, and what is in them is
/// not shown.
#[test]
fn files_that_can_not_be_used() {
    let authority = Authority::new("tests");
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(at("empty"), "").unwrap();
    std::fs::write(at("torn"), "-----BEGIN CERTIFICATE-----\nhush\n").unwrap();
    let (certificate, key) = authority.client();
    std::fs::write(at("cert"), certificate).unwrap();
    std::fs::write(at("key"), key).unwrap();
    std::fs::write(at("other"), Authority::new("other").client().1).unwrap();
    let (cert, empty, key, torn) = (at("cert"), at("empty"), at("key"), at("torn"));
    for (keys, names) in [
        (format!("ca={}", at("none")), "none"),
        (
            format!("ca={empty}"),
            "empty: there is no certificate in it",
        ),
        (format!("ca={torn}"), "torn"),
        (format!("ca={cert},cert={empty},key={key}"), "empty"),
        (format!("ca={cert},cert={cert},key={torn}"), "torn"),
        (
            format!("ca={cert},cert={cert},key={}", at("other")),
            "other",
        ),
        (format!("ca={cert},server-name=a b"), "a b"),
    ] {
        let output = format!("tcp:localhost:1,tls=yes,{keys}");
        let ended = process::run(["--output", &output, "run", "--", "echo", "ran"]);
        let stderr = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(250), "{keys}: {stderr}");
        assert!(ended.stdout.is_empty(), "the command has run");
        assert!(
            stderr.contains(names) && !stderr.contains("hush"),
            "{keys}: {stderr}"
        );
    }
}

/// A server that does not speak TLS, or closes at once, is told.
#[test]
fn a_server_without_tls() {
    let authority = Authority::new("tests");
    for (says, told) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "no TLS: "),
        (b"", "no TLS: the server has closed the connection"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let config = authority.server(Flaw::None, "");
        let server = Server::new(dir.path(), &authority, config);
        let serve = Serve::start(
            dir.path(),
            &["--output", &server.spec, "--flush-timeout=10ms"],
        );
        let mut stream = open(&serve.socket, "s", "text");
        writeln!(stream, "a line").unwrap();
        drop(stream);
        let (mut socket, _) = server.listener.accept().unwrap();
        socket.write_all(says).unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        serve.wait_for_stderr(told);
        serve.terminate();
    }
}

/// What leaves this machine unencrypted is said to, once.
#[test]
fn without_tls_off_loopback() {
    let unshared = |rest: &str| {
        let script = format!("ip link set lo up && ip address add 192.0.2.1/32 dev lo && {rest}");
        let mut command = std::process::Command::new("unshare");
        command.args(["-n", "sh", "-c", &script, "sh"]);
        command
    };
    match unshared("true").output() {
        Ok(output) if output.status.success() => {}
        other => return println!("skipped: no network of our own: {other:?}"),
    }
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    std::fs::write(&source, "a line\n").unwrap();
    // Who listens closes each connection at once.
    let listen = "python3 -c 'import socket\n\
        s = socket.socket(); s.bind((\"\", 9)); s.listen()\nwhile True: s.accept()[0].close()' &";
    for (address, warnings) in [("192.0.2.1:9", 1), ("127.0.0.1:9", 0)] {
        let butler = process::command([
            &format!("--output=tcp:{address},ack=yes"),
            "--flush-timeout=1s",
            "stream",
            "--stream=name=s",
            "--source",
        ]);
        let mut command = unshared(&format!("{listen} \"$@\"; kill $!"));
        command.arg(butler.get_program()).args(butler.get_args());
        let output = command.arg(&source).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let told = stderr.matches("is not encrypted: whoever is on the way");
        assert_eq!(told.count(), warnings, "{stderr}");
    }
}
