//! Boots the machine and listens to the driver program in it.
//!
//! The driver writes one line at a time to the machine's first serial line, which is the machine's standard output:
//!
//! | line | meaning |
//! |---|---|
//! | `started` | the modules are loaded, the driver program comes next |
//! | `ok NAME` | a check that held |
//! | `FAIL NAME: what was expected, what came` | one that did not |
//! | `known weakness shown: NAME: what was seen` | a weakness of the reference helper, shown to be there |
//! | `story TEXT` | what happens next, for a reader |
//! | `screen HOST: TEXT` | what somebody at that host would see, for the same reader |
//! | `round SEED` | where chance decides, the round that begins now |
//! | `sum NUMBER WHAT` | a number that is added to others of that name |
//! | `most NUMBER WHAT` | a number of which the largest counts |
//! | `sample JSON` | a turn's value, where subjects are measured |
//! | `end PASSED FAILED` | the last line of a driver that came to its end |
//!
//! Anything else is a remark and is shown as it is.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use pr_measure::turn::Sample;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::kind::{Amount, Kind};
use crate::machine::{Chosen, Start};
use crate::start;

/// What the first process says before the driver program begins.
pub const STARTED: &str = "started";

/// What a run of a bed came to.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// Checks that held.
    pub passed: u32,
    /// Checks that did not, and everything that kept checks from being made.
    pub failed: u32,
}

impl Tally {
    /// Nothing failed, and that not because nothing was tried.
    pub fn succeeded(self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// Numbers that machines tell, by their names.
#[derive(Debug, Default)]
pub struct Figures {
    sums: BTreeMap<String, u64>,
    most: BTreeMap<String, u64>,
}

impl Figures {
    /// Takes one from a line.
    fn hear(&mut self, line: &str) -> Option<()> {
        let (kind, rest) = line.split_once(' ')?;
        let (number, what) = rest.split_once(' ')?;
        let number: u64 = number.parse().ok()?;
        match kind {
            "sum" => *self.sums.entry(what.to_owned()).or_default() += number,
            "most" => {
                let most = self.most.entry(what.to_owned()).or_default();
                *most = number.max(*most);
            }
            _ => return None,
        }
        Some(())
    }

    /// Takes those of another machine.
    pub fn add(&mut self, others: Self) {
        for (what, number) in others.sums {
            *self.sums.entry(what).or_default() += number;
        }
        for (what, number) in others.most {
            let most = self.most.entry(what).or_default();
            *most = number.max(*most);
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = self.sums.iter().chain(&self.most);
        all.try_for_each(|(what, number)| writeln!(f, "   {number:8} {what}"))
    }
}

/// A machine that prints nothing for so long has hung: the longest silence of a sound run is a guest's boot.
const SILENCE: Duration = Duration::from_secs(600);

/// The same where a machine may stop for good and another goes on: an answer is waited for for two minutes at most.
const SILENCE_OF_ROUNDS: Duration = Duration::from_secs(180);

/// What User Mode Linux may take to start on a host under load. Where it cannot, it mostly says so at once.
const START: Duration = Duration::from_secs(60);

/// Every machine ends, however slow its host.
fn limit(kind: Kind, amount: Amount) -> Duration {
    match kind {
        Kind::Multipath | Kind::MultipathGuest if amount == Amount::Full => Duration::from_secs(3600),
        Kind::Kernel | Kind::Libiscsi | Kind::Bench => Duration::from_secs(600),
        Kind::BenchMultipath => Duration::from_secs(3600),
        Kind::Cluster | Kind::Host => Duration::from_secs(2400),
        // It ends by itself after so many commands.
        Kind::MultipathRandom => Duration::from_secs(4 * 3600),
        Kind::Guest
        | Kind::Migration
        | Kind::Multipath
        | Kind::MultipathGuest
        | Kind::Doctor
        | Kind::Kubevirt
        | Kind::Manual
        | Kind::Selinux => Duration::from_secs(1200),
    }
}

/// What was heard of a machine.
#[derive(Debug, Default)]
pub struct Heard {
    /// The checks.
    pub tally: Tally,
    /// What was measured, in the order of the turns.
    pub samples: Vec<Sample>,
    /// What it has counted.
    pub figures: Figures,
    /// The round in which the machine stopped for good.
    pub stopped_at: Option<u64>,
    /// Whether the first process came as far as its driver program, where that says so.
    pub started: bool,
    /// What the kernel said last, of a machine that may be replaced by one of another kind because it did not start.
    pub last_words: String,
}

impl Heard {
    /// What was heard of several machines that are one bed.
    pub fn of_all(machines: Vec<Self>) -> Self {
        let mut all = Self { started: true, ..Self::default() };
        for mut one in machines {
            all.tally.passed += one.tally.passed;
            all.tally.failed += one.tally.failed;
            all.samples.append(&mut one.samples);
            all.figures.add(one.figures);
            all.stopped_at = all.stopped_at.or(one.stopped_at);
            if !one.started {
                all.started = false;
                all.last_words = one.last_words;
            }
        }
        all
    }
}

/// Boots the machine and follows it to its end. What is to be shown goes to standard output, or where the caller says.
pub fn boot(start: &Start<'_>, story: bool, lines: Option<Sender<String>>) -> Result<Heard> {
    let command = start::command(start)?;
    let patience = if start.machine == Chosen::Uml { START } else { SILENCE };
    let mut listener = Listener { story, lines, ..Listener::default() };
    let end = follow(command, patience, limit(start.kind, start.amount), &mut listener)?;
    if start.machine == Chosen::Uml && !listener.started {
        let last_words = lines_of(start.console).pop().unwrap_or_default();
        return Ok(Heard { last_words, ..Heard::default() });
    }
    Ok(listener.conclude(end, start.console))
}

/// Runs a machine to its end; the inner error says why it was given up instead.
fn follow(mut command: Command, patience: Duration, limit: Duration, listener: &mut Listener) -> Result<Result<()>> {
    // A group of its own: nothing of it is left when the group is killed.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
    let program = command.get_program().display().to_string();
    let mut process = Process(command.spawn().with_context(|| format!("{program} cannot be started"))?);
    Ok(process.follow(patience, limit, listener))
}

/// Starts a machine that is none of [`Chosen`]'s, and follows it to its end. Its report is its standard output.
pub fn boot_with(command: Command, limit: Duration) -> Result<Heard> {
    let mut listener = Listener::default();
    let end = follow(command, SILENCE, limit, &mut listener)?;
    Ok(listener.conclude(end, Path::new("/dev/null")))
}

/// How the kernel begins to say that it is broken.
const CAUSES: &[&str] = &["Kernel panic", "BUG:", "Oops:", "Out of memory:", "blocked for more than"];

/// A running machine, which never outlives this value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already, unless something went wrong. Its programs are processes of this host if it is User Mode
        // Linux.
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

impl Process {
    /// Hands every line to the listener until the machine ends; the error says why it was given up instead.
    fn follow(&mut self, patience: Duration, limit: Duration, listener: &mut Listener) -> Result<()> {
        let stdout = self.0.stdout.take().context("the machine's standard output is no pipe")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut line = Vec::new();
            while stdout.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                if sender.send(String::from_utf8_lossy(&line).trim().to_owned()).is_err() {
                    break;
                }
                line.clear();
            }
        });
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let silence = match listener.round {
                Some(_) => SILENCE_OF_ROUNDS,
                None if listener.started => SILENCE,
                None => patience,
            };
            match lines.recv_timeout(left.min(silence)) {
                Ok(line) => listener.hear(&line),
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) if left <= silence => bail!("not done within its time limit"),
                Err(RecvTimeoutError::Timeout) => bail!("silent for {} s", silence.as_secs()),
            }
        }
    }
}

