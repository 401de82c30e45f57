//! The package takes a name over that another package owns, and gives it back.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Result, ensure};

use super::command::{property, sh, try_sh};
use super::process;
use super::{BROKER_SOCKET, SERVICE, SOCKET, SOCKET_UNIT, apparmor};
use crate::report::Report;

const OURS: &str = "/bed/qemu-pr-helper-rs.deb";

/// A release before that, which had no profiles for `AppArmor`.
const PREVIOUS: &str = "/bed/previous.deb";

const DEBIANS: &str = "/root/qemu-system-common_*.deb";

/// Installs a package that has a file of ours already.
const OBSTACLE: &str = "\
cd /run && mkdir -p obstacle/DEBIAN obstacle/usr/bin && touch obstacle/usr/bin/qemu-pr-ctl
printf 'Package: obstacle\\nVersion: 1\\nArchitecture: all\\nMaintainer: none\\nDescription: in the way\\n' >obstacle/DEBIAN/control
dpkg-deb --build obstacle && dpkg --force-unsafe-io --install obstacle.deb";

/// Makes Proxmox VE's package of QEMU in two versions. Debian's is in conflict with it and has no place beside it.
const PROXMOX: &str = "\
cd /run && for version in 1 2; do
    mkdir -p pve/DEBIAN pve/usr/bin pve/usr/share/man/man8
    echo \"pve $version\" | tee pve/usr/bin/qemu-pr-helper >pve/usr/share/man/man8/qemu-pr-helper.8.gz
    printf 'Package: pve-qemu-kvm\\nVersion: %s\\nArchitecture: all\\nMaintainer: none\\nDescription: QEMU\\n' $version >pve/DEBIAN/control
    dpkg-deb --build pve pve_$version.deb
done
dpkg --force-depends --remove qemu-system-common";

/// What no package owns and is called like this one's files.
const LEFT: &str = "\
find /etc /usr /var/cache /var/lib/dpkg/info /var/lib/systemd /run -name '*qemu-pr-helper*' |
    while read -r file; do dpkg --search \"$file\" >/dev/null 2>&1 || echo \"$file\"; done";

/// What Debian has at the paths that are taken over, and where it is meanwhile.
const TAKEN: [(&str, &str); 2] = [
    ("/usr/bin/qemu-pr-helper", "/usr/bin/qemu-pr-helper.distrib"),
    ("/usr/share/man/man8/qemu-pr-helper.8.gz", "/usr/share/man/man8/qemu-pr-helper.distrib.8.gz"),
];

/// Debian's files, byte for byte.
pub struct Originals([Vec<u8>; 2]);

impl Originals {
    /// As they are before anything happens.
    pub fn read() -> Result<Self> {
        Ok(Self([fs::read(TAKEN[0].0)?, fs::read(TAKEN[1].0)?]))
    }

    /// They are where they belong, and nothing of ours is left beside them.
    fn in_place(&self) -> Result<()> {
        for ((path, aside), content) in TAKEN.iter().zip(&self.0) {
            ensure!(fs::read(path)? == *content, "{path} is not Debian's");
            ensure!(!fs::exists(aside)?, "{aside} was left behind");
        }
        ensure!(sh("dpkg-divert --list '*qemu-pr-helper*'")?.is_empty(), "a diversion was left behind");
        intact("qemu-system-common")
    }

    /// They are kept beside ours.
    fn aside(&self) -> Result<()> {
        for ((path, aside), content) in TAKEN.iter().zip(&self.0) {
            ensure!(fs::read(path)? != *content, "{path} is still Debian's");
            ensure!(fs::read(aside)? == *content, "{aside} is not Debian's");
        }
        intact("qemu-system-common")?;
        intact("qemu-pr-helper-rs")
    }
}

/// Every file of the package is as it was shipped.
fn intact(package: &str) -> Result<()> {
    let differences = sh(&format!("dpkg --verify {package}"))?;
    ensure!(differences.is_empty(), "{package}: {differences}");
    Ok(())
}

fn install(package: &str) -> Result<String> {
    sh(&format!("dpkg --force-unsafe-io --install {package}"))
}

/// From Debian's helper to ours.
pub fn arrives(report: &mut Report, originals: &Originals) {
    report.check("an installation that fails leaves Debian's helper as it was", || {
        sh(OBSTACLE)?;
        let (succeeded, printed) = try_sh(&format!("dpkg --force-unsafe-io --install {OURS}"))?;
        sh("dpkg --purge obstacle")?;
        ensure!(!succeeded && printed.contains("qemu-pr-ctl"), "the installation was to fail: {printed}");
        originals.in_place()
    });
    report.check("the package installs and takes the helper's name over", || {
        install(OURS)?;
        originals.aside()?;
        let version = sh("qemu-pr-helper --version")?;
        ensure!(version.contains(env!("CARGO_PKG_VERSION")), "it is {version}");
        sh("qemu-pr-ctl --version && test -s /usr/share/doc/qemu-pr-helper-rs/copyright")?;
        Ok(())
    });
    report.check("the installation enables and starts nothing", || {
        for unit in [SERVICE, SOCKET_UNIT, BROKER_SOCKET] {
            ensure!(property(unit, "LoadState")? == "loaded", "{unit} is not known");
            ensure!(property(unit, "ActiveState")? == "inactive", "{unit} was started");
        }
        ensure!(property(SOCKET_UNIT, "UnitFileState")? == "disabled", "the socket was enabled");
        Ok(())
    });
    report.check("Debian's package, installed once more, goes to the side", || {
        install(DEBIANS)?;
        originals.aside()
    });
}

