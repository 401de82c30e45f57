//! The helper as a process: what it may do, what it leaves behind, and what it says about a host without multipath.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use scsi_pr::{InAction, Status};

use super::KEY;
use super::reserve::hold;
use super::scene::{SETTLE, State};
use super::stage::{Check, Identity, NOBODY, Stage};
use crate::request::Request;
use crate::wait;

pub const CHECKS: &[Check] = &[
    ("every thread of the daemon has CAP_SYS_RAWIO alone", rights),
    ("no child is left unburied", no_zombies),
    ("without the library questions are answered, and REGISTER says what to install", without_library),
    ("--check finds everything, and names what is missing", look_around),
];

/// `CAP_SYS_RAWIO` in a set of capabilities.
const SYS_RAWIO: u64 = 1 << 17;

const LIBRARY: &str = "/lib/libmpathpersist.so.0";

/// The package that has it.
const PACKAGE: &str = "multipath-tools";

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
struct Process {
    pid: u32,
    parent: u32,
    dead: bool,
    name: String,
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

/// Takes the library away for as long as this lives.
struct WithoutLibrary;

impl WithoutLibrary {
    fn begin() -> Result<Self> {
        fs::rename(LIBRARY, format!("{LIBRARY}.away"))?;
        Ok(Self)
    }
}

impl Drop for WithoutLibrary {
    fn drop(&mut self) {
        // If it cannot come back, whatever follows will show.
        let _ = fs::rename(format!("{LIBRARY}.away"), LIBRARY);
    }
}

fn without_library(stage: &mut Stage<'_>) -> Result<()> {
    let _missing = WithoutLibrary::begin()?;
    let stage = Stage::set(stage.scene, stage.identity, stage.reference, "no-library", &[])?;
    let keys = stage.send(&Request::read(InAction::ReadKeys))?.keys()?;
    ensure!(keys.is_empty(), "READ KEYS tells {keys:x?}");
    let answer = stage.send(&Request::register(0, KEY))?;
    stage.scene.expect(&State::default()).with_context(|| format!("REGISTER answers {answer}"))?;
    ensure!(answer.status == Status::CHECK_CONDITION, "expected CHECK CONDITION, came {answer}");
    stage.expect_log(PACKAGE)?;
    stage.helper.stop()
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
    for word in ["libmpathpersist", "/dev/mapper/control", "multipathd", "systemd", "rights"] {
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
    let _missing = WithoutLibrary::begin()?;
    let (status, text) = look(Identity::Root)?;
    ensure!(status == Some(1), "without the library, exit status {status:?}: {text}");
    ensure!(text.contains(PACKAGE), "the package that has the library is not named: {text}");
    Ok(())
}
