//! The manual's pages as something to follow: the commands in them, what they are said to print, and the files that
//! a reader is told to write.
//!
//! A fenced block is followed if its first word is `console`; a second word says where: on the laboratory's disk (none),
//! on a real `host`, in a `guest` of it, on a host that is broken on purpose (`doctor`). One that no test can run has to say so in front of readers: `elsewhere`. Any
//! other block with a word `file=PATH` is written to that path where the console blocks around it run.
//!
//! In what is printed `…` stands for anything in a line, and on a line of its own for any number of lines.

/// What else may be in a block: no command hides in one of another kind.
const KINDS: [&str; 4] = ["text", "toml", "xml", "yaml"];

/// Where commands are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// On a machine without a disk, by the quick tests.
    Laboratory,
    /// On a whole Debian, by `cargo xtask bed manual`.
    Host,
    /// In a guest of that Debian.
    Guest,
    /// On a host on which one thing is broken, by `cargo xtask bed doctor`.
    Doctor,
    /// On a system that no test has.
    Elsewhere,
}

/// One thing that a reader does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Types a command.
    Run(Run),
    /// Writes a file.
    Write {
        /// Where it is used.
        place: Place,
        /// Where to.
        path: String,
        /// What.
        text: String,
    },
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where it is typed.
    pub place: Place,
    /// The number of its line on the page.
    pub line: usize,
    /// The command, of several lines if these end in backslashes.
    pub command: String,
    /// The lines that it is said to print.
    pub printed: Vec<String>,
}

impl Run {
    /// What is wrong with the page if this was printed.
    pub fn objection(&self, printed: &str) -> Option<String> {
        let came: Vec<&str> = printed.trim_end().lines().map(str::trim).collect();
        let mut due: Vec<&str> = self.printed.iter().map(|line| line.trim()).collect();
        due.truncate(due.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1));
        (!lines_match(&due, &came)).then(|| {
            let (due, came) = (due.join("\n    "), came.join("\n    "));
            format!("line {}: '{}' is to print\n    {due}\nand prints\n    {came}", self.line, self.command)
        })
    }

    /// Whether it asks for the exit status of the command before it.
    pub fn asks_for_status(&self) -> bool {
        self.command == "echo $?"
    }
}

/// The pages that the table of contents names, in its order.
pub fn contents(summary: &str) -> Vec<String> {
    let targets = summary.lines().filter_map(|line| line.split_once("](")?.1.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).collect()
}

/// What a page has to be done, in order.
pub fn steps(page: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    for block in blocks(page)? {
        let words: Vec<&str> = block.words.split(',').collect();
        let place = match words.get(1).copied() {
            Some("host") => Place::Host,
            Some("guest") => Place::Guest,
            Some("doctor") => Place::Doctor,
            Some("elsewhere") => Place::Elsewhere,
            _ => Place::Laboratory,
        };
        if words[0] == "console" {
            if words.len() > 2 || (words.len() == 2 && place == Place::Laboratory) {
                return Err(format!("line {}: '{}' is no place to run commands", block.line, block.words));
            }
            steps.extend(commands(&block, place)?.into_iter().map(Step::Run));
        } else if let Some(path) = words.iter().find_map(|word| word.strip_prefix("file=")) {
            steps.push(Step::Write { place, path: path.to_owned(), text: block.text() });
        } else if !KINDS.contains(&words[0]) {
            return Err(format!("line {}: what kind of block is '{}'?", block.line, words[0]));
        }
    }
    Ok(steps)
}

struct Block<'a> {
    /// The number of the line with the fence.
    line: usize,
    words: &'a str,
    lines: Vec<&'a str>,
}

impl Block<'_> {
    fn text(&self) -> String {
        self.lines.iter().fold(String::new(), |text, line| text + line + "\n")
    }
}

fn blocks(page: &str) -> Result<Vec<Block<'_>>, String> {
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    for (index, line) in page.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), open.as_mut()) {
            (Some(words), None) => open = Some(Block { line: index + 1, words: words.trim(), lines: Vec::new() }),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.lines.push(line),
            (None, None) => {}
        }
    }
    match open {
        None => Ok(blocks),
        Some(block) => Err(format!("line {}: the block has no end", block.line)),
    }
}

fn commands(block: &Block<'_>, place: Place) -> Result<Vec<Run>, String> {
    let mut runs: Vec<Run> = Vec::new();
    let mut continued = false;
    for (index, line) in block.lines.iter().enumerate() {
        let number = block.line + 1 + index;
        let prompted = line.strip_prefix("$ ").or_else(|| line.strip_prefix("# "));
        match (prompted, runs.last_mut()) {
            (_, Some(run)) if continued => {
                run.command.push('\n');
                run.command.push_str(line);
            }
            (Some(command), _) => {
                runs.push(Run { place, line: number, command: command.to_owned(), printed: Vec::new() });
            }
            (None, Some(run)) => run.printed.push((*line).to_owned()),
            (None, None) => return Err(format!("line {number}: nobody typed anything before this was printed")),
        }
        continued = (continued || prompted.is_some()) && line.ends_with('\\');
    }
    Ok(runs)
}

fn lines_match(due: &[&str], came: &[&str]) -> bool {
    match due {
        [] => came.is_empty(),
        ["…"] => true,
        ["…", rest @ ..] => (0..=came.len()).any(|skipped| lines_match(rest, &came[skipped..])),
        [line, rest @ ..] => {
            came.split_first().is_some_and(|(first, others)| line_matches(line, first) && lines_match(rest, others))
        }
    }
}

fn line_matches(due: &str, came: &str) -> bool {
    let Some((before, rest)) = due.split_once('…') else { return due == came };
    let Some(left) = came.strip_prefix(before) else { return false };
    let starts = left.char_indices().map(|(start, _)| start).chain([left.len()]);
    rest.is_empty() || starts.into_iter().any(|start| line_matches(rest, &left[start..]))
}
