//! What is known of a stream on disk.

use std::sync::Arc;

use super::beneath::FileIdentity;
use super::open_files::FileKey;
use crate::delivery::message::StreamInfo;
use crate::layout;
use crate::wire::descriptor::StreamType;

/// A stream, as it is on disk. Its size does not depend on its name: paths are
/// made of that when they are needed.
#[derive(Debug)]
pub(super) struct StreamFiles {
    pub info: Arc<StreamInfo>,
    /// Where its files are; `None`: they are made with the next piece.
    pub place: Option<Place>,
    /// The file that is being written, open or not.
    pub current: Option<Current>,
    /// Datagrams that are complete.
    pub datagrams: u64,
    /// Bytes of the client in their files, which are all in one directory.
    pub complete: u64,
    /// When it was last looked whether the file is still there.
    pub checked_ns: u64,
}

#[derive(Debug)]
pub(super) struct Place {
    /// How many `~` each component of its path has; none where this ends.
    pub displaced: Box<[u8]>,
    /// Its directory, if it is to be used again.
    pub directory: Option<FileKey>,
}

#[derive(Debug)]
pub(super) struct Current {
    /// Of a datagram: how many `~` its number has.
    pub displaced: u8,
    pub identity: FileIdentity,
    pub handle: FileKey,
    /// Bytes in it.
    pub written: u64,
    /// Bytes of the client among them.
    pub client: u64,
}

impl StreamFiles {
    pub fn new(info: &Arc<StreamInfo>, now_ns: u64) -> Self {
        Self {
            info: Arc::clone(info),
            place: None,
            current: None,
            datagrams: 0,
            complete: 0,
            checked_ns: now_ns,
        }
    }

    /// The directory and the last component of its path.
    pub fn component(&self) -> String {
        let (above, last) = layout::split_last(self.info.name.as_str());
        let times = self.place.as_ref().map_or(0, |it| it.times(above.count()));
        layout::displaced(&layout::component(last), times)
    }

    /// Of the file that is being written.
    pub fn file_name(&self, displaced: usize) -> String {
        match self.info.stream_type {
            StreamType::Text | StreamType::Binary => self.component(),
            StreamType::Datagram => {
                layout::datagram_file(&self.component(), self.datagrams, displaced)
            }
        }
    }
}

impl Place {
    /// That of the stream there, beneath the root.
    pub fn path(&self, info: &StreamInfo) -> String {
        let mut path = String::new();
        for (at, segment) in layout::segments(info.name.as_str()).enumerate() {
            if at > 0 {
                path.push('/');
            }
            let component = layout::component(segment);
            path.push_str(&layout::displaced(&component, self.times(at)));
        }
        path
    }

    pub fn times(&self, at: usize) -> usize {
        self.displaced.get(at).copied().unwrap_or(0).into()
    }
}
