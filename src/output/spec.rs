//! An output as the command line writes it: `NAME[,key=value…]`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;

use super::kind::{Given, Kind};
use super::{Compress, KINDS, Output, ZlibLevel};
use crate::limits;
use crate::pairs::{self, PairError, Pairs};

/// Why the SPEC of an output is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// There is no output of that name.
    #[error(
        "there is no output {0:?}; the outputs are null, log, directory, file, unix:PATH, \
         tcp:HOST:PORT and logdog"
    )]
    Unknown(String),
    /// The output was left out of this build.
    #[error("the {0} output is not in this butler: it was built without the feature {0}")]
    NotSupported(&'static str),
    /// Something is wrong with its keys.
    #[error("the {output} output")]
    Pairs {
        /// The output.
        output: &'static str,
        /// What is wrong.
        #[source]
        error: PairError,
    },
    /// `unix:` without a path.
    #[error("the unix output needs a path: unix:PATH")]
    SocketPathEmpty,
    /// The socket's path has that many bytes, which are too many.
    #[error(
        "the unix output: the socket's path has {0} bytes, more than {max}",
        max = limits::SOCKET_PATH_MAX
    )]
    SocketPathTooLong(usize),
    /// What follows `tcp:` is not `HOST:PORT`.
    #[error(
        "the tcp output: {0:?} is no address; wanted is tcp:HOST:PORT with a port of 1 to 65535, and \
         brackets around an IPv6 address: tcp:[::1]:99"
    )]
    Address(String),
}

impl FromStr for Output {
    type Err = SpecError;

    fn from_str(spec: &str) -> Result<Self, SpecError> {
        Self::from_spec(OsStr::new(spec))
    }
}

impl Output {
    /// Reads a SPEC, whose paths need not be UTF-8. Paths stay as they are
    /// given, relative ones too.
    pub fn from_spec(spec: &OsStr) -> Result<Self, SpecError> {
        let mut items = pairs::items(spec).into_iter();
        let name = items.next().unwrap_or_default();
        let items = items.collect();
        let unknown = || SpecError::Unknown(name.to_string_lossy().into_owned());
        let (kind, address) = KINDS
            .iter()
            .find_map(|kind| Some((kind, kind.address_in(&name)?)))
            .ok_or_else(unknown)?;
        (kind.parse)(Given {
            kind,
            address,
            items,
        })
    }
}

impl Kind {
    /// What follows its name's colon, if the text names it.
    fn address_in<'a>(&self, text: &'a OsStr) -> Option<&'a OsStr> {
        let rest = text.as_bytes().strip_prefix(self.name.as_bytes())?;
        match self.has_address {
            true => rest.strip_prefix(b":").map(OsStr::from_bytes),
            false => rest.is_empty().then_some(OsStr::from_bytes(rest)),
        }
    }
}

/// Whether and how hard an output compresses that can.
pub(super) fn compress(pairs: &Pairs) -> Result<Compress, PairError> {
    let compress = match pairs.text("compress")? {
        None | Some("none") => Compress::None,
        Some("zlib") => Compress::ZLIB,
        Some(other) => {
            return Err(pairs.value_error(
                "compress",
                OsStr::new(other),
                "it must be none or zlib",
            ));
        }
    };
    let Some(given) = pairs.text("level")? else {
        return Ok(compress);
    };
    let refused = |reason: &str| pairs.value_error("level", OsStr::new(given), reason);
    if compress == Compress::None {
        return Err(refused("it goes with compress=zlib"));
    }
    let level = given.parse().ok().and_then(ZlibLevel::new);
    level
        .map(Compress::Zlib)
        .ok_or_else(|| refused("it must be 1 to 12"))
}

