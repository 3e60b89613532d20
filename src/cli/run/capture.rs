//! The command's stdout and stderr as streams.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;

use crate::Butler;
use crate::cli::options::StreamFlags;

/// What a pipe from the child holds: large writes wait less often.
const PIPE_SIZE: usize = 256 * 1024;

/// A copy being shown.
pub(super) type Shown = Pin<Box<dyn Future<Output = ()>>>;

/// Makes a pipe into a stream; the child gets its other end.
pub(super) fn capture<F: AsFd>(
    butler: &Butler,
    flags: &StreamFlags,
    copy_to: Option<F>,
    shown: &mut Vec<Shown>,
) -> Result<PipeWriter, String> {
    let properties = flags.properties().ok_or("a captured stream has no name")?;
    let (reader, writer) = pipe().map_err(|error| format!("a pipe for the command: {error}"))?;
    let reader = OwnedFd::from(reader);
    match copy_to {
        None => butler
            .add_stream(reader, &properties)
            .map_err(|error| error.to_string())?,
        Some(copy_to) => {
            let copy_to = copy_to
                .as_fd()
                .try_clone_to_owned()
                .map_err(|error| format!("--tee: {error}"))?;
            let copy = butler
                .add_stream_with_copy(reader, &properties, copy_to)
                .map_err(|error| error.to_string())?;
            shown.push(Box::pin(copy));
        }
    }
    Ok(writer)
}

fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    // A user may only have so much in large pipes: then it stays small.
    if let Err(error) = rustix::pipe::fcntl_setpipe_size(&reader, PIPE_SIZE) {
        log::debug!("a pipe stays at its default size: {error}");
    }
    Ok((reader, writer))
}
