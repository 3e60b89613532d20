//! A stream's descriptor as JSON.

use serde_json::{Map, Value};

use crate::proto::logpb;

/// As Go's `jsonpb.Marshaler{Indent: "  ", OrigName: true}` writes it: what
/// is empty is absent, and `<`, `>` and `&` are escaped as for HTML.
pub(super) fn json(descriptor: &logpb::LogStreamDescriptor) -> String {
    let mut fields = Map::new();
    let mut text = |key: &str, value: &str| {
        if !value.is_empty() {
            fields.insert(key.into(), value.into());
        }
    };
    text("prefix", &descriptor.prefix);
    text("name", &descriptor.name);
    match descriptor.stream_type() {
        logpb::StreamType::Text => {}
        other => text("stream_type", other.as_str_name()),
    }
    text("content_type", &descriptor.content_type);
    if let Some(timestamp) = &descriptor.timestamp {
        text("timestamp", &timestamp.to_string());
    }
    if !descriptor.tags.is_empty() {
        let tags = descriptor.tags.iter();
        let tags = tags.map(|(key, value)| (key.clone(), value.as_str().into()));
        fields.insert("tags".into(), Value::Object(tags.collect()));
    }
    escape_html(&format!("{:#}", Value::Object(fields)))
}

/// Outside of strings JSON has none of these characters.
fn escape_html(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_types::Timestamp;

    #[test]
    fn as_jsonpb_writes_it() {
        let mut descriptor = logpb::LogStreamDescriptor {
            name: "a/b".into(),
            content_type: "text/plain; charset=utf-8".into(),
            timestamp: Some(Timestamp {
                seconds: 1_430_962_191,
                nanos: 120_000_000,
            }),
            ..Default::default()
        };
        assert_eq!(
            json(&descriptor),
            r#"{
  "name": "a/b",
  "content_type": "text/plain; charset=utf-8",
  "timestamp": "2015-05-07T01:29:51.120Z"
}"#
        );
        descriptor.stream_type = logpb::StreamType::Datagram.into();
        descriptor.content_type = "a<b>&\"\u{2028}é\n".into();
        descriptor.timestamp = Some(Timestamp {
            seconds: 0,
            nanos: 1,
        });
        descriptor.tags = [("k", ""), ("a", "v")]
            .map(|(key, value)| (key.into(), value.into()))
            .into();
        assert_eq!(
            json(&descriptor),
            r#"{
  "name": "a/b",
  "stream_type": "DATAGRAM",
  "content_type": "a\u003cb\u003e\u0026\"\u2028é\n",
  "timestamp": "1970-01-01T00:00:00.000000001Z",
  "tags": {
    "a": "v",
    "k": ""
  }
}"#
        );
    }
}
