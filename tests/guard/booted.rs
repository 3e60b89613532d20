//! The units in scripts/systemd, run by a systemd that is booted for it.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use butler::IoMode;
use tempfile::TempDir;

use crate::common::process::{open, wait_until};

/// A systemd with the units, in namespaces of its own.
struct Machine {
    dir: TempDir,
    /// The parent of the systemd, which dies with it.
    unshare: Child,
}

impl Machine {
    /// With butler.service, as soon as that is ready. `None`, with the reason
    /// printed, where no systemd can be booted.
    fn boot() -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let dir = tempfile::tempdir().unwrap();
        for name in ["butler.service", "butler.socket"] {
            let unit = root.join("scripts/systemd").join(name);
            fs::copy(unit, dir.path().join(name)).unwrap();
        }
        fs::copy(env!("CARGO_BIN_EXE_butler"), dir.path().join("butler")).unwrap();
        let unshare = Command::new("unshare")
            .args(["--fork", "--kill-child", "--pid", "--mount", "--ipc"])
            .args(["--uts", "--cgroup", "--", "bash"])
            .args([&root.join("tests/guard/booted/boot.sh"), dir.path()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let unshare = match unshare {
            Ok(unshare) => unshare,
            Err(error) => {
                println!("skipped: unshare: {error}");
                return None;
            }
        };
        let mut machine = Self { dir, unshare };
        wait_until("systemd answers, or can't be booted", || {
            machine.unshare.try_wait().unwrap().is_some() || machine.answers()
        });
        if machine.unshare.try_wait().unwrap().is_some() {
            let said = machine.unshare.stderr.take().unwrap();
            println!("skipped: {}", std::io::read_to_string(said).unwrap());
            return None;
        }
        Some(machine)
    }

    fn answers(&self) -> bool {
        let active = self.systemctl(&["is-active", "butler.service"]);
        ["active", "failed"].contains(&active.trim())
    }

    fn systemctl(&self, args: &[&str]) -> String {
        self.inside("systemctl", args)
    }

    /// What a program says that is run in the machine.
    fn inside(&self, program: &str, args: &[&str]) -> String {
        let pid = self.unshare.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let Ok(init) = children.unwrap_or_default().trim().parse::<u32>() else {
            return String::new();
        };
        let output = Command::new("nsenter")
            .args(["--target", &init.to_string()])
            .args(["--mount", "--pid", "--root", "--wd", program])
            .args(args)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn property(&self, name: &str) -> String {
        let value = self.systemctl(&["show", "butler.service", "--value", "-p", name]);
        value.trim().to_owned()
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("run/streams.sock")
    }

    fn write(&self, name: &str) {
        let mut stream = open(&self.socket(), name, "text");
        stream.write_all(b"a line\n").unwrap();
    }

    fn expect_written(&self, name: &str) {
        let path = self.dir.path().join("log/streams").join(name);
        let found = fs::read_to_string(path).unwrap();
        assert_eq!(found, "a line\n", "{name}");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.unshare.kill().unwrap();
        self.unshare.wait().unwrap();
    }
}

/// With all that the unit forbids, on io_uring, and by the service's own end or
/// that of a socket unit.
#[test]
fn the_units_run() {
    let Some(machine) = Machine::boot() else {
        return;
    };
    let status = machine.systemctl(&["status", "butler.service"]);
    // Type=notify: it has told that it is ready.
    assert_eq!(machine.property("ActiveState"), "active", "{status}");
    let descriptors = format!("/proc/{}/fd", machine.property("MainPID"));
    let descriptors = machine.inside("ls", &["-l", &descriptors]);
    // As far as the machine has it at all.
    let ring = butler::start_with(IoMode::Uring, async {}).is_ok();
    assert_eq!(descriptors.contains("[io_uring]"), ring, "{descriptors}");
    machine.write("by/itself");
    machine.systemctl(&["stop", "butler.service"]);
    assert_eq!(machine.property("Result"), "success", "{status}");
    machine.expect_written("by/itself");
    assert!(UnixStream::connect(machine.socket()).is_err());

    machine.systemctl(&["start", "butler.socket"]);
    assert_eq!(machine.property("ActiveState"), "inactive");
    machine.write("activates");
    wait_until("it is activated", || {
        machine.property("ActiveState") == "active"
    });
    // Whoever connects while it is restarted waits.
    thread::scope(|scope| {
        scope.spawn(|| machine.systemctl(&["restart", "butler.service"]));
        for at in 0..20 {
            machine.write(&format!("meanwhile/{at}"));
            thread::sleep(Duration::from_millis(10));
        }
    });
    machine.systemctl(&["stop", "butler.socket", "butler.service"]);
    assert_eq!(machine.property("Result"), "success", "{status}");
    machine.expect_written("activates");
    for at in 0..20 {
        machine.expect_written(&format!("meanwhile/{at}"));
    }
}
