//! Which kind of machine a bed boots, and how each is started.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use super::kernel::{Kernel, Version};
use super::vm::Disk;
use super::{Kind, Options, uml};

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

    /// What starts it. The driver program's serial line is its standard output; the kernel's console goes to a file.
    pub fn command(self, kind: Kind, kernel: &Kernel, image: &Path, disks: &[Disk], console: &Path) -> Result<Command> {
        let memory = if kind.has_guest() { 3072 } else { 2048 };
        Ok(match self {
            Chosen::Uml => {
                let mut command = uml::command(kernel, image, memory)?;
                command.stderr(File::create(console)?);
                command
            }
            Chosen::Tcg(_) => qemu(kind, kernel, image, memory, disks, console),
        })
    }
}

fn qemu(kind: Kind, kernel: &Kernel, image: &Path, memory: u64, disks: &[Disk], console: &Path) -> Command {
    let drives = disks.iter().flat_map(|disk| {
        let drive = format!("file={},format=raw,if=virtio,snapshot=on", disk.path.display());
        ["-drive".to_owned(), drive]
    });
    // Whoever ends this program, by whatever signal, ends the machine with it.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "/usr/bin/qemu-system-x86_64"])
        .args(clock(kind))
        .args(["-cpu", "max,la57=off", "-m", &memory.to_string()])
        .args(["-nodefaults", "-display", "none", "-vga", "none", "-no-reboot"])
        .args(["-serial", "stdio", "-serial"])
        .arg(format!("file:{}", console.display()))
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(image)
        .args(["-append", "console=ttyS1 panic=-1 loglevel=4"])
        .args(drives);
    command
}

/// Two processors as fast as they go; where is measured one, whose clock counts its instructions, a nanosecond each: it
/// is the same whatever else the host does.
fn clock(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Bench => &["-accel", "tcg,thread=single", "-smp", "1", "-icount", "shift=0,sleep=off"],
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
