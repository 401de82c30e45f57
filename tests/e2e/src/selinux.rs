//! The root of the SELinux bed: a Debian with systemd, multipathd and a policy that is enforced, on which the RPM package
//! is installed.
//!
//! The distribution is made once, kept, and never written to by a machine. What a run adds comes with the image that the
//! machine boots from. The first process gives every file its label, which takes a second: the host that makes the disk
//! needs no right to label files, and no SELinux.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use pr_dist::archive;

use crate::distribution::{self, Recipe};
use crate::kernel::Kernel;
use crate::machine::Disk;
use crate::programs::Programs;
use crate::systemd;

/// The release that it is.
const RELEASE: &str = "trixie";

/// What is installed on it besides. The policy has the types of libvirt and its guests, whether libvirt is there or not.
const PACKAGES: &[&str] =
    &["policycoreutils", "policycoreutils-python-utils", "rpm", "selinux-policy-default", "semodule-utils", "setools"];

/// Room for it all and for what a run writes.
const SIZE: &str = "1200M";

/// What systemd runs.
const RUN: &str = "/usr/local/bin/bed-inside selinux ours";

/// What systemd reads to know which policy to load.
const CONFIG: &str = "SELINUX=enforcing\nSELINUXTYPE=default\n";

/// The first process mounts the disk, and adds what this run brings along and the labels. systemd loads the policy.
const MOUNT: &str = "mkdir -p /root\n\
     for disk in ubda vda; do [ -b /dev/$disk ] && mount -t ext4 /dev/$disk /root; done\n\
     mkdir -p /root/bed\n\
     cp /bed/* /root/bed\n\
     mv /root/bed/bed-inside /root/usr/local/bin\n\
     chroot /root /usr/sbin/setfiles -F /etc/selinux/default/contexts/files/file_contexts /";

/// Everything that the machine boots from; returns its disks.
pub fn write(to: &Path, kernel: &Kernel, programs: &Programs) -> Result<Vec<Disk>> {
    let base = base()?;
    let mut root = systemd::root(kernel, MOUNT)?;
    root.copy(&programs.driver, "bed/bed-inside")?;
    root.copy(&archive::rpm()?, "bed/qemu-pr-helper-rs.rpm")?;
    root.write_to(to)?;
    Ok(vec![Disk { path: base, temporary: false }])
}

/// The distribution as a disk.
fn base() -> Result<PathBuf> {
    let recipe = Recipe {
        name: "selinux",
        release: RELEASE,
        packages: &systemd::packages(PACKAGES),
        size: SIZE,
        excludes: distribution::DOCUMENTATION,
        hooks: &[],
        additions: &(systemd::additions(RUN) + CONFIG),
        add,
    };
    recipe.disk()
}

/// What the distribution does not bring.
fn add(folder: &Path) -> Result<()> {
    systemd::add(folder, RUN)?;
    // multipathd may not make it, by this policy.
    fs::create_dir_all(folder.join("etc/multipath"))?;
    fs::create_dir_all(folder.join("etc/selinux"))?;
    Ok(fs::write(folder.join("etc/selinux/config"), CONFIG)?)
}
