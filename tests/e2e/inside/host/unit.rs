//! The units: who may connect, what the service may do, and whether it still can do its work.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use scsi_persistent_reservations::InAction;

use super::command::{property, sh, try_sh};
use super::process::{self, NAME, NO_CAPABILITY, Process, status};
use super::{BROKER, BROKER_SOCKET, SERVICE, SOCKET, SOCKET_UNIT};
use crate::node::Node;
use crate::report::{Report, remark};
use crate::request::Request;
use crate::wait;

/// What `systemd-analyze security` may say at most. What keeps it from less stands in the unit, line by line.
const EXPOSURE: f64 = 1.1;

/// The same for the broker's service, which no guest can send a byte to.
const EXPOSURE_OF_BROKER: f64 = 2.1;

/// The same for the broker's as it may be where multipathd listens at a path.
const EXPOSURE_BY_PATH: f64 = 1.6;

/// udev and multipathd are busy with the start of the host.
const PATIENCE: Duration = Duration::from_secs(120);

/// The map over the two paths.
const MAP: &str = "/dev/mapper/mpatha";

const KEY: u64 = 0x5e;

/// Tries the package's units on a disk, and on a LUN's paths that multipathd makes a map of.
pub fn run(report: &mut Report, disk: &Node, paths: &[Node; 2]) {
    report.check("systemd finds no fault with the units", || {
        let complaints =
            sh(&format!("systemd-analyze verify --man=no {SERVICE} {SOCKET_UNIT} {BROKER} {BROKER_SOCKET} 2>&1"))?;
        ensure!(complaints.is_empty(), "{complaints}");
        Ok(())
    });
    report.check("the socket is for the group kvm, and waits without a service", || {
        sh(&format!("systemctl start {SOCKET_UNIT}"))?;
        let socket = fs::symlink_metadata(SOCKET)?;
        let group: u32 = sh("getent group kvm | cut -d: -f3")?.parse()?;
        let (mode, owner) = (socket.mode() & 0o777, (socket.uid(), socket.gid()));
        ensure!(socket.file_type().is_socket() && mode == 0o660, "its mode is {mode:o}");
        ensure!(owner == (0, group), "it belongs to {owner:?}");
        let state = property(SERVICE, "ActiveState")?;
        ensure!(state == "inactive", "the service is {state} already");
        Ok(())
    });
    report.check("the first client starts the service and is served by it", || {
        sh(&format!("qemu-pr-ctl ping --socket {SOCKET}"))?;
        let (state, status) = (property(SERVICE, "ActiveState")?, property(SERVICE, "StatusText")?);
        ensure!(state == "active" && status == "Serving.", "the service is {state} and says {status}");
        Ok(())
    });
    report.check("the broker's socket is for the service and root alone", || {
        let socket = fs::symlink_metadata("/run/qemu-pr-broker.sock")?;
        let user: u32 = sh("id -u qemu-pr-helper")?.parse()?;
        ensure!(socket.mode() & 0o777 == 0o600 && socket.uid() == user, "mode {:o}, {}", socket.mode(), socket.uid());
        Ok(())
    });
    report.check(&format!("systemd-analyze security tells an exposure of at most {EXPOSURE}"), || {
        exposure(SERVICE, EXPOSURE)?;
        exposure_of_file(SERVICE, EXPOSURE)
    });
    report.check(&format!("that of the broker's service is at most {EXPOSURE_OF_BROKER}"), || {
        exposure(&broker()?, EXPOSURE_OF_BROKER)?;
        exposure_of_file(BROKER, EXPOSURE_OF_BROKER)
    });
    report.check("its processes have given up what they need not have", privileges);
    report.check("confined as it is, it changes a multipath map on both paths", || {
        wait::until("a map of both paths of the second LUN", PATIENCE, || Ok((paths_of_map()? == 2).then_some(())))?;
        changes_map(SOCKET, paths)
    });
    let name = format!("as the broker may be where multipathd has a path, its exposure is at most {EXPOSURE_BY_PATH}");
    report.check(&name, || {
        with_example("multipathd-by-path", BROKER, || {
            exposure(&broker()?, EXPOSURE_BY_PATH).and_then(|()| changes(disk))
        })
    });
    report.check("with the example for it, the socket is another group's", || {
        with_example("socket-group", SOCKET_UNIT, || {
            let group: u32 = sh("getent group disk | cut -d: -f3")?.parse()?;
            let owner = fs::symlink_metadata(SOCKET)?.gid();
            ensure!(owner == group, "its group is {owner}");
            changes(disk)
        })
    });
    report.check("with the example for them, the helper has other options", || {
        with_example("service-options", SERVICE, || {
            let services = process::of_services()?;
            let arguments = &services.iter().find(|it| it.name == NAME).context("there is no service")?.arguments;
            ensure!(arguments.ends_with(&["--audit-keys".into(), "hash".into()]), "they are {arguments:?}");
            changes(disk)
        })
    });
    report.check("a broker ends with its helper, and the next helper has one of its own", || {
        let before = broker()?;
        sh(&format!("systemctl restart {SERVICE}"))?;
        wait::until("the end of a broker", PATIENCE, || Ok((brokers()?.len() == 1).then_some(())))?;
        ensure!(broker()? != before, "it is still {before}");
        changes_map(SOCKET, paths)
    });
    report.check("nobody can stop a broker below its helper", || {
        let (stopped, said) = try_sh(&format!("systemctl stop '{}'", broker()?))?;
        ensure!(!stopped, "it could be stopped: {said}");
        changes_map(SOCKET, paths)
    });
}

