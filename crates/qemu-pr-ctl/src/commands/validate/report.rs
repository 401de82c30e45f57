//! The report: each step as it is run, and a table at the end for a support case.

use std::fmt::Write as _;

use pr_conformance::{Initiators, Step, StepReport, Verdict};
use scsi_persistent_reservations::ReservationKey;
use serde::Serialize;

use super::products::{self, ProductReport};
use crate::{
    commands::global::Global,
    error::Error,
    output::{json, terminal, time},
    target::{Device, host},
};

/// The column of the received value.
const VALUE: usize = 53;

/// The report on a run.
#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "they are fields of JSON's")]
pub struct Report {
    #[serde(skip)]
    json: bool,
    #[serde(skip)]
    colours: bool,
    device: String,
    second: Option<String>,
    /// The helper's socket; none without a helper.
    socket: Option<String>,
    version: &'static str,
    kernel: String,
    disk: Option<String>,
    /// How many paths node 1 has, if it is a multipath map.
    paths: Option<usize>,
    time: String,
    keys: [String; 2],
    /// Whether writes are tested.
    writes: bool,
    sequences: Vec<SequenceReport>,
    /// Which software will work with the disk.
    products: Vec<ProductReport>,
    passed: bool,
    left_behind: Vec<String>,
}

/// One sequence.
#[derive(Serialize)]
pub struct SequenceReport {
    pub name: &'static str,
    pub result: SequenceResult,
    steps_in_all: usize,
    steps: Vec<StepRecord>,
}

/// How a sequence ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SequenceResult {
    Passed,
    Failed,
    Interrupted,
}

#[derive(Serialize)]
struct StepRecord {
    number: usize,
    node: u8,
    name: &'static str,
    command: String,
    expected: String,
    #[serde(rename = "came")]
    received: String,
    result: &'static str,
    attentions: Vec<String>,
    #[serde(skip)]
    admits_one_path: bool,
}

impl SequenceReport {
    pub const fn new(name: &'static str, steps_in_all: usize) -> Self {
        Self { name, result: SequenceResult::Passed, steps_in_all, steps: Vec::new() }
    }

    /// Notes a step.
    pub fn note(&mut self, number: usize, step: &Step, report: StepReport) {
        if report.verdict == Verdict::Failed {
            self.result = SequenceResult::Failed;
        }
        let StepReport { verdict, expected, received, attentions } = report;
        self.steps.push(StepRecord {
            number,
            node: step.initiator.number(),
            name: step.name,
            command: step.command.action(),
            expected,
            received,
            result: word(verdict),
            attentions,
            admits_one_path: step.command.admits_one_path(),
        });
    }

    /// The step that failed, if one did.
    pub fn failure(&self) -> Option<String> {
        let step = self.steps.last().filter(|_| self.result == SequenceResult::Failed)?;
        Some(format!("{}, step {} ({})", self.name, step.number, step.command))
    }

    fn remarks(&self) -> usize {
        self.steps.iter().filter(|step| step.result == word(Verdict::Remark)).count()
    }
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Remark => "remark",
        Verdict::Failed => "FAILED",
    }
}

impl Report {
    /// The head of the report.
    pub fn begin(
        global: &Global,
        device: &Device,
        second: Option<&Device>,
        initiators: Initiators,
    ) -> Result<Self, Error> {
        let report = Self {
            json: global.json,
            colours: terminal::colours(),
            device: device.path.display().to_string(),
            second: second.map(|second| second.path.display().to_string()),
            socket: (!device.direct).then(|| global.helper.socket.display().to_string()),
            version: env!("CARGO_PKG_VERSION"),
            kernel: host::kernel(),
            disk: host::disk(&device.path),
            paths: host::paths(&device.path),
            time: time::now(),
            keys: [initiators.one, initiators.two].map(|key| key.to_string()),
            writes: initiators.writes,
            sequences: Vec::new(),
            products: Vec::new(),
            passed: true,
            left_behind: Vec::new(),
        };
        report.print(&report.head())?;
        Ok(report)
    }

