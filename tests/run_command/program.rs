//! What is executed: as execvp(3) does it, or a message that names what is
//! wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::common::process;
use crate::{code, json_file};

/// The file that a shell would execute.
pub fn in_path(name: &str) -> String {
    let output = Command::new("sh")
        .args(["-c", &format!("command -v {name}")])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim_end().into()
}

/// `butler run ARGS` in `dir`.
fn run(dir: &Path, args: &[&str]) -> Command {
    let mut command = process::command(["--output=null", "run"]);
    command.args(args).current_dir(dir);
    command
}

fn executable(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn says(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Through sh, whatever signals are ignored; the result names the script.
#[test]
fn a_script_without_an_interpreter() {
    let dir = tempfile::tempdir().unwrap();
    executable(&dir.path().join("plain"), "echo \"$0 $#: $*\"; exit 3\n");
    executable(&dir.path().join("empty"), "");
    for ignored in ["", "trap '' INT QUIT HUP; "] {
        for (command, shown, expected) in [
            (&["./plain", "a", "b c"][..], "./plain 2: a b c\n", 3),
            (&["plain"], "./plain 0: \n", 3),
            (&["./empty"], "", 0),
        ] {
            let butler = run(dir.path(), &["--result-path=result"]);
            let script = format!("{ignored}exec \"$@\"");
            let output = Command::new("sh")
                .args(["-c", &script, "sh"])
                .arg(butler.get_program())
                .args(butler.get_args())
                .args(command)
                .env("PATH", format!(":{}", std::env::var("PATH").unwrap()))
                .current_dir(dir.path())
                .output()
                .unwrap();
            assert_eq!(code(&output), expected, "{ignored}{command:?}");
            assert_eq!(String::from_utf8_lossy(&output.stdout), shown);
            let result = json_file(&dir.path().join("result"));
            let file = format!("./{}", command[0].trim_start_matches("./"));
            assert_eq!(result["command"][0], file);
        }
    }
}

#[test]
fn a_program_keeps_the_name_that_it_was_called_by() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), &["sh", "-c", "echo $0"]).output().unwrap();
    assert_eq!(output.stdout, b"sh\n");
}

/// PATH is searched from where the command runs.
#[test]
fn a_program_beside_the_command() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("in/bin")).unwrap();
    executable(&dir.path().join("in/bin/tool"), "#!/bin/sh\necho found\n");
    executable(&dir.path().join("in/tool2"), "#!/bin/sh\necho two\n");
    for (path, name, found) in [
        ("/no/such:bin", "tool", "found\n"),
        ("bin", "./tool2", "two\n"),
        ("/no/such:", "tool2", "two\n"),
    ] {
        let output = run(dir.path(), &["--chdir=in", name])
            .env("PATH", path)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), found, "{output:?}");
    }
}

#[test]
fn messages_name_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| executable(&dir.path().join(name), text);
    file("absent", "#!/no/such/interpreter -x\n");
    file("crlf", "#!/bin/sh\r\necho x\r\n");
    file("dir-interpreter", "#! /etc\n");
    file("open", "#!/bin/sh\n");
    fs::write(dir.path().join("plain"), "no program").unwrap();
    fs::create_dir(dir.path().join("directory")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path().join("dangling")).unwrap();
    let open = fs::OpenOptions::new()
        .append(true)
        .open(dir.path().join("open"))
        .unwrap();
    let path = std::env::join_paths([dir.path(), Path::new("/bin"), Path::new("/usr/bin")]);
    let path = path.unwrap();
    for (name, expected, word) in [
        (
            "./absent",
            126,
            "its interpreter, /no/such/interpreter, is not there",
        ),
        (
            "absent",
            126,
            "its interpreter, /no/such/interpreter, is not there",
        ),
        (
            "./crlf",
            126,
            "CRLF, so that its interpreter is \"/bin/sh\\r\"",
        ),
        (
            "./dir-interpreter",
            126,
            "its interpreter, /etc, may not be executed",
        ),
        ("./open", 126, "somebody has it open for writing"),
        ("./plain", 126, "it is not executable"),
        ("plain", 126, "plain is no file that may be executed"),
        ("./directory", 126, "it is a directory"),
        (".", 126, "can't run .: "),
        ("./dangling", 127, "No such file"),
        ("./no-such", 127, "No such file"),
        ("no-such", 127, "no directory of PATH has it"),
        ("./plain/x", 126, "Not a directory"),
        ("", 127, "its name is empty"),
    ] {
        let output = run(dir.path(), &["--result-path=result", "--", name])
            .env("PATH", &path)
            .output()
            .unwrap();
        let says = says(&output);
        assert!(says.contains(word), "{name}: {says}");
        assert_eq!(says.lines().count(), 1, "{says}");
        assert_eq!(code(&output), expected, "{name}: {says}");
        let result = json_file(&dir.path().join("result"));
        assert_eq!(result["return_code"], expected, "{name}");
        assert!(result["error"].as_str().unwrap().contains(word), "{result}");
    }
    drop(open);
}

