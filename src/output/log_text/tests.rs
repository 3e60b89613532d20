use super::*;
use crate::output::testing::{Bench, bundles, lines, text_bundle};
use crate::wire::descriptor::StreamType;
use std::io::{Read, Write};
use std::time::Duration;

fn to(out: impl Into<OwnedFd>, controls: Controls) -> Bench<Printer<OwnedFd>> {
    Bench::new(|io| Printer::to(io, out.into(), controls).unwrap())
}

fn print(message: &Arc<Message>, controls: Controls) -> String {
    let mut file = tempfile::tempfile().unwrap();
    let printed = to(file.try_clone().unwrap(), controls).deliver(message);
    assert_eq!(printed, Ok(file.metadata().unwrap().len()));
    let mut text = String::new();
    io::Seek::rewind(&mut file).unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn shows_everything() {
    let streams: [(_, _, &[u8]); 3] = [
        (
            "a/text",
            StreamType::Text,
            b"one\r\n\x1b[1mt\xc3\xa9\xfft\two\nthree",
        ),
        ("bin", StreamType::Binary, &[7; 100]),
        ("dgram", StreamType::Datagram, b"\x02ab\x00\x05c"),
    ];
    let all = bundles(1 << 20, &streams);
    let text = print(&all[0], Controls::Escaped);
    let expected = "\
bundle of 2023-11-14T22:13:20Z: 3 streams, 6 entries, LEN bytes
  a/text, text
    0 +0.000s line 0: one
    0 +0.000s line 1: \\x1b[1mté\\xfft\\two
    1 +0.000s line 2: three…
  a/text ends after entry 1
  bin, binary
    0 +0.000s byte 0: 100 bytes, 07 07 07 07 07 07 07 07 07 07 07 07 07 07 07 07…
  bin ends after entry 0
  dgram, datagram
    0 +0.000s datagram 0: 2 bytes, 61 62
    1 +0.000s datagram 1: 0 bytes
    2 +0.000s datagram 2, part: 1 bytes, 63
  dgram ends after entry 2
";
    let len = all[0].len().to_string();
    assert_eq!(text, expected.replace("LEN", &len));
}

#[test]
fn lines_as_they_were_written() {
    let text = print(&text_bundle(b"\x1b[1mbold\tend\n"), Controls::Raw);
    assert!(text.contains(" line 0: \x1b[1mbold\tend\n"), "{text:?}");
}

#[test]
fn large_bundles_come_whole() {
    let data = lines(1_000_000);
    let text = print(&text_bundle(&data), Controls::Escaped);
    let count = data.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(
        text.lines().filter(|line| line.contains("step")).count(),
        count
    );
}

#[test]
fn a_file_is_shared_with_others() {
    let file = tempfile::tempfile().unwrap();
    let bundle = text_bundle(b"x\n");
    let mut bench = to(file.try_clone().unwrap(), Controls::Raw);
    (&file).write_all(b"before").unwrap();
    let first = bench.deliver(&bundle).unwrap();
    (&file).write_all(b"between").unwrap();
    let second = bench.deliver(&bundle).unwrap();
    let len = file.metadata().unwrap().len();
    assert_eq!(len, 13 + first + second);
}

fn slow_reader(mut reader: io::PipeReader) -> std::thread::JoinHandle<usize> {
    std::thread::spawn(move || {
        let mut all = 0;
        let mut bytes = [0; 50_000];
        loop {
            match reader.read(&mut bytes).unwrap() {
                0 => return all,
                len => all += len,
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    })
}

#[test]
fn a_slow_pipe_does_not_stop_the_thread() {
    for nonblocking in [false, true] {
        let (reader, writer) = io::pipe().unwrap();
        if nonblocking {
            rustix::io::ioctl_fionbio(&writer, true).unwrap();
        }
        let reader = slow_reader(reader);
        let mut bench = to(writer, Controls::Raw);
        let bundle = text_bundle(&lines(1_000_000));
        assert!(bench.holds_up(&bundle, Duration::from_millis(20)));
        let printed = bench.outcome().result().unwrap();
        assert_eq!(bench.errors(), 0);
        drop(bench);
        assert_eq!(reader.join().unwrap() as u64, printed);
    }
}

/// Of a bundle that is cut what was printed is delivered.
#[test]
fn a_reader_that_goes_in_the_middle() {
    let (mut reader, writer) = io::pipe().unwrap();
    let data = lines(1_000_000);
    let bundle = text_bundle(&data);
    let reader = std::thread::spawn(move || {
        let mut read = vec![0; 400_000];
        reader.read_exact(&mut read).unwrap();
    });
    let mut bench = to(writer, Controls::Raw);
    bench.start(&bundle);
    let outcome = bench.outcome();
    reader.join().unwrap();
    let all = data.len() as u64;
    let split = outcome.split(0, all);
    assert_eq!(split.reason, Some(DropReason::Undelivered));
    assert!((100_000..700_000).contains(&split.delivered), "{split:?}");
    assert_eq!(split.delivered + split.dropped, all);
}

#[test]
fn a_closed_pipe_is_final() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let bundle = text_bundle(b"x\n");
    let mut bench = to(writer, Controls::Raw);
    for _ in 0..3 {
        assert_eq!(bench.deliver(&bundle), Err(DropReason::Undelivered));
    }
    assert_eq!(bench.errors(), 1);
}
