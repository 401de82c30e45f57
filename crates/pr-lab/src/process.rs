//! What /proc tells about a helper.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::within;

/// A process, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process(i32);

impl Process {
    /// The process with this number, live or not.
    pub fn new(id: i32) -> Self {
        Self(id)
    }

    /// Every process on the machine.
    pub fn all() -> Vec<Self> {
        let entries = fs::read_dir("/proc").expect("read /proc").flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).map(Self).collect()
    }

    /// Its number.
    pub fn id(&self) -> i32 {
        self.0
    }

    /// Sends a signal; a process that is gone already is no failure.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.0) {
            _ = kill_process(pid, signal);
        }
    }

    /// Whether it runs (a zombie does not).
    pub fn is_alive(&self) -> bool {
        self.state().is_some_and(|state| !matches!(state, 'Z' | 'X'))
    }

    /// Whether it waits for something. Whoever has been given something does not, from that moment on.
    pub fn waits(&self) -> bool {
        self.state() == Some('S')
    }

    /// Whether it ends within `limit`.
    pub fn ends_within(&self, limit: Duration) -> bool {
        within(limit, || !self.is_alive())
    }

    /// Whether its environment at exec held this `NAME=value`.
    pub fn has_environment(&self, entry: &str) -> bool {
        let environment = fs::read(self.path("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|one| one == entry.as_bytes())
    }

    /// The fields of /proc/PID/status, by name, blanks as single spaces.
    pub fn status(&self) -> BTreeMap<String, String> {
        fields(&fs::read_to_string(self.path("status")).unwrap_or_default())
    }

    /// The status fields of every thread.
    pub fn threads(&self) -> Vec<BTreeMap<String, String>> {
        let tasks = fs::read_dir(self.path("task")).expect("read the threads").flatten();
        tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok()).map(|text| fields(&text)).collect()
    }

    /// What each open file descriptor points at, by number.
    pub fn descriptors(&self) -> BTreeMap<i32, PathBuf> {
        let Ok(entries) = fs::read_dir(self.path("fd")) else { return BTreeMap::new() };
        let number = |name: &std::ffi::OsStr| name.to_str()?.parse().ok();
        let named = entries.flatten().filter_map(|entry| Some((number(&entry.file_name())?, entry.path())));
        named.filter_map(|(fd, path)| Some((fd, fs::read_link(path).ok()?))).collect()
    }

    /// The processes that it has started and that have not ended, in order of birth.
    pub fn children(&self) -> Vec<Self> {
        let listed = fs::read_to_string(self.path(&format!("task/{}/children", self.0))).unwrap_or_default();
        let children = listed.split_whitespace().filter_map(|id| id.parse().ok()).map(Self);
        children.filter(Self::is_alive).collect()
    }

    /// Processor time used so far, in clock ticks, user and system together.
    pub fn cpu_ticks(&self) -> u64 {
        let stat = self.stat();
        stat[11..13].iter().map(|field| field.parse::<u64>().expect("a tick count")).sum()
    }

    /// The session it belongs to.
    pub fn session(&self) -> i32 {
        self.stat()[3].parse().expect("a session number")
    }

    /// Its working directory.
    pub fn working_directory(&self) -> PathBuf {
        fs::read_link(self.path("cwd")).expect("read the working directory")
    }

    /// Resident memory in kB, from `smaps_rollup`.
    pub fn resident_kb(&self) -> u64 {
        let rollup = fields(&fs::read_to_string(self.path("smaps_rollup")).expect("read smaps_rollup"));
        let rss = rollup.get("Rss").expect("an Rss line");
        rss.trim_end_matches(" kB").parse().expect("a number of kB")
    }

    fn path(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0))
    }

    fn state(self) -> Option<char> {
        let stat = fs::read_to_string(self.path("stat")).ok()?;
        stat[stat.rfind(')')? + 1..].trim_start().chars().next()
    }

    /// The fields of /proc/PID/stat from the state on (the man page's third).
    fn stat(self) -> Vec<String> {
        let stat = fs::read_to_string(self.path("stat")).expect("read the process' stat");
        let rest = &stat[stat.rfind(')').expect("a name in brackets") + 1..];
        rest.split_whitespace().map(str::to_owned).collect()
    }
}

fn fields(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" "))).collect()
}
