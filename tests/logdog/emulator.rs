//! Google's own emulator of Pub/Sub, where the machine has it: its jar is
//! where the variable BUTLER_PUBSUB_EMULATOR says, or where the package
//! google-cloud-cli-pubsub-emulator puts it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::common::content::{check_all, every_kind, send_all};
use crate::common::pattern::Content;
use crate::common::process::{Serve, wait_until};
use crate::common::reassemble;
use crate::common::tracker::Tracker;
use crate::common::writers::Writers;
use crate::fakes::publisher::Publisher;
use crate::fakes::{TOPIC, World, bundles};
use crate::spool::is_empty;

const SUBSCRIPTION: &str = "projects/test-cloud/subscriptions/logs";
const PACKAGED: &str = "/usr/lib/google-cloud-sdk/platform/pubsub-emulator/lib";

const STREAMS: usize = 300;

struct Emulator {
    java: Child,
    port: u16,
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.java.kill();
        let _ = self.java.wait();
    }
}

fn jar() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("BUTLER_PUBSUB_EMULATOR") {
        return Some(path.into());
    }
    let entries = std::fs::read_dir(PACKAGED).ok()?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("cloud-pubsub-emulator-") && name.ends_with("-all.jar")
        })
}

/// Where nobody listens yet.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port()
}

impl Emulator {
    /// With the topic and a subscription to it; `None` where there is none.
    fn start() -> Option<Self> {
        Self::start_at(free_port())
    }

