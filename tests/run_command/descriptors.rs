//! Descriptors that whoever starts butler passes to the command.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::fs::{FlockOperation, flock};

use crate::common::process;

/// Runs a script of bash in which `"$@"` is butler, with the output that
/// [`crate::streams`] reads. `None`: there is no bash.
fn bash(dir: &Path, script: &str) -> Option<Output> {
    let butler = process::command(["--output=file,path=logs"]);
    let mut bash = Command::new("bash");
    bash.args(["-c", script, "bash"])
        .arg(butler.get_program())
        .args(butler.get_args())
        .current_dir(dir)
        .stdin(Stdio::null());
    match bash.output() {
        Ok(output) => Some(output),
        Err(error) => {
            println!("skipped: bash: {error}");
            None
        }
    }
}

fn stdout(output: &Output) -> &str {
    assert!(output.status.success(), "{output:?}");
    std::str::from_utf8(&output.stdout).unwrap()
}

/// Under the numbers that they have; and nothing of ours.
#[test]
fn what_is_passed_is_there_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    // The highest of bash's own is that of a file which it reads.
    let script = "\"$@\" run -- bash -c 'echo 5<&5; ls /proc/$$/fd' 5</dev/null 77>&1 </dev/null";
    let plain = "bash -c 'echo 5<&5; ls /proc/$$/fd' 5</dev/null 77>&1 </dev/null | cat";
    let Some(found) = bash(dir.path(), script) else {
        return;
    };
    let expected = bash(dir.path(), plain).unwrap();
    assert!(stdout(&expected).contains("\n5\n"));
    assert_eq!(stdout(&found), stdout(&expected));
}

#[test]
fn process_substitution() {
    let dir = tempfile::tempdir().unwrap();
    let script = "\"$@\" run -- cat <(echo from a pipe) <(echo from another)";
    let Some(output) = bash(dir.path(), script) else {
        return;
    };
    assert_eq!(stdout(&output), "from a pipe\nfrom another\n");
}

/// But one that we write to we need.
#[test]
fn an_output_that_is_passed_as_a_descriptor() {
    let dir = tempfile::tempdir().unwrap();
    let script = "\"$@\" --output file,path=/dev/fd/6 --stats-path /dev/fd/7 \
        run -- sh -c 'sleep 0.2; echo x' 6> >(cat > logs; : > 6) 7> >(cat > stats; : > 7); \
        while [ ! -e 6 ] || [ ! -e 7 ]; do sleep 0.02; done";
    let Some(output) = bash(dir.path(), script) else {
        return;
    };
    assert_eq!(stdout(&output), "x\n");
    assert_eq!(crate::streams(dir.path())["stdout"].bytes, b"x\n");
    let stats = crate::json_file(&dir.path().join("stats"));
    assert_eq!(stats["bytes_in"], 2);
}

#[test]
fn a_lock_that_flock_holds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let script = "exec 9>lock; flock 9 || exit 77; \"$@\" run -- sh -c \
        ': > ready; while [ ! -e go ]; do sleep 0.02; done; flock -n 9 && echo mine'";
    let path_of_thread = dir.path().to_owned();
    let butler = std::thread::spawn(move || bash(&path_of_thread, script));
    let ready = dir.path().join("ready");
    process::wait_until("the command runs", || {
        ready.exists() || butler.is_finished()
    });
    let locked = ready.exists().then(|| {
        let lock = File::open(&path).unwrap();
        flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err()
    });
    fs::write(dir.path().join("go"), "").unwrap();
    let Some(output) = butler.join().unwrap() else {
        return;
    };
    if output.status.code() == Some(77) {
        println!("skipped: there is no flock");
        return;
    }
    assert_eq!(stdout(&output), "mine\n");
    assert_eq!(locked, Some(true));
}

/// Two makes share the outer one's slots through us.
#[test]
fn the_jobserver_of_make() {
    let dir = tempfile::tempdir().unwrap();
    let inner = "all: a b c d\na b c d:\n\t@echo $@ >> order; sleep 0.1\n";
    fs::write(dir.path().join("inner"), inner).unwrap();
    let butler = process::command(["--output=file,path=logs", "run", "--"]);
    let words: Vec<_> = std::iter::once(butler.get_program())
        .chain(butler.get_args())
        .map(|word| word.to_str().unwrap())
        .collect();
    let outer = format!("all:\n\t+@{} make -f inner\n", words.join(" "));
    fs::write(dir.path().join("outer"), outer).unwrap();
    // With a FIFO the jobserver needs no descriptors: it must be pipes.
    for style in [&["--jobserver-style=pipe"] as &[&str], &[]] {
        let output = Command::new("make")
            .args(["-j3", "-f", "outer"])
            .args(style)
            .current_dir(dir.path())
            .env_remove("MAKEFLAGS")
            .output();
        let output = match output {
            Err(error) => return println!("skipped: make: {error}"),
            // Old ones know pipes only, and no such option.
            Ok(output) if !output.status.success() && !style.is_empty() => continue,
            Ok(output) => output,
        };
        let said = [&output.stdout[..], &output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success(), "{said}");
        assert!(!said.contains("jobserver"), "{said}");
        let order = fs::read_to_string(dir.path().join("order")).unwrap();
        assert_eq!(order.lines().count(), 4, "{order}");
        return;
    }
}

/// Passed by hand, so that it needs no shell and no make. Whoever reads it waits
/// for the command to close it, not for us.
#[test]
fn a_pipe() {
    let dir = tempfile::tempdir().unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let butler = process::command(["--output=file,path=logs", "run", "--"]);
    let mut shell = Command::new("sh");
    // The shell moves its stdin, a pipe, to where the command looks for it.
    let script = "echo passed >&8; exec 8>&-; while [ ! -e seen ]; do sleep 0.02; done";
    shell
        .args(["-c", r#"exec 8<&0 </dev/null; exec "$@""#, "sh"])
        .arg(butler.get_program())
        .args(butler.get_args())
        .args(["sh", "-c", script])
        .current_dir(dir.path())
        .stdin(Stdio::from(writer));
    let mut shell_running = shell.spawn().unwrap();
    // Our own end of it.
    drop(shell);
    let mut passed = String::new();
    reader.read_to_string(&mut passed).unwrap();
    assert_eq!(passed, "passed\n");
    fs::write(dir.path().join("seen"), "").unwrap();
    assert!(shell_running.wait().unwrap().success());
}
