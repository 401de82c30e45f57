//! A man page: what `clap_mangen` makes of a command line, in the order and the form that man-pages(7) asks for, with the
//! sections that are written by hand.

use std::fs;
use std::iter;

use anyhow::{Context as _, Result, ensure};
use clap::Command;
use clap_mangen::Man;
use pr_dev::packages;
use pr_dev::workspace::root;

/// All are for administrators.
pub const SECTION: &str = "8";
const MANUAL: &str = "System Administration";

/// What a page says besides its options, written by hand.
const WRITTEN: &str = "packaging/man";

/// The sections, in the order of man-pages(7). What a page has besides comes in the middle, as it is written.
const FIRST: [&str; 5] = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "SUBCOMMANDS"];
const LAST: [&str; 6] = ["EXIT STATUS", "ENVIRONMENT", "FILES", "NOTES", "EXAMPLES", "SEE ALSO"];

/// The program that has a page for each of its subcommands.
const PROGRAM_WITH_SUBCOMMANDS: &str = "qemu-pr-ctl";

/// How long a line of the source may be.
const WIDTH: usize = 80;

/// A section: its heading, and its lines.
type Part = (String, Vec<String>);

/// The page of a command whose page is called so.
pub fn page(command: Command, name: &str) -> Result<String> {
    // What every subcommand takes is on the program's page.
    let parent = parent(name);
    let command = if parent.is_some() { without_global_options(command) } else { command };
    let synopsis = synopsis(&command, name, parent.is_some());
    let mut rendered = Vec::new();
    Man::new(command).title(name).section(SECTION).render(&mut rendered)?;
    let rendered = String::from_utf8(rendered)?.replace(".br\n\n.br\n", ".sp\n");
    let (head, _) = rendered.split_once(".TH ").context("a page without a title")?;
    let mut parts = Vec::new();
    for (heading, lines) in sections(&rendered) {
        match heading.as_str() {
            "SYNOPSIS" => parts.push((heading, synopsis.clone())),
            "DESCRIPTION" => parts.push((heading, sentences(lines))),
            "OPTIONS" => parts.push((heading, without_bare_values(defaults_in_the_text(lines)))),
            "SUBCOMMANDS" => parts.push((heading, without_help(lines))),
            "EXTRA" => parts.extend(notes(lines)),
            // It is in the last line.
            "VERSION" => {}
            _ => parts.push((heading, lines)),
        }
    }
    let written = root().join(WRITTEN).join(format!("{name}.{SECTION}"));
    if written.exists() {
        let text = fs::read_to_string(&written).with_context(|| format!("cannot read {}", written.display()))?;
        replace(&mut parts, sections(&text));
    }
    if let Some(parent) = parent {
        let program = PROGRAM_WITH_SUBCOMMANDS.replace('-', "\\-");
        for (_, lines) in parts.iter_mut().filter(|(heading, _)| heading == "OPTIONS") {
            let options = r"(\fB\-\-as\fR, \fB\-\-json\fR, \fB\-\-socket\fR, \fB\-\-timeout\fR)";
            lines.push(".PP".to_owned());
            lines.push(format!("Common options {options} and exit statuses are described in"));
            lines.push(format!(".BR {program} ({SECTION})."));
        }
        parts.push(("SEE ALSO".to_owned(), vec![format!(".BR {} ({SECTION})", parent.replace('-', "\\-"))]));
    }
    parts.sort_by_key(|(heading, _)| place(heading));
    // No date: the same definitions make the same page on any day.
    let version = env!("CARGO_PKG_VERSION");
    let title = format!(".TH {} {SECTION} \"\" \"qemu-pr-helper {version}\" \"{MANUAL}\"\n", name.to_uppercase());
    // Neither words that are broken nor lines that are stretched: most lines have long names of options in them.
    let title = title + ".nh\n.ad l\n";
    let body = parts.iter().map(|(heading, lines)| format!(".SH {heading}\n{}\n", wrapped(lines).join("\n")));
    Ok(head.to_owned() + &title + &body.collect::<String>())
}

