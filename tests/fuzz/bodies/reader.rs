//! What `cat` reads: any bytes as a file of messages, and any bundle in it.
//! The walk without a tree agrees with the decoder that builds one.

use std::io::Cursor;

use butler::proto::logpb::{ButlerLogBundle, log_entry};
use butler::wire::bundle_view::BundleView;
use butler::wire::message::{Compression, MessageError, frames_len, put_frames};
use butler::wire::reader::{MessageReader, Tail, scan};
use butler::wire::walk::{ContentView, lines};
use prost::Message;

use super::input::Input;

/// Where messages begin and end, and how that ends.
type Found = (Vec<(u64, usize)>, Option<MessageError>);

pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (framed, step) = (
        !input.byte().is_multiple_of(4),
        usize::from(input.byte()).max(1),
    );
    let data = input.take(usize::MAX);
    let mut file = Vec::new();
    if framed {
        file.resize(frames_len(Compression::None, data.len()), 0);
        put_frames(&mut file, Compression::None, data.len());
        view(data);
    }
    file.extend_from_slice(data);
    let at_once = read(&file, file.len().max(1));
    assert_eq!(at_once, read(&file, step), "cuts change nothing");
    check_scan(&file, &at_once);
}

fn read(file: &[u8], step: usize) -> Found {
    let mut reader = MessageReader::new();
    let mut found = Vec::new();
    let mut view_bytes = Vec::new();
    for piece in file.chunks(step) {
        let mut piece = piece;
        while !piece.is_empty() {
            let space = reader.space();
            let len = space.len().min(piece.len());
            space[..len].copy_from_slice(&piece[..len]);
            reader.filled(len);
            piece = &piece[len..];
            loop {
                match reader.message() {
                    Ok(Some((offset, message))) => {
                        found.push((offset, message.len));
                        if let Ok(bundle) = message.bundle_bytes(&mut view_bytes) {
                            view(bundle);
                        }
                    }
                    Ok(None) => break,
                    Err(error) => return (found, Some(error)),
                }
            }
        }
    }
    (found, reader.tail().err())
}

/// The scan finds the same end as reading does, but for a last message that
/// does not decode.
fn check_scan(file: &[u8], (found, error): &Found) {
    let scan = scan(&mut Cursor::new(file)).expect("a cursor does not fail");
    let end = found.last().map_or(0, |(offset, len)| offset + *len as u64);
    let rest = file.len() as u64 - scan.end;
    match scan.tail {
        Tail::Nothing => assert_eq!(rest, 0),
        Tail::Torn { bytes } | Tail::Corrupt { bytes, .. } => assert_eq!(bytes, rest),
    }
    if scan.end != end {
        let last = found.last().map(|(offset, _)| *offset);
        assert_eq!(last, Some(scan.end));
        assert!(matches!(scan.tail, Tail::Corrupt { .. }));
    } else if error.is_some() {
        assert!(matches!(scan.tail, Tail::Corrupt { .. }));
    }
}

/// Looks at all of a bundle; whatever the decoder takes must look the same.
fn view(bytes: &[u8]) {
    let walked = walk(bytes);
    if let Ok(tree) = ButlerLogBundle::decode(bytes)
        && let Some(walked) = walked
    {
        let logs = tree.entries.iter().flat_map(|entry| &entry.logs);
        let logs: Vec<_> = logs
            .map(|log| (log.prefix_index, log.stream_index, log.sequence))
            .collect();
        assert_eq!(walked.indices, logs);
        assert_eq!(walked.streams, tree.entries.len());
        let datagrams = tree.entries.iter().flat_map(|entry| &entry.logs);
        let datagrams = datagrams
            .filter(|log| matches!(log.content, Some(log_entry::Content::Datagram(_))))
            .count();
        assert_eq!(walked.datagrams, datagrams);
    }
}

#[derive(Default)]
struct Walked {
    streams: usize,
    indices: Vec<(u64, u64, u64)>,
    datagrams: usize,
}

/// `None` if it is malformed.
fn walk(bytes: &[u8]) -> Option<Walked> {
    let mut walked = Walked::default();
    let bundle = BundleView::parse(bytes).ok()?;
    for entry in bundle.entries() {
        let entry = entry.ok()?;
        walked.streams += 1;
        let base = entry.descriptor().ok()?.timestamp.unwrap_or_default();
        for log in entry.logs() {
            let log = log.ok()?;
            log.check().ok()?;
            log.time(base);
            walked
                .indices
                .push((log.prefix_index, log.stream_index, log.sequence));
            match log.content() {
                Some(ContentView::Text(text)) => {
                    for line in lines(text) {
                        line.ok()?;
                    }
                }
                Some(ContentView::Datagram { .. }) => walked.datagrams += 1,
                Some(ContentView::Binary(_)) | None => {}
            }
        }
    }
    Some(walked)
}
