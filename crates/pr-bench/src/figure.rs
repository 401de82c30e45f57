//! What was measured: one value for each subject and round, and what is said of them.

use serde::Serialize;

use pr_measure::stats::{median, quantile, ratios};

/// A row of the result: one measure at one load.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What was measured.
    pub row: String,
    /// At how many connections; for the isolation, how many commands hang.
    pub load: Option<u32>,
    /// The unit of every value.
    pub unit: &'static str,
    /// What a reader of the row has to know besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// A subject's name and its values, one for each round. JSON's `null` is "no answer".
    pub samples: Vec<(String, Vec<f64>)>,
}

/// Two subjects compared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// The median of the ratios of all rounds.
    pub median: f64,
    /// Their first quartile.
    pub low: f64,
    /// Their third quartile.
    pub high: f64,
}

impl Figure {
    /// A row without a value yet.
    pub fn new(row: &str, load: Option<u32>, unit: &'static str) -> Self {
        Self { row: row.to_owned(), load, unit, note: None, samples: Vec::new() }
    }

    /// Adds the value of one round.
    pub fn push(&mut self, subject: &str, value: f64) {
        match self.samples.iter_mut().find(|(name, _)| name == subject) {
            Some((_, values)) => values.push(value),
            None => self.samples.push((subject.to_owned(), vec![value])),
        }
    }

    /// A subject's values, one for each round.
    pub fn values(&self, subject: &str) -> &[f64] {
        self.samples.iter().find(|(name, _)| name == subject).map_or(&[], |(_, values)| values)
    }

    /// A subject's median.
    pub fn median(&self, subject: &str) -> Option<f64> {
        median(self.values(subject))
    }

    /// A subject over another one.
    pub fn ratio(&self, subject: &str, over: &str) -> Option<Ratio> {
        let ratios = ratios(self.values(subject), self.values(over));
        Some(Ratio { median: median(&ratios)?, low: quantile(&ratios, 0.25)?, high: quantile(&ratios, 0.75)? })
    }
}

/// The figure of a row at a load.
pub fn find<'a>(figures: &'a [Figure], row: &str, load: Option<u32>) -> Option<&'a Figure> {
    figures.iter().find(|figure| figure.row == row && figure.load == load)
}

/// The names of all rows, each once, in order.
pub fn rows(figures: &[Figure]) -> Vec<&str> {
    let mut rows: Vec<&str> = Vec::new();
    for figure in figures {
        if !rows.contains(&figure.row.as_str()) {
            rows.push(&figure.row);
        }
    }
    rows
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_and_not_the_ratio_of_the_medians() {
        let mut figure = Figure::new("PR IN", Some(1), "requests/s");
        for (ours, theirs) in [(2.0, 1.0), (30.0, 10.0), (400.0, 100.0)] {
            figure.push("ours", ours);
            figure.push("theirs", theirs);
        }
        let ratio = figure.ratio("ours", "theirs").expect("three rounds");
        assert_eq!(ratio, Ratio { median: 3.0, low: 3.0, high: 4.0 });
        assert_eq!(figure.median("ours"), Some(30.0));
        assert_eq!(figure.ratio("ours", "nobody"), None);
    }
}
