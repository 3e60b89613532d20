//! What is measured, with the bounds that butler must keep.

mod load;

pub use load::{Amounts, Load};

use super::measure::Spool;
use super::row::Bound;

/// One thing to measure.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// As `--filter` finds it.
    pub name: String,
    /// What it is, in a few words.
    pub about: String,
    /// Is it in the quick form too?
    pub quick: bool,
    /// What to do.
    pub kind: Kind,
}

/// What to do for a scenario.
#[derive(Debug, Clone)]
pub enum Kind {
    /// CPU seconds a GB, to the floor's.
    Cost {
        /// What is written.
        load: Load,
        /// Where it goes.
        output: Output,
        /// On the ratio.
        bound: Bound,
    },
    /// How much dearer 2,000 streams are than 16, from the runs of those.
    Growth,
    /// Peak memory of the runs with 2,000 streams.
    BusyMemory,
    /// Compression, to the codec alone.
    Zlib(Load),
    /// Publishing, to a Unix socket with the same compression.
    Logdog(Load),
    /// With a spool, to a file or to none.
    Spool {
        /// What is written.
        load: Load,
        /// What goes there.
        spool: Spool,
    },
    /// From write to read and to sent, with nothing buffered.
    Latency(Load),
    /// Memory that idle streams take.
    IdleMemory {
        /// How many.
        streams: usize,
    },
    /// How often it wakes while all streams are silent.
    Wakeups {
        /// How many.
        streams: usize,
        /// How long to watch.
        seconds: f64,
    },
    /// `butler run true` over `true` alone.
    Startup {
        /// How often.
        times: usize,
    },
    /// Of the program.
    BinarySize,
}

/// Where output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// To a sink.
    Unix,
    /// To a sink.
    Tcp,
    /// One file.
    File,
    /// A file for each stream.
    Directory,
    /// Published to a collector.
    Logdog,
}

impl Output {
    /// Those that there is a floor for.
    const PLAIN: [Self; 4] = [Self::Unix, Self::Tcp, Self::File, Self::Directory];

    /// In names of scenarios.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unix => "unix",
            Self::Tcp => "tcp",
            Self::File => "file",
            Self::Directory => "directory",
            Self::Logdog => "logdog",
        }
    }
}

/// The scenarios whose runs others are made of.
pub const FEW: &str = "unix-16";
/// See [`FEW`].
pub const MANY: &str = "unix-2000";

/// All of them.
pub fn all(amounts: Amounts) -> Vec<Scenario> {
    let mut all = Vec::new();
    for output in Output::PLAIN {
        for streams in [1, 16, 256, 2000] {
            all.push(by_streams(output, streams, amounts));
        }
        if output == Output::Unix {
            all.push(Scenario {
                name: "growth".into(),
                about: format!("cost of {MANY} over that of {FEW}"),
                quick: true,
                kind: Kind::Growth,
            });
            all.push(Scenario {
                name: "busy-memory".into(),
                about: format!("peak memory of {MANY}"),
                quick: true,
                kind: Kind::BusyMemory,
            });
        }
    }
    all.extend(by_content(amounts));
    all.extend(others(amounts));
    all
}

fn by_streams(output: Output, streams: usize, amounts: Amounts) -> Scenario {
    let bytes = match output {
        Output::Unix | Output::Tcp => amounts.socket_bytes,
        Output::File | Output::Directory => amounts.file_bytes,
        Output::Logdog => amounts.zlib_bytes,
    };
    let bound = match (output, streams) {
        (Output::Unix, 1) => Bound::aiming(1.6, 1.3),
        (Output::Unix, _) => Bound::aiming(1.5, 1.25),
        _ => Bound::at_most(1.6),
    };
    Scenario {
        name: format!("{}-{streams}", output.name()),
        about: format!("{streams} streams, text in writes of 16-64 KiB"),
        quick: output == Output::Unix || streams == 16,
        kind: Kind::Cost {
            load: Load::full_speed(streams, bytes, &[]),
            output,
            bound,
        },
    }
}

