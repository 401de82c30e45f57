//! The helper as a process: what it may do, what it leaves behind, and what it says about a host without multipath.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use scsi_persistent_reservations::Status;

use super::KEY;
use super::reserve::{KIND, hold};
use super::scene::{SETTLE, State};
use super::stage::{Check, Identity, NOBODY, Stage};
use crate::request::Request;
use crate::wait;

pub const CHECKS: &[Check] = &[
    ("every thread of the daemon has CAP_SYS_RAWIO alone", rights),
    ("no child is left unburied", no_zombies),
    ("a broker that dies takes no key with it, and is there again", deaths),
    ("--check finds everything, and names what is missing", look_around),
];

/// `CAP_SYS_RAWIO` in a set of capabilities.
const SYS_RAWIO: u64 = 1 << 17;

fn rights(stage: &mut Stage<'_>) -> Result<()> {
    hold(stage)?;
    for thread in fs::read_dir(format!("/proc/{}/task", stage.helper.pid()))? {
        let status = thread?.path().join("status");
        // A thread may end while this looks at it; the first never does.
        let Ok(status) = fs::read_to_string(status) else { continue };
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.map(str::trim).with_context(|| format!("/proc/PID/task/TID/status has no {name}"))
        };
        for name in ["CapPrm:", "CapEff:"] {
            let set = field(name)?;
            ensure!(u64::from_str_radix(set, 16)? == SYS_RAWIO, "{name} {set}");
        }
        if stage.identity == Identity::Nobody {
            for name in ["Uid:", "Gid:"] {
                let ids = field(name)?;
                ensure!(ids.split_whitespace().all(|id| id == NOBODY.to_string()), "{name} {ids}");
            }
        }
    }
    // And with no more than that, multipath works.
    stage.good(&Request::clear(KEY))?;
    stage.scene.expect(&State::default())
}

/// A process as /proc/PID/stat tells of it.
pub struct Process {
    pub pid: u32,
    parent: u32,
    dead: bool,
    name: String,
}

/// The live process of the helper's broker with this name, if there is one.
pub fn of_broker(name: &str) -> Result<Option<Process>> {
    // The guard of a keeper that has become one itself has another parent. The youngest one: that of a daemon that was
    // killed may still be there.
    let all = processes()?.into_iter().filter(|process| process.name.ends_with(name) && !process.dead);
    Ok(all.max_by_key(|process| process.pid))
}

fn processes() -> Result<Vec<Process>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse().ok()) else { continue };
        // It may have ended since.
        let Ok(stat) = fs::read_to_string(path.join("stat")) else { continue };
        let (before, after) = stat.rsplit_once(')').context("/proc/PID/stat has no name")?;
        let mut fields = after.split_whitespace();
        let dead = fields.next() == Some("Z");
        let parent = fields.next().and_then(|parent| parent.parse().ok()).context("/proc/PID/stat has no parent")?;
        all.push(Process { pid, parent, dead, name: before.to_owned() });
    }
    Ok(all)
}

fn no_zombies(stage: &mut Stage<'_>) -> Result<()> {
    hold(stage)?;
    let daemon = stage.helper.pid();
    let mut left = Vec::new();
    let result = wait::until("all children to be buried", SETTLE, || {
        let all = processes()?;
        let mut family = vec![daemon];
        // Each round finds one more generation.
        for _ in 0..4 {
            let children = all.iter().filter(|process| family.contains(&process.parent)).map(|process| process.pid);
            let children: Vec<u32> = children.filter(|pid| !family.contains(pid)).collect();
            family.extend(children);
        }
        left = all
            .iter()
            .filter(|process| process.dead && family.contains(&process.pid))
            .map(|p| p.name.clone())
            .collect();
        Ok(left.is_empty().then_some(()))
    });
    result.with_context(|| format!("left: {left:?}"))
}

/// What `--check` exits with and prints, run as root or as nobody.
fn look(identity: Identity) -> Result<(Option<i32>, String)> {
    let mut command = Command::new("/usr/bin/qemu-pr-helper");
    if identity == Identity::Nobody {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.arg("--check").output()?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8_lossy(&text).into_owned()))
}

fn look_around(stage: &mut Stage<'_>) -> Result<()> {
    let (status, text) = look(Identity::Root)?;
    ensure!(status == Some(0), "exit status {status:?}: {text}");
    for word in ["/dev/mapper/control", "multipathd", "systemd", "rights"] {
        ensure!(text.contains(word), "{word} is not named: {text}");
    }
    let (status, text) = look(Identity::Nobody)?;
    ensure!(status == Some(1), "without rights, exit status {status:?}: {text}");
    for word in ["CAP_SYS_RAWIO", "CAP_SYS_ADMIN"] {
        ensure!(text.contains(word), "{word} is not named: {text}");
    }
    stage.scene.multipathd.kill()?;
    let (status, text) = look(Identity::Root)?;
    ensure!(status == Some(1), "without multipathd, exit status {status:?}: {text}");
    ensure!(text.contains("start multipathd"), "nothing says that multipathd is to be started: {text}");
    stage.scene.multipathd.start_again()?;
    Ok(())
}

/// Kills a process without a warning.
pub fn kill(pid: u32) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("a process number")?;
    Ok(kill_process(pid, Signal::KILL)?)
}

/// Every process of the helper's broker dies, one after the other, while the map is in use.
fn deaths(stage: &mut Stage<'_>) -> Result<()> {
    hold(stage)?;
    let registered = State::registered(KEY).held_by(KEY, KIND);
    for name in ["qemu-pr-map", "qemu-pr-keeper", "qemu-pr-broker"] {
        for _ in 0..5 {
            kill(of_broker(name)?.with_context(|| format!("there is no {name}"))?.pid)?;
            // What was in its hands nobody knows; what comes next is carried out.
            wait::until("PREEMPT of the own key to be carried out", SETTLE, || {
                let answer = stage.send(&Request::preempt(KEY, KEY, KIND))?;
                Ok((answer.status == Status::GOOD).then_some(()))
            })?;
            stage.scene.expect(&registered)?;
        }
    }
    Ok(())
}
