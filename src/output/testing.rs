//! What the tests of the sinks share: real bundles, and reading them back.

use std::sync::Arc;

use crate::IoMode;
use crate::core::{Core, CoreConfig};
use crate::delivery::message::{BundleLimits, Identity, Message};
use crate::limits::BUNDLE_MAX;
use crate::proto::logpb::ButlerLogBundle;
use crate::time::Moment;
use crate::wire::descriptor::{StreamProperties, StreamType, Tags};
use crate::wire::message::MessageView;
use crate::wire::name::StreamName;

/// Runs a test as [`crate::start`] does; on epoll if `BUTLER_TEST_IO` says so.
pub(crate) fn start<F: Future>(test: F) -> F::Output {
    let mode = match std::env::var("BUTLER_TEST_IO") {
        Ok(mode) => mode.parse().expect("a mode"),
        Err(_) => IoMode::Auto,
    };
    crate::start_with(mode, test).expect("a runtime")
}

/// All that the core makes of streams that write `data` and end.
pub(crate) fn bundles(target: usize, streams: &[(&str, StreamType, &[u8])]) -> Vec<Arc<Message>> {
    let mut core = Core::new(CoreConfig {
        bundle_limits: BundleLimits {
            target,
            max: BUNDLE_MAX,
        },
        text_in_lines: true,
        identity: Identity {
            project: "p".into(),
            prefix: "a/prefix".into(),
            secret: Default::default(),
        },
        global_tags: Tags::default(),
        age_max_ns: 1,
        buffered_max: u64::MAX,
        stream_size_max: u64::MAX,
    });
    let now = Moment {
        mono_ns: 1,
        wall: prost_types::Timestamp {
            seconds: 1_700_000_000,
            nanos: 0,
        },
    };
    for (name, stream_type, data) in streams {
        let properties = StreamProperties::new(StreamName::new(*name).unwrap(), *stream_type);
        let key = core.open(&now, &properties).unwrap();
        for read in data.chunks(64 * 1024) {
            core.data(&now, key, read).unwrap();
        }
        core.end(&now, key);
    }
    core.flush();
    std::iter::from_fn(|| core.poll_message(&now)).collect()
}

/// Bytes that can't be compressed.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut seed = 7u64;
    let next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// One bundle, of one text stream.
pub(crate) fn text_bundle(data: &[u8]) -> Arc<Message> {
    let mut all = bundles(BUNDLE_MAX, &[("s/text", StreamType::Text, data)]);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// Log lines that look the same wherever they are made.
pub(crate) fn lines(bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes + 100);
    let mut seed = 1u64;
    while out.len() < bytes {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let line = format!("[{:06}] step {} of the build\n", out.len(), seed >> 40);
        out.extend_from_slice(line.as_bytes());
    }
    out
}

/// The bundles of messages back to back, and how many bytes they take; what
/// follows is a cut message.
pub(crate) fn parse(bytes: &[u8]) -> (Vec<ButlerLogBundle>, usize) {
    let mut at = 0;
    let mut all = Vec::new();
    while let Some(view) = MessageView::parse(&bytes[at..]).unwrap() {
        all.push(view.bundle().unwrap());
        at += view.len;
    }
    (all, at)
}