fn by_content(amounts: Amounts) -> Vec<Scenario> {
    let cost = |name: &str, about: &str, quick, limit, options: &[&'static str]| Scenario {
        name: name.into(),
        about: about.into(),
        quick,
        kind: Kind::Cost {
            load: Load::full_speed(16, amounts.socket_bytes, options),
            output: Output::Unix,
            bound: Bound::at_most(limit),
        },
    };
    vec![
        cost(
            "lines-20",
            "16 streams, lines of 20 bytes",
            true,
            3.0,
            &["--line", "20"],
        ),
        cost(
            "lines-2000",
            "16 streams, lines of 2,000 bytes",
            false,
            1.25,
            &["--line", "2000"],
        ),
        cost(
            "binary",
            "16 streams, binary",
            true,
            1.25,
            &["--kind", "binary"],
        ),
        cost(
            "datagrams-200",
            "16 streams, datagrams of 200 bytes",
            true,
            2.0,
            &["--kind", "datagrams=200"],
        ),
        cost(
            "datagrams-4096",
            "16 streams, datagrams of 4,096 bytes",
            false,
            1.3,
            &["--kind", "datagrams=4096"],
        ),
    ]
}

fn others(amounts: Amounts) -> Vec<Scenario> {
    let small = [
        "--rate", "4MB", "--write", "128", "--line", "128", "--fixed",
    ];
    let stamped = [
        "--rate", "100KB", "--write", "100", "--line", "100", "--fixed", "--stamps",
    ];
    let scenario = |name: &str, about: &str, kind| Scenario {
        name: name.into(),
        about: about.into(),
        quick: true,
        kind,
    };
    vec![
        scenario(
            "small-writes",
            "256 streams, 128-byte lines one write each, 4 MB/s in all",
            Kind::Cost {
                load: Load::at_rate(256, 4e6, amounts.seconds, &small),
                output: Output::Unix,
                bound: Bound::at_most(0.5),
            },
        ),
        scenario(
            "zlib",
            "16 streams, compressed",
            Kind::Zlib(Load::full_speed(16, amounts.zlib_bytes, &[])),
        ),
        scenario(
            "logdog",
            "16 streams, published to a collector",
            Kind::Logdog(Load::full_speed(16, amounts.zlib_bytes, &[])),
        ),
        scenario(
            "spool-always",
            "16 streams, all by way of a spool",
            Kind::Spool {
                load: Load::full_speed(16, amounts.file_bytes, &[]),
                spool: Spool::Always,
            },
        ),
        scenario(
            "spool-overflow",
            "16 streams, a spool that nothing goes to",
            Kind::Spool {
                load: Load::full_speed(16, amounts.socket_bytes, &[]),
                spool: Spool::Overflow,
            },
        ),
        scenario(
            "latency",
            "100 streams, 1,000 lines/s in all, --output-no-buffer",
            Kind::Latency(Load::at_rate(100, 1e5, amounts.seconds, &stamped)),
        ),
        scenario(
            "idle-memory",
            "10,000 idle streams",
            Kind::IdleMemory { streams: 10_000 },
        ),
        scenario(
            "wake-ups",
            "1,000 silent streams",
            Kind::Wakeups {
                streams: 1000,
                seconds: amounts.seconds,
            },
        ),
        scenario(
            "startup",
            "`butler run true` over `true` alone",
            Kind::Startup {
                times: amounts.runs as usize,
            },
        ),
        scenario("binary-size", "the program, stripped", Kind::BinarySize),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_those_needed_exist() {
        let names: Vec<_> = all(Amounts::FULL).into_iter().map(|it| it.name).collect();
        let unique: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
        assert!(unique.contains(&FEW.to_owned()) && unique.contains(&MANY.to_owned()));
    }
}
