//! The processes of a helper: the daemon and whatever it has started, and what those have.

use std::fs;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

/// The descendants of a process, without itself, nearest first.
pub fn descendants(of: u32) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()) else { continue };
        // It may have ended since.
        let Ok(stat) = fs::read_to_string(path.join("stat")) else { continue };
        let (_, after) = stat.rsplit_once(')').context("/proc/PID/stat has no name")?;
        let mut fields = after.split_whitespace();
        let is_dead = fields.next() == Some("Z");
        let parent = fields.next().and_then(|parent| parent.parse().ok());
        if let Some(parent) = parent
            && !is_dead
        {
            parents.push((pid, parent));
        }
    }
    let mut family = vec![of];
    let mut at = 0;
    while let Some(one) = family.get(at).copied() {
        family.extend(parents.iter().filter(|(_, parent): &&(u32, u32)| *parent == one).map(|(pid, _)| *pid));
        at += 1;
    }
    Ok(family.split_off(1))
}

/// All processes of helpers, by their names.
pub fn of_helpers() -> Result<Vec<u32>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()) else { continue };
        // It may have ended since.
        if fs::read_to_string(path.join("comm")).is_ok_and(|name| name.starts_with("qemu-pr-")) {
            all.push(pid);
        }
    }
    Ok(all)
}

/// Whether a process is there and has not ended, with all of its threads: one that is killed waits for the command that
/// it has sent, and its first thread may have ended before.
pub fn is_alive(pid: u32) -> bool {
    let is_alive = |thread: fs::DirEntry| {
        let Ok(stat) = fs::read_to_string(thread.path().join("stat")) else { return false };
        stat.rsplit_once(')').is_some_and(|(_, after)| !after.trim_start().starts_with(['Z', 'X']))
    };
    fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|threads| threads.flatten().any(is_alive))
}

/// Everybody in uninterruptible sleep, and where in the kernel.
pub fn sleepers() -> String {
    waiting(|_| false)
}

/// The same, and every process whose name is wanted, asleep or not.
pub fn waiting(is_wanted: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(stat) = fs::read_to_string(path.join("stat")) else { continue };
        let Some((name, after)) = stat.rsplit_once(')') else { continue };
        if after.trim_start().starts_with('D') || is_wanted(name) {
            let place = fs::read_to_string(path.join("wchan")).unwrap_or_default();
            text.extend([name, ") in ", &place, "; "]);
        }
    }
    text
}

/// Kills one without a warning, if it is still there.
pub fn kill(pid: u32) -> Result<()> {
    signal(pid, Signal::KILL)
}

pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no process id")?;
    match kill_process(pid, signal) {
        Err(rustix::io::Errno::SRCH) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