    fn start_at(port: u16) -> Option<Self> {
        let Some(jar) = jar() else {
            eprintln!(
                "skipped: no emulator of Pub/Sub (package google-cloud-cli-pubsub-emulator, or \
                 BUTLER_PUBSUB_EMULATOR=JAR)"
            );
            return None;
        };
        let java = Command::new("java")
            .arg("-jar")
            .arg(jar)
            .args(["--host=127.0.0.1", &format!("--port={port}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let java = match java {
            Ok(java) => java,
            Err(error) => {
                eprintln!("skipped: java can't be run: {error}");
                return None;
            }
        };
        let emulator = Self { java, port };
        wait_until("the emulator listens", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        emulator.call("PUT", TOPIC, &json!({}));
        let subscription = json!({"topic": TOPIC, "ackDeadlineSeconds": 600});
        emulator.call("PUT", SUBSCRIPTION, &subscription);
        Some(emulator)
    }

    /// Plain REST.
    fn call(&self, method: &str, name: &str, body: &Value) -> Value {
        let mut socket = BufReader::new(TcpStream::connect(("127.0.0.1", self.port)).unwrap());
        let body = body.to_string();
        write!(
            socket.get_mut(),
            "{method} /v1/{name} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut line = String::new();
        socket.read_line(&mut line).unwrap();
        assert!(line.contains(" 200 "), "{method} {name}: {line}");
        let mut len = None;
        loop {
            let mut line = String::new();
            socket.read_line(&mut line).unwrap();
            match line.trim_end().to_lowercase().split_once(": ") {
                None => break,
                Some(("content-length", value)) => len = value.parse().ok(),
                Some(_) => {}
            }
        }
        let mut body = vec![0; len.expect("its answers have a length")];
        socket.read_exact(&mut body).unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    /// Everything that was published.
    fn pull(&self) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        let mut empty = 0;
        while empty < 3 {
            let pull = json!({"maxMessages": 16, "returnImmediately": true});
            let answer = self.call("POST", &format!("{SUBSCRIPTION}:pull"), &pull);
            let Some(received) = answer["receivedMessages"].as_array() else {
                empty += 1;
                continue;
            };
            empty = 0;
            let mut ids = Vec::new();
            for one in received {
                ids.push(one["ackId"].clone());
                let data = one["message"]["data"].as_str().unwrap();
                messages.push(STANDARD.decode(data).unwrap());
            }
            let acknowledged = json!({"ackIds": ids});
            self.call(
                "POST",
                &format!("{SUBSCRIPTION}:acknowledge"),
                &acknowledged,
            );
        }
        messages
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

#[test]
fn every_kind_of_stream_arrives() {
    let Some(emulator) = Emulator::start() else {
        return;
    };
    let world = World::new();
    let mut command = world.command(&[]);
    command.env("PUBSUB_EMULATOR_HOST", emulator.host());
    let serve = Serve::spawn(command, world.socket());
    serve.wait_for_stderr("bundles are published at");
    let all = every_kind();
    send_all(&serve.socket, &all);
    serve.terminate().expect_success();
    check_all(&reassemble(&bundles(&emulator.pull())), &all);
    assert!(world.publisher.calls().is_empty());
}

/// Megabytes that the job writes.
fn megabytes() -> usize {
    match std::env::var("BUTLER_EMULATOR_MEGABYTES") {
        Ok(given) => given.parse().unwrap(),
        Err(_) => 200,
    }
}

/// The job of the test below, when that runs it.
#[test]
fn job() {
    const PREFIX: &str = "unix:";
    if std::env::var_os("BUTLER_TEST_JOB").is_none() {
        return;
    }
    let server = std::env::var("LOGDOG_STREAM_SERVER_PATH").unwrap();
    let socket = PathBuf::from(server.strip_prefix(PREFIX).unwrap());
    let content = Content::lines();
    let goal = (megabytes() * 1_000_000 / STREAMS) as u64;
    Writers::open(&socket, STREAMS, "text", &content, goal).push_to_end();
}

/// A butler that runs it, for a Pub/Sub there.
fn job_command(world: &World, port: u16, options: &[&str]) -> Command {
    let mut command = world.command(&["--log-level=info"]);
    command
        .args(options)
        .args(["run", "--attach=false", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "emulator::job"])
        .env("PUBSUB_EMULATOR_HOST", format!("127.0.0.1:{port}"))
        .env("BUTLER_TEST_JOB", "1");
    command
}

/// Compares what it wrote byte for byte.
fn check_job(messages: &[Vec<u8>]) {
    let mut tracker = Tracker::new(Arc::new(Content::lines()));
    for bundle in &bundles(messages) {
        tracker.take(bundle);
    }
    let goal = (megabytes() * 1_000_000 / STREAMS) as u64;
    assert_eq!(tracker.streams.len(), STREAMS);
    assert_eq!(tracker.terminals(), STREAMS);
    for stream in tracker.streams.values() {
        assert_eq!(stream.bytes, goal);
    }
}

/// 200 MB over 300 streams.
#[test]
fn a_large_job_arrives() {
    let Some(emulator) = Emulator::start() else {
        return;
    };
    let world = World::new();
    let begun = Instant::now();
    let output = job_command(&world, emulator.port, &[]).output().unwrap();
    let took = begun.elapsed();
    assert!(output.status.success(), "{output:?}");
    check_job(&emulator.pull());
    eprintln!("{took:?}");
    assert!(took < Duration::from_secs(300));
}

/// The same job while there is no Pub/Sub at all: it waits on disk, and what is
/// sent when there is one is all of it.
#[test]
fn a_large_job_is_sent_later() {
    let world = World::new();
    let port = free_port();
    let path = world.path().join("spool");
    let spool = format!("--spool={}", path.display());
    let options = [&*spool, "--flush-timeout=1s"];
    let output = job_command(&world, port, &options).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let bytes = megabytes() * 1_000_000 / STREAMS * STREAMS;
    let waits = format!(
        "{STREAMS} streams, {bytes} bytes wait in {}",
        path.display()
    );
    assert!(stderr.contains(&waits), "{stderr}");

    let send = || {
        let mut command = world.sending(&path);
        command.env("PUBSUB_EMULATOR_HOST", format!("127.0.0.1:{port}"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(is_empty(&path));
    };
    match Emulator::start_at(port) {
        Some(emulator) => {
            send();
            check_job(&emulator.pull());
        }
        None => {
            let publisher = Publisher::start_at(port);
            send();
            check_job(&publisher.accepted());
        }
    }
}
