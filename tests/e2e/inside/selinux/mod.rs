//! The SELinux bed: the RPM package comes with its policy, a guest is served in its domain, and nothing else is allowed.

mod act;
mod domain;
mod policy;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};

pub use act::act;
use domain::{BROKER, GUEST, HELPER, HELPER_PATH, OTHER_GUEST};

use crate::host::command::{property, sh, try_sh};
use crate::lun::Loopback;
use crate::node::Node;
use crate::report::Report;
use crate::wait;

/// The package, and its name.
const PACKAGE: &str = "/bed/qemu-pr-helper-rs.rpm";
const NAME: &str = "qemu-pr-helper-rs";

/// Its units.
const SERVICE: &str = "qemu-pr-helper-rs.service";
const SOCKET_UNIT: &str = "qemu-pr-helper-rs.socket";
const BROKER_SOCKET_UNIT: &str = "qemu-pr-broker.socket";

/// The sockets, the directories and the map.
const SOCKET: &str = "/run/qemu-pr-helper.sock";
const CONTROL: &str = "/run/qemu-pr-helper/control";
const BROKER_SOCKET: &str = "/run/qemu-pr-broker.sock";
const MAP: &str = "/dev/mapper/mpatha";

/// What libvirt would label for a guest, and with what.
const IMAGE: &str = "system_u:object_r:svirt_image_t:s0:c1,c2";

/// `qemu-pr-ctl` under a name that the policy takes for QEMU's.
const CLIENT: &str = "/usr/bin/qemu-system-ctl";

/// multipathd is busy with the start of the host.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where multipathd listens from 0.12 on, and systemd for it.
const BY_PATH: &str = "[Socket]\nListenStream=\nListenStream=/run/multipathd.socket\n";

