//! Debian packages: what the host needs to boot a bed or to try completions, and what is only ever used inside a bed.
//!
//! The first kind is installed when missing; the second is unpacked below the target folder, so that a test run never
//! gives the host a second kernel or a running iSCSI daemon.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::workspace::{output, run, target};

/// A package, and the file that shows that it is there.
type Package = (&'static str, &'static str);

/// Those whose programs a bed starts or copies.
pub const FOR_BEDS: &[Package] = &[
    ("qemu-system-x86", "/usr/bin/qemu-system-x86_64"),
    ("qemu-system-common", "/usr/bin/qemu-pr-helper"),
    ("qemu-system-data", "/usr/share/qemu/linuxboot_dma.bin"),
    ("seabios", "/usr/share/seabios/bios-256k.bin"),
    ("busybox-static", "/bin/busybox"),
    ("sg3-utils", "/usr/bin/sg_persist"),
    ("dmsetup", "/sbin/dmsetup"),
    ("kmod", "/sbin/depmod"),
    ("strace", "/usr/bin/strace"),
    ("mmdebstrap", "/usr/bin/mmdebstrap"),
    ("e2fsprogs", "/sbin/mke2fs"),
];

/// The C helper, and what counts system calls and instructions.
pub const FOR_BENCH: &[Package] = &[
    ("qemu-system-common", "/usr/bin/qemu-pr-helper"),
    ("strace", "/usr/bin/strace"),
    ("valgrind", "/usr/bin/valgrind"),
];

/// RPM's own tools, which look at the package that is made without them.
pub const FOR_RPM: &[Package] = &[("rpm", "/usr/bin/rpm")];

/// What the manual's commands need beside this project's programs.
pub const FOR_MANUAL: &[Package] = &[("curl", "/usr/bin/curl")];

/// What puts the container image together.
pub const FOR_IMAGE: &[Package] = &[("mmdebstrap", "/usr/bin/mmdebstrap")];

/// Shells that completions are made for and that not every machine has.
pub const SHELLS: &[Package] = &[("zsh", "/usr/bin/zsh"), ("fish", "/usr/bin/fish")];

/// The name that always leads to the newest kernel; the package itself is empty.
const KERNEL: &str = "linux-image-cloud-amd64";

/// `iscsistart` and the library that only it uses.
const ISCSI: &[&str] = &["open-iscsi", "libopeniscsiusr"];

/// multipathd with what it needs around it: udev, its rules, and the libraries that hosts without multipath lack.
/// Installed on the host, both would start to look after the host's own disks.
const MULTIPATH: &[&str] = &["multipath-tools", "kpartx", "udev", "dmsetup", "liburcu8", "libaio1"];

/// promtool, and the Prometheus project's own reader of OpenMetrics. The first comes with a server that would be started.
const OBSERVABILITY: &[&str] = &["prometheus", "python3-prometheus-client"];

/// What reads manifests and schemas.
const SCHEMAS: &[&str] = &["python3-yaml", "python3-jsonschema", "python3-pyrsistent", "python3-attr"];

/// Installs what is wanted and the host lacks; without the right to do so, says what to install.
pub fn install_missing(wanted: &[&[Package]]) -> Result<()> {
    let lacks = |path: &str| !fs::exists(path).unwrap_or(false);
    let missing: Vec<&str> = wanted.concat().iter().filter(|(_, file)| lacks(file)).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        bail!("this needs packages that are not installed; run: apt-get install {}", missing.join(" "));
    }
    println!("installing {}", missing.join(" "));
    if install(&missing).is_ok() {
        return Ok(());
    }
    update();
    install(&missing)
}

fn install(names: &[&str]) -> Result<()> {
    let mut command = apt_get();
    command.args(["install", "--yes", "--no-install-recommends", "-qq"]).args(names);
    run(&mut command)
}

/// Refreshes the package lists. A foreign source that does not answer must not stop a test run that does not need it,
/// so failure shows only if the package that is wanted next is still unknown.
fn update() {
    if let Err(error) = output(apt_get().args(["update", "-qq"])) {
        eprintln!("{error:#}");
    }
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    // Downloads land in folders that apt's own sandbox user cannot write.
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", "APT::Sandbox::User=root"]);
    command
}

/// Unpacks the packages that are only used inside a bed and returns the folder that they lie in.
pub fn unpack_for_beds() -> Result<PathBuf> {
    unpack("bed", &[ISCSI, MULTIPATH].concat(), Some(KERNEL))
}

/// Unpacks what checks alerts and metrics, and returns the folder that it lies in.
pub fn unpack_for_observability() -> Result<PathBuf> {
    unpack("observability", OBSERVABILITY, None)
}

/// Unpacks what holds documents against schemas, and returns the folder that it lies in.
pub fn unpack_for_schemas() -> Result<PathBuf> {
    unpack("schemas", SCHEMAS, None)
}

/// Unpacks packages, and the one that an empty one stands for, in a folder of their own below the target folder.
fn unpack(folder: &str, names: &[&str], empty: Option<&str>) -> Result<PathBuf> {
    let packages = target().join(folder).join("packages");
    let marker = packages.join("complete");
    // What was fetched before this program asked for more is not complete.
    let wanted = names.join(" ");
    if fs::read_to_string(&marker).is_ok_and(|fetched| fetched == wanted) {
        return Ok(packages);
    }
    println!("fetching {}", names.iter().copied().chain(empty).collect::<Vec<_>>().join(" "));
    if fetch(&packages, names, empty).is_err() {
        update();
        fetch(&packages, names, empty)?;
    }
    fs::write(&marker, wanted)?;
    Ok(packages)
}

fn fetch(packages: &PathBuf, names: &[&str], empty: Option<&str>) -> Result<()> {
    // What an interrupted run left must not be mistaken for a package.
    if fs::exists(packages)? {
        fs::remove_dir_all(packages)?;
    }
    let downloads = packages.join("deb");
    fs::create_dir_all(&downloads).with_context(|| format!("{} cannot be made", downloads.display()))?;
    let real = empty.map(real_package).transpose()?;
    let names = names.iter().copied().chain(real.as_deref());
    output(apt_get().arg("download").args(names).current_dir(&downloads))?;
    for entry in fs::read_dir(&downloads)? {
        output(Command::new("dpkg").arg("-x").arg(entry?.path()).arg(packages))?;
    }
    fs::remove_dir_all(&downloads)?;
    Ok(())
}

/// The package that the empty kernel package stands for.
fn real_package(empty: &str) -> Result<String> {
    let depends = output(Command::new("apt-cache").args(["depends", empty]))?;
    let mut names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    let kernel = names.find(|name| name.starts_with("linux-image-"));
    kernel.map(str::to_owned).with_context(|| format!("apt-cache names no kernel behind {empty}"))
}
