//! What the kernel makes of it, on a thread of its own: only that gives up.

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use landlock::RulesetStatus;

use super::*;
use crate::cli::args::parse;
use crate::cli::options::Invocation;
use crate::cli::report_file::ReportFile;

/// Does `then` with what the command line needs, and nothing else. False if
/// the kernel has no Landlock of the version that the test is about.
fn confined(args: &[&str], then: impl FnOnce() + Send) -> bool {
    let Ok(Invocation::Serve(common)) = parse(args.iter().map(Into::into)) else {
        panic!("{args:?}");
    };
    confined_to(Needs::of(&common), then)
}

/// The same, with what is needed.
fn confined_to(needs: Needs, then: impl FnOnce() + Send) -> bool {
    thread::scope(|scope| {
        let confined = scope.spawn(move || {
            let status = needs.restrict().unwrap();
            if status.ruleset != RulesetStatus::FullyEnforced {
                println!("skipped: Landlock is {:?}", status.ruleset);
                return false;
            }
            then();
            true
        });
        confined.join().unwrap()
    })
}

fn assert_denied<T>(result: io::Result<T>) {
    let error = result.err().expect("it is not allowed");
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
}

#[test]
fn beneath_a_directory_and_nowhere_else() {
    let temp = tempfile::tempdir().unwrap();
    let (inside, outside) = (temp.path().join("inside"), temp.path().join("outside"));
    fs::create_dir_all(inside.join("job")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "untouched").unwrap();
    let logs = inside.join("job/logs");
    let output = format!("directory,path={}", logs.display());
    confined(&["--output", &output], || {
        fs::create_dir(inside.join("job again")).unwrap();
        fs::create_dir_all(logs.join("a")).unwrap();
        fs::write(logs.join("a/b"), "b").unwrap();
        fs::remove_file(logs.join("a/b")).unwrap();
        assert_denied(fs::write(outside.join("file"), "gone"));
        assert_denied(fs::write(outside.join("new"), "x"));
        assert_denied(fs::remove_file(outside.join("file")));
        assert_denied(fs::read(outside.join("file")));
        assert_denied(fs::read("/etc/passwd"));
        assert_denied(fs::read_dir("/"));
        assert_denied(fs::rename(outside.join("file"), logs.join("file")));
        assert_denied(std::process::Command::new("/bin/true").status());
    });
    assert_eq!(fs::read(outside.join("file")).unwrap(), b"untouched");
}

#[test]
fn what_is_written_at_the_end() {
    let temp = tempfile::tempdir().unwrap();
    let stats = temp.path().join("stats");
    fs::write(&stats, "a longer text from an earlier run").unwrap();
    let Ok(Invocation::Serve(common)) = parse(["--output=null".into()]) else {
        panic!("it is to serve");
    };
    let file = ReportFile::prepare("stats-path", &stats).unwrap();
    let needs = Needs::of(&common).of_report(Some(&file));
    confined_to(needs, || {
        // A job made something there meanwhile.
        fs::write(&stats, "something else").unwrap();
        file.write(&serde_json::json!({}));
        assert_denied(fs::read(&stats));
    });
    let left = fs::read_dir(temp.path()).unwrap().count();
    assert_eq!((fs::read(&stats).unwrap(), left), (b"{}\n".to_vec(), 1));
}

#[test]
fn connections() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("s");
    let _unix = UnixListener::bind(&path).unwrap();
    let one = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let [one, other] = [one, other].map(|it| (it.local_addr().unwrap(), it));
    confined(&["--output=null"], || {
        assert_denied(TcpStream::connect(one.0));
        assert_denied(TcpListener::bind("127.0.0.1:0"));
    });
    confined(&["--output", &format!("tcp:{}", one.0)], || {
        TcpStream::connect(one.0).unwrap();
        assert_denied(TcpStream::connect(other.0));
        fs::read(Path::new("/etc/passwd")).unwrap();
        assert_denied(fs::write("/etc/butler-was-here", ""));
    });
    confined(&["--output", &format!("unix:{}", path.display())], || {
        UnixStream::connect(&path).unwrap();
    });
}
