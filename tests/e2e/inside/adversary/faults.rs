//! What can go wrong with a host's paths and processes, and how it is done.

use std::fmt;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::process::Signal;
use scsi_persistent_reservations::SenseKey;

use super::array::{self, Access, Array, PATHS};
use super::chance::Chance;
use super::disk::{Act, Told};
use super::family;
use crate::wait;

/// The kinds of trouble that a run may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Another node sends commands, between the guest's and in the middle of them.
    Node,
    /// It may use the guest's keys.
    SharedKeys,
    /// Paths go away and come back.
    Paths,
    /// Disks are removed and found again.
    Removal,
    /// A path hangs.
    Hang,
    /// A target port group changes its state.
    Access,
    /// multipathd is stopped, killed, started again.
    Multipathd,
    /// Processes of the helper are killed.
    Kills,
}

impl Trouble {
    pub fn by(word: &str) -> Option<Self> {
        Some(match word {
            "node" => Self::Node,
            "shared-keys" => Self::SharedKeys,
            "paths" => Self::Paths,
            "removal" => Self::Removal,
            "hang" => Self::Hang,
            "access" => Self::Access,
            "multipathd" => Self::Multipathd,
            "kills" => Self::Kills,
            _ => return None,
        })
    }
}

/// One thing that is done to the host, or by the other node.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Act(Act),
    Offline(usize),
    Running(usize),
    Remove(usize),
    Add(usize),
    Cut(usize, Duration),
    Access(bool, Access),
    StopMultipathd,
    ContinueMultipathd,
    KillMultipathd,
    StartMultipathd,
    /// One of the daemon's children and grandchildren, by a number drawn.
    KillChild(u64),
    KillDaemon,
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Act(act) => write!(f, "other: {act}"),
            Self::Offline(path) => write!(f, "path {path} offline"),
            Self::Running(path) => write!(f, "path {path} running"),
            Self::Remove(path) => write!(f, "path {path} removed"),
            Self::Add(path) => write!(f, "path {path} found again"),
            Self::Cut(path, time) => write!(f, "path {path} hangs for {} ms", time.as_millis()),
            Self::Access(second, access) => write!(f, "port group {} {access:?}", u8::from(*second)),
            Self::StopMultipathd => f.write_str("multipathd stopped"),
            Self::ContinueMultipathd => f.write_str("multipathd continued"),
            Self::KillMultipathd => f.write_str("multipathd killed"),
            Self::StartMultipathd => f.write_str("multipathd started"),
            Self::KillChild(_) => f.write_str("a child of the helper killed"),
            Self::KillDaemon => f.write_str("the daemon killed"),
        }
    }
}

/// Whether multipathd runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daemon {
    Running,
    Stopped,
    Dead,
}

/// What is broken now.
pub struct Faults {
    pub offline: [bool; PATHS],
    pub removed: [bool; PATHS],
    cut: [Option<JoinHandle<Result<()>>>; PATHS],
    pub access: [Access; 2],
    pub multipathd: Daemon,
    /// Paths may have news of their own: a new session, another state of a target port group. They keep it until they are
    /// asked for something, however long that takes.
    news: bool,
    /// When something was broken, killed or mended for the last time.
    last: Option<Instant>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            offline: [false; PATHS],
            removed: [false; PATHS],
            cut: [const { None }; PATHS],
            access: [Access::Optimized; 2],
            multipathd: Daemon::Running,
            news: false,
            last: None,
        }
    }
}

/// How long processes may take that end with the daemon.
const DEATHS: Duration = Duration::from_secs(40);

/// Long enough for multipathd to look at every path twice, and for whatever was killed to be started again.
const AFTERMATH: Duration = Duration::from_secs(5);

impl Faults {
    /// Whether an error is no wonder.
    pub fn disturb(&self) -> bool {
        self.is_any() || self.last.is_some_and(|last| last.elapsed() < AFTERMATH)
    }

    /// Whether paths may have news of their own now.
    pub fn may_tell(&self) -> bool {
        self.news || self.disturb()
    }

