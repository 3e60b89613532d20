//! Publishing, beside the same compression to a Unix socket.

use super::{Base, Bound, Load, Measure, Output, Result, Row, Run, Setup, Stage, System, setup};

/// What it is compared with. The logdog output has one level, which is also
/// the default of the others.
const BASE: (&str, Output, &str) = ("unix+zlib", Output::Unix, ",compress=zlib");
const RATIO_MAX: f64 = 1.3;
/// For both, so that they make the same bundles.
const OPTIONS: [&str; 4] = ["--project", "p", "--prefix", "bench/x"];

impl Measure<'_> {
    /// Peers are left out: there is no telling them where the collector is.
    pub(super) fn logdog(&mut self, name: &str, load: &Load) -> Result<Vec<Row>> {
        let butler = System::Butler;
        if !self.has(&butler) {
            return Ok(Vec::new());
        }
        for repetition in 0..self.repetitions {
            // The base is first: whoever looks closer, with something
            // attached that writes a file, is left with publishing in it.
            for (called, output, options) in [BASE, (butler.name(), Output::Logdog, "")] {
                let setup = Setup {
                    output_options: options.to_owned(),
                    options: &OPTIONS,
                    ..setup(&butler, output, load)
                };
                let run = Stage::set(self.env, &setup)?.run()?;
                complete(&run).map_err(|what| format!("{called}: {what}"))?;
                self.keep(name, called, repetition, run);
            }
        }
        let base = self.summary(name, BASE.0, Run::cost).map(|figure| Base {
            name: BASE.0.into(),
            figure,
        });
        let figure = self.summary(name, butler.name(), Run::cost);
        let row = figure.map(|figure| Row {
            scenario: name.to_owned(),
            system: butler.name().to_owned(),
            what: "CPU s/GB",
            figure,
            base,
            bound: Some(Bound::at_most(RATIO_MAX)),
        });
        Ok(row.into_iter().collect())
    }
}

/// Compressed, bytes that came out say little: but everything was read and
/// nothing lost, and what butler sent is what came.
fn complete(run: &Run) -> Result<()> {
    let stat = |name: &str| {
        let value = run.stats[name].as_u64();
        value.ok_or_else(|| format!("butler tells no {name}"))
    };
    let delivered = stat("bytes_delivered")?;
    if delivered < run.bytes || stat("bytes_dropped")? > 0 || stat("bundles_lost")? > 0 {
        return Err(format!("{delivered} of {} bytes were delivered", run.bytes).into());
    }
    let came = run.bytes_out;
    let sent = stat("bytes_out")?;
    // More is what was sent again.
    if came < sent {
        return Err(format!("{came} of {sent} bytes that were sent came").into());
    }
    // A sink knows no messages.
    if let Some(came) = run.sink["messages"].as_u64()
        && came < stat("bundles")?
    {
        return Err(format!("only {came} messages came").into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_lost_is_seen() {
        let run = |delivered: u64, lost: u64, came: u64| Run {
            cpu_seconds: 1.0,
            bytes: 100,
            bytes_out: 20 * came,
            peak_bytes: 0,
            load: json!({}),
            sink: json!({"messages": came}),
            stats: json!({
                "bytes_delivered": delivered,
                "bytes_dropped": 0,
                "bundles": 2,
                "bundles_lost": lost,
                "bytes_out": 40,
            }),
        };
        assert!(complete(&run(100, 0, 2)).is_ok());
        assert!(complete(&run(100, 0, 3)).is_ok());
        assert!(complete(&run(99, 0, 2)).is_err());
        assert!(complete(&run(100, 1, 2)).is_err());
        assert!(complete(&run(100, 0, 1)).is_err());
        let mute = Run {
            stats: json!(null),
            ..run(100, 0, 2)
        };
        assert!(complete(&mute).is_err());
    }
}
