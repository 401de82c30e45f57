//! The root of the SELinux bed: a Debian with systemd, multipathd and a policy that is enforced, on which the RPM package
//! is installed.
//!
//! The distribution is made once, kept, and never written to by a machine. What a run adds comes with the image that the
//! machine boots from. The first process gives every file its label, which takes a second: the host that makes the disk
//! needs no right to label files, and no SELinux.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Result;
use pr_dist::archive;

use crate::distribution::Recipe;
use crate::image::{self, Root};
use crate::kernel::Kernel;
use crate::machine::Disk;
use crate::programs::Programs;
use crate::vm::STARTED;

/// The release that it is.
const RELEASE: &str = "trixie";

/// What is installed on it. The policy has the types of libvirt and its guests, whether libvirt is there or not.
const PACKAGES: &[&str] = &[
    "dbus",
    "kmod",
    "multipath-tools",
    "policycoreutils",
    "policycoreutils-python-utils",
    "procps",
    "psmisc",
    "rpm",
    "selinux-policy-default",
    "semodule-utils",
    "setools",
    "sg3-utils",
    "systemd",
    "systemd-sysv",
    "udev",
];

/// Room for it all and for what a run writes.
const SIZE: &str = "1200M";

/// What would only keep a machine from its work.
const MASKED: &[&str] = &[
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@tty1.service",
    "logrotate.timer",
    "proc-sys-fs-binfmt_misc.automount",
    "serial-getty@ttyS0.service",
    "serial-getty@ttyS1.service",
    "systemd-binfmt.service",
];

/// The driver program.
const UNIT: &str = "\
[Unit]
Description=What is tried on this host
After=multipathd.service systemd-udev-trigger.service

[Service]
ExecStart=/usr/local/bin/bed-inside selinux ours
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
ExecStopPost=sh -c 'sync; echo b >/proc/sysrq-trigger'
";

/// Only the disks of the second LUN become a map: the first one's are passed to clients one by one.
const MULTIPATH: &str = "\
defaults {
    find_multipaths no
    user_friendly_names yes
    reservation_key file
}
blacklist {
    devnode \"^sd[ab]$\"
    devnode \"^(vd|ubd)\"
}
";

/// What systemd reads to know which policy to load.
const CONFIG: &str = "SELINUX=enforcing\nSELINUXTYPE=default\n";

/// The first process: the disk, what this run brings along, the labels, and over to systemd, which loads the policy.
const FIRST: &str = "mkdir -p /root\n\
     for disk in ubda vda; do [ -b /dev/$disk ] && mount -t ext4 /dev/$disk /root; done\n\
     mkdir -p /root/bed\n\
     cp /bed/* /root/bed\n\
     mv /root/bed/bed-inside /root/usr/local/bin\n\
     chroot /root /usr/sbin/setfiles -F /etc/selinux/default/contexts/files/file_contexts /\n\
     mount --move /dev /root/dev\n\
     umount /proc /sys\n\
     exec switch_root /root /lib/systemd/systemd";

/// What the first process loads: nothing is found there later.
const MODULES: &[&str] = &["ext4", "virtio_blk", "virtio_pci", "configfs", "autofs4", "af_packet"];

/// Everything that the machine boots from; returns its disks.
pub fn write(to: &Path, kernel: &Kernel, programs: &Programs) -> Result<Vec<Disk>> {
    let base = base()?;
    let mut root = Root::new()?;
    root.program(Path::new("/bin/busybox"), "bin/busybox")?;
    root.copy(&programs.driver, "bed/bed-inside")?;
    root.copy(&archive::rpm()?, "bed/qemu-pr-helper-rs.rpm")?;
    let wanted = [MODULES, image::MODULES].concat();
    let wanted: Vec<&str> = wanted.into_iter().filter(|name| kernel.has_module(name)).collect();
    let modules = root.modules(kernel, &wanted)?;
    root.content("init", 0o755, image::init(&modules, &format!("echo {STARTED}\n{FIRST}")).into_bytes());
    root.write_to(to)?;
    Ok(vec![Disk { path: base, temporary: false }])
}

/// The distribution as a disk.
fn base() -> Result<PathBuf> {
    let recipe = Recipe {
        name: "selinux",
        release: RELEASE,
        packages: PACKAGES,
        size: SIZE,
        excludes: &["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*"],
        hooks: &[],
        additions: &format!("{MASKED:?}\n{UNIT}{MULTIPATH}{CONFIG}"),
        add,
    };
    recipe.disk()
}

/// What the distribution does not bring.
fn add(folder: &Path) -> Result<()> {
    let units = folder.join("etc/systemd/system");
    let wanted = units.join("multi-user.target.wants");
    fs::create_dir_all(&wanted)?;
    for unit in MASKED {
        symlink("/dev/null", units.join(unit))?;
    }
    fs::write(units.join("bed.service"), UNIT)?;
    symlink("../bed.service", wanted.join("bed.service"))?;
    fs::write(folder.join("etc/multipath.conf"), MULTIPATH)?;
    // multipathd may not make it, by this policy.
    fs::create_dir_all(folder.join("etc/multipath"))?;
    fs::create_dir_all(folder.join("etc/selinux"))?;
    fs::write(folder.join("etc/selinux/config"), CONFIG)?;
    fs::write(folder.join("etc/hostname"), "host\n")?;
    Ok(fs::write(folder.join("etc/machine-id"), "0123456789abcdef0123456789abcdef\n")?)
}
