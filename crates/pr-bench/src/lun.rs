//! The real thing: a LUN of a real kernel, in the virtual machine of the kernel bed.

use std::time::Duration;

use anyhow::Result;
use pr_dev::packages;
use pr_measure::processors::stay_on;
use pr_measure::subject::Subject;
use pr_measure::turn::{Rounds, Sample};

use super::figure::Figure;
use super::plan::Plan;

/// What the page says of these rows.
const NOTE: &str = "On a LUN of a real kernel's own target (LIO, by tcm_loop, a file in memory), through the socket, in a \
    virtual machine with one processor. QEMU translates its instructions (TCG) and its clock counts them, a nanosecond \
    each: the client's, the helper's, the kernel's and the LUN's, whatever else the host does, and nothing of what caches \
    do to them. Under TCG only the ratios mean anything. A turn takes 60 ms of that clock, and after two everybody is \
    started anew.";

/// So many clients at a time: one guest, and a host full of them.
pub const CONNECTIONS: [u32; 2] = [1, 16];

/// How long a turn is by the machine's clock, each second of which is several of ours: some hundred requests.
const SLICE: Duration = Duration::from_millis(60);

/// The row of a request.
pub fn row(request: &str) -> String {
    format!("{request} on a LUN (TCG)")
}

/// Measures in the machine, in the same turns as here.
pub fn measure(plan: &Plan, subjects: &[Subject]) -> Result<Vec<Figure>> {
    packages::install_missing(&[packages::FOR_BEDS])?;
    let own = pr_measure::processors::usable()?;
    stay_on(&plan.processors)?;
    let rounds = Rounds { slice: SLICE, ..plan.rounds };
    let programs: Vec<_> = subjects.iter().map(|subject| (subject.name.as_str(), subject.program.as_path())).collect();
    let samples = e2e::measure(&programs, &CONNECTIONS, rounds);
    stay_on(&own)?;
    Ok(figures(samples?))
}

/// One figure for each row and load, in the order of the turns.
fn figures(samples: Vec<Sample>) -> Vec<Figure> {
    let mut figures: Vec<Figure> = Vec::new();
    for Sample { row: request, load, subject, value } in samples {
        let row = row(&request);
        let place = figures.iter().position(|figure| figure.row == row && figure.load == Some(load));
        let place = place.unwrap_or_else(|| {
            figures.push(Figure { note: Some(NOTE.to_owned()), ..Figure::new(&row, Some(load), "requests/s") });
            figures.len() - 1
        });
        figures[place].push(&subject, value);
    }
    figures
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    #[test]
    fn the_turns_of_a_row_and_load_are_one_figure_in_the_order_of_the_rounds() {
        let sample = |request: &str, load, subject: &str, value| Sample {
            row: request.to_owned(),
            load,
            subject: subject.to_owned(),
            value,
        };
        let figures = figures(vec![
            sample("READ KEYS", 1, "ours", 1.0),
            sample("READ KEYS", 1, "theirs", 2.0),
            sample("READ KEYS", 1, "theirs", 3.0),
            sample("READ KEYS", 1, "ours", 4.0),
            sample("READ KEYS", 16, "ours", 5.0),
            sample("REGISTER", 1, "ours", 6.0),
        ]);
        let values: Vec<_> = figures.iter().map(|figure| (figure.load, figure.values("ours"))).collect();
        assert_eq!(values, [(Some(1), &[1.0, 4.0][..]), (Some(16), &[5.0]), (Some(1), &[6.0])]);
        assert_eq!(figures[0].values("theirs"), [2.0, 3.0]);
        assert_eq!(figures[2].row, "REGISTER on a LUN (TCG)");
    }
}
