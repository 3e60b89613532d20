//! The LogDog schema and our own, generated from `proto/` by `scripts/regen`.

/// What the far end of a socket output answers.
#[allow(missing_docs, clippy::all, clippy::pedantic, unused_qualifications)]
pub mod ack;

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

/// What a spool keeps beside the bodies of its messages.
#[allow(missing_docs, clippy::all, clippy::pedantic, unused_qualifications)]
pub mod spool;

#[cfg(feature = "logdog")]
impl std::fmt::Debug for registration::RegisterPrefixResponse {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegisterPrefixResponse")
            .field("log_bundle_topic", &self.log_bundle_topic)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for spool::SpoolRun {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpoolRun")
            .field("project", &self.project)
            .field("prefix", &self.prefix)
            .field("topic", &self.topic)
            .field("registration", &self.registration)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for spool::SpoolRegistration {
    /// Without the nonce: whoever knows it can register as us.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpoolRegistration")
            .field("coordinator", &self.coordinator)
            .field("realm", &self.realm)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for spool::spool_fact::Registered {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registered")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}
