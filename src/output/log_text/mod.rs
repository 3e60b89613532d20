//! The output that prints every bundle for people, on stdout.
//!
//! ```text
//! bundle of 2023-11-14T22:13:20Z: 1 streams, 2 entries, 123 bytes
//!   build/log, text
//!     4 +0.000s line 10: compiling
//!     4 +0.000s line 11: 42 %, no end yet…
//!   build/log ends after entry 4
//! ```

mod text;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use bytes::{Bytes, BytesMut};
use tokio::net::unix::pipe;

use super::Controls;
use super::attempts::Attempts;
use super::health::Health;
use super::write::Unwritten;
use crate::delivery::message::Message;
use crate::delivery::outcome::Outcome;
use crate::edge::writer::{AT_POSITION, Writer};
use crate::ledger::DropReason;
use crate::wire::walk::{Fields, Value};

/// Text is written when there is this much of it.
const CHUNK: usize = 64 * 1024;

/// Prints bundles.
#[derive(Debug)]
pub(crate) struct LogSink {
    out: Out,
    controls: Controls,
    text: BytesMut,
    /// Which of the clients' bytes stand where in it.
    marks: Marks,
    /// Memory that is reused.
    slices: Vec<Bytes>,
    attempts: Attempts,
}

/// What is printed to.
#[derive(Debug)]
enum Out {
    /// A regular file, which others may share with us (a child that inherits
    /// it, say): only `write` takes its position and moves it in one step. It
    /// does not wait for a reader.
    Regular(File),
    /// A pipe, a terminal, a socket: it waits for the reader. The file is the
    /// same once more.
    Stream(Writer, File),
    /// Nobody reads any more.
    Closed,
}

impl LogSink {
    /// Prints to stdout. What is printed for people ends up on a terminal, also
    /// by way of a file or a pipe.
    pub fn stdout(controls: Controls) -> io::Result<Self> {
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        Self::to(stdout.into(), controls)
    }

    fn to(file: File, controls: Controls) -> io::Result<Self> {
        let out = match file.metadata()?.is_file() {
            true => Out::Regular(file),
            false => Out::Stream(Writer::shared(file.try_clone()?)?, file),
        };
        Ok(Self {
            out,
            controls,
            text: BytesMut::new(),
            marks: Marks::default(),
            slices: Vec::new(),
            attempts: Attempts::new("output log"),
        })
    }

    /// Prints a bundle, and notes in `outcome` what of it is printed. That
    /// nobody reads any more is final.
    pub async fn deliver(&mut self, bundle: &Message, outcome: &mut Outcome) {
        // What was to be printed before that is given up.
        self.text.clear();
        self.marks = Marks::default();
        let result = self.print(bundle, outcome).await;
        outcome.end(result);
    }

    /// Returns the bytes printed.
    async fn print(&mut self, bundle: &Message, outcome: &mut Outcome) -> Result<u64, DropReason> {
        if matches!(self.out, Out::Closed) {
            return Err(DropReason::Undelivered);
        }
        let mut printed = 0;
        text::put_bundle(&mut self.text, bundle);
        for (at, stream) in bundle.streams().iter().enumerate() {
            text::put_stream(&mut self.text, stream);
            let entries = bundle.logs(stream).flat_map(Fields);
            for field in entries {
                if let Ok((_, Value::Bytes(entry))) = field {
                    let bytes = text::put_entry(&mut self.text, entry, self.controls);
                    self.marks.put(self.text.len(), at, bytes);
                }
                if self.text.len() >= CHUNK {
                    printed += self.flush(outcome).await?;
                }
            }
            text::put_end(&mut self.text, stream);
        }
        Ok(printed + self.flush(outcome).await?)
    }

    pub fn health(&self) -> &Health {
        self.attempts.health()
    }

