//! The kernel bed on another architecture: Debian's kernel for it, and the programs that were built for it.
//!
//! The driver's report and the kernel's console share the machine's only line, so the kernel says nothing on it but that
//! it is broken.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use pr_dev::arch::Name;
use pr_dev::packages::suite;
use pr_dev::workspace::target;

use crate::image::{self, Libraries, Root};
use crate::kernel::Kernel;
use crate::vm::{self, Tally};

/// The suite whose kernel is booted: the oldest that the programs are for.
const SUITE: &str = "bookworm";

/// What the checks call, with its libraries. The C library is the cross compiler's.
const PACKAGES: &[&str] = &[
    "busybox-static",
    "sg3-utils",
    "libsgutils2-1.46-2",
    "dmsetup",
    "libdevmapper1.02.1",
    "libselinux1",
    "libpcre2-8-0",
    "libudev1",
    "open-iscsi",
    "libopeniscsiusr",
    "libkmod2",
    "libssl3",
    "libzstd1",
    "liblzma5",
];

/// The checksums that iSCSI asks for: built into the kernel of the other beds, and here there is nothing that loads it.
const CHECKSUMS: &str = "crc32c_generic";

/// How long a sound machine may take.
const LIMIT: Duration = Duration::from_secs(900);

/// What boots an architecture.
struct Board {
    /// The package that leads to its kernel.
    kernel: &'static str,
    /// QEMU and what describes the machine.
    qemu: &'static [&'static str],
    /// The terminal.
    terminal: &'static str,
}

fn board(name: Name) -> Result<Board> {
    Ok(match name {
        Name::Arm => Board {
            kernel: "linux-image-cloud-arm64",
            qemu: &["/usr/bin/qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72", "-serial", "stdio"],
            terminal: "ttyAMA0",
        },
        Name::S390 => Board {
            kernel: "linux-image-s390x",
            qemu: &[
                "/usr/bin/qemu-system-s390x",
                "-M",
                "s390-ccw-virtio",
                "-chardev",
                "stdio,id=line",
                "-device",
                "sclpconsole,chardev=line",
            ],
            terminal: "ttysclp0",
        },
        _ => bail!("there is no machine for {}", name.target()),
    })
}

/// Boots it with the programs of a directory, runs those tests of a program that words select, and then the bed's
/// scenarios.
pub fn run(name: Name, programs: &Path, tests: &Path, selected: &str) -> Result<Tally> {
    let board = board(name)?;
    let debian = name.debian();
    let packages = suite::unpack(&format!("bed/{debian}"), SUITE, debian, &[PACKAGES, &[board.kernel]].concat())?;
    let kernel = Kernel::below(&packages)?;
    let libraries = Libraries { folders: libraries(name, &packages), gnu: name.gnu() };
    let mut root = Root::with_libraries(packages.clone(), libraries);
    root.text("etc/passwd", image::PASSWD);
    root.text("etc/group", image::GROUP);
    root.copy(&packages.join("bin/busybox"), "bin/busybox")?;
    root.program(&programs.join("bed-inside"), "bin/bed-inside")?;
    for program in ["qemu-pr-helper", "qemu-pr-ctl"] {
        root.program(&programs.join(program), &format!("usr/bin/{program}"))?;
    }
    root.program(tests, "tests")?;
    for program in ["usr/bin/sg_persist", "sbin/dmsetup", "sbin/iscsistart"] {
        root.program(&packages.join(program), program)?;
    }
    let modules = root.modules(&kernel, &[image::MODULES, &[CHECKSUMS]].concat())?;
    let command = format!("/tests --quiet {selected} && /bin/bed-inside kernel ours\n{}", image::END);
    root.content("init", 0o755, image::init_on(board.terminal, &modules, &command).into_bytes());

    let place = target().join("bed");
    let file = place.join(format!("{debian}-{}.cpio", std::process::id()));
    root.write_to(&file)?;
    let started = Instant::now();
    // Whoever ends this program, by whatever signal, ends the machine with it.
    let mut qemu = Command::new("setpriv");
    qemu.args(["--pdeathsig", "KILL"])
        .args(board.qemu)
        .args(["-accel", "tcg,thread=multi", "-smp", "2", "-m", "2G", "-nodefaults", "-display", "none", "-no-reboot"])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(&file)
        .args(["-append", &format!("console={} panic=-1 loglevel=1", board.terminal)]);
    let heard = vm::boot_with(qemu, LIMIT);
    fs::remove_file(&file)?;
    println!("bed kernel on {}: {} s", name.target(), started.elapsed().as_secs());
    Ok(heard?.tally)
}

/// Where libraries are, those of the cross compiler last.
fn libraries(name: Name, packages: &Path) -> Vec<PathBuf> {
    let gnu = name.gnu();
    let unpacked = ["usr/lib", "lib"].map(|folder| packages.join(folder).join(gnu));
    unpacked.into_iter().chain([PathBuf::from(format!("/usr/{gnu}/lib"))]).collect()
}
