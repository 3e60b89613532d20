//! What only the command line asks of the kernel. It is part of the feature `cli`.
//!
//! That is what butler is as a process among others: the signals that it gets, those
//! that its command is to find ignored, descriptors that it was started with,
//! orphans that it inherits as the first process of a container.
//!
//! There is `unsafe` here, in small files: [`passed`] (descriptors that we were
//! started with), [`signals`] (their handler), [`ignored`] (those that our child
//! is to find ignored), [`beginning`] (what is looked at before `main`),
//! [`witness`] (a process that only sees signals), [`orphans`], [`allocator`], and
//! [`unread`] (what the other end of a socket has not read yet).

pub(crate) mod allocator;
mod beginning;
pub(crate) mod ignored;
pub(crate) mod orphans;
pub(crate) mod passed;
pub(crate) mod signals;
pub(crate) mod unread;
pub(crate) mod witness;
