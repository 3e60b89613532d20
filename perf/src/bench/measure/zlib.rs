//! Compression, beside the codec alone on the same bundles.

use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::{Base, Bound, Load, Measure, Output, Row, Run, Setup, Summary, System, setup};
use crate::Result;
use crate::bench::program::Program;

/// Butler's default.
const DEFAULT_LEVEL: u32 = 4;
/// What zlib's level 6 is: its name, and the options of `codec`.
const BASELINE: (&str, [&str; 2]) = ("zlib-6", ["--zlib-level", "6"]);
/// Butler compresses about so much at once.
const CHUNK: &str = "1MiB";
/// The reference took 25 s/GB; a fifth of it is the bound.
const COST_MAX: f64 = 5.0;
const PATIENCE: Duration = Duration::from_secs(600);

/// What the codec alone took, by repetition.
#[derive(Debug, Default)]
struct Codec {
    costs: Vec<f64>,
    output_percent: Vec<f64>,
}

impl Measure<'_> {
    pub(super) fn zlib(&mut self, name: &str, load: &Load) -> Result<Vec<Row>> {
        // The codec's input is what butler makes of the streams.
        if !self.has(&System::Butler) {
            return Ok(Vec::new());
        }
        let bundles = self.env.dir.join("bundles");
        let file = Setup {
            output_options: String::new(),
            ..setup(&System::Butler, Output::File, load)
        };
        let bytes = self.keep_file(&file, &bundles)?;

        let level = self.zlib_level.unwrap_or(DEFAULT_LEVEL);
        let output_options = match self.zlib_level {
            None => ",compress=zlib".to_owned(),
            Some(level) => format!(",compress=zlib,level={level}"),
        };
        let codec_name = format!("codec-{level}");
        let mut alone = Codec::default();
        let mut baseline = Codec::default();
        let repetitions = std::mem::replace(&mut self.repetitions, 1);
        for _ in 0..repetitions {
            let butlers = self.butlers();
            let result = self.interleaved(name, &butlers, |system| Setup {
                output_options: output_options.clone(),
                ..setup(system, Output::Unix, load)
            });
            let result = result.and_then(|()| {
                let level = ["--level", &level.to_string()];
                self.codec(name, &bundles, bytes, &codec_name, level, &mut alone)?;
                self.codec(name, &bundles, bytes, BASELINE.0, BASELINE.1, &mut baseline)
            });
            if result.is_err() {
                self.repetitions = repetitions;
                result?;
            }
        }
        self.repetitions = repetitions;
        std::fs::remove_file(&bundles)?;
        Ok(self.zlib_rows(name, &codec_name, &alone, &baseline))
    }

    /// Runs butler with a file for its output, and keeps the file.
    fn keep_file(&self, setup: &Setup<'_>, to: &std::path::Path) -> Result<u64> {
        let stage = super::Stage::set(self.env, setup)?;
        let run = stage.run_and(|output| Ok(std::fs::rename(output, to)?))?;
        Ok(run.bytes)
    }

    fn codec(
        &mut self,
        name: &str,
        bundles: &std::path::Path,
        bytes: u64,
        codec_name: &str,
        level: [&str; 2],
        to: &mut Codec,
    ) -> Result<()> {
        let mut command = Command::new(self.env.program("codec"));
        command
            .args(level)
            .args(["--chunk", CHUNK])
            .arg("--messages")
            .arg(bundles);
        // On the core of the systems under test.
        let mut codec = Program::start("codec", &mut command, self.env.cores.0, &self.env.dir)?;
        let report = codec.report(PATIENCE)?;
        codec.succeeded(PATIENCE)?;
        let cpu = report["cpu_seconds"]
            .as_f64()
            .ok_or("codec tells its CPU")?;
        let out = report["bytes_out"]
            .as_u64()
            .ok_or("codec tells its bytes")?;
        to.costs.push(cpu / bytes as f64 * 1e9);
        to.output_percent.push(out as f64 / bytes as f64 * 100.0);
        self.log.push(json!({
            "scenario": name,
            "system": codec_name,
            "bytes": bytes,
            "codec": report,
        }));
        Ok(())
    }

    fn zlib_rows(&self, name: &str, codec_name: &str, alone: &Codec, baseline: &Codec) -> Vec<Row> {
        let base = |name: &str, figures: &[f64]| {
            Summary::of(figures).map(|figure| Base {
                name: name.to_owned(),
                figure,
            })
        };
        let output = |run: &Run| run.bytes_out as f64 / run.bytes.max(1) as f64 * 100.0;
        let mut rows = Vec::new();
        for system in self.butlers() {
            let bound = |limit| (system == System::Butler).then_some(Bound::at_most(limit));
            let mut push = |what, figure: Option<Summary>, base, bound| {
                if let Some(figure) = figure {
                    rows.push(Row {
                        scenario: name.to_owned(),
                        system: system.name().to_owned(),
                        what,
                        figure,
                        base,
                        bound,
                    });
                }
            };
            let cost = self.summary(name, system.name(), Run::cost);
            push(
                "CPU s/GB",
                cost,
                base(codec_name, &alone.costs),
                bound(1.15),
            );
            let at_default = |limit| self.zlib_level.is_none().then(|| bound(limit)).flatten();
            push("CPU s/GB", cost, None, at_default(COST_MAX));
            push("CPU s/GB", cost, base(BASELINE.0, &baseline.costs), None);
            push(
                "output % of input",
                self.summary(name, system.name(), output),
                base(BASELINE.0, &baseline.output_percent),
                at_default(1.15),
            );
        }
        rows
    }
}
