//! Debian packages: what the host needs to boot a bed or to try completions, and what is only ever used inside a bed.
//!
//! The first kind is installed when missing; the second is unpacked below the target folder, so that a test run never
//! gives the host a second kernel or a running iSCSI daemon.

mod apt;
pub mod suite;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::workspace::{output, run, target};
use apt::Apt;
pub use apt::mirror;

/// A package, and the file that shows that it is there.
pub type Package = (&'static str, &'static str);

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

/// What runs programs of other architectures: processes, and machines.
pub const FOR_FOREIGN: &[Package] = &[
    ("qemu-user", "/usr/bin/qemu-s390x"),
    ("qemu-system-arm", "/usr/bin/qemu-system-aarch64"),
    ("qemu-system-misc", "/usr/bin/qemu-system-s390x"),
    ("kmod", "/sbin/depmod"),
    ("binutils", "/usr/bin/readelf"),
];

/// The C helper, and what counts system calls and instructions.
pub const FOR_BENCH: &[Package] = &[
    ("qemu-system-common", "/usr/bin/qemu-pr-helper"),
    ("strace", "/usr/bin/strace"),
    ("valgrind", "/usr/bin/valgrind"),
];

/// Debian's critic of packages.
pub const FOR_DEB: &[Package] = &[("lintian", "/usr/bin/lintian")];

/// RPM's own tools, which look at the package that is made without them, and a critic of packages.
pub const FOR_RPM: &[Package] = &[("rpm", "/usr/bin/rpm"), ("rpmlint", "/usr/bin/rpmlint")];

/// What the manual's commands need beside this project's programs.
pub const FOR_MANUAL: &[Package] = &[("curl", "/usr/bin/curl")];

/// What puts the container image together.
pub const FOR_IMAGE: &[Package] = &[("mmdebstrap", "/usr/bin/mmdebstrap")];

/// Shells that completions are made for and that not every machine has.
pub const SHELLS: &[Package] = &[("zsh", "/usr/bin/zsh"), ("fish", "/usr/bin/fish")];

/// The name that always leads to the newest kernel of the host's suite; the package itself is empty.
const KERNEL: &str = "linux-image-cloud-amd64";

/// The suite that has the newest kernel and User Mode Linux. A suite's name outlives its release.
pub const NEWEST: &str = "forky";

/// `iscsistart` and the library that only it uses.
const ISCSI: &[&str] = &["open-iscsi", "libopeniscsiusr"];

/// `iscsi-test-cu`, and what a program is compiled with that takes libiscsi's place.
const LIBISCSI: &[&str] = &["libiscsi-bin", "libiscsi7", "libiscsi-dev", "libcunit1"];

/// multipathd with what it needs around it: udev, its rules, and the libraries that hosts without multipath lack.
/// Installed on the host, both would start to look after the host's own disks.
const MULTIPATH: &[&str] = &["multipath-tools", "kpartx", "udev", "dmsetup", "liburcu8", "libaio1"];

/// The same of another suite, with all that they depend on, the programs that make and look at a map's paths, and what
/// helpers are linked with.
const MULTIPATH_OF: &[&str] =
    &["multipath-tools", "kpartx", "udev", "dmsetup", "open-iscsi", "libgcc-s1", "libglib2.0-0t64", "libcap-ng0"];

/// QEMU with its firmware.
const QEMU: &[&str] = &["qemu-system-x86", "qemu-system-data", "seabios"];

/// promtool, and the Prometheus project's own reader of OpenMetrics. The first comes with a server that would be started.
const OBSERVABILITY: &[&str] = &["prometheus", "python3-prometheus-client"];

/// What reads man pages.
const MANDOC: &[&str] = &["mandoc"];

/// What reads manifests and schemas.
const SCHEMAS: &[&str] = &["python3-yaml", "python3-jsonschema", "python3-pyrsistent", "python3-attr"];

/// kubectl, whose kustomize builds overlays: of a suite in which it is as new as what people use, and for whose program the
/// C library of Debian 12 is new enough.
const KUBECTL: (&str, &str) = ("trixie", "kubectl");

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
    let host = Apt::host();
    if install(&host, &missing).is_ok() {
        return Ok(());
    }
    host.update();
    install(&host, &missing)
}

