//! This daemon against itself: what an option costs.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use super::figure::Figure;
use super::machine;
use super::page::Report;
use super::plan::Plan;
use pr_measure::request::{Request, Target};
use pr_measure::subject::Subject;
use pr_measure::turn::{in_rounds, started};

/// What is compared: a name, and the options that make it. The last one is what the others are measured against.
/// Messages and the audit log's lines go to /dev/null.
const VARIANTS: &[(&str, &[&str])] = &[
    ("default", &[]),
    ("without sandbox", &["--sandbox", "off"]),
    ("without audit", &["--audit", "off"]),
    ("with control socket", &["--control", "{folder}/control.sock"]),
    ("trace to a file", &["-T", "*,file=/dev/null"]),
    ("everything off", &["--sandbox", "off", "--audit", "off"]),
];

/// At so many connections.
const CONNECTIONS: [u32; 3] = [1, 16, 256];

/// Measures every variant in each round.
pub fn measure(plan: &Plan, program: &Path) -> Result<Report> {
    let subjects: Vec<Subject> =
        VARIANTS.iter().map(|(name, options)| Subject::new(name, program).with(options)).collect();
    let mut figures = Vec::new();
    for connections in CONNECTIONS {
        let mut all = started(&subjects, connections, &Target::nothing()?)?;
        for request in [Request::In, Request::Out] {
            let mut rate = Figure::new(request.name(), Some(connections), "requests/s");
            in_rounds(plan.rounds, request, &mut all, |name, turn| rate.push(name, turn.rate()))?;
            figures.push(rate);
        }
    }
    figures.sort_by(|one, other| one.row.cmp(&other.row));
    let last = VARIANTS.len() - 1;
    Ok(Report {
        title: "What options cost this daemon".to_owned(),
        machine: machine::description(plan.processors.len()),
        method:
            "Made by `cargo xtask bench --overhead`: one run, interleaved rounds, one processor; ratios are requests \
                 a second with an option over those without any."
                .to_owned(),
        compared: VARIANTS[..last].iter().map(|(name, _)| ((*name).to_owned(), VARIANTS[last].0.to_owned())).collect(),
        subjects: subjects.into_iter().map(|subject| subject.name).collect(),
        figures,
        calls: BTreeMap::new(),
        verdicts: Vec::new(),
        plots: Vec::new(),
    })
}