/// What is written by hand takes the place of what is made under the same heading.
fn replace(parts: &mut Vec<Part>, written: Vec<Part>) {
    parts.retain(|(heading, _)| written.iter().all(|(replaced, _)| replaced != heading));
    parts.extend(written);
}

/// The command with the options of its own alone.
fn without_global_options(command: Command) -> Command {
    command.mut_args(|argument| {
        let is_shared = argument.is_global_set() || argument.get_id() == "help";
        if is_shared { argument.hide(true) } else { argument }
    })
}

/// The page from which this one is reached: a subcommand's program, or the subcommand above it.
fn parent(name: &str) -> Option<&str> {
    let trace = name.strip_prefix("qemu-pr-ctl-trace-").map(|_| "qemu-pr-ctl-trace");
    trace.or_else(|| name.starts_with("qemu-pr-ctl-").then_some("qemu-pr-ctl"))
}

/// Where a section belongs.
fn place(heading: &str) -> usize {
    let first = FIRST.iter().position(|known| *known == heading);
    let last = LAST.iter().position(|known| *known == heading).map(|place| FIRST.len() + 1 + place);
    first.or(last).unwrap_or(FIRST.len())
}

fn sections(page: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix(".SH ") {
            parts.push((heading.to_owned(), Vec::new()));
        } else if let Some((_, lines)) = parts.last_mut() {
            lines.push(line.to_owned());
        }
    }
    parts
}

/// Each option with the name of its value; `clap_mangen` (0.3.3) leaves the values out.
fn synopsis(command: &Command, name: &str, is_subcommand: bool) -> Vec<String> {
    let plain = |text: &str| text.replace('-', "\\-");
    // The page of a subcommand has its words joined by hyphens.
    let mut lines = vec![format!("\\fB{}\\fR", plain(command.get_bin_name().unwrap_or(name)))];
    for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
        let values: Vec<String> =
            argument.get_value_names().into_iter().flatten().map(|value| format!("\\fI{}\\fR", plain(value))).collect();
        let takes_value = argument.get_action().takes_values();
        let flag = match (argument.get_short(), argument.get_long()) {
            (Some(short), _) => Some(format!("\\fB\\-{short}\\fR")),
            (None, Some(long)) => Some(format!("\\fB\\-\\-{}\\fR", plain(long))),
            (None, None) => None,
        };
        let words: Vec<String> = flag.into_iter().chain(values.into_iter().filter(|_| takes_value)).collect();
        let is_list = flag_is_missing(argument) && argument.get_num_args().is_some_and(|many| many.max_values() > 1);
        let words = words.join(" ") + if is_list { "...\\&" } else { "" };
        lines.push(if argument.is_required_set() { words } else { format!("[{words}]") });
    }
    if command.get_subcommands().next().is_some() {
        lines.push("\\fICOMMAND\\fR".to_owned());
    }
    if is_subcommand {
        lines.push("[\\fICOMMON OPTIONS\\fR]".to_owned());
    }
    lines
}

/// Whether it is told from the others by its place.
fn flag_is_missing(argument: &clap::Arg) -> bool {
    argument.get_short().is_none() && argument.get_long().is_none()
}

/// What a command does is one line in its help, and the first paragraph here.
fn sentences(mut lines: Vec<String>) -> Vec<String> {
    if let Some(first) = lines.first_mut().filter(|first| !first.ends_with('.')) {
        first.push('.');
    }
    lines
}

/// Behind an option's name its default would be a part of the name.
fn defaults_in_the_text(lines: Vec<String>) -> Vec<String> {
    let mut moved: Vec<String> = Vec::new();
    let mut waiting: Option<String> = None;
    for line in lines {
        let is_name = moved.last().is_some_and(|before| before == ".TP");
        if let (true, Some((name, default))) = (is_name, line.split_once(" [default: ")) {
            waiting = Some(format!(" [default: {default}"));
            moved.push(name.to_owned());
            continue;
        }
        if line.starts_with('.')
            && let (Some(default), Some(text)) = (waiting.take(), moved.last_mut())
        {
            text.push_str(&default);
        }
        moved.push(line);
    }
    if let (Some(default), Some(text)) = (waiting, moved.last_mut()) {
        text.push_str(&default);
    }
    moved
}

