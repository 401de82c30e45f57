//! The result as a Markdown page and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::calls::Shares;
use super::figure::{Figure, Ratio, rows};
use super::goals::Verdict;
use super::maps;

/// A whole run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The headline.
    pub title: String,
    /// The machine.
    pub machine: BTreeMap<&'static str, String>,
    /// How it was measured, in words.
    pub method: String,
    /// The subjects' names.
    pub subjects: Vec<String>,
    /// Which subject is set over which other one.
    #[serde(skip)]
    pub compared: Vec<(String, String)>,
    /// What was measured.
    pub figures: Vec<Figure>,
    /// Which system calls a request takes, by row and subject.
    pub calls: BTreeMap<String, Shares>,
    /// The goals, met or not.
    pub verdicts: Vec<Verdict>,
    /// The plots beside the page: the file's name and what it shows.
    #[serde(skip)]
    pub plots: Vec<(&'static str, &'static str)>,
}

/// A figure as a machine reads it.
#[derive(Serialize)]
struct Entry<'a> {
    #[serde(flatten)]
    figure: &'a Figure,
    medians: BTreeMap<&'a str, Option<f64>>,
    ratios: BTreeMap<String, Option<Ratio>>,
}

impl Report {
    /// For machines: every sample, the medians and the ratios.
    pub fn json(&self) -> serde_json::Result<String> {
        let figures: Vec<Entry<'_>> = self.figures.iter().map(|figure| self.entry(figure)).collect();
        let mut value = serde_json::to_value(self)?;
        value["figures"] = serde_json::to_value(figures)?;
        Ok(serde_json::to_string_pretty(&value)? + "\n")
    }

    fn entry<'a>(&'a self, figure: &'a Figure) -> Entry<'a> {
        let medians = self.subjects.iter().map(|name| (name.as_str(), figure.median(name))).collect();
        let ratios =
            self.compared.iter().map(|(one, other)| (format!("{one} / {other}"), figure.ratio(one, other))).collect();
        Entry { figure, medians, ratios }
    }

    /// For people.
    pub fn markdown(&self) -> String {
        let mut page = format!("# {}\n\n{}\n\n", self.title, self.method);
        for (name, value) in &self.machine {
            let _ = writeln!(page, "* {name}: {value}");
        }
        for (file, what) in &self.plots {
            let _ = write!(page, "\n![{what}]({file})\n");
        }
        for row in rows(&self.figures) {
            self.table(row, &mut page);
        }
        self.calls(&mut page);
        self.goals(&mut page);
        page
    }

    fn table(&self, row: &str, page: &mut String) {
        let figures: Vec<&Figure> = self.figures.iter().filter(|figure| figure.row == row).collect();
        let unit = figures.first().map_or("", |figure| figure.unit);
        let loaded = figures.iter().any(|figure| figure.load.is_some());
        let mut head: Vec<String> = if loaded { vec![load_name(row).to_owned()] } else { Vec::new() };
        head.extend(self.subjects.iter().cloned());
        head.extend(self.compared.iter().map(|(one, other)| format!("{one} / {other}")));
        let _ = write!(page, "\n## {row} ({unit})\n\n");
        if let Some(note) = figures.iter().find_map(|figure| figure.note.as_ref()) {
            let _ = write!(page, "{note}\n\n");
        }
        let _ = write!(page, "| {} |\n|{}\n", head.join(" | "), "---:|".repeat(head.len()));
        for figure in figures {
            let mut cells: Vec<String> = figure.load.iter().map(u32::to_string).collect();
            cells.extend(self.subjects.iter().map(|name| value(figure.median(name))));
            cells.extend(self.compared.iter().map(|(one, other)| ratio(figure.ratio(one, other))));
            let _ = writeln!(page, "| {} |", cells.join(" | "));
        }
    }

    fn calls(&self, page: &mut String) {
        if self.calls.is_empty() {
            return;
        }
        page.push_str("\n## Which system calls\n\n");
        for (whose, shares) in &self.calls {
            let mut shares: Vec<_> = shares.iter().filter(|(_, share)| **share >= 0.05).collect();
            shares.sort_by(|one, other| other.1.total_cmp(one.1));
            let words: Vec<String> = shares.into_iter().map(|(call, share)| format!("{call} {share:.1}")).collect();
            let _ = writeln!(page, "* {whose}: {}", words.join(", "));
        }
    }

