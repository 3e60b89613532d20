use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::output::testing::{bundles, lines, parse, start, text_bundle};
use crate::proto::logpb::ButlerLogBundle;
use crate::wire::descriptor::StreamType;

const BOTH: [Compress; 2] = [Compress::None, Compress::ZLIB];

fn some_bundles() -> Vec<Arc<Message>> {
    let data = lines(300_000);
    bundles(
        20_000,
        &[
            ("a/text", StreamType::Text, &data),
            ("bin", StreamType::Binary, &data[..100_000]),
        ],
    )
}

fn decoded(bundles: &[Arc<Message>]) -> Vec<ButlerLogBundle> {
    bundles.iter().map(|it| it.decode()).collect()
}

async fn deliver_all(sink: &mut FileSink, bundles: &[Arc<Message>]) -> u64 {
    let mut bytes = 0;
    for bundle in bundles {
        bytes += sink.deliver(bundle).await.unwrap();
    }
    sink.finish().await;
    bytes
}

#[test]
fn appends_to_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let all = some_bundles();
    let (first, second) = all.split_at(all.len() / 2);
    let mut bytes = 0;
    start(async {
        for (part, compress) in [first, second].into_iter().zip(BOTH) {
            let mut sink = FileSink::open(&path, compress).unwrap();
            bytes += deliver_all(&mut sink, part).await;
        }
    });
    let file = fs::read(&path).unwrap();
    assert_eq!(parse(&file), (decoded(&all), file.len()));
    assert_eq!(bytes, file.len() as u64);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn goes_on_after_a_cut_message() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let (kept, cut, new) = (
        text_bundle(b"kept\n"),
        text_bundle(b"this one is cut\n"),
        text_bundle(b"new\n"),
    );
    for compress in BOTH {
        let message = |bundle| {
            let mut encoder = Encoder::new(compress);
            encoder.encode(bundle);
            encoder.pieces().concat()
        };
        let cut_len = message(&cut).len();
        for len in 0..=cut_len {
            let mut bytes = message(&kept);
            bytes.extend_from_slice(&message(&cut)[..len]);
            fs::write(&path, &bytes).unwrap();
            start(async {
                let mut sink = FileSink::open(&path, compress).unwrap();
                sink.deliver(&new).await.unwrap();
            });
            let file = fs::read(&path).unwrap();
            let expected = match len == cut_len {
                true => vec![kept.decode(), cut.decode(), new.decode()],
                false => vec![kept.decode(), new.decode()],
            };
            assert_eq!(parse(&file), (expected, file.len()), "{len}");
        }
    }
}

#[test]
fn other_files_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.txt");
    fs::write(&path, "dear diary").unwrap();
    let error = FileSink::open(&path, Compress::None).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(error.to_string().contains("notes.txt"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"dear diary");

    let error = FileSink::open(dir.path(), Compress::None).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
}

#[test]
fn one_butler_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    start(async {
        let first = FileSink::open(&path, Compress::None).unwrap();
        let error = FileSink::open(&path, Compress::None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert!(error.to_string().contains("another process"), "{error}");
        drop(first);
        FileSink::open(&path, Compress::None).unwrap();
    });
}

#[test]
fn a_moved_file_is_written_on() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("log"), dir.path().join("log.1"));
    let all = some_bundles();
    start(async {
        let mut sink = FileSink::open(&path, Compress::None).unwrap();
        sink.deliver(&all[0]).await.unwrap();
        fs::rename(&path, &moved).unwrap();
        let Target::Regular(file) = &mut sink.target else {
            panic!()
        };
        file.check();
        assert!(file.replaced);
        deliver_all(&mut sink, &all[1..]).await;
        assert_eq!(sink.health().errors(), 0);
    });
    let file = fs::read(&moved).unwrap();
    assert_eq!(parse(&file), (decoded(&all), file.len()));
    assert!(!path.exists());
}

