//! Which kind of machine a bed boots, and what it is started with.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::kernel::{Kernel, Version};
use crate::kind::{Amount, Kind};

/// A kind of machine, as a command line names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Machine {
    /// User Mode Linux: one processor, no Landlock, boots in a second
    Uml,
    /// QEMU, which translates every instruction
    Tcg,
}

/// The machine that is booted, with its kernel where there is a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// User Mode Linux.
    Uml,
    /// QEMU without KVM.
    Tcg(Version),
}

/// A disk of the machine. What the machine writes to it is gone at its end.
pub struct Disk {
    /// Its content.
    pub path: PathBuf,
    /// Whether it was made for one run.
    pub temporary: bool,
}

/// What a kernel with SELinux is told: every denial is logged, and none is pushed out by another.
const SELINUX: &str = "security=selinux enforcing=1 audit=1 audit_backlog_limit=8192 log_buf_len=4M";

/// What one machine is started with.
#[derive(Clone, Copy)]
pub struct Start<'a> {
    pub kind: Kind,
    /// Which of [`Kind::parts`] it makes.
    pub part: &'a str,
    pub amount: Amount,
    pub machine: Chosen,
    pub kernel: &'a Kernel,
    pub image: &'a Path,
    pub disks: &'a [Disk],
    /// Where the kernel's console goes.
    pub console: &'a Path,
    /// How many machines there are at the same time.
    pub beside: usize,
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Chosen::Uml => "User Mode Linux",
            Chosen::Tcg(Version::Debian12) => "an emulated machine with Debian 12's kernel",
            Chosen::Tcg(Version::Newest) => "an emulated machine with Debian's newest kernel",
        })
    }
}

impl Chosen {
    /// The one that is wanted, or the fastest one that can do the work.
    pub fn choose(kind: Kind, machine: Option<Machine>, kernel: Option<Version>) -> Result<Self> {
        if kind.is_distribution() && kernel.is_some() {
            bail!("the bed {} boots Debian 12 with its own kernel; omit --kernel", kind.word());
        }
        Ok(match (machine, kernel) {
            (Some(Machine::Uml), Some(_)) => {
                bail!("User Mode Linux has a kernel of its own; use --kernel with --machine tcg")
            }
            (_, Some(version)) => Chosen::Tcg(version),
            (Some(Machine::Tcg), None) => Chosen::Tcg(Version::Debian12),
            (None, None) if kind.is_distribution() => Chosen::Tcg(Version::Debian12),
            (_, None) => Chosen::Uml,
        })
    }
}

impl Start<'_> {
    /// Its memory, in MB.
    pub fn memory(&self) -> usize {
        let all = match self.kind {
            Kind::Cluster => 3584,
            kind if kind.has_guest() => 3072,
            _ => 2048,
        };
        all / self.kind.parts().len()
    }

    /// What the kernel hands to the first process as a variable, or is told itself.
    pub fn argument(&self) -> String {
        match self.kind {
            Kind::Selinux => SELINUX.to_owned(),
            _ => format!("part={}", self.part),
        }
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    fn choose(kind: Kind, machine: Option<Machine>, kernel: Option<Version>) -> Option<Chosen> {
        Chosen::choose(kind, machine, kernel).ok()
    }

    #[test]
    fn user_mode_linux_is_taken_where_nothing_asks_for_another_machine() {
        let (oldest, newest) = (Chosen::Tcg(Version::Debian12), Chosen::Tcg(Version::Newest));
        assert_eq!(choose(Kind::Kernel, None, None), Some(Chosen::Uml));
        assert_eq!(choose(Kind::Kernel, Some(Machine::Uml), None), Some(Chosen::Uml));
        assert_eq!(choose(Kind::Kernel, Some(Machine::Tcg), None), Some(oldest));
        assert_eq!(choose(Kind::Kernel, None, Some(Version::Newest)), Some(newest));
        assert_eq!(choose(Kind::Kernel, Some(Machine::Tcg), Some(Version::Newest)), Some(newest));
        assert_eq!(choose(Kind::Kernel, Some(Machine::Uml), Some(Version::Debian12)), None);
        assert_eq!(choose(Kind::Host, None, None), Some(oldest));
        assert_eq!(choose(Kind::Host, Some(Machine::Tcg), None), Some(oldest));
        assert_eq!(choose(Kind::Host, Some(Machine::Uml), None), Some(Chosen::Uml));
        assert_eq!(choose(Kind::Manual, None, Some(Version::Newest)), None);
    }
}
