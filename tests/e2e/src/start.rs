//! How each kind of machine is started.

use std::fs::File;
use std::process::Command;

use anyhow::Result;

use crate::kernel::Kernel;
use crate::kind::Kind;
use crate::machine::{Chosen, Start};
use crate::uml;

/// The kernel of a machine, fetched if need be.
pub fn kernel(machine: Chosen) -> Result<Kernel> {
    match machine {
        Chosen::Uml => uml::unpack(),
        Chosen::Tcg(version) => Kernel::unpack(version),
    }
}

/// What starts it. The driver program's serial line is its standard output; the kernel's console goes to a file.
pub fn command(start: &Start<'_>) -> Result<Command> {
    Ok(match start.machine {
        Chosen::Uml => {
            let mut command = uml::command(start)?;
            command.stderr(File::create(start.console)?);
            command
        }
        Chosen::Tcg(_) => qemu(start),
    })
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