/// A guest may do what it does, and another one nothing.
const RULES: &str = "\
default = \"deny\"
[[rule]]
name = \"one guest\"
selinux = [\"*:svirt_t:s0:c1,c2\"]
decision = \"allow\"
";

/// Runs it.
pub fn run(report: &mut Report) -> Result<()> {
    fs::create_dir_all("/var/target/pr")?;
    // Each denial is a line of the kernel's log.
    fs::write("/proc/sys/kernel/printk_ratelimit", "0")?;
    let luns = Loopback::set_up(2)?;
    report.check("SELinux is enforced, and does not know the package", || {
        ensure!(domain::enforces()?, "it is permissive");
        ensure!(!knows()?, "the module is there already");
        Ok(())
    });
    arrives(report);
    policy::run(report);
    domain::let_the_driver_in()?;
    starts(report);
    serves(report, &luns.lun(0)[0], &luns.lun(0)[1])?;
    act::run(report, &luns.lun(0)[1])?;
    tells_guests_apart(report, &luns.lun(0)[0]);
    leaves(report);
    Ok(())
}

/// Whether the package's module is part of the policy.
fn knows() -> Result<bool> {
    Ok(sh("semodule -l")?.lines().any(|module| module == "qemu_pr_helper"))
}

/// The package brings its module, and labels what it has brought.
fn arrives(report: &mut Report) {
    report.check("the package is installed, with its module and its labels", || {
        // RPM's plug-in for SELinux runs scripts in a domain that Debian's policy has without the right to use it.
        sh(&format!("rpm --noplugins --nodeps --install {PACKAGE}"))?;
        ensure!(knows()?, "the module was not loaded");
        for (path, label) in [(HELPER_PATH, "qemu_pr_helper_exec_t"), ("/usr/libexec/qemu-pr-helper-rs", "bin_t")] {
            domain::is_labelled(path, label)?;
        }
        Ok(())
    });
    report.check("names that other packages have at the same place keep the policy's labels", || {
        for (path, kind, label) in [
            ("/usr/bin/qemu-pr-helper", "file", "qemu_pr_helper_exec_t"),
            ("/usr/bin/qemu-pr-ctl", "file", "bin_t"),
            ("/usr/libexec/qemu-bridge-helper", "file", "virt_bridgehelper_exec_t"),
            ("/run/qemu-pr-helper.sock", "sock_file", "qemu_pr_helper_socket_t"),
            ("/run/qemu-pr-helper/control", "sock_file", "qemu_pr_helper_runtime_t"),
            ("/run/qemu-pr-broker.sock", "sock_file", "qemu_pr_broker_socket_t"),
            ("/run/qemu-pr-broker", "dir", "qemu_pr_broker_runtime_t"),
        ] {
            let context = sh(&format!("matchpathcon -n -m {kind} {path}"))?;
            ensure!(context.contains(&format!(":{label}:")), "{path} is to be {context}");
        }
        Ok(())
    });
}

/// Each process is in its domain, and so is each socket.
fn starts(report: &mut Report) {
    report.check("systemd starts helper and broker in domains of their own", || {
        sh(&format!("systemctl start {SOCKET_UNIT}"))?;
        sh(&format!("qemu-pr-ctl ping --socket {SOCKET}"))?;
        ensure!(property(SERVICE, "ActiveState")? == "active", "the service does not run");
        let expected = [
            ("qemu-pr-helper", HELPER),
            ("qemu-pr-names", HELPER),
            ("qemu-pr-resolve", HELPER),
            ("qemu-pr-broker", BROKER),
            ("qemu-pr-keeper", BROKER),
        ];
        for (name, domain) in expected {
            let contexts = domain::of_processes(name)?;
            ensure!(!contexts.is_empty(), "there is no {name}");
            let wanted = format!("system_u:system_r:{domain}:s0");
            ensure!(contexts.iter().all(|context| *context == wanted), "{name} is {contexts:?}");
        }
        Ok(())
    });
    report.check("their sockets and directories have types of their own", || {
        for (path, label) in [
            (SOCKET, "qemu_pr_helper_socket_t"),
            ("/run/qemu-pr-helper", "qemu_pr_helper_runtime_t"),
            (CONTROL, "qemu_pr_helper_runtime_t"),
            (BROKER_SOCKET, "qemu_pr_broker_socket_t"),
            ("/run/qemu-pr-broker", "qemu_pr_broker_runtime_t"),
        ] {
            domain::is_labelled(path, label)?;
        }
        Ok(())
    });
}

/// A guest does its work, and nobody is denied anything.
fn serves(report: &mut Report, disk: &Node, beside: &Node) -> Result<()> {
    sh(&format!("cp /usr/bin/qemu-pr-ctl {CLIENT} && chcon -t qemu_exec_t {CLIENT}"))?;
    report.check("a guest registers and reserves, on a disk that is labelled for it", || {
        label(disk.path())?;
        reserves(disk.path(), "0xa1")?;
        // As the disk itself says to another initiator.
        let keys = sh(&format!("sg_persist --in --read-keys {}", beside.path().display()))?;
        ensure!(keys.contains("0xa1"), "{keys}");
        releases(disk.path(), "0xa1")
    });
    report.check("it does on the disk's character device", || {
        let generic = disk.generic()?;
        label(generic.path())?;
        reserves(generic.path(), "0xa2")?;
        releases(generic.path(), "0xa2")
    });
    report.check("it does on a map, with multipathd in the abstract name space of sockets", || on_a_map("0xa3"));
    report.check("it does on a map, with multipathd at a path", || {
        let drop_in = Path::new("/etc/systemd/system/multipathd.socket.d");
        fs::create_dir_all(drop_in)?;
        fs::write(drop_in.join("path.conf"), BY_PATH)?;
        sh("systemctl daemon-reload && systemctl stop multipathd.socket multipathd.service")?;
        sh("systemctl start multipathd.socket multipathd.service")?;
        let sockets = sh("cat /proc/net/unix")?;
        ensure!(!sockets.contains("@/org/kernel/linux/storage/multipathd"), "it still has its old socket");
        ensure!(fs::exists("/run/multipathd.socket")?, "it has no socket at a path");
        on_a_map("0xa4")
    });
    report.check("disks that nobody has labelled can be used by whoever may open them", || {
        sh(&format!("restorecon -F {}", disk.path().display()))?;
        domain::is_labelled(disk.path().to_str().unwrap_or_default(), "fixed_disk_device_t")?;
        let path = disk.path().display();
        sh(&format!("runcon system_u:system_r:unconfined_t:s0 qemu-pr-ctl keys {path}"))?;
        label(disk.path())
    });
    report.check("the helper's state is for the administrator", || {
        let state = sh(&format!("runcon system_u:system_r:unconfined_t:s0 qemu-pr-ctl state --control {CONTROL}"))?;
        ensure!(state.contains("requests"), "{state}");
        Ok(())
    });
    report.check("a restart of the service, and its end, are nothing new", || {
        sh(&format!("systemctl restart {SERVICE} && qemu-pr-ctl ping --socket {SOCKET}"))?;
        sh(&format!("systemctl stop {SERVICE} && qemu-pr-ctl ping --socket {SOCKET}"))?;
        Ok(())
    });
    report.check("nothing of this was denied", || {
        let denied = domain::denials(0)?;
        ensure!(denied.is_empty(), "{}", denied.join(" | "));
        Ok(())
    });
    Ok(())
}

/// Registers and reserves on the map, and looks what is on its paths.
fn on_a_map(key: &str) -> Result<()> {
    wait::until("the map", PATIENCE, || Ok(fs::exists(MAP)?.then_some(())))?;
    let map = fs::canonicalize(MAP)?;
    label(&map)?;
    reserves(&map, key)?;
    let paths = sh(&format!("ls /sys/block/{}/slaves", map.file_name().unwrap_or_default().display()))?;
    ensure!(paths.lines().count() == 2, "the map's paths are {paths}");
    for path in paths.lines() {
        let keys = sh(&format!("sg_persist --in --read-keys /dev/{path}"))?;
        ensure!(keys.matches(key).count() == 2, "{path}: {keys}");
    }
    ensure!(!domain::of_processes("qemu-pr-map")?.is_empty(), "no worker has done it");
    releases(&map, key)
}

/// Labels a device as libvirt does for a guest.
fn label(device: &Path) -> Result<()> {
    sh(&format!("chcon {IMAGE} {}", device.display())).map(drop)
}

fn reserves(device: &Path, key: &str) -> Result<()> {
    let device = device.display();
    as_guest(GUEST, &format!("register-ignore {device} --new-key {key}"))?;
    as_guest(GUEST, &format!("reserve {device} --key {key} --type write-exclusive-registrants-only"))?;
    let all = as_guest(GUEST, &format!("all {device}"))?;
    ensure!(all.contains("holds        Write Exclusive, registrants only"), "{all}");
    Ok(())
}

fn releases(device: &Path, key: &str) -> Result<()> {
    as_guest(GUEST, &format!("unregister {} --key {key}", device.display())).map(drop)
}

/// Runs `qemu-pr-ctl` in a guest's domain.
fn as_guest(context: &str, words: &str) -> Result<String> {
    sh(&format!("runcon {context} {CLIENT} {words}"))
}

/// The settings file's rules see the contexts that the kernel tells.
fn tells_guests_apart(report: &mut Report, disk: &Node) {
    report.check("a rule tells guests apart by their contexts", || {
        fs::write("/etc/qemu-pr-helper.toml", RULES)?;
        sh(&format!("restorecon /etc/qemu-pr-helper.toml && systemctl restart {SERVICE}"))?;
        label(disk.path())?;
        let words = format!("register-ignore {} --new-key 0xb1", disk.path().display());
        as_guest(GUEST, &words)?;
        // Whoever labels disks for several guests leaves the categories away.
        sh(&format!("chcon -l s0 {}", disk.path().display()))?;
        let (succeeded, printed) = try_sh(&format!("runcon {OTHER_GUEST} {CLIENT} {words}"))?;
        ensure!(!succeeded && !printed.contains("connect"), "the other guest was not refused by a rule: {printed}");
        fs::remove_file("/etc/qemu-pr-helper.toml")?;
        sh(&format!("systemctl restart {SERVICE}"))?;
        as_guest(OTHER_GUEST, &words)?;
        Ok(())
    });
}

/// With the package goes its module.
fn leaves(report: &mut Report) {
    report.check("the package takes its module along", || {
        domain::take_the_driver_out()?;
        sh(&format!("rpm --noplugins --nodeps --erase {NAME}"))?;
        ensure!(!knows()?, "the module is still there");
        for unit in [SERVICE, SOCKET_UNIT, BROKER_SOCKET_UNIT] {
            ensure!(property(unit, "ActiveState")? == "inactive", "{unit} is still active");
        }
        ensure!(domain::enforces()?, "and with it SELinux");
        Ok(())
    });
}
