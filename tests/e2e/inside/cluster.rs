//! A Pacemaker cluster of two guests, each with an initiator and a helper of its own, that fence each other with
//! `fence_scsi`: its PREEMPT AND ABORT goes through the helper.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pr_control::What;
use scsi_persistent_reservations::{InAction, ReservationType};
use serde_json::json;

use crate::guest_machine::{APPEND, Qemu};
use crate::helper::Helper;
use crate::iscsi;
use crate::monitor::{self, Monitor};
use crate::node::Node;
use crate::report::{Report, remark};
use crate::request::Request;
use crate::trail::Trail;
use crate::wait;

/// The disk with the guests' Debian.
const ROOT: &str = "/dev/ubda";

/// How long something may take that two emulated machines have to do.
const PATIENCE: Duration = Duration::from_secs(540);

/// The guests' name for the disk that they share.
const DISK: &str = "/dev/sda";

/// One member of the cluster.
struct Member {
    number: usize,
    qemu: Qemu,
    monitor: Monitor,
}

/// Boots both, has one lose its network, and brings it back.
pub fn run(report: &mut Report, reference: bool) -> Result<()> {
    let nodes = iscsi::log_in()?;
    // QEMU puts there what a guest writes to its root.
    fs::create_dir_all("/var/tmp")?;
    let start = |number: usize| -> Result<Helper> {
        let control = control(number);
        let options: &[&str] = if reference { &[] } else { &["--control", &control] };
        Helper::start(&format!("host-{number}"), options)
    };
    let helpers = [start(1)?, start(2)?];
    let log = if reference { None } else { Some(Trail::follow(Path::new(&control(1)))?) };
    let mut one = Member::boot(1, &nodes[0], &helpers[0])?;
    let mut two = Member::boot(2, &nodes[1], &helpers[1])?;
    let mut first = 0;
    report.check("two nodes are online and unfenced: two keys, and a reservation for registrants", || {
        one.is_up()?;
        two.is_up()?;
        online(&mut one, 2)?;
        // The agent makes a node's key of its place in the list of nodes.
        first = keys(&nodes, |keys| keys.len() == 2)?[0];
        reserved(&nodes[0])
    });
    report.check("both write to the disk", || {
        one.writes(true)?;
        two.writes(true)
    });
    report.check("the second one's network is cut: the first one fences it, and its writes fail", || {
        two.network(false)?;
        keys(&nodes, |keys| keys == [first])?;
        two.writes(false)
    });
    report.check("the first one goes on writing", || {
        online(&mut one, 1)?;
        one.writes(true)
    });
    report.check("the second one is reset: it registers again, joins and writes", || {
        two.qemu.switch_off();
        two = Member::boot(2, &nodes[1], &helpers[1])?;
        two.is_up()?;
        online(&mut one, 2)?;
        keys(&nodes, |keys| keys.len() == 2)?;
        two.writes(true)
    });
    drop((one, two));
    let [first, second] = helpers;
    first.stop()?;
    second.stop()?;
    if let Some(log) = log {
        report.check("the audit log has the first one's PREEMPT AND ABORT, and that it was GOOD", || preempted(log));
    }
    Ok(())
}

fn control(number: usize) -> String {
    format!("/run/host-{number}.control")
}

/// Waits for so many nodes to be online for one of them.
fn online(member: &mut Member, count: usize) -> Result<()> {
    let result = wait::until(&format!("{count} nodes to be online"), PATIENCE, || {
        std::thread::sleep(Duration::from_secs(5));
        let nodes = member.qemu.terminal.run("crm_mon -1 --include=none,nodes")?.1;
        let online = nodes.lines().find(|line| line.contains("Online: [")).unwrap_or_default();
        Ok((online.matches("node").count() == count).then_some(()))
    });
    result.with_context(|| member.describe())
}

/// Waits for the keys on the disk to be as they should.
fn keys(nodes: &[Node; 2], are_right: impl Fn(&[u64]) -> bool) -> Result<Vec<u64>> {
    let keys = wait::until("the keys of who is in the cluster", PATIENCE, || {
        std::thread::sleep(Duration::from_secs(1));
        nodes[0].settle()?;
        let keys = nodes[0].directly(&Request::read(InAction::ReadKeys))?.keys()?;
        Ok(are_right(&keys).then_some(keys))
    })?;
    remark(&format!("keys on the disk: {keys:x?}"));
    Ok(keys)
}

fn reserved(node: &Node) -> Result<()> {
    let held = node.directly(&Request::read(InAction::ReadReservation))?.reservation()?;
    let kind = held.as_ref().and_then(scsi_persistent_reservations::Reservation::reservation_type);
    ensure!(kind == Some(ReservationType::WriteExclusiveRegistrantsOnly), "the reservation is {held:?}");
    Ok(())
}

fn preempted(log: Trail) -> Result<()> {
    let mut preempted = 0;
    for record in &log.records()? {
        let What::Command { command, outcome, .. } = &record.what else { continue };
        if command.action == "PREEMPT AND ABORT" {
            ensure!(outcome.status == "GOOD", "{record}");
            preempted += 1;
        }
    }
    ensure!(preempted > 0, "the agent sent no PREEMPT AND ABORT");
    Ok(())
}

impl Member {
    fn boot(number: usize, node: &Node, helper: &Helper) -> Result<Self> {
        let name = format!("node{number}");
        let mut command = Qemu::command(&name, "max", "640M", node, helper.socket());
        command
            .args(["-append", &format!("{APPEND} node={number}")])
            .args(["-drive", &format!("file={ROOT},format=raw,if=virtio,snapshot=on")])
            .arg("-netdev")
            .arg(format!(
                "dgram,id=net,local.type=inet,local.host=127.0.0.1,local.port=700{number},\
                 remote.type=inet,remote.host=127.0.0.1,remote.port=700{}",
                3 - number
            ))
            .args(["-device", &format!("virtio-net-pci,id=nic,netdev=net,mac=52:54:00:00:00:0{number},romfile=")]);
        let monitor = monitor::listen(&mut command, &name);
        let mut qemu = Qemu::start(&name, command)?;
        Ok(Self { number, monitor: Monitor::connect(&monitor, &mut qemu.process).context(name)?, qemu })
    }

    fn is_up(&self) -> Result<()> {
        self.qemu.terminal.ready()?;
        remark(&format!("node {} is up", self.number));
        Ok(())
    }

    fn writes(&mut self, passes: bool) -> Result<()> {
        let write = format!("dd if=/dev/zero of={DISK} bs=4096 count=1 oflag=direct status=none");
        let (status, printed) = self.qemu.terminal.run(&write)?;
        ensure!((status == 0) == passes, "node {}'s write ended with {status}: {printed}", self.number);
        Ok(())
    }

    /// Plugs its network cable in or out.
    fn network(&mut self, up: bool) -> Result<()> {
        self.monitor.execute("set_link", &json!({ "name": "nic", "up": up })).map(drop)
    }

    /// What it says of the cluster, and why.
    fn describe(&mut self) -> String {
        let ask = "crm_mon -1 --include=all; tail -n 40 /var/log/pacemaker/pacemaker.log; tail -n 5 /var/log/corosync.log \
                   /var/log/*.out";
        self.qemu.terminal.run(ask).map_or_else(|error| format!("{error:#}"), |(_, printed)| printed)
    }
}
