//! What happened in a round, and what broke.

use std::collections::BTreeMap;
use std::process::exit;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::judge::{Broken, Rule};
use super::{family, map};
use crate::report::remark;

/// Longer than any step takes that ends: an answer is waited for for two minutes.
const STUCK: Duration = Duration::from_secs(160);

/// How many steps before a broken promise are shown.
const SHOWN: usize = 24;

/// How many are shown of each rule; the others are counted.
const EXAMPLES: usize = 4;

/// The trace of a round, and the counts of all rounds.
#[derive(Default)]
pub struct Record {
    round: u64,
    steps: Vec<String>,
    broken: BTreeMap<Rule, usize>,
    counts: BTreeMap<String, usize>,
    slowest: Duration,
    /// How many answers were slow.
    slow: usize,
    /// Goes up with everything that happens.
    progress: Arc<AtomicUsize>,
    /// The round and its last step, for whoever finds that nothing happens any more.
    last: Arc<Mutex<String>>,
}

impl Record {
    pub fn begin(&mut self, round: u64) {
        self.progress.fetch_add(1, Ordering::Relaxed);
        self.round = round;
        self.steps.clear();
        self.keep_last("its beginning");
    }

    /// Has a thread end this program when nothing happens for so long that the bed itself must be stuck, and say who
    /// waits for what.
    pub fn watch(&self) {
        let (progress, last) = (Arc::clone(&self.progress), Arc::clone(&self.last));
        thread::spawn(move || {
            let (mut seen, mut since) = (0, Instant::now());
            loop {
                thread::sleep(Duration::from_secs(1));
                let now = progress.load(Ordering::Relaxed);
                if now != seen {
                    (seen, since) = (now, Instant::now());
                } else if since.elapsed() > STUCK {
                    let last = last.lock().unwrap_or_else(PoisonError::into_inner);
                    remark(&format!(
                        "FAIL the bed is stuck in {last}; suspended: {}; in uninterruptible sleep: {}",
                        map::suspended(),
                        family::sleepers()
                    ));
                    exit(1);
                }
            }
        });
    }

    pub fn step(&mut self, text: String) {
        self.progress.fetch_add(1, Ordering::Relaxed);
        self.keep_last(&text);
        self.steps.push(text);
    }

    fn keep_last(&self, step: &str) {
        let text = format!("round {}, {step}", self.round);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    /// More about the last step.
    pub fn add(&mut self, text: &str) {
        match self.steps.last_mut() {
            Some(step) => {
                step.push_str("; ");
                step.push_str(text);
            }
            None => self.steps.push(text.to_owned()),
        }
    }

    pub fn count(&mut self, what: &str) {
        *self.counts.entry(what.to_owned()).or_default() += 1;
    }

    /// How long an answer took.
    pub fn answered(&mut self, took: Duration) {
        self.slowest = self.slowest.max(took);
        *self.counts.entry("ms for all answers".to_owned()).or_default() +=
            usize::try_from(took.as_millis()).unwrap_or(usize::MAX);
    }

    /// Shows how it came to an answer that took long.
    pub fn slow(&mut self, took: Duration, log: &str) {
        self.count("answers that took longer than one path that hangs");
        self.slow += 1;
        if self.slow <= EXAMPLES {
            remark(&format!("slow: {} ms (seed {}, step {})", took.as_millis(), self.round, self.steps.len()));
            self.show();
            show_log(log);
        }
    }

    /// Tells what was counted since the last time; who hears it adds it up.
    pub fn tell_counts(&mut self) {
        for (what, count) in std::mem::take(&mut self.counts) {
            remark(&format!("sum {count} {what}"));
        }
        remark(&format!("most {} ms for the slowest answer", self.slowest.as_millis()));
    }

    /// Counts a broken promise and shows how it came to that.
    pub fn broken(&mut self, Broken(rule, what): &Broken, log: &str) {
        let count = self.broken.entry(*rule).or_default();
        *count += 1;
        let count = *count;
        self.count(&format!("times rule {} was broken", *rule as u8));
        remark(&format!("BROKEN rule {}: {what} (seed {}, step {})", *rule as u8, self.round, self.steps.len()));
        if count > EXAMPLES {
            return;
        }
        self.show();
        show_log(log);
    }

    /// The last steps.
    pub fn show(&self) {
        let first = self.steps.len().saturating_sub(SHOWN);
        for (number, step) in self.steps.iter().enumerate().skip(first) {
            remark(&format!("      {:3} {step}", number + 1));
        }
    }

    pub fn of(&self, rule: Rule) -> usize {
        self.broken.get(&rule).copied().unwrap_or(0)
    }
}

/// Shows the last that the helper has said. An audit record says no more than the steps do.
fn show_log(log: &str) {
    let lines = log.lines().rev().take(60).filter(|line| !line.contains("audit: "));
    for line in lines.take(12).collect::<Vec<_>>().iter().rev() {
        remark(&format!("      log: {line}"));
    }
}
