//! The files of streams: which are open, how far each is written, and what of
//! them somebody has removed.

use rustix::io::Errno;

use super::beneath::{self, Root};
use super::contents::{Done, Piece};
use super::open_files::{FileKey, OpenFiles};
use super::stream_files::StreamFiles;
use crate::delivery::outcome::{Fate, Later};
use crate::edge::files::Files;
use crate::limits::{BACKOFF_FIRST, DIRECTORY_SPARE, LINK_CHECK_INTERVAL};
use crate::wire::descriptor::StreamType;
use crate::wire::name::StreamName;

/// The root, and what is open beneath it.
#[derive(Debug)]
pub(super) struct Disk<D> {
    pub(super) root: Root<D>,
    pub(super) open: OpenFiles<D>,
    /// The moment for all that is done without waiting.
    now_ns: u64,
    /// As of that moment.
    root_is_gone: bool,
    /// Why the root, which is gone, can't be made again, and when that is
    /// tried next.
    root_trouble: Option<(Errno, u64)>,
    /// Streams that have ended, and their bytes. They are lost with the root.
    ended: Vec<(StreamName, u64)>,
    /// What was found to be removed, and not told yet.
    removed: Vec<Later>,
    /// Bytes written, and not told yet.
    pub(super) written: u64,
    /// Descriptors that are kept back: they are nobody's but ours when clients
    /// have all others.
    spare: Vec<D>,
}

