//! Live migration of a guest that holds a reservation, between two hosts. Each has an initiator of its own, a QEMU that
//! migrates reservations (11.0 and newer), and a helper.
//!
//! The hosts are two QEMUs and two helpers in one machine, on two nexuses of one LUN: to the LUN, and to each helper, that
//! is the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use pr_control::What;
use scsi_persistent_reservations::{InAction, ReservationType};
use serde_json::json;

use crate::fence;
use crate::guest_machine::{APPEND, Qemu};
use crate::helper::Helper;
use crate::lun::Loopback;
use crate::monitor::{self, Monitor};
use crate::multipath::scene::{MAP, Scene};
use crate::node::Node;
use crate::report::{Report, remark};
use crate::request::Request;
use crate::trail::Trail;
use crate::wait;

/// The guest's key and reservation.
const KEY: u64 = 0x777;
const KIND: ReservationType = ReservationType::WriteExclusiveRegistrantsOnly;

/// The guest's name for its disk.
const DISK: &str = "/dev/sda";

/// A guest of 256 MB on an emulated processor.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where rules are that let nobody change anything.
const RULES: &str = "/run/deny.toml";
const DENY: &str =
    "default = \"deny\"\n\n[[rule]]\nname = \"who only looks\"\naction = [\"read\"]\ndecision = \"allow\"\n";

/// One host: what its QEMU passes through, as how many initiators the LUN sees that, and its helper.
struct Host {
    name: &'static str,
    node: Node,
    initiators: usize,
    helper: Helper,
}

/// A QEMU with the guest in it, or one that waits for a guest.
struct Machine {
    qemu: Qemu,
    monitor: Monitor,
}

/// How a migration ended, as the QEMU sees it that has sent the guest.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Completed,
    Failed,
}

/// Plays it all between two disks, or between a map of two paths and a disk.
pub fn run(report: &mut Report, reference: bool, part: &[&str]) -> Result<()> {
    match part {
        ["disk"] => {
            let luns = Loopback::set_up(1)?;
            let [first, second] = luns.lun(0);
            let hosts = [(first.path().to_owned(), 1), (second.path().to_owned(), 1)];
            play(hosts, reference, &mut |name, result| report.check(name, || result))
        }
        ["map"] => {
            let mut scene = Scene::set_up()?;
            scene.reset()?;
            let third = Path::new("/dev").join(scene.third.name());
            let hosts = [(Path::new("/dev/mapper").join(MAP), 2), (third, 1)];
            // Debian's helper has no multipath, and this shows it.
            play(hosts, reference, &mut |name, result| {
                let name = format!("map: {name}");
                if reference { report.show(&name, || result) } else { report.check(&name, || result) }
            })?;
            if reference {
                let lacking = report.lacking;
                report.check("the bed tells a helper without multipath from one with it", || {
                    ensure!(lacking > 0, "every check held");
                    Ok(())
                });
            }
            Ok(())
        }
        other => bail!("{other:?} is neither disk nor map"),
    }
}