    fn head(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "{}", terminal::column(&format!("{name:<8}  "), value));
        };
        line("node 1", &format!("{}, key 1 is {}", self.device, self.keys[0]));
        match &self.second {
            Some(second) => line("node 2", &format!("{second}, key 2 is {}", self.keys[1])),
            None => line("node 2", "none (see --second): half of the steps are skipped"),
        }
        if !self.writes {
            line("writes", "not tested (see --write)");
        }
        if let Some(disk) = &self.disk {
            line("disk", disk);
        }
        line("helper", self.socket.as_deref().unwrap_or("none (--direct)"));
        line("host", &format!("Linux {}, qemu-pr-ctl {}, {}", self.kernel, self.version, self.time));
        text
    }

    /// The title of a sequence.
    pub fn begin_sequence(&self, name: &str) -> Result<(), Error> {
        self.print(&format!("\n{name}\n"))
    }

    /// One line for a step that went as expected, three for one that did not.
    pub fn step(&self, number: usize, step: &Step, report: &StepReport) -> Result<(), Error> {
        let verdict = self.paint(report.verdict, &format!("{:<6}", word(report.verdict)));
        let name = format!("node {} {}", step.initiator.number(), step.name);
        if report.verdict == Verdict::Ok {
            let value = terminal::fold_behind(&" ".repeat(VALUE), &self.named(&report.received));
            return self.print(&format!("{number:>4}  {verdict}  {name:<37}  {}\n", value.trim_start()));
        }
        let mut text = format!("{number:>4}  {verdict}  {name} ({})\n", step.command.action());
        for (name, value) in [("expected", &report.expected), ("received", &report.received)] {
            let _ = writeln!(text, "{}", terminal::fold_behind(&format!("{:14}{name:<10}", ""), &self.named(value)));
        }
        self.print(&text)
    }

    /// Keys by their number: two keys of sixteen digits on a line are hard to distinguish.
    fn named(&self, text: &str) -> String {
        let [one, two] = &self.keys;
        text.replace(one, "key 1").replace(two, "key 2")
    }

    /// A sequence is over.
    pub fn end_sequence(&mut self, sequence_report: SequenceReport) {
        self.passed &= sequence_report.result == SequenceResult::Passed;
        self.sequences.push(sequence_report);
    }

    pub const fn passed(&self) -> bool {
        self.passed
    }

    /// The table, or all of it for programs.
    pub fn finish(&mut self, left: &[ReservationKey], interrupted: bool) -> Result<(), Error> {
        self.left_behind = left.iter().map(ToString::to_string).collect();
        self.passed &= left.is_empty() && !interrupted;
        self.products = products::judge(&self.sequences, self.second.is_some(), self.writes);
        if self.json {
            return json::print(self);
        }
        self.print(&self.table())
    }

    fn table(&self) -> String {
        let mut text = format!("\n{:<28}  {:>5}  result\n", "sequence", "steps");
        for sequence_report in &self.sequences {
            let result = match (sequence_report.result, sequence_report.steps.last()) {
                (SequenceResult::Passed, _) => match sequence_report.remarks() {
                    0 => self.paint(Verdict::Ok, "passed"),
                    1 => self.paint(Verdict::Remark, "passed, with 1 remark"),
                    many => self.paint(Verdict::Remark, &format!("passed, with {many} remarks")),
                },
                (SequenceResult::Failed, Some(step)) => {
                    self.paint(Verdict::Failed, &format!("failed: {}", step.command))
                }
                _ => self.paint(Verdict::Failed, "interrupted"),
            };
            let steps = format!("{}/{}", sequence_report.steps.len(), sequence_report.steps_in_all);
            let _ = writeln!(text, "{:<28}  {steps:>5}  {result}", sequence_report.name);
        }
        if !self.products.is_empty() {
            text += &products::table(self, &self.products);
        }
        text.extend(self.about_paths());
        let end = if self.left_behind.is_empty() {
            "The disk has no registrations left.".to_owned()
        } else {
            format!("STILL REGISTERED on the disk: {}", self.left_behind.join(" "))
        };
        let _ = writeln!(text, "\n{end}");
        text
    }

    /// A warning about a map: there some reservations pass that are of no use to a cluster.
    fn about_paths(&self) -> Option<String> {
        let paths = self.paths.filter(|paths| *paths > 1)?;
        // Those that try each type are no use of it.
        let is_software = |sequence: &&SequenceReport| !sequence.name.starts_with("enforcement");
        let is_affected = |sequence: &&SequenceReport| {
            is_software(sequence) && sequence.steps.iter().any(|step| step.admits_one_path)
        };
        let names: Vec<_> = self.sequences.iter().filter(is_affected).map(|sequence| sequence.name).collect();
        let words = format!(
            "this is a multipath map of {paths} paths, and a reservation of type 1 or 3, as in {}, admits one of them: \
             configure cluster software to use type 5 or 7",
            names.join(" and ")
        );
        (!names.is_empty()).then(|| format!("\n{}\n", terminal::fold_behind("note  ", &words)))
    }

    fn print(&self, text: &str) -> Result<(), Error> {
        if self.json { Ok(()) } else { terminal::print(text) }
    }

    /// A text in the colour of a verdict, where there are colours.
    pub fn paint(&self, verdict: Verdict, text: &str) -> String {
        let colour = match verdict {
            Verdict::Ok => 32,
            Verdict::Remark => 33,
            Verdict::Failed => 31,
        };
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use pr_conformance::ALL;

    use super::*;

    /// The report of a run in which all steps of these sequences went well.
    fn report(paths: Option<usize>, names: &[&str]) -> Report {
        let [one, two] = [1, 2].map(ReservationKey);
        let sequences = ALL.iter().filter(|sequence| names.contains(&sequence.name)).map(|sequence| {
            let steps = sequence.steps(Initiators::new(one, two, false));
            let mut sequence_report = SequenceReport::new(sequence.name, steps.len());
            for (number, step) in (1..).zip(&steps) {
                let (expected, received) = (String::new(), String::new());
                sequence_report.note(
                    number,
                    step,
                    StepReport { verdict: Verdict::Ok, expected, received, attentions: Vec::new() },
                );
            }
            sequence_report
        });
        Report {
            json: false,
            colours: false,
            device: "/dev/mapper/mpatha".to_owned(),
            second: None,
            socket: None,
            version: "1",
            kernel: "6".to_owned(),
            disk: None,
            paths,
            time: "now".to_owned(),
            keys: [one, two].map(|key| key.to_string()),
            writes: false,
            sequences: sequences.collect(),
            products: Vec::new(),
            passed: true,
            left_behind: Vec::new(),
        }
    }

    #[test]
    fn what_admits_one_path_of_a_map_is_noted() {
        let note = |paths, names: &[&str]| {
            let table = report(paths, names).table();
            assert!(table.lines().all(|line| line.chars().count() <= terminal::WIDTH), "{table}");
            let (_, note) = table.split_once("note  ")?;
            Some(note.split_whitespace().collect::<Vec<_>>().join(" "))
        };
        let all = ["fence_scsi", "ocf-sg_persist", "lvm-persist"];
        let words = note(Some(2), &all).expect("a note");
        assert!(
            words.starts_with(
                "this is a multipath map of 2 paths, and a reservation of type 1 or 3, as in ocf-sg_persist and lvm-persist,"
            ),
            "{words}"
        );
        assert_eq!(note(Some(2), &["fence_scsi", "windows-failover-clustering"]), None);
        assert_eq!((note(Some(1), &all), note(None, &all)), (None, None));
    }

    #[test]
    fn every_step_fits_its_line() {
        let [one, two] = [1, 2].map(ReservationKey);
        for pair in [false, true] {
            for sequence in &ALL {
                for step in sequence.steps(Initiators { writes: true, ..Initiators::new(one, two, pair) }) {
                    let name = format!("node 1 {}", step.name);
                    assert!(name.len() <= 37, "{name}");
                    assert!(14 + name.len() + 3 + step.command.action().len() <= terminal::WIDTH, "{name}");
                }
            }
        }
    }
}