/// The release before comes, for guests that run on while it is upgraded.
pub fn was_installed_earlier() -> Result<()> {
    install(PREVIOUS)?;
    sh(&format!("systemctl enable --now {SOCKET_UNIT}")).map(drop)
}

/// From the release before to this one, which restarts the service and keeps the socket.
pub fn upgrade(originals: &Originals) -> Result<()> {
    let (before, since) = (property(SERVICE, "MainPID")?, property(SOCKET_UNIT, "ActiveEnterTimestampMonotonic")?);
    ensure!(before != "0", "the service does not run");
    install(OURS)?;
    originals.aside()?;
    let (after, still) = (property(SERVICE, "MainPID")?, property(SOCKET_UNIT, "ActiveEnterTimestampMonotonic")?);
    ensure!(after != before && after != "0", "the service was process {before} and is {after}");
    ensure!(still == since, "the socket was closed");
    ensure!(runs_what_is_installed(after.parse()?)?, "the service runs the program of before");
    ensure!(apparmor::loaded()?.len() == 2, "the kernel has the profiles {:?}", apparmor::loaded()?);
    apparmor::enforced(&process::of_services()?)
}

/// Whether a process runs the program that is installed, and not one that lay there before.
pub fn runs_what_is_installed(pid: u32) -> Result<bool> {
    Ok(fs::metadata(format!("/proc/{pid}/exe"))?.ino() == fs::metadata(TAKEN[0].0)?.ino())
}

/// And back.
pub fn leaves(report: &mut Report, originals: &Originals) {
    report.check("its removal ends its units and restores Debian's helper byte for byte", || {
        sh(&format!("systemctl enable --now {SOCKET_UNIT} && /bed/qemu-pr-ctl ping --socket {SOCKET}"))?;
        sh("dpkg --remove qemu-pr-helper-rs")?;
        for unit in [SERVICE, SOCKET_UNIT, BROKER_SOCKET] {
            let (load, active) = (property(unit, "LoadState")?, property(unit, "ActiveState")?);
            ensure!(load == "not-found" && active == "inactive", "{unit} is {load} and {active}");
        }
        ensure!(!fs::exists(SOCKET)?, "the socket was left behind");
        ensure!(apparmor::loaded()?.is_empty(), "the kernel still has the profiles {:?}", apparmor::loaded()?);
        originals.in_place()
    });
    report.check("it can come again, and a purge leaves nothing of it", || {
        install(OURS)?;
        originals.aside()?;
        sh("dpkg --purge qemu-pr-helper-rs")?;
        originals.in_place()?;
        let left = sh(LEFT)?;
        ensure!(left.is_empty(), "it left {left}");
        Ok(())
    });
}

/// A host of Proxmox VE's, whose package of QEMU has the helper.
pub fn on_proxmox(report: &mut Report) {
    let (path, aside) = TAKEN[0];
    let is = |path: &str, version: &str| -> Result<()> {
        let found = fs::read(path)?;
        ensure!(found == format!("pve {version}\n").as_bytes(), "{path} is not Proxmox VE's in version {version}");
        Ok(())
    };
    report.check(
        "Proxmox VE's package comes in the place of Debian's: its helper goes to the side, and stays there",
        || {
            sh(PROXMOX)?;
            ensure!(!fs::exists(aside)?, "{aside} was left behind");
            install("/run/pve_1.deb")?;
            is(aside, "1")?;
            install("/run/pve_2.deb")?;
            is(aside, "2")?;
            install(OURS)?;
            is(aside, "2")?;
            intact("pve-qemu-kvm")?;
            intact("qemu-pr-helper-rs")
        },
    );
    report.check("without this package, Proxmox VE has its own helper", || {
        sh("dpkg --remove qemu-pr-helper-rs")?;
        is(path, "2")?;
        ensure!(!fs::exists(aside)?, "{aside} was left behind");
        intact("pve-qemu-kvm")
    });
    report.check("Proxmox VE's package goes first, then this one: nothing is left", || {
        install(OURS)?;
        is(aside, "2")?;
        sh("dpkg --remove pve-qemu-kvm")?;
        ensure!(!fs::exists(aside)?, "{aside} was left behind");
        intact("qemu-pr-helper-rs")?;
        sh("dpkg --purge qemu-pr-helper-rs")?;
        let left = sh("ls /usr/bin /usr/share/man/man8 | grep qemu-pr || true; dpkg-divert --list '*qemu-pr-helper*'")?;
        ensure!(left.is_empty(), "it left {left}");
        Ok(())
    });
}