    /// Writes the text so far; returns its length.
    async fn flush(&mut self, outcome: &mut Outcome) -> Result<u64, DropReason> {
        let pieces = [self.text.split().freeze()];
        if pieces[0].is_empty() {
            return Ok(0);
        }
        let mut unwritten = Unwritten::new(&pieces);
        loop {
            let (out, marks) = (&self.out, &mut self.marks);
            let write = async |slices, _| {
                let (result, slices) = out.write(slices).await;
                if let Ok(written) = result {
                    marks.wrote(written, outcome);
                }
                (result, slices)
            };
            let error = match unwritten.write(&mut self.slices, write).await {
                Ok(()) => break,
                Err(error) => error,
            };
            if self.out.is_gone(&error) {
                self.out = Out::Closed;
                self.attempts.health().failed_for_good(&error);
                return Err(DropReason::Undelivered);
            }
            if error.kind() == io::ErrorKind::WouldBlock
                && let Out::Stream(_, file) = &self.out
                && writable(file).await.is_ok()
            {
                continue;
            }
            self.attempts.failed(&error).await;
        }
        self.attempts.worked();
        self.marks.restart();
        Ok(unwritten.done())
    }
}

impl Out {
    /// Does the error say that nobody reads any more?
    fn is_gone(&self, error: &io::Error) -> bool {
        match self {
            Self::Stream(writer, _) => writer.is_gone(error),
            Self::Regular(_) | Self::Closed => error.kind() == io::ErrorKind::BrokenPipe,
        }
    }

    async fn write(&self, slices: Vec<Bytes>) -> tokio_uring::BufResult<usize, Vec<Bytes>> {
        match self {
            Self::Regular(file) => {
                let mut file = file;
                let result = slices.first().map_or(Ok(0), |slice| file.write(slice));
                (result, slices)
            }
            Self::Stream(writer, _) => writer.writev_at(slices, AT_POSITION).await,
            Self::Closed => (Err(io::ErrorKind::BrokenPipe.into()), slices),
        }
    }
}

/// Waits for a reader when somebody made stdout non-blocking: the ring then
/// does not.
async fn writable(file: &File) -> io::Result<()> {
    // Not only pipes: all that is asked of it is to be polled.
    pipe::Sender::from_owned_fd_unchecked(file.try_clone()?.into())?
        .writable()
        .await
}

/// Which of the clients' bytes stand where in a text. An entry counts when all
/// of it is written.
#[derive(Debug, Default)]
struct Marks {
    /// Where an entry's text ends, which of the bundle's streams it is of, and
    /// the client's bytes in it.
    entries: VecDeque<(usize, usize, u64)>,
    /// Bytes of the text that are written.
    written: usize,
}

impl Marks {
    fn put(&mut self, end: usize, stream: usize, bytes: u64) {
        self.entries.push_back((end, stream, bytes));
    }

    fn wrote(&mut self, bytes: usize, outcome: &mut Outcome) {
        self.written += bytes;
        while let Some((end, stream, bytes)) = self.entries.front().copied()
            && end <= self.written
        {
            outcome.part(stream).delivered += bytes;
            self.entries.pop_front();
        }
    }

