use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::*;
use crate::output::testing::{Bench, bundles, kernel, lines, parse, text_bundle};
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

fn open(path: &Path, compress: Compress) -> Bench<Appender<OwnedFd>> {
    Bench::new(|io| Appender::open(io, path, compress).unwrap())
}

fn deliver_all(bench: &mut Bench<Appender<OwnedFd>>, bundles: &[Arc<Message>]) -> u64 {
    let mut bytes = 0;
    for bundle in bundles {
        bytes += bench.deliver(bundle).unwrap();
    }
    bench.finish();
    bytes
}

#[test]
fn appends_to_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let all = some_bundles();
    let (first, second) = all.split_at(all.len() / 2);
    let mut bytes = 0;
    {
        for (part, compress) in [first, second].into_iter().zip(BOTH) {
            let mut bench = open(&path, compress);
            bytes += deliver_all(&mut bench, part);
        }
    }
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
            {
                let mut bench = open(&path, compress);
                bench.deliver(&new).unwrap();
            }
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
    let error = Appender::open(&mut kernel(), &path, Compress::None).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(error.to_string().contains("notes.txt"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"dear diary");

    let error = Appender::open(&mut kernel(), dir.path(), Compress::None).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
}

#[test]
fn one_butler_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    {
        let first = open(&path, Compress::None);
        let error = Appender::open(&mut kernel(), &path, Compress::None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert!(error.to_string().contains("another process"), "{error}");
        drop(first);
        open(&path, Compress::None);
    }
}

#[test]
fn a_moved_file_is_written_on() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("log"), dir.path().join("log.1"));
    let all = some_bundles();
    {
        let mut bench = open(&path, Compress::None);
        bench.deliver(&all[0]).unwrap();
        fs::rename(&path, &moved).unwrap();
        deliver_all(&mut bench, &all[1..]);
        assert_eq!(bench.errors(), 0);
    }
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
    {
        let mut bench = open(&path, Compress::None);
        let kept_len = bench.deliver(&kept).unwrap();
        for len in (0..=2 * kept_len).rev() {
            bench.deliver(&kept).unwrap();
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(len).unwrap();
            bench.deliver(&new).unwrap();
            let file = fs::read(&path).unwrap();
            let mut expected = vec![kept.decode(); (len / kept_len) as usize];
            expected.push(new.decode());
            assert_eq!(parse(&file), (expected, file.len()), "{len}");
            // So that there are two messages and more to truncate.
            for _ in 0..2 {
                bench.deliver(&kept).unwrap();
            }
            fs::write(&path, fs::read(&path).unwrap().split_off(file.len())).unwrap();
        }
        assert_eq!(bench.errors(), 0);

        // Nothing is taken away of what others put there.
        fs::write(&path, "hello").unwrap();
        bench.deliver(&new).unwrap();
    }
    let file = fs::read(&path).unwrap();
    let rest = file.strip_prefix(b"hello").unwrap();
    assert_eq!(parse(rest), (vec![new.decode()], rest.len()));
}

#[test]
fn devices_take_it_or_are_tried_again() {
    let bundle = text_bundle(b"x\n");
    {
        let mut bench = open(Path::new("/dev/null"), Compress::None);
        assert!(bench.deliver(&bundle).unwrap() > bundle.len() as u64);

        let mut bench = open(Path::new("/dev/full"), Compress::None);
        assert!(bench.holds_up(&bundle, Duration::from_millis(300)));
        assert!(bench.errors() >= 2);
    }
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
    let errors = {
        let mut bench = open(&path, Compress::None);
        bench.deliver(&small).unwrap();
        bench.deliver(&large).unwrap();
        bench.deliver(&small).unwrap();
        bench.finish();
        bench.errors()
    };
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
    {
        let mut bench = open(&path, Compress::None);
        assert!(bench.holds_up(&large, Duration::from_millis(50)));
        assert_eq!(bench.errors(), 0);
    }
    drop(reader);
}
