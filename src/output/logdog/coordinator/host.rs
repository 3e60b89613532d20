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
    /// Of the settings.
    pub fn new(settings: &LogdogOutput) -> Result<Self, OriginError> {
        let host = &settings.coordinator_host;
        let plain = Origin::of_host(host)?;
        let Some(service) = &settings.service else {
            return Ok(Self {
                origin: plain,
                name: host.clone(),
            });
        };
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        if service.is_empty() || !service.bytes().all(valid) {
            return Err(OriginError::Syntax);
        }
        let name = format!("{service}-dot-{host}");
        let origin = match plain.secure {
            true => Origin::of_host(&name)?,
            // On this machine there is but one host: its services are told
            // apart by the header.
            false => plain,
        };
        Ok(Self { origin, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services() {
        let mut settings = LogdogOutput::new("logs.example.com");
        let host = CoordinatorHost::new(&settings).unwrap();
        assert_eq!(host.name, "logs.example.com");
        settings.service = Some("s1".into());
        let host = CoordinatorHost::new(&settings).unwrap();
        assert_eq!(host.name, "s1-dot-logs.example.com");
        assert_eq!(
            host.origin.to_string(),
            "https://s1-dot-logs.example.com:443"
        );
        settings.coordinator_host = "127.0.0.1:81".into();
        let host = CoordinatorHost::new(&settings).unwrap();
        assert_eq!(host.origin.to_string(), "http://127.0.0.1:81");
        assert_eq!(host.name, "s1-dot-127.0.0.1:81");
        settings.service = Some("a/b".into());
        assert!(CoordinatorHost::new(&settings).is_err());
    }
}
