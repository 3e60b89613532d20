//! A figure, its ratio to what it is compared with, and its bound.

/// What a figure must not exceed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// It must not be more.
    pub limit: f64,
    /// We would like it not to be more.
    pub aim: Option<f64>,
}

impl Bound {
    /// Without an aim.
    pub const fn at_most(limit: f64) -> Self {
        Self { limit, aim: None }
    }

    /// With an aim below the limit.
    pub const fn aiming(limit: f64, aim: f64) -> Self {
        Self {
            limit,
            aim: Some(aim),
        }
    }
}

/// How a figure stands to its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Within the aim, if there is one, or within the bound.
    Pass,
    /// Within the bound, beyond the aim.
    PassNotAim,
    /// Beyond it.
    Fail,
}

impl Verdict {
    /// For tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::PassNotAim => "pass, not aim",
            Self::Fail => "FAIL",
        }
    }
}

/// Median and extremes of the repetitions.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Summary {
    /// In the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Summary {
    /// Of any number of figures; of none, `None`.
    pub fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let upper = sorted[sorted.len() / 2];
        let lower = sorted[(sorted.len() - 1) / 2];
        Some(Self {
            median: (lower + upper) / 2.0,
            min,
            max,
        })
    }

    /// Of one figure.
    pub const fn single(figure: f64) -> Self {
        Self {
            median: figure,
            min: figure,
            max: figure,
        }
    }
}

/// What a figure is compared with.
#[derive(Debug, Clone, PartialEq)]
pub struct Base {
    /// Whose it is.
    pub name: String,
    /// The same figure of it.
    pub figure: Summary,
}

/// A line of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The scenario.
    pub scenario: String,
    /// Whose figure.
    pub system: String,
    /// What is counted, with its unit.
    pub what: &'static str,
    /// The figure.
    pub figure: Summary,
    /// What it is compared with: the bound is then on the ratio.
    pub base: Option<Base>,
    /// The bound; peers have none.
    pub bound: Option<Bound>,
}

impl Row {
    /// Median to median.
    pub fn ratio(&self) -> Option<f64> {
        let base = self.base.as_ref()?.figure.median;
        (base > 0.0).then(|| self.figure.median / base)
    }

    /// How it stands to its bound.
    pub fn verdict(&self) -> Option<Verdict> {
        let bound = self.bound?;
        let bounded = match &self.base {
            Some(_) => self.ratio()?,
            None => self.figure.median,
        };
        Some(if bounded > bound.limit {
            Verdict::Fail
        } else if bound.aim.is_some_and(|aim| bounded > aim) {
            Verdict::PassNotAim
        } else {
            Verdict::Pass
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(Summary::of(&[]), None);
        let summary = Summary::of(&[3.0, 1.0, 2.0]).unwrap();
        assert_eq!((summary.median, summary.min, summary.max), (2.0, 1.0, 3.0));
        assert_eq!(Summary::of(&[4.0, 1.0]).unwrap().median, 2.5);
    }

    #[test]
    fn bounds_are_on_the_ratio_if_there_is_one() {
        let mut row = Row {
            scenario: "s".into(),
            system: "butler".into(),
            what: "CPU s/GB",
            figure: Summary::single(3.0),
            base: Some(Base {
                name: "relay".into(),
                figure: Summary::single(2.0),
            }),
            bound: Some(Bound::aiming(1.5, 1.25)),
        };
        assert_eq!(row.verdict(), Some(Verdict::PassNotAim));
        row.bound = Some(Bound::at_most(1.4));
        assert_eq!(row.verdict(), Some(Verdict::Fail));
        row.base = None;
        row.bound = Some(Bound::at_most(3.0));
        assert_eq!(row.verdict(), Some(Verdict::Pass));
        row.bound = None;
        assert_eq!(row.verdict(), None);
    }
}
