//! What `load` is told, and how much of everything there is.

/// What `load` is told.
#[derive(Debug, Clone)]
pub struct Load {
    /// How many streams.
    pub streams: usize,
    /// In all.
    pub bytes: u64,
    /// Kind, sizes and pace.
    pub options: Vec<&'static str>,
    /// How long it takes at the least, if it has a rate.
    pub seconds: f64,
}

impl Load {
    pub(super) fn full_speed(streams: usize, bytes: f64, options: &[&'static str]) -> Self {
        Self {
            streams,
            bytes: bytes as u64,
            options: options.to_vec(),
            seconds: 0.0,
        }
    }

    pub(super) fn at_rate(
        streams: usize,
        rate: f64,
        seconds: f64,
        options: &[&'static str],
    ) -> Self {
        Self {
            streams,
            bytes: (rate * seconds) as u64,
            options: options.to_vec(),
            seconds,
        }
    }

    /// Its arguments, apart from the socket.
    pub fn args(&self) -> Vec<String> {
        let mut args = vec![
            "--streams".to_owned(),
            self.streams.to_string(),
            "--bytes".to_owned(),
            self.bytes.to_string(),
        ];
        args.extend(self.options.iter().map(|it| (*it).to_owned()));
        args
    }
}

/// How much of everything.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Amounts {
    pub(super) socket_bytes: f64,
    pub(super) file_bytes: f64,
    pub(super) zlib_bytes: f64,
    pub(super) seconds: f64,
    pub(super) runs: f64,
}

impl Amounts {
    /// A second or more of CPU for each run.
    pub const FULL: Self = Self {
        socket_bytes: 6e9,
        file_bytes: 2e9,
        zlib_bytes: 3e8,
        seconds: 8.0,
        runs: 200.0,
    };
    /// Enough to see where it stands.
    pub const QUICK: Self = Self {
        socket_bytes: 1e9,
        file_bytes: 5e8,
        zlib_bytes: 5e7,
        seconds: 1.5,
        runs: 60.0,
    };

    /// More or less of it.
    pub fn scaled(self, by: f64) -> Self {
        Self {
            socket_bytes: self.socket_bytes * by,
            file_bytes: self.file_bytes * by,
            zlib_bytes: self.zlib_bytes * by,
            seconds: self.seconds * by,
            runs: (self.runs * by).max(3.0),
        }
    }
}