/// To every length, which may cut a message, and with nothing or something of
/// others left.
#[test]
fn a_truncated_file_goes_on_at_its_new_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let (kept, new) = (text_bundle(b"kept\n"), text_bundle(b"new\n"));
    start(async {
        let mut sink = FileSink::open(&path, Compress::None).unwrap();
        let kept_len = sink.deliver(&kept).await.unwrap();
        for len in (0..=2 * kept_len).rev() {
            sink.deliver(&kept).await.unwrap();
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(len).unwrap();
            sink.deliver(&new).await.unwrap();
            let file = fs::read(&path).unwrap();
            let mut expected = vec![kept.decode(); (len / kept_len) as usize];
            expected.push(new.decode());
            assert_eq!(parse(&file), (expected, file.len()), "{len}");
            // So that there are two messages and more to truncate.
            for _ in 0..2 {
                sink.deliver(&kept).await.unwrap();
            }
            fs::write(&path, fs::read(&path).unwrap().split_off(file.len())).unwrap();
        }
        assert_eq!(sink.health().errors(), 0);

        // Nothing is taken away of what others put there.
        fs::write(&path, "hello").unwrap();
        sink.deliver(&new).await.unwrap();
    });
    let file = fs::read(&path).unwrap();
    let rest = file.strip_prefix(b"hello").unwrap();
    assert_eq!(parse(rest), (vec![new.decode()], rest.len()));
}

#[test]
fn devices_take_it_or_are_tried_again() {
    let bundle = text_bundle(b"x\n");
    start(async {
        let mut sink = FileSink::open(Path::new("/dev/null"), Compress::None).unwrap();
        assert!(sink.deliver(&bundle).await.unwrap() > bundle.len() as u64);

        let mut sink = FileSink::open(Path::new("/dev/full"), Compress::None).unwrap();
        let wait = Duration::from_millis(300);
        let result = tokio::time::timeout(wait, sink.deliver(&bundle)).await;
        assert!(result.is_err());
        assert!(sink.health().errors() >= 2);
    });
}

fn make_fifo(path: &Path) {
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
}

/// Reads at most so many bytes in a thread of its own.
fn read_fifo(path: &Path, limit: u64) -> thread::JoinHandle<Vec<u8>> {
    let path = path.to_owned();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let file = File::open(path).unwrap();
        file.take(limit).read_to_end(&mut bytes).unwrap();
        bytes
    })
}

#[test]
fn a_fifo_gets_whole_messages_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    make_fifo(&path);
    let (small, large) = (text_bundle(b"x\n"), text_bundle(&lines(1_000_000)));
    let late = path.clone();
    let readers = thread::spawn(move || {
        // Nobody reads at first; then somebody leaves in mid-message.
        thread::sleep(Duration::from_millis(150));
        let first = read_fifo(&late, 200_000).join().unwrap();
        thread::sleep(Duration::from_millis(50));
        let second = read_fifo(&late, u64::MAX).join().unwrap();
        (first, second)
    });
    let errors = start(async {
        let mut sink = FileSink::open(&path, Compress::None).unwrap();
        sink.deliver(&small).await.unwrap();
        sink.deliver(&large).await.unwrap();
        sink.deliver(&small).await.unwrap();
        sink.finish().await;
        sink.health().errors()
    });
    let (first, second) = readers.join().unwrap();
    let (whole, at) = parse(&first);
    assert_eq!(whole, [small.decode()]);
    assert!(at < 200_000 && errors >= 2);
    assert_eq!(parse(&second).0, [large.decode(), small.decode()]);
    assert_eq!(parse(&second).1, second.len());
}

#[test]
fn an_abandoned_write_does_not_hold_up_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    make_fifo(&path);
    let large = text_bundle(&lines(1_000_000));
    // Opened for both so that it needs no writer yet, and never read.
    let reader = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    start(async {
        let mut sink = FileSink::open(&path, Compress::None).unwrap();
        let wait = Duration::from_millis(50);
        let result = tokio::time::timeout(wait, sink.deliver(&large)).await;
        assert!(result.is_err());
        assert_eq!(sink.health().errors(), 0);
    });
    drop(reader);
}
