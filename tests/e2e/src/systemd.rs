//! What the Debians that boot with systemd have in common: the driver program's unit, what is switched off, multipathd's
//! configuration, and the root that hands over to systemd.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::Result;

use crate::image::{self, Root};
use crate::kernel::Kernel;
use crate::vm::STARTED;

/// What is installed on each.
const PACKAGES: &[&str] =
    &["dbus", "kmod", "multipath-tools", "procps", "psmisc", "sg3-utils", "systemd", "systemd-sysv", "udev"];

/// What would only keep a machine from its work, whether it is there or not.
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
    "systemd-pcrphase-sysinit.service",
    "systemd-pcrphase.service",
];

/// The driver program's unit, up to its command. It waits for nothing but what it needs to begin: the rest is part of what
/// it looks at.
const UNIT: &str = "\
[Unit]
Description=What is tried on this host
After=libvirtd.socket multipathd.service systemd-udev-trigger.service
RequiresMountsFor=/bed

[Service]
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
ExecStopPost=sh -c 'sync; echo b >/proc/sysrq-trigger'
ExecStart=";

/// Only the disks of the second LUN become a map: the first one's are passed to guests one by one.
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

/// What the first process loads: systemd and udev find all modules there.
const MODULES: &[&str] = &["ext4", "virtio_blk", "virtio_pci", "configfs", "autofs4", "af_packet"];

/// The end of the first process: over to systemd, with the distribution mounted at /root.
const HAND_OVER: &str = "mount --move /dev /root/dev\n\
     umount /proc /sys\n\
     exec switch_root /root /lib/systemd/systemd";

/// What is installed on one that has these packages besides.
pub fn packages(besides: &[&'static str]) -> Vec<&'static str> {
    [PACKAGES, besides].concat()
}

/// All that [`add`] writes, as one text.
pub fn additions(command: &str) -> String {
    format!("{MASKED:?}\n{UNIT}{command}\n{MULTIPATH}")
}

/// Has systemd run this command, and nothing that only takes time.
pub fn add(folder: &Path, command: &str) -> Result<()> {
    let units = folder.join("etc/systemd/system");
    let wanted = units.join("multi-user.target.wants");
    fs::create_dir_all(&wanted)?;
    for unit in MASKED {
        symlink("/dev/null", units.join(unit))?;
    }
    fs::write(units.join("bed.service"), format!("{UNIT}{command}\n"))?;
    symlink("../bed.service", wanted.join("bed.service"))?;
    fs::write(folder.join("etc/multipath.conf"), MULTIPATH)?;
    fs::write(folder.join("etc/hostname"), "host\n")?;
    // A machine that has an identity does not set itself up at its first boot.
    Ok(fs::write(folder.join("etc/machine-id"), "0123456789abcdef0123456789abcdef\n")?)
}

/// The root that the machine boots from, whose first process mounts the distribution at /root by these commands.
pub fn root(kernel: &Kernel, mount: &str) -> Result<Root> {
    let mut root = Root::new()?;
    root.program(Path::new("/bin/busybox"), "bin/busybox")?;
    let mut modules = [MODULES, image::MODULES].concat();
    // User Mode Linux has other disks.
    modules.retain(|name| kernel.has_module(name));
    let modules = root.modules(kernel, &modules)?;
    let first = format!("echo {STARTED}\n{mount}\n{HAND_OVER}");
    root.content("init", 0o755, image::init(&modules, &first).into_bytes());
    Ok(root)
}
