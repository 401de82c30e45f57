//! What a run has to show.

use serde::Serialize;

use super::calls;
use super::figure::{Figure, find};
use super::isolation;
use super::lun;
use super::maps;
use super::memory;
use super::requests::{self, COMING, CONNECTIONS};
use super::start;
use pr_measure::request::Request;
use pr_measure::subject::{BOUND, OURS, THEIRS};

/// What a goal looks at.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Measure {
    /// This daemon over another subject, the median of the rounds.
    Over(&'static str),
    /// This daemon alone.
    Own,
    /// This daemon against itself at load zero.
    OverUnloaded,
}

/// A goal.
#[derive(Clone, Debug)]
pub struct Goal {
    row: String,
    load: Option<u32>,
    measure: Measure,
    limit: Limit,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

/// How a goal was met.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The goal in words.
    pub goal: String,
    /// What was measured.
    pub measured: f64,
    /// Whether that is enough.
    pub held: bool,
}

/// Every goal of the project. Kilobytes are of 1024 bytes.
pub fn goals() -> Vec<Goal> {
    let goal = |row: &str, load, measure, limit| Goal { row: row.to_owned(), load, measure, limit };
    let (theirs, bound) = (Measure::Over(THEIRS), Measure::Over(BOUND));
    let mut goals = Vec::new();
    for (request, over) in [
        (Request::In, [(1, 2.0), (16, 2.1), (256, 2.9), (1000, 2.8)]),
        (Request::Out, [(1, 1.6), (16, 1.7), (256, 2.6), (1000, 2.5)]),
    ] {
        goals.extend(over.map(|(load, least)| goal(request.name(), Some(load), theirs, Limit::AtLeast(least))));
        goals.extend(CONNECTIONS.map(|load| goal(request.name(), Some(load), bound, Limit::AtLeast(0.9))));
        let row = requests::processor_row(request);
        goals.extend(CONNECTIONS.map(|load| goal(&row, Some(load), bound, Limit::AtMost(1.25))));
    }
    // On a disk that answers, most of the time is the disk's: what replaces a helper is not to be slower.
    for request in [Request::Keys, Request::Register] {
        let row = lun::row(request.name());
        goals.extend(lun::CONNECTIONS.map(|load| goal(&row, Some(load), theirs, Limit::AtLeast(1.0))));
    }
    goals.extend(COMING.map(|load| goal("connect", Some(load), theirs, Limit::AtLeast(1.45))));
    for (row, load, most) in maps::limits() {
        goals.push(goal(&row, load, Measure::Own, Limit::AtMost(most)));
    }
    goals.push(goal(&calls::row(Request::In), None, Measure::Own, Limit::AtMost(6.0)));
    goals.push(goal(&calls::row(Request::Out), None, Measure::Own, Limit::AtMost(7.0)));
    goals.push(goal(start::ROW, None, theirs, Limit::AtMost(0.5)));
    goals.push(goal(memory::IDLE, None, Measure::Own, Limit::AtMost(2.6 * 1024.0)));
    goals.push(goal(memory::ADDED, None, Measure::Own, Limit::AtMost(0.4 * 1024.0)));
    for hung in isolation::HUNG.into_iter().filter(|hung| *hung > 0) {
        goals.push(goal(isolation::SLOWEST, Some(hung), Measure::OverUnloaded, Limit::AtMost(2.0)));
    }
    goals
}

/// Holds the figures against the goals. A row that was not measured has no verdict.
pub fn judge(figures: &[Figure]) -> Vec<Verdict> {
    goals().iter().filter_map(|goal| goal.judge(figures)).collect()
}

impl Goal {
    fn judge(&self, figures: &[Figure]) -> Option<Verdict> {
        let figure = find(figures, &self.row, self.load)?;
        let (measured, against) = match self.measure {
            Measure::Over(other) => (figure.ratio(OURS, other)?.median, format!(" over the {other}")),
            Measure::Own => (figure.median(OURS)?, format!(" {}", figure.unit)),
            Measure::OverUnloaded => {
                let mut both = Figure::new("", None, "");
                figure.values(OURS).iter().for_each(|value| both.push("loaded", *value));
                find(figures, &self.row, Some(0))?.values(OURS).iter().for_each(|value| both.push("unloaded", *value));
                (both.ratio("loaded", "unloaded")?.median, " over the unloaded".to_owned())
            }
        };
        // What the table shows is what counts: a call in three thousand requests is not one in each.
        let measured = (measured * 100.0).round() / 100.0;
        let held = match self.limit {
            Limit::AtLeast(least) => measured >= least,
            Limit::AtMost(most) => measured <= most,
        };
        let load = self.load.map_or_else(String::new, |load| format!(" at {load}"));
        let limit = match self.limit {
            Limit::AtLeast(least) => format!("≥ {least}"),
            Limit::AtMost(most) => format!("≤ {most}"),
        };
        Some(Verdict { goal: format!("{}{load}{against} {limit}", self.row), measured, held })
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    fn figure(row: &str, load: Option<u32>, ours: f64, theirs: f64, bound: f64) -> Figure {
        let mut figure = Figure::new(row, load, "x");
        for (name, value) in [(OURS, ours), (THEIRS, theirs), (BOUND, bound)] {
            figure.push(name, value);
        }
        figure
    }

    #[test]
    fn a_row_that_misses_one_of_its_goals_says_which_and_by_how_much() {
        let verdicts = judge(&[figure("PR IN", Some(16), 30.0, 10.0, 40.0)]);
        assert_eq!(
            verdicts,
            [
                Verdict { goal: "PR IN at 16 over the C helper ≥ 2.1".to_owned(), measured: 3.0, held: true },
                Verdict { goal: "PR IN at 16 over the lower bound ≥ 0.9".to_owned(), measured: 0.75, held: false },
            ]
        );
    }

    #[test]
    fn a_limit_from_above_is_missed_by_what_is_larger() {
        let held = |ours| judge(&[figure(memory::IDLE, None, ours, 6400.0, 2000.0)])[0].held;
        assert!(held(2600.0));
        assert!(!held(2700.0));
    }

    #[test]
    fn isolation_is_judged_against_the_same_client_unloaded() {
        let row = isolation::SLOWEST;
        let unloaded = figure(row, Some(0), 100.0, 100.0, 100.0);
        let verdicts = judge(&[unloaded, figure(row, Some(500), 210.0, f64::INFINITY, f64::INFINITY)]);
        assert_eq!(verdicts.len(), 1);
        assert!((verdicts[0].measured - 2.1).abs() < 1e-9 && !verdicts[0].held);
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        assert_eq!(judge(&[]), []);
    }
}