/// Counts what the driver says and shows it.
#[derive(Default)]
struct Listener {
    tally: Tally,
    /// The driver's own count, once it has come to its end.
    reported: Option<(u32, u32)>,
    samples: Vec<Sample>,
    figures: Figures,
    started: bool,
    story: bool,
    /// Who shows the lines, if not this.
    lines: Option<Sender<String>>,
    round: Option<u64>,
}

impl Listener {
    fn show(&self, line: String) {
        match &self.lines {
            // Nobody listens any more if the run was given up.
            Some(lines) => drop(lines.send(line)),
            None => println!("{line}"),
        }
    }

    /// What was heard, with what kept the machine from its end as a failure.
    fn conclude(mut self, end: Result<()>, console: &Path) -> Heard {
        let mut stopped_at = None;
        if end.is_err() && self.round.is_some() {
            stopped_at = self.round;
        } else if let Err(reason) = end {
            self.fault(&format!("the machine: {reason:#}"), console);
        } else if self.reported != Some((self.tally.passed, self.tally.failed)) {
            self.fault("the machine ended before its driver did", console);
        }
        let Self { tally, samples, figures, started, .. } = self;
        Heard { tally, samples, figures, stopped_at, started, last_words: String::new() }
    }

    fn hear(&mut self, line: &str) {
        if line == STARTED {
            self.started = true;
        } else if line.starts_with("ok ") {
            self.tally.passed += 1;
            if !self.story {
                self.show(line.to_owned());
            }
        } else if line.starts_with("FAIL ") {
            self.tally.failed += 1;
            self.show(line.to_owned());
        } else if let Some(sample) = line.strip_prefix("sample ") {
            match serde_json::from_str(sample) {
                Ok(sample) => self.samples.push(sample),
                Err(error) => {
                    self.tally.failed += 1;
                    self.show(format!("FAIL a sample that cannot be read ({error}): {sample}"));
                }
            }
        } else if let Some(seed) = line.strip_prefix("round ") {
            self.round = seed.parse().ok();
        } else if let Some(counts) = line.strip_prefix("end ") {
            let mut counts = counts.split(' ').map(str::parse);
            if let (Some(Ok(passed)), Some(Ok(failed))) = (counts.next(), counts.next()) {
                self.reported = Some((passed, failed));
            }
        } else if self.figures.hear(line).is_some() {
            // They are shown together.
        } else if line == "story" {
            self.show(String::new());
        } else if let Some(text) = line.strip_prefix("story ") {
            self.show(text.to_owned());
        } else if let Some(text) = line.strip_prefix("screen ") {
            if self.story {
                self.show(format!("    {text}"));
            }
        } else if !self.story && !line.is_empty() {
            self.show(format!("   {line}"));
        }
    }

