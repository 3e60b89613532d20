//! What happened in a run, for who looks into a failure.

const SHOWN: usize = 200;

#[derive(Debug, Default)]
pub struct Trace {
    /// Nobody looks, so nothing is written.
    lines: Option<Vec<String>>,
    step: usize,
    now_ns: u64,
}

impl Trace {
    pub fn new(wanted: bool) -> Self {
        Self {
            lines: wanted.then(Vec::new),
            ..Self::default()
        }
    }

    /// What follows happens then.
    pub fn at(&mut self, step: usize, now_ns: u64) {
        self.step = step;
        self.now_ns = now_ns;
    }

    pub fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            let ms = self.now_ns as f64 / 1e6;
            lines.push(format!("{:5} {ms:12.3} ms  {}", self.step, what()));
        }
    }

    /// All lines, or the first and the last of very many.
    pub fn lines(self) -> Vec<String> {
        let mut lines = self.lines.unwrap_or_default();
        if lines.len() > 2 * SHOWN {
            let hidden = lines.len() - 2 * SHOWN;
            lines.splice(SHOWN..SHOWN + hidden, [format!("… {hidden} more …")]);
        }
        lines
    }
}
