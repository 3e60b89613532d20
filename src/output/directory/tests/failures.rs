//! What the kernel refuses for a while.

use std::process::Command;
use std::time::Duration;

use super::*;

/// A file system of 64 KiB; unmounted when dropped.
struct Tiny(TempDir);

impl Tiny {
    /// `None`, with the reason printed, where we may not mount.
    fn mount() -> Option<Self> {
        let temp = directory();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
            .arg(temp.path())
            .output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(temp)),
            other => {
                eprintln!("skipped: no file system of our own: {other:?}");
                None
            }
        }
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

#[test]
fn goes_on_when_there_is_room_again() {
    let Some(tiny) = Tiny::mount() else {
        return;
    };
    let dir = tiny.0.path();
    let filler = dir.join("filler");
    fs::write(&filler, vec![0; 30_000]).unwrap();
    let mut bench = Bench::new(dir, 8);
    let content: Vec<u8> = (0..40_000u32).map(|n| (n % 251) as u8).collect();
    let key = bench.open("a", StreamType::Binary);
    let datagrams = bench.open("d", StreamType::Datagram);
    bench.core.data(&NOW, key, &content).unwrap();
    let wire = framed(&content[..9000]);
    bench.core.data(&NOW, datagrams, &wire).unwrap();
    bench.core.end(&NOW, key);
    bench.core.end(&NOW, datagrams);
    let message = bench.core.poll_message(&NOW).unwrap();
    assert!(bench.output.holds_up(&message, Duration::from_millis(250)));
    let len = fs::metadata(dir.join("a")).unwrap().len();
    assert!(len > 0 && len < 40_000, "{len} bytes fit");
    fs::remove_file(&filler).unwrap();
    assert!(
        bench
            .output
            .poll_for(Duration::from_secs(60), |it| it.has_settled())
    );
    bench.take();
    bench.pump();
    assert!(bench.output.errors() > 0);
    bench.finish();
    assert!(read(dir, "a") == content);
    assert!(read(dir, "_00000.d") == content[..9000]);
    assert_eq!(find(dir).len(), 2);
}
