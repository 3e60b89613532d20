//! Reads back what outputs wrote: files of messages, and directories; and what
//! waits in spools.
//!
//! ```text
//! file, spool messages ─> Assembly: entries in order ─┐
//! directory   descriptors and content ────────────────┴─> Event, one by one
//! ```
//!
//! Messages may come in any order, and more than once; a file may be cut, or
//! appended to by several runs with the same prefix. What is given of a stream
//! is in order and to the byte, and what is missing is a [`Finding`]. Nothing
//! that is wrong with an output ends the reading.
//!
//! [`Reader`] opens files and directories, reads them or follows them. Files
//! are read twice: first to see which streams there are, and where they begin.
//! [`Assembly`] is what puts messages in order, without any I/O, for whoever
//! has them from somewhere else: a [`Receiver`] is the far end of a connection.
//! [`Catalog`] knows the streams.
//!
//! Events are given to a closure and not by an iterator: an entry is a slice of
//! the message that it stands in, and some are given only when another one is
//! there.
//!
//! Memory is bounded, whatever there is in the outputs: what is known of streams
//! ([`READER_STREAMS_MAX`](crate::limits::READER_STREAMS_MAX)), twice what may
//! wait for its turn ([`READER_HELD_MAX`](crate::limits::READER_HELD_MAX)), a
//! message with its bundle, and a line; before, the paths in a directory that
//! are still to be looked at, as much as may wait. Where a bound is reached that
//! is a finding too.
//!
//! The bytes of every stream, from a file and from a directory:
//!
//! ```
//! use butler::output::Output;
//! use butler::read::{Catalog, Event, Reader};
//! use butler::wire::descriptor::{StreamProperties, StreamType};
//! use butler::{Butler, Config};
//! use std::collections::BTreeMap;
//! use std::error::Error;
//! use std::io::{self, Write};
//! use std::path::Path;
//!
//! fn contents(path: &Path) -> Result<BTreeMap<String, Vec<u8>>, Box<dyn Error>> {
//!     let mut contents = BTreeMap::<String, Vec<u8>>::new();
//!     let each = &mut |catalog: &Catalog, event: Event<'_>| match event {
//!         Event::Entry(id, entry) => {
//!             let name = catalog.get(id).name().to_owned();
//!             entry.write_to(contents.entry(name).or_default())
//!         }
//!         Event::Finding(finding) if finding.is_loss() => Err(io::Error::other(finding)),
//!         _ => Ok(()),
//!     };
//!     let mut reader = Reader::new(|_origin, _name| true);
//!     reader.open(path, each)?;
//!     reader.read(each)?;
//!     Ok(contents)
//! }
//!
//! # fn main() -> Result<(), Box<dyn Error>> {
//! let scratch = tempfile::tempdir()?;
//! for output in ["file", "directory"] {
//!     let path = scratch.path().join(output);
//!     let output: Output = format!("{output},path={}", path.display()).parse()?;
//!     let config = Config::new(output);
//!     butler::start(async {
//!         let butler = Butler::new(config)?;
//!         for name in ["build/log", "test/log"] {
//!             let (reader, mut writer) = io::pipe()?;
//!             let properties = StreamProperties::new(name.parse()?, StreamType::Text);
//!             butler.add_stream(reader.into(), &properties)?;
//!             write!(writer, "of {name}\nno end")?;
//!         }
//!         butler.activate();
//!         assert!(butler.wait().await?.is_complete());
//!         Ok::<_, Box<dyn Error>>(())
//!     })??;
//!     let contents = contents(&path)?;
//!     assert_eq!(contents.len(), 2);
//!     assert_eq!(contents["build/log"], b"of build/log\nno end");
//!     assert_eq!(contents["test/log"], b"of test/log\nno end");
//! }
//! # Ok(())
//! # }
//! ```

mod assembly;
mod catalog;
mod content;
mod datagrams;
mod descriptor;
mod directory;
mod event;
mod file;
mod finding;
mod lanes;
mod origin;
mod reader;
mod receiver;
mod spool;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod trace;
mod tree;
mod walk;

pub use assembly::{Assembly, FeedError};
pub use catalog::{Catalog, StreamId, StreamRecord};
pub use descriptor::DescriptorError;
pub use directory::EarlierRuns;
pub use event::{Body, Each, Entry, Event, Logged, Text};
pub use finding::Finding;
pub use origin::{Origin, Unwanted};
pub use reader::{OpenError, Opened, POLL, Reader};
pub use receiver::{Received, Receiver};
