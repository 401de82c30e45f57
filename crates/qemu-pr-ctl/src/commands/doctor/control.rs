//! What the helpers say of themselves at their control sockets.

use std::{path::Path, time::Duration};

use pr_control::{Control, ControlError, HUNG_US, Snapshot};

use super::{finding::Finding, host::Host, luns};

/// The states of the helpers at a control socket, or at all in a directory, and what is wrong with them.
pub fn look(host: &Host, path: &Path, timeout: Duration) -> (Vec<Snapshot>, Vec<Finding>) {
    let path = host.path(path);
    let sockets = if path.is_dir() { pr_control::sockets(&path).unwrap_or_default() } else { vec![path] };
    let (mut snapshots, mut findings) = (Vec::new(), Vec::new());
    for socket in sockets {
        match Control::new(socket, timeout).snapshot() {
            Ok(snapshot) => {
                findings.extend(judge(host, &snapshot));
                snapshots.push(snapshot);
            }
            // A control socket is optional.
            Err(ControlError::NoSocket(_)) => {}
            Err(ControlError::NoPermission(_)) => host.could_not_see("the state of the helper"),
            Err(error) => findings.push(Finding::ControlSilent { reason: error.to_string() }),
        }
    }
    (snapshots, findings)
}

fn judge(host: &Host, snapshot: &Snapshot) -> Vec<Finding> {
    let (totals, max) = (&snapshot.totals, snapshot.max_connections);
    let mut findings = Vec::new();
    let is_full = max > 0 && u64::try_from(snapshot.connections.len()).is_ok_and(|connections| connections >= max);
    if is_full {
        findings.push(Finding::ConnectionsFull { max });
    }
    if is_here(host, snapshot) && !has_broker(host) && !luns::maps(host).is_empty() {
        findings.push(Finding::BrokerGone);
    }
    for connection in &snapshot.connections {
        let Some(command) = connection.in_flight.as_ref().filter(|command| command.for_us > HUNG_US) else { continue };
        let device = command.device.as_ref();
        let disk = device.map(|device| device.map.as_ref().or(device.name.as_ref()).unwrap_or(&device.number));
        let client = &connection.client;
        findings.push(Finding::CommandHangs {
            command: command.action.clone(),
            client: client.vm.clone().unwrap_or_else(|| format!("client {}", client.connection)),
            disk: disk.cloned().unwrap_or_else(|| "a disk".to_owned()),
            seconds: command.for_us / 1_000_000,
        });
    }
    if totals.turned_away > 0 && !is_full {
        findings.push(Finding::ClientsRejected { count: totals.turned_away, max });
    }
    if totals.over_limit > 0 {
        findings.push(Finding::ClientsOverLimit { count: totals.over_limit });
    }
    if totals.multipath_failures > 0 {
        findings.push(Finding::MultipathFailures { count: totals.multipath_failures });
    }
    if totals.without_names > 0 {
        findings.push(Finding::NamesGone);
    }
    if totals.messages_lost > 0 {
        findings.push(Finding::MessagesLost { count: totals.messages_lost, is_traced: !snapshot.trace.is_empty() });
    }
    findings
}

/// Whether the helper's processes can be seen: from a container they may not.
fn is_here(host: &Host, snapshot: &Snapshot) -> bool {
    host.text(format!("/proc/{}/comm", snapshot.pid)).is_some_and(|name| name.starts_with("qemu-pr-helper"))
}

/// Whether there is a process of a multipath broker.
fn has_broker(host: &Host) -> bool {
    let numbers = host.names("/proc").into_iter().filter(|name| name.parse::<u32>().is_ok());
    let mut names = numbers.filter_map(|number| host.text(format!("/proc/{number}/comm")));
    names.any(|name| ["qemu-pr-broker", "qemu-pr-keeper"].contains(&name.as_str()))
}
