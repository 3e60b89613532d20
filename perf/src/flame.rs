//! Stacks to a flame graph: folds what `perf script` prints, and draws it as
//! an SVG that needs nothing else.

use std::collections::BTreeMap;
use std::fmt::Write;

/// A function, and what it called.
#[derive(Debug, Default)]
pub struct Frame {
    samples: u64,
    callees: BTreeMap<String, Frame>,
}

impl Frame {
    /// Samples in it and below.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Reads what `perf script -F comm,ip,sym` prints: a line for the
    /// command, one for each function from the inside out, an empty one.
    pub fn from_perf_script(text: &str) -> Self {
        let mut root = Self::default();
        let mut stack: Vec<String> = Vec::new();
        for line in text.lines().chain([""]) {
            if line.trim().is_empty() {
                if !stack.is_empty() {
                    root.add(stack.drain(..).rev());
                }
            } else if line.starts_with([' ', '\t']) {
                stack.push(symbol(line.trim()));
            }
        }
        root
    }

    fn add(&mut self, stack: impl Iterator<Item = String>) {
        self.samples += 1;
        let mut at = self;
        for name in stack {
            at = at.callees.entry(name).or_default();
            at.samples += 1;
        }
    }

    fn depth(&self) -> usize {
        1 + self.callees.values().map(Self::depth).max().unwrap_or(0)
    }
}

/// `ffff0123 name+0x12 (object)` without the address and the offset.
fn symbol(line: &str) -> String {
    let name = line.split_once(' ').map_or(line, |(_, rest)| rest);
    let name = name.rsplit_once(" (").map_or(name, |(name, _)| name);
    let name = name.rsplit_once("+0x").map_or(name, |(name, _)| name);
    name.to_owned()
}

const WIDTH: f64 = 1400.0;
const ROW: f64 = 17.0;
/// What is narrower is left out.
const WIDTH_MIN: f64 = 0.5;

/// Draws it, the outermost function at the bottom.
pub fn svg(root: &Frame, title: &str) -> String {
    let height = (root.depth() + 2) as f64 * ROW;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"monospace\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fdfdfb\"/>\n\
         <text x=\"8\" y=\"13\">{} ({} samples)</text>\n",
        escape(title),
        root.samples
    );
    draw(
        &mut out,
        root,
        "all",
        root.samples.max(1),
        0.0,
        height - ROW,
    );
    out.push_str("</svg>\n");
    out
}

fn draw(out: &mut String, frame: &Frame, name: &str, all: u64, x: f64, y: f64) {
    let width = frame.samples as f64 / all as f64 * WIDTH;
    if width < WIDTH_MIN {
        return;
    }
    // Writing to a String does not fail.
    let _ = write!(
        out,
        "<g><title>{name}: {} samples, {:.2} %</title>\
         <rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{}\" \
         stroke=\"#fdfdfb\"/>",
        frame.samples,
        frame.samples as f64 / all as f64 * 100.0,
        ROW - 1.0,
        colour(name),
        name = escape(name),
    );
    let letters = (width / 6.8) as usize;
    if letters >= 3 {
        let short: String = name.chars().take(letters).collect();
        let _ = write!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            x + 2.0,
            y + 12.0,
            escape(&short)
        );
    }
    out.push_str("</g>\n");
    let mut x = x;
    for (name, callee) in &frame.callees {
        draw(out, callee, name, all, x, y - ROW);
        x += callee.samples as f64 / all as f64 * WIDTH;
    }
}

/// Warm, the same for the same name.
fn colour(name: &str) -> String {
    let hash = name.bytes().fold(5381_u32, |hash, byte| {
        hash.wrapping_mul(33) ^ u32::from(byte)
    });
    format!("hsl({},75%,68%)", 15 + hash % 40)
}

/// For text and attributes of XML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_are_folded() {
        let text = "butler\n\t 12 inner+0x1 (butler)\n\t 34 main+0x9 (butler)\n\n\
                    butler\n\t 56 Vec<a b>::push (butler)\n\t 34 main+0x2 (butler)\n\n";
        let root = Frame::from_perf_script(text);
        assert_eq!(root.samples(), 2);
        assert_eq!(root.callees["main"].samples, 2);
        assert_eq!(root.callees["main"].callees["inner"].samples, 1);
        assert_eq!(root.callees["main"].callees["Vec<a b>::push"].samples, 1);
        let svg = svg(&root, "a & b");
        assert!(svg.contains("Vec&lt;a b&gt;::push: 1 samples, 50.00 %"));
        assert_eq!(svg.matches("<g>").count(), svg.matches("</g>").count());
    }
}
