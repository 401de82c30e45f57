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
pub enum Name {
    /// User Mode Linux: one processor, no Landlock, boots in a second
    Uml,
    /// QEMU, which translates every instruction
    Tcg,
}

/// A kind of machine, and its kernel where there is a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// User Mode Linux.
    Uml,
    /// QEMU without KVM.
    Tcg(Version),
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Machine::Uml => "User Mode Linux",
            Machine::Tcg(Version::Debian12) => "an emulated machine with Debian 12's kernel",
            Machine::Tcg(Version::Newest) => "an emulated machine with Debian's newest kernel",
        })
    }
}

impl Machine {
    /// The one that is wanted, or the fastest one that can do the work.
    pub fn choose(kind: Kind, options: &Options) -> Result<Self> {
        if kind.is_distribution() && (options.machine == Some(Name::Uml) || options.kernel.is_some()) {
            bail!("the bed {} is a whole Debian and takes neither --machine uml nor --kernel", kind.word());
        }
        Ok(match (options.machine, options.kernel) {
            (Some(Name::Uml), Some(_)) => {
                bail!("--kernel is for --machine tcg: User Mode Linux has a kernel of its own")
            }
            (_, Some(version)) => Machine::Tcg(version),
            (Some(Name::Tcg), None) => Machine::Tcg(Version::Debian12),
            (None, None) if kind.is_distribution() => Machine::Tcg(Version::Debian12),
            (_, None) => Machine::Uml,
        })
    }

    /// Its kernel, fetched if need be.
    pub fn kernel(self) -> Result<Kernel> {
        match self {
            Machine::Uml => uml::unpack(),
            Machine::Tcg(version) => Kernel::unpack(version),
        }
    }

    /// What starts it. The driver program's serial line is its standard output; the kernel's console goes to a file.
    pub fn command(self, kind: Kind, kernel: &Kernel, image: &Path, disks: &[Disk], console: &Path) -> Result<Command> {
        let memory = if kind.has_guest() { 3072 } else { 2048 };
        Ok(match self {
            Machine::Uml => {
                let mut command = uml::command(kernel, image, memory)?;
                command.stderr(File::create(console)?);
                command
            }
            Machine::Tcg(_) => qemu(kind, kernel, image, memory, disks, console),
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

    fn choose(kind: Kind, machine: Option<Name>, kernel: Option<Version>) -> Option<Machine> {
        Machine::choose(kind, &Options { machine, kernel, ..Options::default() }).ok()
    }

    #[test]
    fn user_mode_linux_is_taken_where_nothing_asks_for_another_machine() {
        let (oldest, newest) = (Machine::Tcg(Version::Debian12), Machine::Tcg(Version::Newest));
        assert_eq!(choose(Kind::Kernel, None, None), Some(Machine::Uml));
        assert_eq!(choose(Kind::Kernel, Some(Name::Uml), None), Some(Machine::Uml));
        assert_eq!(choose(Kind::Kernel, Some(Name::Tcg), None), Some(oldest));
        assert_eq!(choose(Kind::Kernel, None, Some(Version::Newest)), Some(newest));
        assert_eq!(choose(Kind::Kernel, Some(Name::Tcg), Some(Version::Newest)), Some(newest));
        assert_eq!(choose(Kind::Kernel, Some(Name::Uml), Some(Version::Debian12)), None);
        assert_eq!(choose(Kind::Host, None, None), Some(oldest));
        assert_eq!(choose(Kind::Host, Some(Name::Tcg), None), Some(oldest));
        assert_eq!(choose(Kind::Host, Some(Name::Uml), None), None);
        assert_eq!(choose(Kind::Manual, None, Some(Version::Newest)), None);
    }
}
