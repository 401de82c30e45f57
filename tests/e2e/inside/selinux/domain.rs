//! Domains, labels, and what was denied.

use std::fs;

use anyhow::{Result, ensure};

use crate::host::command::sh;
use crate::host::process;

/// The package's domains.
pub const HELPER: &str = "qemu_pr_helper_t";
pub const BROKER: &str = "qemu_pr_broker_t";

/// Where the package has the program.
pub const HELPER_PATH: &str = "/usr/libexec/qemu-pr-helper-rs/qemu-pr-helper";

/// Two of libvirt's guests.
pub const GUEST: &str = "system_u:system_r:svirt_t:s0:c1,c2";
pub const OTHER_GUEST: &str = "system_u:system_r:svirt_t:s0:c3,c4";

/// Lets the driver start programs in the domains that are tried. It is loaded when the package's policy has been looked at,
/// and gives these domains nothing but a program of the driver to be started with, and somewhere to print.
const DRIVER: &str = "\
(typeattribute bed_domain)
(typeattributeset bed_domain (svirt_t user_t unconfined_t qemu_pr_helper_t qemu_pr_broker_t))
(roletype system_r user_t)
(allow initrc_t bed_domain (process (transition siginh rlimitinh noatsecure)))
(allow bed_domain bin_t (file (entrypoint getattr open read map execute)))
(allow bed_domain qemu_exec_t (file (entrypoint getattr open read map execute)))
(allow bed_domain initrc_t (fd (use)))
(allow bed_domain initrc_t (fifo_file (getattr read write)))
(allow bed_domain initrc_t (process (sigchld)))
";

/// Loads it, and has the kernel log what the policy would not have it log.
pub fn let_the_driver_in() -> Result<()> {
    fs::write("/run/bed.cil", DRIVER)?;
    sh("semodule --disable_dontaudit --install /run/bed.cil").map(drop)
}

/// Takes it out again: it names the package's types.
pub fn take_the_driver_out() -> Result<()> {
    sh("semodule --remove bed").map(drop)
}

/// Whether SELinux is enforced.
pub fn enforces() -> Result<bool> {
    Ok(fs::read_to_string("/sys/fs/selinux/enforce")?.trim() == "1")
}

/// A file has a type.
pub fn is_labelled(path: &str, label: &str) -> Result<()> {
    let context = sh(&format!("stat --format %C {path}"))?;
    ensure!(context.split(':').nth(2) == Some(label), "{path} is {context}");
    Ok(())
}

/// The contexts of a helper's processes of this name.
pub fn of_processes(name: &str) -> Result<Vec<String>> {
    let named = process::all()?.into_iter().filter(|process| process.name == name);
    named.map(|process| process::confinement(process.pid)).collect()
}

/// How many denials the kernel has logged of which the package's types are part.
pub fn count() -> Result<usize> {
    Ok(denials(0)?.len())
}

/// Those denials, without the first ones.
pub fn denials(skip: usize) -> Result<Vec<String>> {
    let log = sh("dmesg")?;
    let ours =
        log.lines().filter(|line| line.contains("avc:") && line.contains("denied") && line.contains(":qemu_pr_"));
    Ok(ours.skip(skip).map(str::to_owned).collect())
}
