//! The LogDog schema, generated from `proto/` by `scripts/regen`.

#[allow(missing_docs, clippy::all, clippy::pedantic, unused_qualifications)]
pub mod logpb;

/// What is needed of Google Pub/Sub.
#[cfg(feature = "logdog")]
#[allow(missing_docs, clippy::all, clippy::pedantic, unused_qualifications)]
pub mod pubsub;

/// What is needed of the Coordinator.
#[cfg(feature = "logdog")]
#[allow(missing_docs, clippy::all, clippy::pedantic, unused_qualifications)]
pub mod registration;

#[cfg(feature = "logdog")]
impl std::fmt::Debug for registration::RegisterPrefixResponse {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegisterPrefixResponse")
            .field("log_bundle_topic", &self.log_bundle_topic)
            .finish_non_exhaustive()
    }
}
