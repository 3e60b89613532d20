//! The edge: what moves bytes between the kernel and the core.
//!
//! All that is asked of the kernel is [`io`], which the [`driver`] uses for clients
//! and an `outlet` for the output. The real kernel, [`system`], is there in two
//! forms: on io_uring (`ring`), and on epoll (`epoll`) where that is refused; the
//! `runtime` chooses.
//!
//! There is `unsafe` here, in small files: `mapping` (memory from the kernel),
//! `buffers` (which side owns a read buffer), `ring` (operations and their
//! descriptors), `wake`, `credentials` and `rights` (options of sockets).

mod buffers;
pub(crate) mod clock;
mod credentials;
pub mod driver;
mod epoll;
pub mod files;
pub mod io;
pub(crate) mod listener;
mod mapping;
mod outlet;
mod place;
mod rights;
mod ring;
pub(crate) mod runtime;
pub(crate) mod source;
pub mod system;
pub(crate) mod tee;
#[cfg(test)]
mod testing;
pub mod transport;
pub(crate) mod wake;
pub(crate) mod writer;
