//! The edge: what moves bytes between the kernel and the core.
//!
//! Only here is `unsafe`, in small files: [`mapping`] (memory from the
//! kernel), [`buffers`] (which side owns a read buffer), [`ring`] (operations
//! and their descriptors), [`wake`] and [`allocator`] (one call each).

pub(crate) mod allocator;
mod buffers;
pub(crate) mod clock;
pub(crate) mod edge;
pub(crate) mod listener;
mod mapping;
pub(crate) mod pace;
mod ring;
pub(crate) mod tee;
pub(crate) mod wake;