    fn goals(&self, page: &mut String) {
        if self.verdicts.is_empty() {
            return;
        }
        page.push_str("\n## Goals\n\n| goal | measured | |\n|---|---:|---|\n");
        for Verdict { goal, measured, held } in &self.verdicts {
            let _ = writeln!(
                page,
                "| {goal} | {} | {} |",
                value(Some(*measured)),
                if *held { "met" } else { "**missed**" }
            );
        }
    }
}

/// What the loads of a row count.
fn load_name(row: &str) -> &'static str {
    maps::load_name(row).unwrap_or(if row.contains("hung") { "hung commands" } else { "connections" })
}

/// A number with as many digits as say something.
fn value(value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(value) if value.is_infinite() => "no answer within 5 s".to_owned(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

/// A ratio, and the quartiles of its rounds.
fn ratio(ratio: Option<Ratio>) -> String {
    match ratio {
        Some(Ratio { median, low, high }) if high.is_finite() && median > 0.0 => {
            format!("**{median:.2}** ({low:.2} – {high:.2})")
        }
        _ => "–".to_owned(),
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut requests = Figure::new("PR IN", Some(16), "requests/s");
        let mut hung = Figure::new("healthy p99 beside hung commands", Some(96), "µs");
        for (ours, theirs) in [(30_000.0, 10_000.0), (33_000.0, 10_000.0), (31_000.0, 10_000.0)] {
            requests.note = Some("On the moon.".to_owned());
            requests.push("ours", ours);
            requests.push("theirs", theirs);
            hung.push("ours", 50.0);
            hung.push("theirs", f64::INFINITY);
        }
        let shares = Shares::from([("recvmsg".to_owned(), 1.0), ("brk".to_owned(), 0.001)]);
        Report {
            title: "Speed".to_owned(),
            machine: BTreeMap::from([("kernel", "6.1".to_owned())]),
            method: "As it says.".to_owned(),
            subjects: vec!["ours".to_owned(), "theirs".to_owned()],
            compared: vec![("ours".to_owned(), "theirs".to_owned())],
            figures: vec![requests, hung],
            calls: BTreeMap::from([("PR IN, ours".to_owned(), shares)]),
            verdicts: vec![Verdict { goal: "PR IN ≥ 4".to_owned(), measured: 3.1, held: false }],
            plots: vec![("requests.svg", "requests a second")],
        }
    }

    #[test]
    fn the_page_has_a_table_for_each_row_and_says_which_goals_are_missed() {
        let page = report().markdown();
        for line in [
            "# Speed",
            "* kernel: 6.1",
            "![requests a second](requests.svg)",
            "## PR IN (requests/s)",
            "On the moon.",
            "| connections | ours | theirs | ours / theirs |",
            "| 16 | 31000 | 10000 | **3.10** (3.10 – 3.30) |",
            "| hung commands | ours | theirs | ours / theirs |",
            "| 96 | 50.0 | no answer within 5 s | – |",
            "* PR IN, ours: recvmsg 1.0",
            "| PR IN ≥ 4 | 3.10 | **missed** |",
        ] {
            assert!(page.lines().any(|one| one == line), "no line {line:?} in\n{page}");
        }
    }

    #[test]
    fn the_json_has_every_sample_and_null_where_there_was_no_answer() {
        let json: serde_json::Value = serde_json::from_str(&report().json().expect("JSON")).expect("JSON");
        let figure = &json["figures"][0];
        assert_eq!((&figure["row"], &figure["load"]), (&"PR IN".into(), &16.into()));
        assert_eq!(figure["samples"][0][1].as_array().map(Vec::len), Some(3));
        assert_eq!(figure["medians"]["ours"], 31_000.0);
        assert_eq!(figure["ratios"]["ours / theirs"]["median"], 3.1);
        assert_eq!((&figure["note"], json["figures"][1].get("note")), (&"On the moon.".into(), None));
        assert!(json["figures"][1]["medians"]["theirs"].is_null());
        assert_eq!(json["verdicts"][0]["held"], false);
    }
}
