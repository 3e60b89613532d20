//! What `--stdout`, `--stderr` and `--stream` say of a stream.

use std::ffi::OsStr;
use std::path::Path;

use super::options::{StreamFlags, Wiring};
use super::values;
use crate::output::Output;
use crate::pairs::{PairError, Pairs};
use crate::wire::descriptor::StreamType;
use crate::wire::name::StreamName;

const KEYS: &[&str] = &["name", "content-type", "type", "tag"];

impl StreamFlags {
    /// Adds what `text` says. An option that is given again goes on where it
    /// stopped, as in the reference; only a tag may not be set twice.
    pub fn add(&mut self, text: &OsStr) -> Result<(), PairError> {
        let pairs = Pairs::parse(text, KEYS)?;
        if let Some(name) = pairs.text("name")? {
            // An empty name counts as none, which is how scripts turn the
            // capture off.
            self.name = match name {
                "" => None,
                _ => Some(
                    StreamName::new(name)
                        .map_err(|error| pairs.value_error("name", OsStr::new(name), error))?,
                ),
            };
        }
        if let Some(content_type) = pairs.text("content-type")? {
            self.content_type = content_type.into();
        }
        if let Some(name) = pairs.text("type")? {
            self.stream_type = StreamType::from_name(name).ok_or_else(|| {
                let reason = "it must be text, binary or datagram";
                pairs.value_error("type", OsStr::new(name), reason)
            })?;
        }
        for value in pairs.all("tag") {
            let tag = pairs.to_text("tag", value)?;
            values::add_tag(&mut self.tags, tag)
                .map_err(|error| pairs.value_error("tag", value, error))?;
        }
        Ok(())
    }
}

/// What becomes of the stdout and the stderr of the command of `run`. Without a
/// word about them both are captured and shown; `tee` says more of the latter.
pub fn outlets(
    stdout: Option<StreamFlags>,
    stderr: Option<StreamFlags>,
    tee: Option<bool>,
    output: &Output,
) -> [Wiring; 2] {
    if stdout.is_none() && stderr.is_none() {
        return ["stdout", "stderr"].map(|name| Wiring::Captured {
            flags: named(name),
            // What is printed there already must not be mixed up.
            shown: tee.unwrap_or_else(|| !is_taken(name, output)),
        });
    }
    [stdout, stderr].map(|flags| match flags {
        Some(flags) if flags.name.is_some() => Wiring::Captured {
            flags,
            shown: tee.unwrap_or(false),
        },
        _ => Wiring::Inherited,
    })
}

/// Does the output itself write there?
fn is_taken(name: &str, output: &Output) -> bool {
    let (path, number) = match name {
        "stdout" => ("/dev/stdout", "1"),
        _ => ("/dev/stderr", "2"),
    };
    match output {
        Output::Log(_) => name == "stdout",
        output => output.file().is_some_and(|file| {
            file == Path::new(path)
                || ["/dev/fd", "/proc/self/fd"]
                    .iter()
                    .any(|fds| file == Path::new(fds).join(number))
        }),
    }
}

fn named(name: &str) -> StreamFlags {
    StreamFlags {
        name: StreamName::new(name).ok(),
        ..StreamFlags::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::advice::told;
    use crate::output::NullOutput;

    fn flags(texts: &[&str]) -> Result<StreamFlags, PairError> {
        let mut flags = StreamFlags::default();
        for text in texts {
            flags.add(OsStr::new(text))?;
        }
        Ok(flags)
    }

    #[test]
    fn all_keys() {
        let made =
            flags(&["name=a/b,type=datagram,content-type=x/y; z=1,tag=k=v=w,tag=l"]).unwrap();
        assert_eq!(made.name.unwrap().as_str(), "a/b");
        assert_eq!(made.stream_type, StreamType::Datagram);
        assert_eq!(made.content_type, "x/y; z=1");
        assert_eq!(
            made.tags.iter().collect::<Vec<_>>(),
            [("k", "v=w"), ("l", "")]
        );

        let made = |texts: &[&str]| flags(texts).unwrap();
        assert_eq!(made(&[""]), StreamFlags::default());
        assert_eq!(made(&["name=x,name="]), StreamFlags::default());
        let quoted = flags(&[r#"content-type="text/plain",tag=a=b\,c,tag="k=v w""#]).unwrap();
        assert_eq!(quoted.content_type, "text/plain");
        assert!(quoted.tags.iter().eq([("a", "b,c"), ("k", "v w")]));
        assert_eq!(made(&["type=text,type=binary"]), made(&["type=binary"]));
        assert_eq!(made(&["name="]), StreamFlags::default());
        assert_eq!(
            made(&["name=x", "type=binary", "name=y"]),
            made(&["name=y,type=binary"])
        );
    }

    #[test]
    fn refusals_name_the_key() {
        for (text, says) in [
            ("tee=stdout", "unknown key \"tee\"; allowed keys: name,"),
            ("name", "the key name has no value"),
            ("name=/x", "name=/x is not allowed: a segment is empty"),
            ("type=Text", "it must be text, binary or datagram"),
            ("type=", "it must be text, binary or datagram"),
            ("tag=", "tag= is not allowed"),
            ("tag==v", "tag==v is not allowed"),
            ("tag=k,tag=k=1", "it is set twice"),
        ] {
            let error = told(&flags(&[text]).unwrap_err());
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_captured_and_shown() {
        let named = |name| flags(&[&format!("name={name}")]).unwrap();
        let nameless = || flags(&["type=binary"]).unwrap();
        let captured = |name, shown| Wiring::Captured {
            flags: named(name),
            shown,
        };
        let both = |shown| ["stdout", "stderr"].map(|name| captured(name, shown));
        let null = &NullOutput.into();
        assert_eq!(outlets(None, None, None, null), both(true));
        assert_eq!(outlets(None, None, Some(false), null), both(false));
        for (output, shown) in [
            ("log", [false, true]),
            ("file,path=/dev/stdout", [false, true]),
            ("file,path=/proc/self/fd/2", [true, false]),
        ] {
            let output = &output.parse().unwrap();
            let [stdout, stderr] = shown;
            let expected = [captured("stdout", stdout), captured("stderr", stderr)];
            assert_eq!(outlets(None, None, None, output), expected);
            assert_eq!(outlets(None, None, Some(true), output), both(true));
        }
        for (stdout, stderr, expected) in [
            (
                Some(named("a")),
                None,
                [captured("a", false), Wiring::Inherited],
            ),
            (
                None,
                Some(named("a")),
                [Wiring::Inherited, captured("a", false)],
            ),
            (
                Some(nameless()),
                None,
                [Wiring::Inherited, Wiring::Inherited],
            ),
            (
                Some(nameless()),
                Some(named("a")),
                [Wiring::Inherited, captured("a", false)],
            ),
        ] {
            assert_eq!(outlets(stdout, stderr, None, null), expected);
        }
        assert_eq!(
            outlets(Some(named("a")), None, Some(true), null),
            [captured("a", true), Wiring::Inherited]
        );
    }
}
