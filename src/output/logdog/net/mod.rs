//! Connections: to a host by name or address, plain or with TLS, and single
//! HTTP calls over them.

pub(super) mod dial;
pub(super) mod http;
pub(super) mod origin;
mod resolve;
pub(super) mod tls;
