//! `state`: the clients of a helper and their commands. A small `ss` for reservations.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _},
    thread,
    time::Duration,
};

use clap::Args;
use pr_control::{Connection, Control, Device, HUNG_US, Snapshot};

use super::{
    global::{Global, Run},
    values,
};
use crate::{
    error::{Error, exit},
    output::{json, terminal},
    target::ControlSocket,
};

/// The columns. Those of words are cut where the terminal is narrow.
const COLUMNS: [(&str, Shape); 7] = [
    ("ID", Shape::Number),
    ("CLIENT", Shape::Words),
    ("USER", Shape::Number),
    ("AGE", Shape::Number),
    ("SENT", Shape::Number),
    ("IN FLIGHT", Shape::Words),
    ("LAST FAILURE", Shape::Words),
];

/// Between two columns.
const GAP: usize = 2;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// To the right, whole.
    Number,
    /// To the left, cut where there is no room.
    Words,
}

/// Show the clients of a helper and what it is doing for them
///
/// For each connection: the client, its user, how long it is connected, how many
/// requests it has sent, the command in flight with its age, the last failure.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct State {
    #[command(flatten)]
    control: ControlSocket,

    /// Repeat every SECONDS until interrupted
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2",
        value_parser = values::time
    )]
    watch: Option<Duration>,
}

impl Run for State {
    fn run(&self, global: &Global) -> Result<u8, Error> {
        let control = self.control.find(&global.helper)?;
        if let Some(interval) = self.watch {
            return watch(global, &control, interval);
        }
        let snapshot = control.snapshot().map_err(Error::Control)?;
        if global.json {
            json::print(&snapshot)?;
        } else {
            terminal::print(&text(&snapshot, terminal::width()))?;
        }
        Ok(exit::GOOD)
    }

    fn prints_lines(&self) -> bool {
        self.watch.is_some()
    }
}

/// Shows it again and again: a page at a time for people, one below the other for files.
fn watch(global: &Global, control: &Control, interval: Duration) -> Result<u8, Error> {
    let (before, after) = if io::stdout().is_terminal() { ("\x1b[H\x1b[2J", "") } else { ("", "\n") };
    loop {
        let snapshot = control.snapshot().map_err(Error::Control)?;
        if global.json {
            json::print_line(&snapshot)?;
        } else {
            terminal::print(&format!("{before}{}{after}", text(&snapshot, terminal::width())))?;
        }
        thread::sleep(interval);
    }
}

