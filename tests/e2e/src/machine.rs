//! Which kind of machine a bed boots, and how each is started.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use super::kernel::{Kernel, Version};
use super::vm::Disk;
use super::{Amount, Kind, Options, uml};

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
    pub fn choose(kind: Kind, options: &Options) -> Result<Self> {
        if kind.is_distribution() && options.machine == Some(Machine::Uml) {
            bail!("the bed {} boots a whole Debian, which takes an emulated machine; use --machine tcg", kind.word());
        }
        if kind.is_distribution() && options.kernel.is_some() {
            bail!("the bed {} boots Debian 12 with its own kernel; omit --kernel", kind.word());
        }
        Ok(match (options.machine, options.kernel) {
            (Some(Machine::Uml), Some(_)) => {
                bail!("User Mode Linux has a kernel of its own; use --kernel with --machine tcg")
            }
            (_, Some(version)) => Chosen::Tcg(version),
            (Some(Machine::Tcg), None) => Chosen::Tcg(Version::Debian12),
            (None, None) if kind.is_distribution() => Chosen::Tcg(Version::Debian12),
            (_, None) => Chosen::Uml,
        })
    }

    /// Its kernel, fetched if need be.
    pub fn kernel(self) -> Result<Kernel> {
        match self {
            Chosen::Uml => uml::unpack(),
            Chosen::Tcg(version) => Kernel::unpack(version),
        }
    }
}

impl Start<'_> {
    /// What starts it. The driver program's serial line is its standard output; the kernel's console goes to a file.
    pub fn command(&self) -> Result<Command> {
        Ok(match self.machine {
            Chosen::Uml => {
                let mut command = uml::command(self)?;
                command.stderr(File::create(self.console)?);
                command
            }
            Chosen::Tcg(_) => qemu(self),
        })
    }

    /// Its memory, in MB.
    pub fn memory(&self) -> usize {
        (if self.kind.has_guest() { 3072 } else { 2048 }) / self.kind.parts().len()
    }

    /// What the kernel hands to the first process as a variable.
    pub fn argument(&self) -> String {
        format!("part={}", self.part)
    }
}

fn qemu(start: &Start<'_>) -> Command {
    let drives = start.disks.iter().flat_map(|disk| {
        let drive = format!("file={},format=raw,if=virtio,snapshot=on", disk.path.display());
        ["-drive".to_owned(), drive]
    });
    // Whoever ends this program, by whatever signal, ends the machine with it.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "/usr/bin/qemu-system-x86_64"])
        .args(clock(start.kind))
        .args(["-cpu", "max,la57=off", "-m", &start.memory().to_string()])
        .args(["-nodefaults", "-display", "none", "-vga", "none", "-no-reboot"])
        .args(["-serial", "stdio", "-serial"])
        .arg(format!("file:{}", start.console.display()))
        .arg("-kernel")
        .arg(&start.kernel.image)
        .arg("-initrd")
        .arg(start.image)
        // On a host under load the kernel counts too few ticks, and takes the timer for broken.
        .args(["-append", &format!("console=ttyS1 panic=-1 loglevel=4 no_timer_check {}", start.argument())])
        .args(drives);
    command
}

/// Two processors as fast as they go; where is measured one, whose clock counts its instructions, a nanosecond each: it
/// is the same whatever else the host does.
fn clock(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Bench | Kind::BenchMultipath => {
            &["-accel", "tcg,thread=single", "-smp", "1", "-icount", "shift=0,sleep=off"]
        }
        _ => &["-accel", "tcg,thread=multi", "-smp", "2"],
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    fn choose(kind: Kind, machine: Option<Machine>, kernel: Option<Version>) -> Option<Chosen> {
        Chosen::choose(kind, &Options { machine, kernel, ..Options::default() }).ok()
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
        assert_eq!(choose(Kind::Host, Some(Machine::Uml), None), None);
        assert_eq!(choose(Kind::Manual, None, Some(Version::Newest)), None);
    }
}
