//! A server for the streams of other processes, which ends by a drain.
//!
//! ```sh
//! cargo run --example listen
//! ```

use std::error::Error;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use butler::output::NullOutput;
use butler::wire::name::Namespace;
use butler::wire::varint;
use butler::{Butler, StreamServer};

fn main() -> Result<(), Box<dyn Error>> {
    run(&mut io::stdout())
}

/// Takes the streams of two clients, and tells on `out` how it went.
pub fn run(out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let handle = Butler::builder(NullOutput).start()?;
    let server = StreamServer::bind_private()?;
    let path = server.path().to_owned();
    // Clients find it here, as LogDog's do: LOGDOG_STREAM_SERVER_PATH.
    writeln!(out, "listening at {}", server.uri().display())?;
    handle.listen(server)?;

    let mut quick = client(&path, "steps/quick")?;
    writeln!(quick, "done")?;
    drop(quick);
    let slow = client(&path, "steps/slow")?;
    // Whoever has connected may not have been accepted yet.
    while handle.streams()?.len() < 2 {
        std::thread::sleep(Duration::from_millis(1));
    }

    // No new streams below `steps`; those that are open may go on for a while.
    let steps = Namespace::new("steps")?;
    for name in handle.drain(&steps, Duration::from_millis(100)).wait()? {
        writeln!(out, "{name} is still open")?;
    }
    drop(slow);
    let open = handle.drain(&steps, Duration::from_secs(60)).wait()?;
    writeln!(out, "{} still open", open.len())?;

    let report = handle.shutdown(Duration::ZERO).wait()?;
    writeln!(
        out,
        "{} bytes of {} streams",
        report.snapshot.bytes_in, report.snapshot.streams
    )?;
    Ok(())
}

/// What a client does: it says which stream it is, and writes.
fn client(server: &Path, name: &str) -> io::Result<UnixStream> {
    let header = format!(r#"{{"name":"{name}","type":"text"}}"#);
    let mut hello = b"BTLR1\x1e".to_vec();
    varint::push(&mut hello, header.len() as u64);
    hello.extend_from_slice(header.as_bytes());
    let mut stream = UnixStream::connect(server)?;
    stream.write_all(&hello)?;
    Ok(stream)
}