fn install(apt: &Apt, names: &[&str]) -> Result<()> {
    let mut command = apt.get();
    command.args(["install", "--yes", "--no-install-recommends", "-qq"]).args(names);
    run(&mut command)
}

/// Unpacks the packages that are only used inside a bed and returns the folder that they lie in.
pub fn unpack_for_beds() -> Result<PathBuf> {
    unpack(|| Ok(Apt::host()), "bed", &[ISCSI, LIBISCSI, MULTIPATH, &[KERNEL]].concat())
}

/// Unpacks multipath-tools of another suite, and returns the directory that it lies in.
pub fn unpack_multipath_of(suite: &str) -> Result<PathBuf> {
    suite::unpack_programs(&format!("bed/multipath-{suite}"), suite, MULTIPATH_OF)
}

/// Unpacks a QEMU that migrates reservations (11.0 or newer), with all that it needs, and returns the directory that it
/// lies in.
///
/// # Errors
/// As for [`suite::unpack`].
pub fn unpack_newest_qemu() -> Result<PathBuf> {
    suite::unpack_programs("bed/qemu", NEWEST, &[QEMU, MULTIPATH_OF].concat())
}

/// Unpacks the newest kernel that Debian has, and returns the directory that it lies in.
pub fn unpack_newest_kernel() -> Result<PathBuf> {
    suite::unpack("bed/newest", NEWEST, "amd64", &[KERNEL])
}

/// Unpacks User Mode Linux with the C library that it needs, and returns the directory that they lie in.
pub fn unpack_user_mode_linux() -> Result<PathBuf> {
    suite::unpack("bed/uml", NEWEST, "amd64", &["user-mode-linux", "libc6"])
}

/// Unpacks what checks alerts and metrics, and returns the folder that it lies in.
pub fn unpack_for_observability() -> Result<PathBuf> {
    unpack(|| Ok(Apt::host()), "observability", OBSERVABILITY)
}

/// Unpacks what reads man pages, and returns the folder that it lies in.
pub fn unpack_mandoc() -> Result<PathBuf> {
    unpack(|| Ok(Apt::host()), "mandoc", MANDOC)
}

/// Unpacks what holds documents against schemas, and returns the folder that it lies in.
pub fn unpack_for_schemas() -> Result<PathBuf> {
    unpack(|| Ok(Apt::host()), "schemas", SCHEMAS)
}

/// Unpacks kubectl, and returns the folder that it lies in.
///
/// # Errors
/// As for [`suite::unpack`].
pub fn unpack_kubectl() -> Result<PathBuf> {
    suite::unpack("schemas/kubectl", KUBECTL.0, suite::HOST, &[KUBECTL.1])
}

/// Unpacks packages in a directory of their own below the target directory, once. An empty kernel package stands for the
/// packages of that kernel, and a name with a plus sign for itself and all that it depends on.
fn unpack(apt: impl FnOnce() -> Result<Apt>, directory: &str, names: &[&str]) -> Result<PathBuf> {
    let packages = target().join(directory).join("packages");
    let marker = packages.join("complete");
    // What was fetched before this program asked for more is not complete.
    let wanted = names.join(" ");
    if fs::read_to_string(&marker).is_ok_and(|fetched| fetched == wanted) {
        return Ok(packages);
    }
    let apt = apt()?;
    println!("fetching {wanted}{}", apt.suffix());
    let fetch = || fetch(&apt, &packages, &apt.behind(names)?);
    if fetch().is_err() {
        apt.update();
        fetch()?;
    }
    fs::write(&marker, wanted)?;
    Ok(packages)
}

fn fetch(apt: &Apt, packages: &PathBuf, names: &[String]) -> Result<()> {
    // What an interrupted run left must not be mistaken for a package.
    if fs::exists(packages)? {
        fs::remove_dir_all(packages)?;
    }
    let downloads = packages.join("deb");
    fs::create_dir_all(&downloads).with_context(|| format!("{} cannot be made", downloads.display()))?;
    output(apt.get().arg("download").args(names).current_dir(&downloads))?;
    for entry in fs::read_dir(&downloads)? {
        output(Command::new("dpkg").arg("-x").arg(entry?.path()).arg(packages))?;
    }
    fs::remove_dir_all(&downloads)?;
    Ok(())
}
