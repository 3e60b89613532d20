//! The edge: what moves bytes between the kernel and the core.
//!
//! There are two of it: on io_uring ([`ring`]), and on epoll ([`epoll`]) where
//! that is refused. [`io`] is what they have in common, and [`runtime`] chooses.
//!
//! Only here is `unsafe`, in small files: [`mapping`] (memory from the
//! kernel), [`buffers`] (which side owns a read buffer), [`ring`] (operations
//! and their descriptors), [`passed`] (descriptors that we were started with),
//! [`signals`] (their handler), [`ignored`] (those that our child is to find
//! ignored), [`beginning`] (what is looked at before `main`), [`witness`] (a
//! process that only sees signals), [`orphans`], [`wake`], [`credentials`],
//! [`rights`] and [`allocator`] (options of sockets, and of the allocator).

pub(crate) mod allocator;
mod beginning;
mod buffers;
pub(crate) mod clock;
mod credentials;
pub(crate) mod door;
pub(crate) mod edge;
mod epoll;
mod headers;
pub(crate) mod ignored;
mod io;
pub(crate) mod listener;
mod mapping;
pub(crate) mod orphans;
pub(crate) mod pace;
pub(crate) mod passed;
mod place;
mod reception;
mod rights;
mod ring;
pub(crate) mod runtime;
pub(crate) mod signals;
pub(crate) mod source;
pub(crate) mod tee;
#[cfg(test)]
mod testing;
pub(crate) mod unread;
pub(crate) mod wake;
pub(crate) mod witness;
pub(crate) mod writer;
