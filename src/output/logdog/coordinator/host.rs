//! The Coordinator's host, and that of one of its services.

use crate::output::logdog::net::origin::{Origin, OriginError};
use crate::output::logdog::settings::LogdogOutput;

/// Where to connect to, and what to ask for there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoordinatorHost {
    /// The server.
    pub origin: Origin,
    /// The `Host` header.
    pub name: String,
}

impl CoordinatorHost {
    /// Of `HOST` or `HOST:PORT`, and one of its services, if it is not empty.
    pub fn new(host: &str, service: &str) -> Result<Self, OriginError> {
        let plain = Origin::of_host(host)?;
        let name = name(host, service);
        if service.is_empty() {
            return Ok(Self {
                origin: plain,
                name,
            });
        }
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        if !service.bytes().all(valid) {
            return Err(OriginError::Syntax);
        }
        let origin = match plain.secure {
            true => Origin::of_host(&name)?,
            // On this machine there is but one host: its services are told
            // apart by the header.
            false => plain,
        };
        Ok(Self { origin, name })
    }

    /// Of the settings.
    pub fn of(settings: &LogdogOutput) -> Result<Self, OriginError> {
        match settings.service.as_deref() {
            Some("") => Err(OriginError::Syntax),
            service => Self::new(&settings.coordinator_host, service.unwrap_or_default()),
        }
    }
}

/// The host that is asked for.
fn name(host: &str, service: &str) -> String {
    match service {
        "" => host.to_owned(),
        service => format!("{service}-dot-{host}"),
    }
}

impl LogdogOutput {
    /// The host that is asked for, of which clients make links: that of the
    /// service, if there is one.
    pub fn host(&self) -> String {
        name(
            &self.coordinator_host,
            self.service.as_deref().unwrap_or_default(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services() {
        let mut settings = LogdogOutput::new("logs.example.com");
        let host = CoordinatorHost::of(&settings).unwrap();
        assert_eq!(host.name, "logs.example.com");
        settings.service = Some("s1".into());
        let host = CoordinatorHost::of(&settings).unwrap();
        assert_eq!(host.name, "s1-dot-logs.example.com");
        assert_eq!(
            host.origin.to_string(),
            "https://s1-dot-logs.example.com:443"
        );
        settings.coordinator_host = "127.0.0.1:81".into();
        let host = CoordinatorHost::of(&settings).unwrap();
        assert_eq!(host.origin.to_string(), "http://127.0.0.1:81");
        assert_eq!(host.name, "s1-dot-127.0.0.1:81");
        settings.service = Some("a/b".into());
        assert!(CoordinatorHost::of(&settings).is_err());
    }
}
