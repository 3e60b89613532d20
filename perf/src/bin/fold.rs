//! `perf script` on stdin, an SVG flame graph on stdout.

use std::io::Read;
use std::process::ExitCode;

use butler_perf::flame::{self, Frame};
use butler_perf::{Result, report};

fn main() -> ExitCode {
    report::exit("fold", run())
}

fn run() -> Result<()> {
    let title = std::env::args().nth(1).unwrap_or_else(|| "samples".into());
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text)?;
    let root = Frame::from_perf_script(&String::from_utf8_lossy(&text));
    if root.samples() == 0 {
        return Err("no stacks on stdin: is it what `perf script` prints?".into());
    }
    print!("{}", flame::svg(&root, &title));
    Ok(())
}
