//! What a spool costs: where all goes there, beside one file; and where nothing
//! does, beside none.

use super::{Base, Bound, Load, Measure, Output, Result, Row, Run, Setup, Stage, System, setup};

/// Which messages go there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spool {
    /// All, before they are sent.
    Always,
    /// None: the sink keeps up.
    Overflow,
}

impl Spool {
    /// Keys behind the directory, what it is compared with, and the bound.
    fn parts(self) -> (&'static str, (&'static str, Output), Bound) {
        match self {
            Self::Always => (
                "when=always,sync=100ms",
                ("file", Output::File),
                Bound::at_most(1.3),
            ),
            Self::Overflow => (
                "when=overflow",
                ("without", Output::Unix),
                Bound::aiming(1.1, 1.03),
            ),
        }
    }
}

impl Measure<'_> {
    /// Peers have no spool.
    pub(super) fn spool(&mut self, name: &str, load: &Load, spool: Spool) -> Result<Vec<Row>> {
        let butler = System::Butler;
        if !self.has(&butler) {
            return Ok(Vec::new());
        }
        let (keys, (base, base_output), bound) = spool.parts();
        let dir = self.env.dir.join("spool");
        let option = format!("--spool={},{keys}", dir.display());
        let with = [option.as_str()];
        for repetition in 0..self.repetitions {
            let both: [(_, _, &[&str]); 2] = [
                (base, base_output, &[]),
                (butler.name(), Output::Unix, &with),
            ];
            for (called, output, options) in both {
                let setup = Setup {
                    options,
                    ..setup(&butler, output, load)
                };
                let run = Stage::set(self.env, &setup)?.run()?;
                // All of it, and the file is gone before the next one is measured.
                if run.stats["bytes_delivered"].as_u64() < Some(run.bytes) {
                    return Err(format!("{called}: not all was delivered").into());
                }
                if dir.exists() {
                    std::fs::remove_dir_all(&dir)?;
                }
                self.keep(name, called, repetition, run);
            }
        }
        let base = self.summary(name, base, Run::cost).map(|figure| Base {
            name: base.into(),
            figure,
        });
        let figure = self.summary(name, butler.name(), Run::cost);
        let row = figure.map(|figure| Row {
            scenario: name.to_owned(),
            system: butler.name().to_owned(),
            what: "CPU s/GB",
            figure,
            base,
            bound: Some(bound),
        });
        Ok(row.into_iter().collect())
    }
}