    /// Counts a failure of the machine itself, with the last that its kernel said.
    fn fault(&mut self, what: &str, console: &Path) {
        self.tally.failed += 1;
        self.show(format!("FAIL {what}; the kernel's last words:"));
        let lines = lines_of(console);
        let last = lines.len().saturating_sub(20);
        // What went wrong stands above the trace that it left.
        let cause = lines[..last].iter().rposition(|line| CAUSES.iter().any(|cause| line.contains(cause)));
        for line in cause.map(|at| &lines[at]).into_iter().chain(&lines[last..]) {
            self.show(format!("   {line}"));
        }
    }
}

/// The lines on the kernel's console.
fn lines_of(console: &Path) -> Vec<String> {
    let words = std::fs::read(console).unwrap_or_default();
    String::from_utf8_lossy(&words).lines().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    #[test]
    fn a_driver_that_did_not_finish_is_told_from_one_that_did() {
        let mut listener = Listener::default();
        listener.hear("ok the first");
        listener.hear("FAIL the second: expected GOOD, came CHECK CONDITION");
        listener.hear("known weakness shown: hang: 10 s");
        assert_eq!(listener.reported, None);
        listener.hear("end 1 1");
        assert_eq!(listener.reported, Some((listener.tally.passed, listener.tally.failed)));
        assert!(!listener.tally.succeeded());
        assert!(!Tally::default().succeeded());
    }

    #[test]
    fn several_machines_have_started_if_each_has_and_their_checks_are_counted_together() {
        let one = |passed, started| {
            let tally = Tally { passed, failed: 1 };
            let last_words = if started { "" } else { "no memory" }.to_owned();
            Heard { tally, started, last_words, ..Heard::default() }
        };
        let both = Heard::of_all(vec![one(2, true), one(3, true)]);
        assert_eq!((both.tally.passed, both.tally.failed, both.started), (5, 2, true));
        for machines in [vec![one(2, true), one(0, false)], vec![one(0, false), one(2, true)]] {
            let heard = Heard::of_all(machines);
            assert_eq!((heard.started, heard.last_words.as_str()), (false, "no memory"));
        }
    }

    #[test]
    fn what_several_machines_have_counted_is_added_up_and_of_what_is_longest_the_longest_is_kept() {
        let of = |lines: &[&str]| {
            let mut listener = Listener::default();
            for line in lines {
                listener.hear(line);
            }
            Heard { figures: listener.figures, ..Heard::default() }
        };
        let one = of(&["sum 60 commands", "most 9 ms", "sum 40 commands", "most 7 ms", "sum x commands", "sum"]);
        let all = Heard::of_all(vec![one, of(&["sum 5 commands", "sum 1 broken", "most 8 ms"])]);
        assert_eq!(all.figures.to_string(), "          1 broken\n        105 commands\n          9 ms\n");
    }

    #[test]
    fn a_machine_that_never_says_that_it_has_started_is_told_from_one_that_does() {
        let started = |script: &str, patience: Duration| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            let mut listener = Listener::default();
            let end = follow(command, patience, SILENCE, &mut listener).unwrap();
            (listener.started, end.is_ok())
        };
        let moment = Duration::from_millis(1);
        assert_eq!(started("echo started; echo end 0 0", SILENCE), (true, true));
        assert_eq!(started("echo no memory; exit 1", SILENCE), (false, true));
        // It is given up, and what it has started is not left.
        assert_eq!(started("sleep 1000 & sleep 1000", moment), (false, false));
    }

    #[test]
    fn a_sample_is_kept_as_it_was_measured_and_one_that_was_cut_is_a_failure() {
        let mut listener = Listener::default();
        let sample = Sample { row: "READ KEYS".to_owned(), load: 16, subject: "C helper".to_owned(), value: 1234.5 };
        let line = format!("sample {}", serde_json::json!(sample));
        listener.hear(&line);
        assert_eq!((listener.samples.as_slice(), listener.tally.failed), (&[sample][..], 0));
        listener.hear(&line[..line.len() / 2]);
        assert_eq!((listener.samples.len(), listener.tally.failed), (1, 1));
    }
}
