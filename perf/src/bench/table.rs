//! The rows, for people.

use super::row::{Bound, Row, Summary};

/// The head of the table.
pub fn head() -> String {
    line(&[
        "scenario", "system", "what", "median", "range", "beside", "ratio", "bound", "",
    ])
}

/// A row of it.
pub fn row(row: &Row) -> String {
    let base = row.base.as_ref().map(|base| {
        let figure = number(base.figure.median);
        format!("{} {figure}", base.name)
    });
    line(&[
        &row.scenario,
        &row.system,
        row.what,
        &number(row.figure.median),
        &range(&row.figure),
        &base.unwrap_or_default(),
        &row.ratio().map(|it| format!("{it:.2}")).unwrap_or_default(),
        &row.bound.map(bound).unwrap_or_default(),
        row.verdict().map(|it| it.as_str()).unwrap_or_default(),
    ])
}

const WIDTHS: [usize; 9] = [15, 8, 22, 7, 14, 15, 6, 13, 0];
/// Of the columns, those that are numbers.
const NUMBERS: [bool; 9] = [false, false, false, true, true, true, true, true, false];

fn line(cells: &[&str; 9]) -> String {
    let mut line = String::new();
    for ((cell, width), is_number) in cells.iter().zip(WIDTHS).zip(NUMBERS) {
        if is_number {
            line.push_str(&format!("{cell:>width$}  "));
        } else {
            line.push_str(&format!("{cell:<width$}  "));
        }
    }
    line.trim_end().to_owned()
}

fn bound(bound: Bound) -> String {
    match bound.aim {
        None => format!("<= {}", bound.limit),
        Some(aim) => format!("<= {} ({aim})", bound.limit),
    }
}

fn range(figure: &Summary) -> String {
    if figure.min == figure.max {
        return String::new();
    }
    format!("{}..{}", number(figure.min), number(figure.max))
}

/// Three digits that count.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        it if it >= 100.0 || it == 0.0 => 0,
        it if it >= 10.0 => 1,
        it if it >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let all = [0.0, 0.1234, 1.2345, 12.345, 123.45, 12345.6].map(number);
        assert_eq!(all, ["0", "0.123", "1.23", "12.3", "123", "12346"]);
    }
}
