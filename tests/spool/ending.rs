//! What is said at the end of a butler that has left something in its spool.

use std::fs;

use crate::common::process::command;

#[test]
fn what_waits_is_no_loss() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| {
        dir.path()
            .join(name)
            .into_os_string()
            .into_string()
            .unwrap()
    };
    let (spool, result, stats) = (at("spool"), at("result"), at("stats"));
    let options = [
        "--output=unix:/nobody/listens",
        "--spool",
        &spool,
        "--flush-timeout=50ms",
        "--stats-path",
        &stats,
    ];
    let run = [
        "--fail-on-loss",
        "run",
        "--result-path",
        &result,
        "--stdout=name=s",
        "--",
        "sh",
        "-c",
        "echo line; exit 7",
    ];
    let output = command([&options[..], &run].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let says = String::from_utf8_lossy(&output.stderr);
    let path = fs::canonicalize(&spool).unwrap();
    let sentence = format!(
        "warning: 1 stream, 5 bytes wait in {}; the next butler with that spool sends them, and \
         so does butler send ",
        path.display()
    );
    assert!(says.contains(&sentence), "{says}");
    let json = |path| serde_json::from_slice::<serde_json::Value>(&fs::read(path).unwrap());
    assert_eq!(json(&result).unwrap()["delivered"], "spooled");
    let told = json(&stats).unwrap();
    assert_eq!(
        (&told["spooled"], &told["bytes_dropped"]),
        (&5.into(), &0.into())
    );

    // And so says `butler stream`, of both.
    let stream = ["stream", "--source", &result];
    let output = command([&options[..], &stream].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let says = String::from_utf8_lossy(&output.stderr);
    assert!(says.contains("warning: 2 streams, "), "{says}");
}