impl<D: 'static> Disk<D> {
    pub fn new<F: Files<Fd = D>>(io: &mut F, root: Root<D>, open_files: usize) -> Self {
        let mut disk = Self {
            root,
            open: OpenFiles::new(open_files),
            now_ns: 0,
            root_is_gone: false,
            root_trouble: None,
            ended: Vec::new(),
            removed: Vec::new(),
            written: 0,
            spare: Vec::new(),
        };
        disk.keep_spare(io);
        disk
    }

    /// Bytes written since this was asked last.
    pub fn take_written(&mut self) -> u64 {
        std::mem::take(&mut self.written)
    }

    /// What was found to be removed since this was asked last.
    pub fn take_removed(&mut self) -> Vec<Later> {
        std::mem::take(&mut self.removed)
    }

    /// The moment that was last looked at.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Before things are written: takes note of the time, and of a root that
    /// is gone with all that was in it.
    pub fn look<'a, F: Files<Fd = D>>(
        &mut self,
        io: &mut F,
        now_ns: u64,
        streams: impl Iterator<Item = &'a mut StreamFiles>,
    ) {
        self.now_ns = now_ns;
        self.root_is_gone = self.root.is_gone(io);
        if self.root_is_gone {
            self.forget_all(streams);
        }
    }

    /// Makes the root again if it is gone, before something is made in it.
    pub(super) fn restore_root<F: Files<Fd = D>>(&mut self, io: &mut F) -> Result<(), Errno> {
        if !self.root_is_gone {
            return Ok(());
        }
        if let Some((errno, next)) = self.root_trouble
            && self.now_ns < next
        {
            return Err(errno);
        }
        let restored = self.root.restore(io);
        let path = self.root.path().display();
        match restored {
            Ok(()) => log::warn!("{path} is made again"),
            Err(Errno::BUSY) if self.root_trouble.is_none() => {
                log::error!("{path} is not made again: another butler writes there by now");
            }
            Err(errno) if self.root_trouble.is_none() => {
                log::error!("{path} can't be made again: {errno}");
            }
            Err(_) => {}
        }
        self.root_is_gone = restored.is_err();
        let next = self.now_ns + BACKOFF_FIRST.as_nanos() as u64;
        self.root_trouble = restored.err().map(|errno| (errno, next));
        restored
    }

    /// The root is gone: so is what was written of all streams.
    fn forget_all<'a>(&mut self, streams: impl Iterator<Item = &'a mut StreamFiles>) {
        let before = self.removed.len();
        for stream in streams {
            self.forget_file(stream);
            self.forget_place(stream);
        }
        let ended = self.ended.drain(..).map(|(stream, bytes)| Later {
            stream,
            bytes,
            with_end: false,
            fate: Fate::Removed,
        });
        self.removed.extend(ended);
        let bytes: u64 = self.removed[before..].iter().map(|it| it.bytes).sum();
        if bytes > 0 {
            log::warn!(
                "{} was removed while it was written to; {bytes} bytes in it are gone",
                self.root.path().display(),
            );
        }
    }

    /// Appends what is left of the piece to the stream's file, and counts in
    /// `done`, so that it can be called again after an error.
    pub fn append<F: Files<Fd = D>>(
        &mut self,
        io: &mut F,
        stream: &mut StreamFiles,
        piece: &Piece<'_>,
        done: &mut Done,
    ) -> Result<(), Errno> {
        let since_ns = self.now_ns.saturating_sub(stream.checked_ns);
        if since_ns >= LINK_CHECK_INTERVAL.as_nanos() as u64 {
            self.check(io, stream);
        }
        loop {
            let current = self.current(io, stream)?;
            let written = self.write(io, current.handle, &piece.data[done.bytes..])?;
            let before = std::mem::replace(done, piece.done(done.bytes + written));
            current.written += written as u64;
            current.client += done.client - before.client;
            self.written += written as u64;
            if done.bytes == piece.data.len() {
                break;
            }
        }
        if piece.ends {
            self.end_datagram(io, stream);
        }
        Ok(())
    }

    fn write<F: Files<Fd = D>>(
        &mut self,
        io: &mut F,
        handle: FileKey,
        data: &[u8],
    ) -> Result<usize, Errno> {
        // An empty datagram has a file too.
        if data.is_empty() {
            return Ok(0);
        }
        let file = self.open.get(handle).ok_or(Errno::BADF)?;
        let error = loop {
            match io.write(file, data) {
                Ok(0) => break Errno::IO,
                Ok(written) => return Ok(written),
                Err(Errno::INTR) => {}
                Err(errno) => break errno,
            }
        };
        // The next attempt finds out whether it is still there.
        self.open.take(handle);
        Err(error)
    }

    /// The datagram is complete, or no more comes of it: what comes next goes
    /// into a new file.
    pub fn end_datagram<F: Files<Fd = D>>(&mut self, io: &mut F, stream: &mut StreamFiles) {
        self.check(io, stream);
        if let Some(current) = stream.current.take() {
            self.open.take(current.handle);
            stream.datagrams += 1;
            stream.complete += current.client;
        }
    }

    /// If a datagram is being written it ends here: the rest of it is lost.
    pub fn cut_datagram<F: Files<Fd = D>>(&mut self, io: &mut F, stream: &mut StreamFiles) {
        if stream.info.stream_type == StreamType::Datagram {
            self.end_datagram(io, stream);
        }
    }

    /// The stream has ended: a last look, and its files are closed.
    pub fn end<F: Files<Fd = D>>(&mut self, io: &mut F, mut stream: StreamFiles) {
        let bytes = self.last_look(io, &mut stream);
        if bytes > 0 {
            self.ended.push((stream.info.name.clone(), bytes));
        }
    }

    /// Nothing more is written to any of them.
    pub fn end_all<F: Files<Fd = D>>(&mut self, io: &mut F, mut streams: Vec<StreamFiles>) {
        if self.root.is_gone(io) {
            self.forget_all(streams.iter_mut());
        }
        for stream in &mut streams {
            self.last_look(io, stream);
        }
        self.open.clear();
    }

    /// Closes the stream's files; the bytes of its client that are in them.
    fn last_look<F: Files<Fd = D>>(&mut self, io: &mut F, stream: &mut StreamFiles) -> u64 {
        self.check(io, stream);
        let directory = stream.place.as_mut().and_then(|it| it.directory.take());
        if let Some(directory) = directory.and_then(|handle| self.open.take(handle))
            && beneath::is_gone(io, &directory)
        {
            self.forget_place(stream);
        }
        let current = stream.current.take();
        current.iter().for_each(|current| {
            self.open.take(current.handle);
        });
        stream.complete + current.map_or(0, |current| current.client)
    }

    /// Frees descriptors when the process has none left.
    pub fn close_all(&mut self) {
        self.open.clear();
        self.spare.clear();
    }

    /// Keeps descriptors back, as far as there are any. It is done before
    /// anything is waited for: meanwhile clients may take what is free.
    pub fn keep_spare<F: Files<Fd = D>>(&mut self, io: &mut F) {
        while self.spare.len() < DIRECTORY_SPARE
            && let Ok(spare) = io.spare_file()
        {
            self.spare.push(spare);
        }
    }

    /// Looks whether the file that is being written is still there, and as
    /// long as it was. If it is gone it is forgotten.
    fn check<F: Files<Fd = D>>(&mut self, io: &mut F, stream: &mut StreamFiles) {
        stream.checked_ns = self.now_ns;
        let Some(current) = &mut stream.current else {
            return;
        };
        let Some(Ok(stat)) = self.open.get(current.handle).map(|it| io.stat(it)) else {
            return;
        };
        if stat.st_nlink == 0 {
            self.file_is_gone(stream);
            return;
        }
        // Whoever empties a file may have copied it before, as those do who
        // rotate logs: that is no loss.
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let missing = current.written.saturating_sub(size);
        if missing > 0 {
            current.written = size;
            log::warn!(
                "stream {}: its file {} was truncated while it was written; {missing} bytes of \
                 it are gone",
                stream.info.name,
                stream.file_name(stream.current.as_ref().map_or(0, |it| it.displaced.into())),
            );
        }
    }

    pub(super) fn file_is_gone(&mut self, stream: &mut StreamFiles) {
        if let Some(current) = &stream.current {
            log::warn!(
                "stream {}: its file {} was removed, replaced or truncated while it was written; \
                 {} bytes in it are gone, and what follows goes into a new one",
                stream.info.name,
                stream.file_name(current.displaced.into()),
                current.client,
            );
        }
        self.forget_file(stream);
    }

    /// The file that is being written is gone, and its bytes with it.
    fn forget_file(&mut self, stream: &mut StreamFiles) {
        let Some(current) = stream.current.take() else {
            return;
        };
        self.open.take(current.handle);
        self.tell_removed(stream, current.client);
        // The descriptor may be gone with it. But datagrams that are complete
        // have one too, and would be taken for those of an earlier run.
        if stream.info.stream_type != StreamType::Datagram {
            stream.place = None;
        }
    }

    /// The directory of the stream is gone, and its complete datagrams with it.
    pub(super) fn forget_place(&mut self, stream: &mut StreamFiles) {
        if let Some(place) = stream.place.take()
            && let Some(directory) = place.directory
        {
            self.open.take(directory);
        }
        let bytes = std::mem::take(&mut stream.complete);
        self.tell_removed(stream, bytes);
    }

    fn tell_removed(&mut self, stream: &StreamFiles, bytes: u64) {
        if bytes > 0 {
            self.removed.push(Later {
                stream: stream.info.name.clone(),
                bytes,
                with_end: false,
                fate: Fate::Removed,
            });
        }
    }
}
