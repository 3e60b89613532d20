//! Butler is killed (SIGKILL) while it writes to a directory: every file holds
//! the beginning of what was written, and the next butler begins anew.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::butler_killed::{Life, wait_until_nobody_listens};
use crate::common::pattern::Content;
use crate::common::process::{Serve, command, datagram, open};
use crate::common::tracker::name;
use crate::random::Random;
use crate::seed;

/// Of each type of stream.
const KILLS: u64 = 40;
const DATAGRAM: usize = 3000;

#[test]
fn text_is_what_was_written() {
    killed("text", &Content::lines());
}

#[test]
fn binary_is_what_was_written() {
    killed("binary", &Content::noise());
}

#[test]
fn datagrams_are_what_was_written() {
    killed("datagram", &Content::datagrams(DATAGRAM));
}

fn killed(stream_type: &'static str, content: &Content) {
    let mut random = Random::new(seed());
    let dir = tempfile::tempdir().unwrap();
    let out = Out {
        path: dir.path().join("out"),
        stream_type,
    };
    let mut bytes = 0;
    for _ in 0..KILLS {
        let life = Life::draw(&mut random);
        life.live(dir.path(), &out.spec(), stream_type, content);
        for number in 0..life.writers {
            bytes += out.check(number, content);
        }
    }
    println!("{KILLS} kills: {bytes} bytes of {stream_type} streams");
    assert!(bytes > KILLS as usize);
    out.begins_anew(dir.path());
}

struct Out {
    path: PathBuf,
    stream_type: &'static str,
}

impl Out {
    fn spec(&self) -> String {
        format!("directory,path={}", self.path.display())
    }

    /// The bytes that are there of a stream, which are those of its beginning.
    /// Its descriptor is complete. Without one there is no stream: the butler
    /// was only about to replace an earlier one.
    fn check(&self, number: usize, content: &Content) -> usize {
        let bytes = self.content(&number.to_string());
        assert!(content.matches(number, 0, &bytes), "s/{number}");
        let Ok(meta) = fs::read(self.path.join(format!("s/.meta.{number}"))) else {
            return 0;
        };
        let meta: Value = serde_json::from_slice(&meta).unwrap();
        assert_eq!(meta["name"], name(number));
        bytes.len()
    }

    fn content(&self, file: &str) -> Vec<u8> {
        let path = self.path.join("s");
        if self.stream_type != "datagram" {
            return fs::read(path.join(file)).unwrap_or_default();
        }
        let mut all = Vec::new();
        for at in 0.. {
            let Ok(datagram) = fs::read(path.join(format!("_{at:05}.{file}"))) else {
                break;
            };
            // Only the last may be cut.
            assert_eq!(all.len(), at * DATAGRAM, "datagram {at} of s/{file}");
            all.extend(datagram);
        }
        all
    }

    /// The next butler's stream of the same name has nothing of the old one,
    /// and whoever reads the directory finds nothing to complain of.
    fn begins_anew(&self, dir: &Path) {
        wait_until_nobody_listens(dir);
        let serve = Serve::start(dir, &["--output", &self.spec()]);
        let mut stream = open(&serve.socket, "s/0", self.stream_type);
        let written = match self.stream_type {
            "datagram" => datagram(b"anew"),
            _ => b"anew".to_vec(),
        };
        stream.write_all(&written).unwrap();
        drop(stream);
        serve.terminate().expect_success();
        assert_eq!(self.content("0"), b"anew");
        let cat = command(["cat", "--list"]).arg(&self.path).output().unwrap();
        assert!(cat.status.success(), "{cat:?}");
        assert_eq!(cat.stderr, b"", "{cat:?}");
    }
}