/// Values that have no explanation are no list to read: the page has a table of them below.
fn without_bare_values(lines: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    let mut rest = lines.into_iter();
    while let Some(line) = rest.next() {
        if line != "\\fIPossible values:\\fR" {
            kept.push(line);
            continue;
        }
        let list: Vec<String> = rest.by_ref().take_while(|line| line != ".RE").collect();
        if list.iter().any(|line| line.contains(": ")) {
            kept.push(line);
            kept.extend(list);
            kept.push(".RE".to_owned());
        } else if kept.last().is_some_and(|before| before == ".sp") {
            kept.pop();
        }
    }
    kept
}

/// The subcommand help has no page.
fn without_help(mut lines: Vec<String>) -> Vec<String> {
    if let Some(at) = lines.iter().position(|line| line.ends_with("\\-help(8)")) {
        lines.drain(at - 1..(at + 2).min(lines.len()));
    }
    lines
}

/// What the help ends with: paragraphs, tables whose lines begin with blanks, and the exit statuses.
fn notes(lines: Vec<String>) -> Vec<Part> {
    let mut notes = Vec::new();
    let mut exits = Vec::new();
    let mut is_table = false;
    let mut is_exit = false;
    for line in lines {
        if let Some(rest) = line.strip_prefix("Exit status") {
            is_exit = true;
            let remark = rest.trim_end_matches(':').trim().trim_start_matches('(').trim_end_matches(')');
            exits.extend(Some(remark).filter(|remark| !remark.is_empty()).map(|remark| format!("They are {remark}.")));
        } else if let (true, Some((status, meaning))) = (is_exit, line.trim_start().split_once("  ")) {
            exits.extend([".TP".to_owned(), format!("\\fB{status}\\fR"), meaning.trim().to_owned()]);
        } else if line.is_empty() {
            notes.extend(is_table.then(|| ".fi".to_owned()));
            is_table = false;
            notes.push(".PP".to_owned());
        } else {
            if line.starts_with(' ') && !is_table {
                notes.extend([".nf".to_owned()]);
                is_table = true;
            }
            notes.push(line);
        }
    }
    notes.extend(is_table.then(|| ".fi".to_owned()));
    while notes.last().is_some_and(|line| line == ".PP") {
        notes.pop();
    }
    let parts = [("EXIT STATUS", exits), ("NOTES", notes)];
    parts.into_iter().filter(|(_, lines)| !lines.is_empty()).map(|(name, lines)| (name.to_owned(), lines)).collect()
}

/// The same text in lines that are short enough, but for names of options and for what stands as it is.
fn wrapped(lines: &[String]) -> Vec<String> {
    let mut short = Vec::new();
    let mut as_it_is = false;
    let before = iter::once("").chain(lines.iter().map(String::as_str));
    for (line, before) in lines.iter().zip(before) {
        match line.as_str() {
            ".nf" => as_it_is = true,
            ".fi" => as_it_is = false,
            _ => {}
        }
        if as_it_is || line.starts_with('.') || before == ".TP" {
            short.push(line.clone());
            continue;
        }
        let mut current = String::new();
        for word in line.split(' ') {
            // What begins with one of these would be an order.
            let may_begin = !word.starts_with(['.', '\'']);
            if !current.is_empty() && current.len() + 1 + word.len() > WIDTH && may_begin {
                short.push(std::mem::take(&mut current));
            }
            if !current.is_empty() {
                current.push(' ');
            }
            current.push_str(word);
        }
        short.push(current);
    }
    short
}