    /// A path has told its news. Others may have the same as long as it is recent; once is enough after that.
    pub fn told(&mut self) {
        self.news &= self.disturb();
    }

    /// Whether something is broken this moment.
    pub fn is_any(&self) -> bool {
        self.offline.contains(&true)
            || self.removed.contains(&true)
            || self.cut.iter().flatten().any(|cut| !cut.is_finished())
            || self.access.iter().any(|access| *access != Access::Optimized)
            || self.multipathd != Daemon::Running
    }

    /// Whether a path can carry commands.
    pub fn is_usable(&self, path: usize) -> bool {
        !self.offline[path]
            && !self.removed[path]
            && self.cut[path].as_ref().is_none_or(JoinHandle::is_finished)
            && matches!(self.access[usize::from(array::is_in_second(path))], Access::Optimized | Access::NonOptimized)
    }

    /// Whether a path can carry a command now, whatever device-mapper thinks of it: multipathd may have put a path into use
    /// again whose disk it has not looked at since that was taken offline, and the kernel sends nothing to such a disk.
    pub fn is_ready(&self, path: usize) -> bool {
        let access = self.access[usize::from(array::is_in_second(path))];
        !self.offline[path] && !matches!(access, Access::Unavailable | Access::Transitioning)
    }

    /// Keeps in mind what was done.
    pub fn note(&mut self, deed: &Deed) {
        match *deed {
            Deed::Act(_) => return,
            Deed::Offline(path) => self.offline[path] = true,
            Deed::Running(path) => self.offline[path] = false,
            Deed::Remove(path) => self.removed[path] = true,
            Deed::Add(path) => (self.removed[path], self.offline[path]) = (false, false),
            Deed::Access(second, access) => self.access[usize::from(second)] = access,
            Deed::StopMultipathd => self.multipathd = Daemon::Stopped,
            Deed::KillMultipathd => self.multipathd = Daemon::Dead,
            Deed::ContinueMultipathd | Deed::StartMultipathd => self.multipathd = Daemon::Running,
            Deed::Cut(path, time) => {
                self.cut[path] = Some(thread::spawn(move || {
                    thread::sleep(time);
                    array::cut(path, false)
                }));
            }
            Deed::KillChild(_) | Deed::KillDaemon => {}
        }
        self.news |= matches!(
            deed,
            Deed::Offline(_) | Deed::Running(_) | Deed::Remove(_) | Deed::Add(_) | Deed::Cut(..) | Deed::Access(..)
        );
        self.last = Some(Instant::now());
    }

    /// Everything is whole again; what was mended may still be in the making.
    pub fn forget(&mut self) {
        let last = if self.is_any() { Some(Instant::now()) } else { self.last };
        *self = Self { last, ..Self::default() };
    }

    /// Waits until no path hangs.
    pub fn uncut(&mut self) -> Result<()> {
        for cut in &mut self.cut {
            if let Some(cut) = cut.take() {
                cut.join().unwrap_or_else(|_| bail!("the thread that ends a hang panicked"))?;
            }
        }
        Ok(())
    }

    /// Something to break that is whole.
    pub fn draw(&self, chance: &mut Chance, troubles: &[Trouble]) -> Option<Deed> {
        let path = chance.index(PATHS);
        // Mostly, a path is left.
        let left = (0..PATHS).filter(|path| self.is_usable(*path)).count();
        let enough = left > 1 || chance.percent(10);
        let deed = match chance.pick(troubles) {
            Trouble::Paths if self.is_usable(path) && enough => Deed::Offline(path),
            Trouble::Removal if self.is_usable(path) && enough => Deed::Remove(path),
            Trouble::Hang if self.is_usable(path) && enough && chance.percent(50) => {
                Deed::Cut(path, Duration::from_millis(300 + chance.below(5000)))
            }
            Trouble::Access => {
                let second = chance.percent(50);
                let access =
                    chance.pick(&[Access::NonOptimized, Access::Standby, Access::Unavailable, Access::Transitioning]);
                let other = self.access[usize::from(!second)];
                if self.access[usize::from(second)] != Access::Optimized || other != Access::Optimized {
                    return None;
                }
                Deed::Access(second, access)
            }
            Trouble::Multipathd if self.multipathd == Daemon::Running => {
                chance.pick(&[Deed::StopMultipathd, Deed::KillMultipathd])
            }
            Trouble::Kills if chance.percent(20) => Deed::KillDaemon,
            Trouble::Kills => Deed::KillChild(chance.below(1000)),
            _ => return None,
        };
        Some(deed)
    }

