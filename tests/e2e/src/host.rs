//! The root of the host bed: a whole Debian with systemd and libvirt.
//!
//! The distribution is made once, kept, and never written to by a machine. What a run adds is on a second disk, mounted
//! at /bed: the driver program, the packages to install, and what a guest boots.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use pr_dev::workspace::{output, root, run};
use pr_dist::archive;

use crate::distribution::{self, Recipe};
use crate::image;
use crate::kernel::{Kernel, Version};
use crate::kind::Kind;
use crate::machine::Disk;
use crate::programs::{Programs, whose};
use crate::suite::Suite;
use crate::systemd;

/// What is installed on it besides. `AppArmor` is there because Debian installs it with every kernel: it confines libvirtd,
/// its guests, and whatever they start.
const PACKAGES: &[&str] = &["apparmor", "libvirt-clients", "libvirt-daemon-system", "qemu-system-x86"];

/// Room for it all and for what a run writes.
const SIZE: &str = "1500M";

/// What systemd runs.
const RUN: &str = "/bed/run";

/// The package of Debian's own helper, to be installed once more.
const DOWNLOAD: &str = "cd \"$1\"/root && APT_CONFIG=\"$MMDEBSTRAP_APT_CONFIG\" apt-get download -qq -o \
                        APT::Sandbox::User=root qemu-system-common";

/// Makes an older package of one that is unpacked.
const OLDER: &str = "\
rm -r etc DEBIAN/conffiles DEBIAN/md5sums
sed -i 's/^Version: .*/Version: 0.0.1-1/' DEBIAN/control
sed -i '/^AppArmorProfile=/d' usr/lib/systemd/system/*.service
";

/// The first process mounts both disks.
const MOUNT: &str = "mkdir -p /root\n\
     for kind in vd ubd; do [ -b /dev/${kind}a ] && disk=/dev/$kind; done\n\
     mount -t ext4 ${disk}a /root\n\
     mount -t ext4 -o ro ${disk}b /root/bed";

/// Everything that the machine boots from, at `name` with several endings; returns its disks.
pub fn write(
    image: &Path,
    kind: Kind,
    suite: Suite,
    kernel: &Kernel,
    programs: &Programs,
    reference: bool,
) -> Result<Vec<Disk>> {
    let base = base(suite)?;
    let root = systemd::root(kernel, MOUNT)?;
    root.write_to(image)?;
    let second = image.with_extension("img");
    files(&second, kind, programs, reference)?;
    Ok(vec![Disk { path: base, temporary: false }, Disk { path: second, temporary: true }])
}

/// The disk with what this run brings along.
fn files(to: &Path, kind: Kind, programs: &Programs, reference: bool) -> Result<()> {
    let stage = to.with_extension("files");
    fs::create_dir_all(stage.join("guest"))?;
    fs::copy(&programs.driver, stage.join("bed-inside"))?;
    fs::copy(&programs.ctl, stage.join("qemu-pr-ctl"))?;
    let guest = Kernel::unpack(Version::Debian12)?;
    fs::copy(&guest.image, stage.join("guest/vmlinuz"))?;
    fs::write(stage.join("guest/root.cpio"), image::guest_root(&guest)?)?;
    if !reference {
        let deb = archive::deb()?;
        fs::copy(&deb, stage.join("qemu-pr-helper-rs.deb"))?;
        if kind == Kind::Manual {
            manual(&stage.join("manual"), &deb)?;
        } else {
            previous(&deb, &stage.join("previous.deb"))?;
        }
    }
    let run_script = stage.join("run");
    let line = format!("/bed/bed-inside {} {}", kind.word(), whose(reference));
    // Newer releases of systemd ask the terminal for its name, which is no part of the first line, and empty it before
    // they go on: the machine ends here.
    fs::write(&run_script, format!("#!/bin/sh\necho\n{line}\nsleep 1\n{}\n", image::END))?;
    run(Command::new("chmod").arg("755").arg(&run_script))?;
    distribution::ext4(&stage, to, "128M")
}

/// A package of a release before this one, in which nothing of `AppArmor` and needrestart was.
fn previous(deb: &Path, to: &Path) -> Result<()> {
    let tree = to.with_extension("tree");
    output(Command::new("dpkg-deb").arg("--raw-extract").arg(deb).arg(&tree))?;
    output(Command::new("sh").args(["-ec", OLDER]).current_dir(&tree))?;
    output(Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&tree).arg(to))?;
    Ok(fs::remove_dir_all(tree)?)
}

/// What somebody has who is about to begin: the pages, and the package by its own name.
fn manual(to: &Path, deb: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    fs::copy(deb, to.join(deb.file_name().context("a package has a name")?))?;
    for entry in fs::read_dir(root().join("docs/manual/src"))? {
        let entry = entry?;
        // Pictures are for those who have a browser.
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// The distribution as a disk.
fn base(suite: Suite) -> Result<PathBuf> {
    let recipe = Recipe {
        name: &format!("host-{suite}"),
        release: suite.name(),
        packages: &systemd::packages(PACKAGES),
        size: SIZE,
        excludes: &[],
        hooks: &[DOWNLOAD],
        additions: &systemd::additions(RUN),
        add,
    };
    recipe.disk()
}

/// What the distribution does not bring.
fn add(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder.join("bed"))?;
    systemd::add(folder, RUN)
}
