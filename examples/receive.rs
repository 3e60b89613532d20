//! The far end of `butler --output unix:SOCKET,ack=yes`: appends what comes to a
//! file, and says that it is safe once it is on the disk.
//!
//! ```sh
//! cargo run --example receive -- SOCKET FILE
//! butler cat FILE
//! ```

use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;

use butler::read::Receiver;
use butler::wire::reader::{Tail, scan};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(socket), Some(path)) = (args.next(), args.next()) else {
        return Err("usage: receive SOCKET FILE".into());
    };
    for connection in UnixListener::bind(socket)?.incoming() {
        if let Err(error) = receive(connection?, path.as_ref()) {
            eprintln!("{error}");
        }
    }
    Ok(())
}

/// Takes what comes over one connection, to its end.
pub fn receive(mut connection: impl Read + Write, path: &Path) -> Result<(), Box<dyn Error>> {
    let mut options = File::options();
    let mut file = options.create(true).append(true).read(true).open(path)?;
    let found = scan(&mut file)?;
    if let Tail::Corrupt { error, .. } = found.tail {
        return Err(error.into());
    }
    // The message that an end of ours has cut comes again.
    file.set_len(found.end)?;
    let mut receiver = Receiver::new();
    while receiver.read_from(&mut connection)? > 0 {
        while let Some(message) = receiver.message()? {
            file.write_all(message.bytes())?;
        }
        file.sync_data()?;
        connection.write_all(&receiver.acknowledge())?;
    }
    Ok(())
}