/// Has mandoc read all pages, which finds what a reader would stumble over.
pub fn lint() -> Result<bool> {
    let mandoc = packages::unpack_mandoc()?.join("usr/bin/mandoc");
    let mut pages: Vec<_> = fs::read_dir(root().join("docs/man"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    pages.sort();
    let output = std::process::Command::new(mandoc).args(["-T", "lint"]).args(&pages).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    // Pages have no date on purpose.
    let complaints: Vec<_> = said.lines().filter(|line| !line.contains("WARNING: missing date, using \"\"")).collect();
    ensure!(
        said.lines().count() >= pages.len(),
        "mandoc did not read the pages: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    ensure!(complaints.is_empty(), "mandoc: {}", complaints.join("\n"));
    println!("{} man pages, read by mandoc", pages.len());
    Ok(true)
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn tables_stay_tables_and_exit_statuses_become_a_section() {
        let help = lines(
            "Pages:\n  /a  one\n  /b  two\n\nMore.\n\nExit status (those of x):\n   0  success\n  15  not usable",
        );
        let parts = notes(help);
        let exits = lines("They are those of x.\n.TP\n\\fB0\\fR\nsuccess\n.TP\n\\fB15\\fR\nnot usable");
        assert_eq!(parts[0], ("EXIT STATUS".to_owned(), exits));
        assert_eq!(parts[1], ("NOTES".to_owned(), lines("Pages:\n.nf\n  /a  one\n  /b  two\n.fi\n.PP\nMore.")));
    }

    #[test]
    fn a_default_stands_behind_the_text() {
        let options = lines(".TP\n\\fB-t\\fR [default: 5]\nTime to wait\n.TP\n\\fB-h\\fR\nHelp");
        let moved = defaults_in_the_text(options);
        assert_eq!(moved, lines(".TP\n\\fB-t\\fR\nTime to wait [default: 5]\n.TP\n\\fB-h\\fR\nHelp"));
    }

    #[test]
    fn long_lines_are_broken_where_no_order_begins() {
        let long = format!("{} .x {}", "a".repeat(78), "b".repeat(10));
        let short = wrapped(&[long, ".TP".to_owned(), "c ".repeat(60)]);
        assert_eq!(short, [format!("{} .x", "a".repeat(78)), "b".repeat(10), ".TP".to_owned(), "c ".repeat(60)]);
    }

    #[test]
    fn sections_come_in_the_order_of_man_pages_7() {
        let headings = ["NAME", "SYNOPSIS", "OPTIONS", "PRIVILEGES", "EXIT STATUS", "FILES", "EXAMPLES", "SEE ALSO"];
        assert!(headings.map(place).is_sorted());
    }

    #[test]
    fn values_are_listed_if_they_are_explained() {
        let list = |values: &str| lines(&format!("Help\n.sp\n\\fIPossible values:\\fR\n.RS 14\n{values}\n.RE\n.TP"));
        assert_eq!(without_bare_values(list("a\nb")), lines("Help\n.TP"));
        assert_eq!(without_bare_values(list("a: one\nb: two")), list("a: one\nb: two"));
    }

    #[test]
    fn what_is_written_takes_the_place_of_what_is_made() {
        let part = |heading: &str, line: &str| (heading.to_owned(), lines(line));
        let mut parts = vec![part("NAME", "made"), part("DESCRIPTION", "made")];
        replace(&mut parts, vec![part("DESCRIPTION", "written"), part("FILES", "written")]);
        assert_eq!(parts, [part("NAME", "made"), part("DESCRIPTION", "written"), part("FILES", "written")]);
    }

    #[test]
    fn a_subcommands_page_has_its_own_options_and_names_the_page_with_the_others() {
        use clap::Arg;
        let mut program =
            Command::new("qemu-pr-ctl").arg(Arg::new("json").long("json").global(true).num_args(0)).subcommand(
                Command::new("keys")
                    .about("List")
                    .arg(Arg::new("DEVICE").value_name("DEVICE").num_args(1..))
                    .arg(Arg::new("x").long("x")),
            );
        program.build();
        let keys = program.find_subcommand("keys").expect("it is there").clone();
        let page = page(keys, "qemu-pr-ctl-keys").expect("a page");
        assert!(page.contains("[\\fIDEVICE\\fR...\\&]"), "{page}");
        assert!(page.contains("\\-\\-x") && page.contains(".BR qemu\\-pr\\-ctl (8)."), "{page}");
        assert!(!page.contains(".TP\n\\fB\\-\\-json"), "{page}");
    }
}