/// Says of which output an error about keys is.
pub(super) fn of(output: &'static str) -> impl Fn(PairError) -> SpecError {
    move |error| SpecError::Pairs { output, error }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    use std::path::PathBuf;

    use super::*;
    use crate::chain::Chain;
    #[cfg(feature = "tls")]
    use crate::output::Tls;
    #[cfg(feature = "logdog")]
    use crate::output::logdog::LogdogOutput;
    use crate::output::{
        Controls, DirectoryOutput, FileOutput, LogOutput, NullOutput, TcpOutput, UnixOutput,
    };

    #[test]
    fn outputs() {
        const PLAIN: Compress = Compress::None;
        const ZLIB: Compress = Compress::ZLIB;
        let level = |level| Compress::Zlib(ZlibLevel::new(level).unwrap());
        let directory = |path: &str| Output::from(DirectoryOutput::new(path));
        let file = |path: &str, compress| {
            let mut file = FileOutput::new(path);
            file.compress = compress;
            Output::from(file)
        };
        let unix = |path: &str, compress| {
            let mut unix = UnixOutput::new(path);
            unix.compress = compress;
            Output::from(unix)
        };
        let tcp = |host: &str, port, compress| {
            let mut tcp = TcpOutput::new(host, port);
            tcp.compress = compress;
            Output::from(tcp)
        };
        let acknowledged = |path: &str| {
            let mut unix = UnixOutput::new(path);
            unix.ack = true;
            Output::from(unix)
        };
        let log = |bundle_size| {
            let controls = Controls::Escaped;
            Output::from(LogOutput {
                bundle_size,
                controls,
            })
        };
        for (spec, output) in [
            ("null", NullOutput.into()),
            ("log", log(None)),
            ("log,bundle-size=1MiB", log(Some(1 << 20))),
            ("log,bundle-size=1", log(Some(1))),
            ("log,bundle-size=1GiB", log(Some(limits::BUNDLE_MAX))),
            ("directory,path=a b=c", directory("a b=c")),
            (r#"directory,path="/x/a,b""#, directory("/x/a,b")),
            (r#"directory,"path=a\",b""#, directory("a\",b")),
            (r"directory,path=a\,b\\", directory(r"a,b\")),
            ("directory,path=a,path=b", directory("b")),
            ("file,path=/x", file("/x", PLAIN)),
            ("file,path=/x,compress=none", file("/x", PLAIN)),
            ("file,compress=zlib,path=/x", file("/x", ZLIB)),
            ("file,path=/x,compress=zlib,level=1", file("/x", level(1))),
            ("unix:a.sock", unix("a.sock", PLAIN)),
            ("unix:a,level=12,compress=zlib", unix("a", level(12))),
            ("unix:/a:b,compress=zlib", unix("/a:b", ZLIB)),
            (r#"unix:"/a,b=c",compress=zlib"#, unix("/a,b=c", ZLIB)),
            ("tcp:localhost:99", tcp("localhost", 99, PLAIN)),
            ("tcp:[::1]:99,compress=zlib", tcp("::1", 99, ZLIB)),
            ("tcp:10.0.0.1:65535", tcp("10.0.0.1", 65535, PLAIN)),
            ("unix:/s,ack=yes", acknowledged("/s")),
            ("unix:/s,ack=no", unix("/s", PLAIN)),
            ("tcp:h:1,tls=no", tcp("h", 1, PLAIN)),
        ] {
            assert_eq!(spec.parse::<Output>().unwrap(), output, "{spec}");
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn encrypted_outputs() {
        let parse = |spec: &str| match spec.parse() {
            Ok(Output::Tcp(tcp)) => (tcp.ack, tcp.tls.unwrap()),
            other => panic!("{spec}: {other:?}"),
        };
        assert_eq!(parse("tcp:h:1,tls=yes"), (false, Tls::default()));
        let (ack, tls) = parse("tcp:h:1,ack=yes,tls=yes,ca=/c,cert=/a,key=/b,server-name=n");
        assert!(ack);
        let expected = Tls {
            ca: Some("/c".into()),
            certificate: Some(("/a".into(), "/b".into())),
            server_name: Some("n".into()),
        };
        assert_eq!(tls, expected);
        for (keys, says) in [
            (
                "tls=yes,cert=/a",
                "cert=/a is not allowed: it goes with key=FILE",
            ),
            (
                "tls=yes,key=/b",
                "key=/b is not allowed: it goes with cert=FILE",
            ),
            ("tls=yes,ca=", "ca= is not allowed: it is empty"),
            (
                "tls=yes,server-name=",
                "server-name= is not allowed: it is empty",
            ),
            (
                "tls=maybe",
                "tls=maybe is not allowed: it must be yes or no",
            ),
            ("tls=no,ca=/c", "ca=/c is not allowed: it goes with tls=yes"),
        ] {
            let spec = format!("tcp:h:1,{keys}");
            let error = Chain(&spec.parse::<Output>().unwrap_err()).to_string();
            assert!(error.contains(says), "{spec}: {error}");
        }
    }

    #[cfg(feature = "logdog")]
    #[test]
    fn logdog_output() {
        let parse = |spec: &str| match spec.parse() {
            Ok(Output::Logdog(settings)) => settings,
            other => panic!("{spec}: {other:?}"),
        };
        assert_eq!(parse("logdog"), LogdogOutput::new(""));
        let empty = parse("logdog,service=,prefix-expiration=0s,pubsub-endpoint=");
        assert_eq!(empty, LogdogOutput::new(""));
        let all = parse(
            "logdog,service=s,prefix-expiration=1h30m,pubsub-endpoint=https://eu-pubsub.x:443",
        );
        assert_eq!(all.service.as_deref(), Some("s"));
        let expiration = std::time::Duration::from_secs(5400);
        assert_eq!(all.prefix_expiration, Some(expiration));
        let endpoint = all.pubsub_endpoint.unwrap().to_string();
        assert_eq!(endpoint, "https://eu-pubsub.x:443");
    }

    #[test]
    fn paths_need_not_be_utf8() {
        let spec = OsString::from_vec(b"directory,path=/\xff".to_vec());
        let path = PathBuf::from(OsString::from_vec(b"/\xff".to_vec()));
        assert_eq!(
            Output::from_spec(&spec).unwrap(),
            DirectoryOutput::new(path.clone()).into()
        );
        let spec = OsString::from_vec(b"unix:/\xff".to_vec());
        let unix = UnixOutput::new(path);
        assert_eq!(Output::from_spec(&spec).unwrap(), unix.into());
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn what_is_refused_is_named() {
        let long = format!("unix:/{}", "x".repeat(104));
        for (spec, says) in [
            ("", "there is no output \"\""),
            ("nul", "the outputs are null, log, directory, file,"),
            ("Null", "there is no output \"Null\""),
            #[cfg(not(feature = "logdog"))]
            (
                "logdog,service=x",
                "the logdog output is not in this butler",
            ),
            #[cfg(feature = "logdog")]
            ("logdog,track=x", "the logdog output: unknown key \"track\""),
            #[cfg(feature = "logdog")]
            ("logdog,prefix-expiration=1", "such as 100ms, 5s"),
            #[cfg(feature = "logdog")]
            (
                "logdog,pubsub-endpoint=http://a.b",
                "plain http is for localhost",
            ),
            (
                "null,path=x",
                "the null output: unknown key \"path\"; no keys",
            ),
            (
                "log,level=1",
                "unknown key \"level\"; allowed keys: bundle-size",
            ),
            (
                "log,bundle-size=",
                "bundle-size= is not allowed: a size in bytes",
            ),
            ("log,bundle-size=1kB", "a size in bytes is wanted"),
            ("log,bundle-size=0", "it must be at least 1 byte"),
            ("directory", "the key path is missing; allowed keys: path"),
            ("directory,path=", "path= is not allowed: it is empty"),
            (
                "directory,path=a,b",
                "unknown key \"b\"; allowed keys: path",
            ),
            ("file", "the file output: the key path is missing"),
            ("file,compress=zlib", "allowed keys: path, compress, level"),
            ("file,path=x,track=true", "unknown key \"track\""),
            (
                "file,path=x,level=5",
                "level=5 is not allowed: it goes with compress=zlib",
            ),
            (
                "file,path=x,compress=zlib,level=0",
                "level=0 is not allowed: it must be 1 to 12",
            ),
            ("file,path=x,compress=zlib,level=13", "it must be 1 to 12"),
            ("file,path=x,compress=zlib,level=six", "it must be 1 to 12"),
            ("file,path=x,compress=gzip", "compress=gzip is not allowed"),
            ("file,path=x,compress", "the key compress has no value"),
            ("unix:", "the unix output needs a path"),
            ("unix:,compress=none", "the unix output needs a path"),
            (&long, "has 105 bytes, more than 104"),
            (
                "unix:/x,path=y",
                "unknown key \"path\"; allowed keys: compress, level, ack",
            ),
            (
                "unix:/x,ack=maybe",
                "ack=maybe is not allowed: it must be yes or no",
            ),
            ("unix:/x,ack", "the key ack has no value"),
            ("unix:/x,tls=yes", "unknown key \"tls\""),
            #[cfg(not(feature = "tls"))]
            ("tcp:h:1,tls=yes", "built without the feature tls"),
            ("unix", "there is no output \"unix\""),
            ("tcp:localhost", "\"localhost\" is no address"),
            ("tcp:localhost:", "wanted is tcp:HOST:PORT"),
            ("tcp:localhost:0", "a port of 1 to 65535"),
            ("tcp:localhost:65536", "a port of 1 to 65535"),
            ("tcp:localhost:+9", "a port of 1 to 65535"),
            ("tcp:localhost:x", "a port of 1 to 65535"),
            ("tcp::9", "\":9\" is no address"),
            ("tcp:[]:9", "\"[]:9\" is no address"),
            ("tcp:::1:9", "brackets around an IPv6 address"),
            ("tcp:[::1:9", "brackets around an IPv6 address"),
            ("tcp:h:1,x=y", "the tcp output: unknown key \"x\""),
        ] {
            let error = Chain(&spec.parse::<Output>().unwrap_err()).to_string();
            assert!(error.contains(says), "{spec}: {error}");
        }
    }
}