/// The page, in lines of at most `width` columns.
fn text(snapshot: &Snapshot, width: usize) -> String {
    let mut text = head(snapshot);
    if snapshot.connections.is_empty() {
        return text;
    }
    text.push('\n');
    let mut rows = vec![COLUMNS.map(|(name, _)| name.to_owned())];
    rows.extend(snapshot.connections.iter().map(cells));
    let widths = widths(&rows, width);
    for row in &rows {
        let mut line = String::new();
        for ((cell, width), (_, shape)) in row.iter().zip(widths).zip(COLUMNS) {
            let cell = cut(cell, width);
            let gap = if line.is_empty() { 0 } else { GAP };
            let _ = match shape {
                Shape::Number => write!(line, "{:gap$}{cell:>width$}", ""),
                Shape::Words => write!(line, "{:gap$}{cell:<width$}", ""),
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn head(snapshot: &Snapshot) -> String {
    let Snapshot { version, pid, uptime_us, max_connections, totals, connections, .. } = snapshot;
    let requests = |result: Option<&str>| {
        let counted = snapshot.requests.iter().filter(|requests| result.is_none_or(|result| requests.result == result));
        counted.flat_map(|requests| &requests.buckets).fold(0, |sum: u64, count| sum.saturating_add(*count))
    };
    let all = |named: &[pr_control::Named]| named.iter().fold(0, |sum: u64, named| sum.saturating_add(named.count));
    let in_flight = connections.iter().filter_map(|connection| connection.in_flight.as_ref());
    let hung = u64::try_from(in_flight.filter(|command| command.for_us > HUNG_US).count()).unwrap_or(u64::MAX);
    let title = vec![
        format!("qemu-pr-helper {}", terminal::plain(version)),
        format!("PID {pid}"),
        format!("up {}", span(*uptime_us)),
        format!("{} of {}", connections.len(), counted(*max_connections, "connection")),
    ];
    let mut facts = vec![
        counted(requests(None), "request"),
        counted(requests(Some("conflict")), "conflict"),
        counted(all(&snapshot.violations), "violation"),
    ];
    // Failures are shown only if there are any.
    let failures = [
        (all(&snapshot.refusals), "refusal"),
        (hung, "hung command"),
        (totals.multipath_suspended, "suspended map"),
        (totals.multipath_failures, "multipath failure"),
        (totals.multipath_deaths, "broker restart"),
        (totals.overdue, "overdue connection"),
        (totals.turned_away, "connection rejected"),
        (totals.over_limit, "connection over a limit"),
        (totals.paused, "delayed request"),
        (totals.messages_lost, "lost message"),
    ];
    facts.extend(failures.iter().filter(|(number, _)| *number > 0).map(|(number, name)| counted(*number, name)));
    format!("{}\n{}\n", listed(&title), listed(&facts))
}

/// Facts one behind the other, with lines that end between them.
fn listed(facts: &[String]) -> String {
    let (mut text, mut column) = (String::new(), 0);
    for fact in facts {
        let length = fact.chars().count();
        if column > 0 && column + 3 + length > terminal::WIDTH {
            text.push_str(",\n  ");
            column = 2;
        } else if column > 0 {
            text.push_str(", ");
            column += 2;
        }
        text.push_str(&cut(fact, terminal::WIDTH - 3));
        column += length;
    }
    text
}

/// A number with its noun. Some nouns have something behind them.
fn counted(number: u64, noun: &str) -> String {
    let (noun, rest) = match noun.strip_prefix("connection ") {
        Some(rest) => ("connection", format!(" {rest}")),
        None => (noun, String::new()),
    };
    format!("{number} {noun}{}{rest}", if number == 1 { "" } else { "s" })
}

fn cells(connection: &Connection) -> [String; 7] {
    let Connection { client, age_us, requests, in_flight, last_failure, closing_us } = connection;
    let none = || "-".to_owned();
    let program = client.program.as_deref().map(|path| path.rsplit('/').next().unwrap_or(path));
    let who = client.vm.clone().or_else(|| client.unit.clone()).or_else(|| match (program, client.pid) {
        (Some(program), Some(pid)) => Some(format!("{program}[{pid}]")),
        (Some(program), None) => Some(program.to_owned()),
        (None, pid) => pid.map(|pid| format!("PID {pid}")),
    });
    let in_flight = in_flight.as_ref().map(|command| {
        // The age and the device first, because the end may be cut off.
        let device = command.device.as_ref().map(|device| format!("{} ", name(device))).unwrap_or_default();
        format!("{} {device}{}", span(command.for_us), command.action)
    });
    let in_flight = in_flight.or_else(|| closing_us.map(|us| format!("{} closing descriptors", span(us))));
    let failure = last_failure.as_ref().map(|failure| {
        let status = match (failure.status.as_str(), &failure.sense) {
            ("RESERVATION CONFLICT", _) => "conflict".to_owned(),
            (_, Some(sense)) => sense.clone(),
            (status, None) => status.to_lowercase(),
        };
        // The status first, because the end may be cut off.
        format!("{} {status}: {}", span(failure.ago_us), failure.action)
    });
    [
        client.connection.to_string(),
        who.unwrap_or_else(none),
        client.uid.map_or_else(none, |uid| uid.to_string()),
        span(*age_us),
        short(*requests),
        in_flight.unwrap_or_else(none),
        failure.unwrap_or_else(none),
    ]
    .map(|cell| terminal::plain(&cell).into_owned())
}

/// The name that people know the disk by.
fn name(device: &Device) -> &str {
    device.map.as_ref().or(device.name.as_ref()).unwrap_or(&device.number)
}

/// The width of each column: what its cells need; the widest columns of words are narrowed first.
fn widths(rows: &[[String; 7]], width: usize) -> [usize; 7] {
    let mut widths = [0; 7];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let gaps = GAP * (COLUMNS.len() - 1);
    while widths.iter().sum::<usize>() + gaps > width {
        let words = widths.iter_mut().zip(COLUMNS).filter(|(_, (_, shape))| *shape == Shape::Words);
        match words.map(|(width, _)| width).max() {
            Some(widest) if *widest > 1 => *widest -= 1,
            _ => break,
        }
    }
    widths
}

fn cut(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    cell.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// A time in at most seven letters, as long as it is below a thousand days.
fn span(microseconds: u64) -> String {
    let seconds = microseconds / 1_000_000;
    match seconds {
        0 if microseconds < 1000 => format!("{microseconds}us"),
        0 => format!("{}ms", microseconds / 1000),
        1..10 => format!("{seconds}.{}s", microseconds / 100_000 % 10),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// A number in at most seven letters.
fn short(number: u64) -> String {
    match number {
        0..10_000_000 => number.to_string(),
        10_000_000..10_000_000_000 => format!("{}M", number / 1_000_000),
        _ => format!("{}G", number / 1_000_000_000),
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
