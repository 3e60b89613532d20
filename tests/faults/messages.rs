//! What a file holds that its butler could not finish.

use butler::proto::logpb::ButlerLogBundle;
use butler::wire::message::MessageView;

/// Whole messages, and bytes of one that is torn.
pub struct Messages {
    pub bundles: Vec<ButlerLogBundle>,
    /// Where the last whole one ends.
    pub end: usize,
    /// Bytes after it.
    pub torn: usize,
}

/// Panics if there is anything else than whole messages and at most one torn
/// tail.
pub fn parse(bytes: &[u8]) -> Messages {
    let (mut bundles, mut end) = (Vec::new(), 0);
    while let Some(view) = MessageView::parse(&bytes[end..]).expect("a message or its beginning") {
        bundles.push(view.bundle().expect("a bundle"));
        end += view.len;
    }
    Messages {
        bundles,
        end,
        torn: bytes.len() - end,
    }
}
