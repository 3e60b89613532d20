//! The ratios as a plot: a bar for each, and a mark where its bound is.

use std::fmt::Write;

use super::row::{Row, Verdict};
use crate::flame::escape;

const LEFT: f64 = 330.0;
const WIDTH: f64 = 420.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 50.0;
const ROW: f64 = 22.0;

/// Draws all rows that have a bound. Figures without a ratio are drawn as
/// shares of their bounds, so that every mark is something to stay below.
pub fn svg(rows: &[Row]) -> String {
    let bars: Vec<_> = rows.iter().filter_map(Bar::of).collect();
    let most = bars.iter().fold(2.0_f64, |most, bar| most.max(bar.bound));
    // A bar far beyond its bound is cut; its number says what it is.
    let most = bars
        .iter()
        .fold(most, |most, bar| most.max(bar.value.min(4.0)));
    let scale = WIDTH / most;
    let height = TOP + bars.len() as f64 * ROW + 20.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"10\" y=\"20\" font-size=\"15\" font-weight=\"bold\">butler: ratios and \
         bounds</text>\n\
         <text x=\"10\" y=\"38\" fill=\"#666\">shorter is better; the mark is the bound; \
         1 is what it is compared with</text>\n",
        LEFT + WIDTH + RIGHT,
    );
    // Writing to a String does not fail.
    let _ = writeln!(
        out,
        "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"#bbb\" \
         stroke-dasharray=\"3 3\"/>",
        height - 20.0,
        x = LEFT + scale,
    );
    for (at, bar) in bars.iter().enumerate() {
        bar.draw(&mut out, TOP + at as f64 * ROW, scale);
    }
    out.push_str("</svg>\n");
    out
}

struct Bar {
    label: String,
    value: f64,
    bound: f64,
    text: String,
    verdict: Verdict,
}

impl Bar {
    fn of(row: &Row) -> Option<Self> {
        let verdict = row.verdict()?;
        let bound = row.bound?.limit;
        Some(match (row.ratio(), &row.base) {
            (Some(ratio), Some(base)) => Self {
                label: format!("{}: {} / {}", row.scenario, row.what, base.name),
                value: ratio,
                bound,
                text: format!("{ratio:.2} (at most {bound})"),
                verdict,
            },
            _ => Self {
                label: format!("{}: {}", row.scenario, row.what),
                value: match bound > 0.0 {
                    true => row.figure.median / bound,
                    // A bound of nothing: kept, or missed by as much as it is.
                    false => row.figure.median,
                },
                bound: if bound > 0.0 { 1.0 } else { 0.0 },
                text: format!(
                    "{} (at most {bound})",
                    super::table::number(row.figure.median)
                ),
                verdict,
            },
        })
    }

    fn draw(&self, out: &mut String, y: f64, scale: f64) {
        let colour = match self.verdict {
            Verdict::Pass => "#4a9a5b",
            Verdict::PassNotAim => "#8fae4b",
            Verdict::Fail => "#c8553d",
        };
        let length = (self.value * scale).min(WIDTH);
        let mark = LEFT + self.bound * scale;
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"{:.1}\" \
             fill=\"{colour}\"/>\
             <line x1=\"{mark:.1}\" y1=\"{y:.1}\" x2=\"{mark:.1}\" y2=\"{:.1}\" \
             stroke=\"#222\" stroke-width=\"2\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT - 8.0,
            y + 15.0,
            escape(&self.label),
            y + 4.0,
            ROW - 8.0,
            y + ROW - 2.0,
            LEFT + WIDTH + 10.0,
            y + 15.0,
            escape(&self.text),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::row::{Base, Bound, Summary};

    #[test]
    fn what_has_a_bound_is_drawn() {
        let mut row = Row {
            scenario: "unix-16".into(),
            system: "butler".into(),
            what: "CPU s/GB",
            figure: Summary::single(3.0),
            base: Some(Base {
                name: "relay".into(),
                figure: Summary::single(2.0),
            }),
            bound: Some(Bound::at_most(1.6)),
        };
        let with = svg(std::slice::from_ref(&row));
        assert!(with.contains("1.50 (at most 1.6)"), "{with}");
        row.bound = None;
        assert!(!svg(&[row]).contains("unix-16"));
    }
}
