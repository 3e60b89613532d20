//! A butler for programs: on a thread of its own, with handles to it for all
//! others.
//!
//! [`Butler::builder`] begins; [`Builder::start`] gives a [`Handle`], which is
//! cheap to clone and may be used from any thread, in and out of any async
//! runtime. What takes as long as others like (a start that must register, a
//! drain, an end) gives a [`Reply`]: await it, or [`wait`](Reply::wait) for it.
//! All else asks the butler's thread and has its answer in microseconds.
//!
//! ```text
//! builder.rs   settings, then a start
//! thread.rs    the butler's thread: it does what handles ask for, in order
//! handle.rs    what they ask for
//! reply.rs     answers that take their time
//! stream.rs    streams that are written to without owning a descriptor
//! watcher.rs   what is seen of streams, on the thread of who looks
//! ```

mod builder;
mod handle;
mod reply;
mod stream;
mod thread;
mod watcher;

pub use builder::Builder;
pub use handle::{Handle, SendRegistrationCallback};
pub use reply::Reply;
pub use stream::{DatagramWriter, NewStream, OpenStreamError, StreamWriter};
pub use thread::Ended;
pub use watcher::{Selector, Watch, WatchEvent, Watcher};
