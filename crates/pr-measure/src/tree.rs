//! What /proc says about the memory of a process and of those below it.

use std::fs;
use std::iter::Sum;
use std::ops::Add;

use anyhow::{Context as _, Result};
use pr_lab::Process;

/// Kilobytes of 1024 bytes, from `smaps_rollup`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Memory {
    /// Resident, shared pages included.
    pub resident: f64,
    /// Resident, a shared page divided among those who share it.
    pub proportional: f64,
    /// Resident and nobody else's.
    pub private: f64,
}

impl Add for Memory {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            resident: self.resident + other.resident,
            proportional: self.proportional + other.proportional,
            private: self.private + other.private,
        }
    }
}

impl Sum for Memory {
    fn sum<I: Iterator<Item = Self>>(values: I) -> Self {
        values.fold(Self::default(), Add::add)
    }
}

/// The memory of one process.
pub fn memory_of(process: i32) -> Result<Memory> {
    let path = format!("/proc/{process}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
    parse(&text).with_context(|| format!("{path} lacks a line"))
}

/// What a process is called.
pub fn name_of(process: i32) -> Result<String> {
    let path = format!("/proc/{process}/comm");
    let name = fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
    Ok(name.trim_end().to_owned())
}

/// Every process below this one.
pub fn processes_below(process: i32) -> Vec<i32> {
    let parents: Vec<(i32, i32)> = Process::all()
        .into_iter()
        .filter_map(|one| Some((one.id(), one.status().get("PPid")?.parse().ok()?)))
        .collect();
    let mut found = vec![process];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(id, _)| *id));
        next += 1;
    }
    found.split_off(1)
}

fn parse(text: &str) -> Option<Memory> {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok()
    };
    let private = value("Private_Clean")? + value("Private_Dirty")?;
    Some(Memory { resident: value("Rss")?, proportional: value("Pss")?, private })
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    #[test]
    fn private_memory_is_what_is_clean_and_what_is_dirty() {
        let text = "5570-7ff ---p 00000000 00:00 0 [rollup]\nRss:  2500 kB\nPss:  900 kB\nPss_Anon:  1 kB\n\
                    Private_Clean:  100 kB\nPrivate_Dirty:  200 kB\n";
        assert_eq!(parse(text), Some(Memory { resident: 2500.0, proportional: 900.0, private: 300.0 }));
        assert_eq!(parse("Rss: 1 kB\n"), None);
    }

    #[test]
    fn a_child_is_below_and_this_process_is_not() {
        let own = i32::try_from(std::process::id()).expect("a process number");
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let below = processes_below(own);
        child.kill().expect("end it");
        child.wait().expect("reap it");
        assert!(below.contains(&i32::try_from(child.id()).expect("a process number")), "{below:?}");
        assert!(!below.contains(&own));
    }
}