/// A story between host A and host B.
fn play(hosts: [(PathBuf, usize); 2], reference: bool, tell: &mut dyn FnMut(&str, Result<()>)) -> Result<()> {
    let [(first, initiators), (second, _)] = hosts;
    // The C helper keeps no audit log.
    let start = |name: &'static str, disk: &Path, initiators| -> Result<Host> {
        let control = control(name);
        let options: &[&str] = if reference { &[] } else { &["--control", &control] };
        Ok(Host { name, node: Node::new(disk.to_owned()), initiators, helper: Helper::start(name, options)? })
    };
    let (mut a, mut b) = (start("host-a", &first, initiators)?, start("host-b", &second, 1)?);
    let logs = if reference { None } else { Some([log(&a)?, log(&b)?]) };
    let mut guest = Machine::start(&a, false)?;
    tell(
        "a guest on host A registers, reserves and writes",
        (|| {
            guest.reserves_and_writes()?;
            holds(&a, &b)
        })(),
    );
    tell(
        "it migrates to host B, whose initiator has its key and its reservation then",
        (|| {
            guest = migrate(&mut guest, &b, &End::Completed)?.context("the guest is gone")?;
            guest.goes_on_writing()?;
            holds(&b, &a)
        })(),
    );
    tell(
        "it migrates back to host A",
        (|| {
            guest = migrate(&mut guest, &a, &End::Completed)?.context("the guest is gone")?;
            guest.goes_on_writing()?;
            holds(&a, &b)
        })(),
    );
    tell(
        "host B's helper is killed and started again while its QEMU waits for the guest",
        (|| {
            let receiver = Machine::start(&b, true)?;
            b.helper.kill()?;
            b.helper = Helper::start(b.name, &[])?;
            guest = send(&mut guest, receiver, &End::Completed)?.context("the guest is gone")?;
            guest.goes_on_writing()?;
            holds(&b, &a)
        })(),
    );
    tell(
        "host A's helper is gone when the guest arrives: it stays on host B with key and reservation",
        (|| {
            let receiver = Machine::start(&a, true)?;
            a.helper.kill()?;
            ensure!(send(&mut guest, receiver, &End::Failed)?.is_none(), "the guest has left");
            guest.goes_on_writing()?;
            holds(&b, &a)
        })(),
    );
    if let Some([at_a, at_b]) = logs {
        tell(
            "each helper's audit log has what QEMU sent for the guest, all of it GOOD",
            (|| {
                expect_log(a.name, at_a, &["REGISTER", "RESERVE", "REGISTER", "PREEMPT"])?;
                // As far as the one that was killed.
                expect_log(b.name, at_b, &["REGISTER", "PREEMPT"])
            })(),
        );
        fs::write(RULES, DENY)?;
        a.helper = Helper::start(a.name, &["--config", RULES])?;
        tell(
            "host A's helper refuses: the guest stays on host B with key and reservation",
            (|| {
                let left = migrate(&mut guest, &a, &End::Failed)?;
                ensure!(left.is_none(), "the guest has left");
                guest.goes_on_writing()?;
                holds(&b, &a)
            })(),
        );
        a.helper.stop()?;
    }
    drop(guest);
    b.helper.stop()
}

fn control(name: &str) -> String {
    format!("/run/{name}.control")
}

fn log(host: &Host) -> Result<Trail> {
    Trail::follow(Path::new(&control(host.name)))
}

fn expect_log(host: &str, log: Trail, expected: &[&str]) -> Result<()> {
    let mut actions = Vec::new();
    for record in &log.records()? {
        let What::Command { command, outcome, .. } = &record.what else { continue };
        ensure!(outcome.status == "GOOD", "{host}: {record}");
        actions.push(command.action.clone());
    }
    ensure!(actions == expected, "{host}: expected {expected:?}, its audit log has {actions:?}");
    Ok(())
}

/// Insists that one host's initiators have the key and hold the reservation, and the other's have nothing.
fn holds(one: &Host, other: &Host) -> Result<()> {
    other.node.settle()?;
    let keys = other.node.directly(&Request::read(InAction::ReadKeys))?.keys()?;
    let expected = vec![KEY; one.initiators];
    ensure!(keys == expected, "expected the keys {expected:#x?}, came {keys:#x?}");
    let held = other.node.directly(&Request::read(InAction::ReadReservation))?.reservation()?;
    let held = held.context("there is no reservation")?;
    ensure!(held.key.0 == KEY && held.reservation_type() == Some(KIND), "another reservation: {held:?}");
    fence::expect(&format!("{}'s write", other.name), other.node.write(), false)?;
    fence::expect(&format!("{}'s write", one.name), one.node.write(), true)
}