    /// All is written, and a new text begins.
    fn restart(&mut self) {
        self.written = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::testing::{bundles, lines, start, text_bundle};
    use crate::wire::descriptor::StreamType;
    use std::io::Read;
    use std::time::Duration;

    fn print(bundle: &Message, controls: Controls) -> String {
        let mut file = tempfile::tempfile().unwrap();
        start(async {
            let mut sink = LogSink::to(file.try_clone().unwrap(), controls).unwrap();
            let printed = sink.print(bundle, &mut Outcome::default()).await.unwrap();
            assert_eq!(printed, file.metadata().unwrap().len());
        });
        let mut text = String::new();
        io::Seek::rewind(&mut file).unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn shows_everything() {
        let streams: [(_, _, &[u8]); 3] = [
            (
                "a/text",
                StreamType::Text,
                b"one\r\n\x1b[1mt\xc3\xa9\xfft\two\nthree",
            ),
            ("bin", StreamType::Binary, &[7; 100]),
            ("dgram", StreamType::Datagram, b"\x02ab\x00\x05c"),
        ];
        let all = bundles(1 << 20, &streams);
        let text = print(&all[0], Controls::Escaped);
        let expected = "\
bundle of 2023-11-14T22:13:20Z: 3 streams, 6 entries, LEN bytes
  a/text, text
    0 +0.000s line 0: one
    0 +0.000s line 1: \\x1b[1mté\\xfft\\two
    1 +0.000s line 2: three…
  a/text ends after entry 1
  bin, binary
    0 +0.000s byte 0: 100 bytes, 07 07 07 07 07 07 07 07 07 07 07 07 07 07 07 07…
  bin ends after entry 0
  dgram, datagram
    0 +0.000s datagram 0: 2 bytes, 61 62
    1 +0.000s datagram 1: 0 bytes
    2 +0.000s datagram 2, part: 1 bytes, 63
  dgram ends after entry 2
";
        let len = all[0].len().to_string();
        assert_eq!(text, expected.replace("LEN", &len));
    }

    #[test]
    fn lines_as_they_were_written() {
        let text = print(&text_bundle(b"\x1b[1mbold\tend\n"), Controls::Raw);
        assert!(text.contains(" line 0: \x1b[1mbold\tend\n"), "{text:?}");
    }

    #[test]
    fn large_bundles_come_whole() {
        let data = lines(1_000_000);
        let text = print(&text_bundle(&data), Controls::Escaped);
        let count = data.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(
            text.lines().filter(|line| line.contains("step")).count(),
            count
        );
    }

    #[test]
    fn a_file_is_shared_with_others() {
        let file = tempfile::tempfile().unwrap();
        let bundle = text_bundle(b"x\n");
        start(async {
            let mut sink = LogSink::to(file.try_clone().unwrap(), Controls::Raw).unwrap();
            (&file).write_all(b"before").unwrap();
            let first = sink.print(&bundle, &mut Outcome::default()).await.unwrap();
            (&file).write_all(b"between").unwrap();
            let second = sink.print(&bundle, &mut Outcome::default()).await.unwrap();
            let len = file.metadata().unwrap().len();
            assert_eq!(len, 13 + first + second);
        });
    }

    fn slow_reader(mut reader: io::PipeReader) -> std::thread::JoinHandle<usize> {
        std::thread::spawn(move || {
            let mut all = 0;
            let mut bytes = [0; 50_000];
            loop {
                match reader.read(&mut bytes).unwrap() {
                    0 => return all,
                    len => all += len,
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        })
    }

    #[test]
    fn a_slow_pipe_does_not_stop_the_thread() {
        for nonblocking in [false, true] {
            let (reader, writer) = io::pipe().unwrap();
            if nonblocking {
                rustix::io::ioctl_fionbio(&writer, true).unwrap();
            }
            let file = File::from(std::os::fd::OwnedFd::from(writer));
            let bundle = text_bundle(&lines(1_000_000));
            let reader = slow_reader(reader);
            let printed = start(async move {
                let mut sink = LogSink::to(file, Controls::Raw).unwrap();
                let task = tokio::task::spawn_local(async move {
                    let printed = sink.print(&bundle, &mut Outcome::default()).await;
                    assert_eq!(sink.health().errors(), 0);
                    printed
                });
                tokio::time::sleep(Duration::from_millis(20)).await;
                assert!(!task.is_finished());
                task.await.unwrap().unwrap()
            });
            assert_eq!(reader.join().unwrap() as u64, printed);
        }
    }

    /// Of a bundle that is cut what was printed is delivered.
    #[test]
    fn a_reader_that_goes_in_the_middle() {
        let (mut reader, writer) = io::pipe().unwrap();
        let data = lines(1_000_000);
        let bundle = text_bundle(&data);
        let reader = std::thread::spawn(move || {
            let mut read = vec![0; 400_000];
            reader.read_exact(&mut read).unwrap();
        });
        let mut outcome = Outcome::default();
        outcome.begin(bundle.ticket());
        start(async {
            let file = File::from(std::os::fd::OwnedFd::from(writer));
            let mut sink = LogSink::to(file, Controls::Raw).unwrap();
            sink.deliver(&bundle, &mut outcome).await;
        });
        reader.join().unwrap();
        let all = data.len() as u64;
        let split = outcome.split(0, all);
        assert_eq!(split.reason, Some(DropReason::Undelivered));
        assert!((100_000..700_000).contains(&split.delivered), "{split:?}");
        assert_eq!(split.delivered + split.dropped, all);
    }

    #[test]
    fn a_closed_pipe_is_final() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let bundle = text_bundle(b"x\n");
        start(async {
            let file = File::from(std::os::fd::OwnedFd::from(writer));
            let mut sink = LogSink::to(file, Controls::Raw).unwrap();
            for _ in 0..3 {
                let result = sink.print(&bundle, &mut Outcome::default()).await;
                assert_eq!(result, Err(DropReason::Undelivered));
            }
            assert_eq!(sink.health().errors(), 1);
        });
    }
}