/// How many paths the map has.
fn paths_of_map() -> Result<usize> {
    let Ok(device) = fs::canonicalize(MAP) else { return Ok(0) };
    let name = device.file_name().context("a device has a name")?;
    Ok(fs::read_dir(Path::new("/sys/block").join(name).join("slaves"))?.count())
}

/// The services of the brokers that run.
fn brokers() -> Result<Vec<String>> {
    let listed = sh("systemctl list-units --plain --no-legend --state=active 'qemu-pr-broker@*.service'")?;
    Ok(listed.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

/// The service of the one broker.
fn broker() -> Result<String> {
    let running = brokers()?;
    let [broker] = &running[..] else { bail!("not one broker but {running:?}") };
    Ok(broker.clone())
}

/// Looks at the services with one of the package's examples in place.
fn with_example(example: &str, unit: &str, look: impl FnOnce() -> Result<()>) -> Result<()> {
    let folder = format!("/etc/systemd/system/{unit}.d");
    let restart = format!("systemctl daemon-reload && systemctl restart {SOCKET_UNIT} && systemctl start {SERVICE}");
    let with = format!("mkdir -p {folder} && cp /usr/share/doc/qemu-pr-helper-rs/examples/{example}.conf {folder}/");
    let result = sh(&format!("{with} && {restart}")).and_then(|_| look());
    sh(&format!("rm -r {folder} && {restart}"))?;
    result
}

/// Through a helper's socket, a key comes to both paths of the map and to multipathd, and goes again.
fn changes_map(socket: &str, paths: &[Node; 2]) -> Result<()> {
    sh(&format!("qemu-pr-ctl register --socket {socket} --new-key {KEY:#x} {MAP}"))?;
    let keys = paths[0].directly(&Request::read(InAction::ReadKeys))?.keys()?;
    ensure!(keys == [KEY, KEY], "the keys are {keys:x?}");
    let kept = sh("cat /etc/multipath/prkeys")?;
    ensure!(kept.contains(&format!("{KEY:x}")), "multipathd did not keep the key: {kept}");
    sh(&format!("qemu-pr-ctl unregister --socket {socket} --key {KEY:#x} {MAP}"))?;
    let keys = paths[0].directly(&Request::read(InAction::ReadKeys))?.keys()?;
    ensure!(keys.is_empty(), "the keys {keys:x?} stayed");
    Ok(())
}

/// Holds what `systemd-analyze security` says against a limit.
pub fn exposure(service: &str, limit: f64) -> Result<()> {
    let told = sh(&format!("systemd-analyze security --no-pager '{service}' | tail -n 1"))?;
    remark(&told);
    let value = told.split_once(": ").and_then(|(_, rest)| rest.split(' ').next()).context("no exposure")?;
    let exposure: f64 = value.parse()?;
    ensure!(exposure <= limit, "it is {exposure}");
    Ok(())
}

/// The same for a unit's file, as somebody asks who has not installed it.
fn exposure_of_file(unit: &str, limit: f64) -> Result<()> {
    let tenfold = limit * 10.0;
    sh(&format!(
        "systemd-analyze security --no-pager --offline=true --threshold={tenfold:.0} /usr/lib/systemd/system/{unit}"
    ))
    .map(drop)
}

/// Changes a disk.
fn changes(disk: &Node) -> Result<()> {
    let disk = disk.path().display();
    sh(&format!("qemu-pr-ctl register --socket {SOCKET} --new-key {KEY:#x} {disk}"))?;
    sh(&format!("qemu-pr-ctl unregister --socket {SOCKET} --key {KEY:#x} {disk}")).map(drop)
}

/// `CAP_SYS_RAWIO`, and `CAP_SYS_ADMIN`, as `/proc/PID/status` shows them.
const RAWIO: &str = "0000000000020000";
const RAWIO_AND_ADMIN: &str = "0000000000220000";

fn privileges() -> Result<()> {
    let own = sh("id -u qemu-pr-helper")?;
    let due = [
        // Without the right to it nobody can give up what the unit leaves him to gain; new privileges are ruled out.
        (NAME, RAWIO, RAWIO, own.as_str()),
        ("qemu-pr-names", NO_CAPABILITY, RAWIO, &own),
        ("qemu-pr-resolve", NO_CAPABILITY, RAWIO, &own),
        ("qemu-pr-broker", RAWIO_AND_ADMIN, RAWIO_AND_ADMIN, "0"),
        ("qemu-pr-keeper", RAWIO_AND_ADMIN, RAWIO_AND_ADMIN, "0"),
    ];
    let processes = process::all()?;
    ensure!(processes.len() == due.len(), "there are {processes:?}");
    for Process { pid, name, .. } in processes {
        let (_, capabilities, bounds, user) = due.iter().find(|row| row.0 == name).context(name.clone())?;
        for (field, due) in [("CapPrm", *capabilities), ("CapBnd", *bounds), ("NoNewPrivs", "1"), ("Seccomp", "2")] {
            let found = status(pid, field)?;
            ensure!(found == due, "{field} of {name} is {found}, not {due}");
        }
        let users = status(pid, "Uid")?;
        ensure!(users.split_whitespace().all(|found| found == *user), "{name} runs as {users}");
    }
    Ok(())
}

/// A socket and a service for Debian's helper, which brings none.
pub fn write_plain_units() -> Result<()> {
    let folder = "/etc/systemd/system/";
    let socket = format!("[Socket]\nListenStream={SOCKET}\nSocketMode=0660\nSocketGroup=kvm\n");
    let service = format!("[Service]\nExecStart=/usr/bin/{NAME}\n");
    fs::write(format!("{folder}{SOCKET_UNIT}"), socket)?;
    fs::write(format!("{folder}{SERVICE}"), service)?;
    sh("systemctl daemon-reload").map(drop)
}
