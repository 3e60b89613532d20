//! The edge: what moves bytes between the kernel and the core.
//!
//! There are two of it: on io_uring ([`ring`]), and on epoll ([`epoll`]) where
//! that is refused. [`io`] is what they have in common, and [`runtime`] chooses.
//!
//! Only here is `unsafe`, in small files: [`mapping`] (memory from the
//! kernel), [`buffers`] (which side owns a read buffer), [`ring`] (operations
//! and their descriptors), [`wake`] and [`allocator`] (one call each).

pub(crate) mod allocator;
mod buffers;
pub(crate) mod clock;
pub(crate) mod edge;
mod epoll;
mod io;
pub(crate) mod listener;
mod mapping;
pub(crate) mod pace;
mod ring;
pub(crate) mod runtime;
pub(crate) mod tee;
pub(crate) mod wake;
pub(crate) mod writer;