#[test]
fn too_many_arguments() {
    let dir = tempfile::tempdir().unwrap();
    // One string alone may have 128 KiB, and the file of arguments may have
    // what a command line can't.
    let long = "x".repeat(200 * 1024);
    let args = dir.path().join("args");
    fs::write(&args, serde_json::json!(["true", long]).to_string()).unwrap();
    let output = run(dir.path(), &["--json-args-path=args"])
        .output()
        .unwrap();
    assert_eq!(code(&output), 126);
    let says = says(&output);
    assert!(
        says.contains("its arguments, 1 with 204801 bytes"),
        "{says}"
    );
}

#[test]
fn places_that_are_missing_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), &["true"])
        .env("TMPDIR", "/no/such/directory")
        .output()
        .unwrap();
    assert_eq!(code(&output), 250);
    let told = says(&output);
    assert!(told.contains("TMPDIR is /no/such/directory"), "{told}");

    let closed = dir.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o600)).unwrap();
    let mut command = run(dir.path(), &["--chdir=closed", "true"]);
    if rustix::process::getuid().is_root() {
        println!("skipped in part: root may enter any directory");
    } else {
        let told = says(&command.output().unwrap());
        assert!(told.contains("--chdir: can't enter closed"), "{told}");
    }
}

/// A directory that is gone, with a command that does not need it, and with
/// paths that do.
#[test]
fn a_current_directory_that_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let gone = |args: &[&str]| {
        let butler = process::command(args);
        let gone = dir.path().join("gone");
        let script = r#"mkdir "$1"; cd "$1"; rmdir "$1"; shift; exec "$@""#;
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(gone);
        shell
            .arg(butler.get_program())
            .args(butler.get_args())
            .stdin(std::process::Stdio::null());
        shell.output().unwrap()
    };
    let output = gone(&["--output=null", "run", "true"]);
    assert_eq!((code(&output), &*says(&output)), (0, ""));
    for (args, expected) in [
        (&["--output=file,path=x", "run", "true"][..], 250),
        (&["--output=directory,path=x", "run", "true"], 250),
        (&["--output=null", "--stats-path=x", "run", "true"], 250),
        (&["--output=null", "run", "--result-path=x", "true"], 250),
        (&["--output=null", "run", "--chdir=x", "true"], 250),
        (&["--output=null", "run", "./x"], 127),
        (&["--output=null", "stream", "--source=x"], 250),
        (&["--output=null", "--stream-server=unix:x"], 2),
    ] {
        let output = gone(args);
        let says = says(&output);
        assert!(says.contains("current directory is"), "{args:?}: {says}");
        assert_eq!(code(&output), expected, "{args:?}: {says}");
    }
}

/// The command's stdin.
#[test]
fn a_missing_dev_null() {
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| -> PathBuf { root.path().join(path) };
    for directory in ["dev", "tmp", "proc"] {
        fs::create_dir(at(directory)).unwrap();
    }
    // A system with nothing but what butler and a shell need.
    let script = r#"set -e; root=$1; shift
        for d in bin usr lib lib64 lib32 etc; do
            if [ -L /$d ]; then cp -P /$d "$root"; continue; fi
            [ -d /$d ] || continue
            mkdir "$root/$d"; mount --rbind /$d "$root/$d"
        done
        mkdir "$root/b"; : > "$root/b/butler"; mount --bind "$1" "$root/b/butler"; shift
        : > "$root/ready"
        exec chroot "$root" /b/butler "$@""#;
    let butler = process::command(["--output=null", "run", "echo", "ran"]);
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(root.path())
        .arg(butler.get_program())
        .args(butler.get_args())
        .env_remove("TMPDIR");
    let output = match unshare.output() {
        Ok(output) if at("ready").exists() => output,
        other => return println!("skipped: no new root: {other:?}"),
    };
    assert_eq!(code(&output), 250, "{output:?}");
    let says = says(&output);
    assert!(
        says.contains("the command needs /dev/null: No such"),
        "{says}"
    );
    assert_eq!(fs::read_dir(at("tmp")).unwrap().count(), 0);
}