/// Has another host take the guest, and returns the QEMU that it is in then; None if it stays.
fn migrate(guest: &mut Machine, to: &Host, due: &End) -> Result<Option<Machine>> {
    let receiver = Machine::start(to, true)?;
    send(guest, receiver, due)
}

fn send(guest: &mut Machine, mut receiver: Machine, due: &End) -> Result<Option<Machine>> {
    let socket = "/run/migration";
    let _ = fs::remove_file(socket);
    let uri = format!("unix:{socket}");
    // The sender is to know whether the guest has arrived, as with libvirt.
    let capabilities = json!({ "capabilities": [{ "capability": "return-path", "state": true }] });
    for machine in [&mut *guest, &mut receiver] {
        machine.monitor.execute("migrate-set-capabilities", &capabilities)?;
    }
    receiver.monitor.execute("migrate-incoming", &json!({ "uri": uri }))?;
    guest.monitor.execute("migrate", &json!({ "uri": uri }))?;
    let end = wait::until("the end of the migration", PATIENCE, || {
        let told = guest.monitor.execute("query-migrate", &json!({}))?;
        Ok(match told["status"].as_str() {
            Some("completed") => Some((End::Completed, told)),
            Some("failed" | "cancelled") => Some((End::Failed, told)),
            _ => None,
        })
    })?;
    ensure!(end.0 == *due, "expected {due:?}, came {}", end.1);
    remark(&format!("migration {}: {}", end.1["status"], end.1["error-desc"]));
    if end.0 == End::Failed {
        return Ok(None);
    }
    wait::until("the guest to run", PATIENCE, || {
        let told = receiver.monitor.execute("query-status", &json!({}))?;
        Ok((told["status"] == "running").then_some(()))
    })?;
    Ok(Some(receiver))
}

impl Machine {
    /// Boots the guest on a host, or starts what waits for it.
    fn start(host: &Host, waits: bool) -> Result<Self> {
        let mut command = Qemu::command(host.name, "qemu64", "256M", &host.node, host.helper.socket());
        command.args(["-append", APPEND]);
        if waits {
            command.args(["-incoming", "defer"]);
        }
        let monitor = monitor::listen(&mut command, host.name);
        let mut qemu = Qemu::start(host.name, command)?;
        Ok(Self { monitor: Monitor::connect(&monitor, &mut qemu.process)?, qemu })
    }

    /// Has the guest, once it is up, register, reserve, and write all the time.
    fn reserves_and_writes(&mut self) -> Result<()> {
        self.qemu.terminal.ready()?;
        let kind = KIND.code();
        for change in
            [format!("--register --param-sark={KEY:#x}"), format!("--reserve --param-rk={KEY:#x} --prout-type={kind}")]
        {
            self.qemu.done(&format!("sg_persist --no-inquiry --out {change} {DISK}"))?;
        }
        self.start_writing()
    }

    /// Has the guest write all the time, and count.
    fn start_writing(&mut self) -> Result<()> {
        self.qemu
            .done(&format!(
                "echo 0 >/writes; >/errors; (n=0; while true; do \
             dd if=/dev/zero of={DISK} bs=4096 count=1 oflag=direct status=none 2>>/errors; \
             n=$((n+1)); echo $n >/new; mv /new /writes; done) &"
            ))
            .map(drop)
    }

    /// Insists that none of its writes has failed, and that there are new ones.
    fn goes_on_writing(&mut self) -> Result<()> {
        let before: u64 = self.qemu.done("cat /writes")?.parse()?;
        wait::until("the guest's next write", PATIENCE, || {
            Ok((self.qemu.done("cat /writes")?.parse::<u64>()? > before + 1).then_some(()))
        })?;
        let errors = self.qemu.done("cat /errors; dmesg | grep -iE 'i/o error|conflict' || true")?;
        ensure!(errors.is_empty(), "of {before} writes some failed: {errors}");
        remark(&format!("{before} writes of the guest, none of which failed"));
        Ok(())
    }
}
