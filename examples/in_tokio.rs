//! A butler in a program whose runtime is tokio's.
//!
//! ```sh
//! cargo run --example in_tokio
//! ```

use std::error::Error;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use butler::output::MemoryOutput;
use butler::{Butler, Handle, Report, Selector, Watch, WatchEvent};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let memory = MemoryOutput::default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(run(memory.clone()))?;
    for stream in memory.streams() {
        print!("{}", String::from_utf8_lossy(&memory.stream_bytes(&stream)));
    }
    println!("{} entries", report.snapshot.entries);
    Ok(())
}

/// Logs from tasks, and sees their streams end.
pub async fn run(memory: MemoryOutput) -> Result<Report, Box<dyn Error + Send + Sync>> {
    // The butler has a thread of its own: it takes nothing from the runtime.
    let handle = Butler::builder(memory).start_async().await?;
    let mut watcher = handle.watch(Selector::All, Watch::Chunks);
    let mut tasks = JoinSet::new();
    for number in 0..4 {
        tasks.spawn(task(handle.clone(), number));
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let report = handle.shutdown(Duration::from_secs(5)).await?;
    while let Some(event) = watcher.recv().await {
        if let WatchEvent::End { stream, .. } = event {
            println!("{stream} has ended");
        }
    }
    Ok(report)
}

async fn task(handle: Handle, number: u32) -> Result<(), Box<dyn Error + Send + Sync>> {
    let writer = handle.stream(&format!("tasks/{number}")).open()?;
    // A write may block when the butler is behind. To a socket of the runtime
    // it lets other tasks run meanwhile.
    let socket = UnixStream::from(writer);
    socket.set_nonblocking(true)?;
    let mut log = tokio::net::UnixStream::from_std(socket)?;
    for step in 0..3 {
        let line = format!("task {number}, step {step}\n");
        log.write_all(line.as_bytes()).await?;
        tokio::task::yield_now().await;
    }
    Ok(())
}
