//! The name of a topic.

use std::fmt;
use std::str::FromStr;

use crate::output::peer_text::PeerText;

/// `projects/PROJECT/topics/TOPIC`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic(String);

/// Why text is no [`Topic`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicError(PeerText);

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\"{}\" is not projects/PROJECT/topics/TOPIC by the rules of Pub/Sub",
            self.0
        )
    }
}

impl Topic {
    /// For people: the Coordinator has chosen it.
    pub fn shown(&self) -> PeerText {
        PeerText::new(&self.0)
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As the value of a parameter: what is not unreserved is escaped.
    pub fn escaped(&self) -> String {
        let mut escaped = String::with_capacity(self.0.len() + 8);
        for byte in self.0.bytes() {
            match byte {
                b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
                byte if byte.is_ascii_alphanumeric() => escaped.push(char::from(byte)),
                byte => escaped.push_str(&format!("%{byte:02X}")),
            }
        }
        escaped
    }
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        let error = || TopicError(PeerText::new(text));
        let (project, topic) = text
            .strip_prefix("projects/")
            .and_then(|rest| rest.split_once("/topics/"))
            .ok_or_else(error)?;
        let in_project =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':' | b'_');
        let in_topic = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'+' | b'%')
        };
        let valid = !project.is_empty()
            && project.bytes().all(in_project)
            && (3..=255).contains(&topic.len())
            && topic.starts_with(|first: char| first.is_ascii_alphabetic())
            && topic.bytes().all(in_topic)
            && !topic.starts_with("goog");
        match valid {
            true => Ok(Self(text.to_owned())),
            false => Err(error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        let long = format!("projects/p/topics/a{}", "x".repeat(254));
        for valid in [
            "projects/p/topics/abc",
            "projects/example.com:p-1/topics/a.b-c_d~e+f%20",
            &long,
        ] {
            assert_eq!(valid.parse::<Topic>().unwrap().as_str(), valid);
        }
        let longer = format!("{long}x");
        for wrong in [
            "",
            "abc",
            "projects/p/topics/ab",
            "projects//topics/abc",
            "projects/p/topics/1bc",
            "projects/p/topics/a/c",
            "projects/p/topics/googabc",
            "projects/p q/topics/abc",
            "projects/p/subscriptions/abc",
            "projects/p/topics/abc\n",
            &longer,
        ] {
            assert!(wrong.parse::<Topic>().is_err(), "{wrong}");
        }
        let topic: Topic = "projects/a.b:p/topics/x+%y".parse().unwrap();
        assert_eq!(topic.escaped(), "projects%2Fa.b%3Ap%2Ftopics%2Fx%2B%25y");
    }
}
