//! The codec alone: what zlib costs over the same bytes, without a butler.

use std::process::ExitCode;

use butler_perf::args::{size, value};
use butler_perf::payload::{Kind, Lines, Payload};
use butler_perf::{Result, clock, report};
use flate2::{Compress, Compression, FlushCompress, Status};
use libdeflater::CompressionLvl;
use serde_json::json;

const USAGE: &str =
    "codec --level N | --zlib-level N … [--chunk SIZE] [--rounds N] [--messages FILE | --bytes SIZE]

  --level N        a level of libdeflate, which butler uses; each that is given
                   is measured
  --zlib-level N   a level of zlib, as zlib-rs has it; the same
  --chunk SIZE     compressed at once, as a butler does its bundles (1MiB)
  --messages FILE  the bundles that butler's `file` output wrote there;
                   otherwise text of the given size, as `load` writes it
  --rounds N       so many times (1)";

fn main() -> ExitCode {
    report::exit("codec", run())
}

fn run() -> Result<()> {
    let mut codecs = Vec::new();
    let mut chunk = 1 << 20;
    let mut rounds = 1;
    let mut input = None;
    let mut bytes = 100_000_000;
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            lexopt::Arg::Long("level") => codecs.push(Codec::Libdeflate(value(&mut parser)?)),
            lexopt::Arg::Long("zlib-level") => codecs.push(Codec::Zlib(value(&mut parser)?)),
            lexopt::Arg::Long("chunk") => {
                chunk = size(&value::<String>(&mut parser)?)?.max(1) as usize;
            }
            lexopt::Arg::Long("rounds") => rounds = value(&mut parser)?,
            lexopt::Arg::Long("messages") => input = Some(value::<String>(&mut parser)?),
            lexopt::Arg::Long("bytes") => bytes = size(&value::<String>(&mut parser)?)?,
            lexopt::Arg::Long("help") => {
                println!("{USAGE}");
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let data = match input {
        Some(path) => bundles(&std::fs::read(path)?)?,
        None => Payload::new(Kind::Text(Lines::Mean(100)), bytes as usize)
            .slice(0, bytes as usize)
            .0
            .to_vec(),
    };
    for codec in codecs {
        measure(&data, codec, chunk, rounds)?;
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
enum Codec {
    Libdeflate(i32),
    Zlib(u32),
}

fn measure(data: &[u8], codec: Codec, chunk: usize, rounds: usize) -> Result<()> {
    // Room for a chunk that does not get smaller.
    let mut out = vec![0; chunk + chunk / 100 + 1024];
    let mut compress = compressor(codec)?;
    let mut bytes_out = 0;
    let before = clock::own_cpu();
    for _ in 0..rounds {
        bytes_out = 0;
        for piece in data.chunks(chunk) {
            bytes_out += compress(piece, &mut out)?;
        }
    }
    let cpu = (clock::own_cpu() - before).as_secs_f64() / rounds.max(1) as f64;
    let level = match codec {
        Codec::Libdeflate(level) => level as u32,
        Codec::Zlib(level) => level,
    };
    Ok(report::say(&json!({
        "level": level,
        "bytes_in": data.len(),
        "bytes_out": bytes_out,
        "cpu_seconds": cpu,
        "cpu_seconds_per_gb": cpu / data.len() as f64 * 1e9,
        "ratio": data.len() as f64 / bytes_out as f64,
    }))?)
}

/// The bundles of messages back to back: every second frame.
fn bundles(mut messages: &[u8]) -> Result<Vec<u8>> {
    let mut all = Vec::with_capacity(messages.len());
    while !messages.is_empty() {
        let (_, rest) = frame(messages).ok_or("no message, or a torn one")?;
        let (bundle, rest) = frame(rest).ok_or("a message without its bundle")?;
        all.extend_from_slice(bundle);
        messages = rest;
    }
    Ok(all)
}

/// The frame at the front, and what follows it.
fn frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut len = 0;
    for (at, byte) in bytes.iter().take(9).enumerate() {
        len |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return bytes[at + 1..].split_at_checked(len);
        }
    }
    None
}

/// Compresses all of one piece; returns to how many bytes.
type Compressor = Box<dyn FnMut(&[u8], &mut [u8]) -> Result<u64>>;

fn compressor(codec: Codec) -> Result<Compressor> {
    Ok(match codec {
        Codec::Libdeflate(level) => {
            let level = CompressionLvl::new(level).map_err(|_| "libdeflate has no such level")?;
            let mut libdeflate = libdeflater::Compressor::new(level);
            Box::new(move |piece, out| Ok(libdeflate.zlib_compress(piece, out)? as u64))
        }
        Codec::Zlib(level) => {
            let mut zlib = Compress::new(Compression::new(level), true);
            Box::new(move |piece, out| {
                zlib.reset();
                match zlib.compress(piece, out, FlushCompress::Finish)? {
                    Status::StreamEnd => Ok(zlib.total_out()),
                    _ => Err("a chunk did not fit in its output".into()),
                }
            })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_frame_is_a_bundle() {
        let messages = [&[1, b'm', 3][..], b"abc", &[1, b'm', 2], b"de"].concat();
        assert_eq!(bundles(&messages).unwrap(), b"abcde");
        assert!(bundles(&messages[..messages.len() - 1]).is_err());
    }
}