    /// Something broken, mended.
    pub fn mend(&self, chance: &mut Chance) -> Option<Deed> {
        let mut all = Vec::new();
        for path in 0..PATHS {
            // Where its target port turns everything down, the kernel waits a minute and longer for a disk that it has found.
            if self.removed[path] && self.is_ready(path) {
                all.push(Deed::Add(path));
            } else if self.offline[path] && !self.removed[path] {
                all.push(Deed::Running(path));
            }
        }
        for second in [false, true] {
            if self.access[usize::from(second)] != Access::Optimized {
                all.push(Deed::Access(second, Access::Optimized));
            }
        }
        match self.multipathd {
            Daemon::Running => {}
            Daemon::Stopped => all.push(Deed::ContinueMultipathd),
            Daemon::Dead => all.push(Deed::StartMultipathd),
        }
        (!all.is_empty()).then(|| chance.pick(&all))
    }
}

/// What deeds need that happen in the middle of a command.
pub struct Reach<'a> {
    pub array: &'a Array,
    pub multipathd: Option<u32>,
    pub daemon: u32,
}

impl Reach<'_> {
    /// Does it; what the other node was told, if it is that.
    pub fn perform(&self, deed: &Deed) -> Result<Option<Told>> {
        match *deed {
            Deed::Act(act) => return self.send(&act),
            Deed::Offline(path) => self.array.path(path)?.set_state("offline")?,
            Deed::Running(path) => self.array.path(path)?.set_state("running")?,
            Deed::Cut(path, _) => array::cut(path, true)?,
            Deed::Access(second, access) => self.array.set_access(second, access)?,
            Deed::StopMultipathd => self.multipathd.map_or(Ok(()), |pid| family::signal(pid, Signal::STOP))?,
            Deed::ContinueMultipathd => self.multipathd.map_or(Ok(()), |pid| family::signal(pid, Signal::CONT))?,
            Deed::KillMultipathd => self.multipathd.map_or(Ok(()), family::kill)?,
            Deed::KillChild(number) => {
                let family = family::descendants(self.daemon)?;
                if let Some(count) = u64::try_from(family.len()).ok().filter(|count| *count > 0) {
                    family::kill(family[usize::try_from(number % count)?])?;
                }
            }
            Deed::KillDaemon => {
                // What it has started ends with it; a command that is under way may still be carried out until then. Some
                // are no descendants any more, where one in between was killed.
                let family = family::of_helpers()?;
                family::kill(self.daemon)?;
                wait::until("the helper's other processes to end", DEATHS, || {
                    Ok((!family.iter().any(|pid| family::is_alive(*pid))).then_some(()))
                })?;
            }
            Deed::Remove(_) | Deed::Add(_) | Deed::StartMultipathd => bail!("{deed} is done between commands"),
        }
        Ok(None)
    }

    /// Nothing is told where its own port does not let it.
    fn send(&self, act: &Act) -> Result<Option<Told>> {
        let other = &self.array.other;
        // What it is told of is not what it is asked for.
        for _ in 0..8 {
            let answer = other.directly(&act.request())?;
            if let Some(told) = Told::by(&answer) {
                return Ok(Some(told));
            }
            match answer.sense.code() {
                Some(code) if code.key == SenseKey(6) => {}
                Some(code) if code.key == SenseKey(2) && code.additional.code == 4 => return Ok(None),
                _ => bail!("the other node sends {act} and is told {answer}"),
            }
        }
        bail!("the other node is told of unit attentions only")
    }
}
