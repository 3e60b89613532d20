//! The LogDog schema, generated from `proto/` by `scripts/regen`.

#[allow(missing_docs, clippy::all, clippy::pedantic, unused_qualifications)]
pub mod logpb;
