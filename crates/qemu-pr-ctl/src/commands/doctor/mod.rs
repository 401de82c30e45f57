//! `doctor`: what is wrong with this host, as far as reservations of guests go. It asks, and changes nothing.

mod control;
mod denials;
mod disks;
mod finding;
mod guests;
mod host;
mod initiators;
mod luns;
mod maps;
mod multipathd;
mod socket;
mod systemd;

use std::{collections::BTreeSet, fmt::Write as _, path::PathBuf};

use clap::Args;
use pr_control::{DEFAULT_CONTROL, Snapshot};
use serde::Serialize;

use self::{disks::Asker, finding::Finding, guests::Guest, host::Host, initiators::Initiators};
use super::global::{Global, Run};
use crate::{
    error::{Error, exit},
    output::{json, terminal},
    target::Helper,
};

/// Check this host for faults, and show commands that fix them
///
/// Checks the helper and its units, multipathd and multipath maps, running guests
/// and the disks that they have open, and what security modules denied in the
/// last day. It changes nothing. Findings are printed with the most severe first,
/// and the exit status is 36; without findings the output is "ok".
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Doctor {
    /// Disks to check [default: those that running guests have open]
    #[arg(value_name = "DEVICE")]
    devices: Vec<PathBuf>,

    /// Control socket of the helper, or a directory with those of several
    #[arg(long, value_name = "PATH", default_value = DEFAULT_CONTROL)]
    control: PathBuf,

    /// Root directory of the host, if it is elsewhere, as in a container
    #[arg(long, value_name = "DIRECTORY", default_value = "/")]
    root: PathBuf,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    findings: Vec<finding::Shape>,
}

impl Run for Doctor {
    fn run(&self, global: &Global) -> Result<u8, Error> {
        let host = Host::new(&self.root);
        let named = disks::named(&host, &self.devices)?;
        let (units, mut findings) = self.examine(global, &host, named);
        findings.sort_by_key(|finding| finding.judged().0);
        if global.json {
            json::print(&Report { findings: findings.iter().map(|finding| finding.shape(units)).collect() })?;
        } else if findings.is_empty() {
            terminal::print("ok\n")?;
        } else {
            terminal::print(&findings.iter().map(|finding| text(finding, units)).collect::<String>())?;
        }
        Ok(if findings.is_empty() { exit::GOOD } else { exit::NEGATIVE })
    }
}

impl Doctor {
    /// The name of the helper's units, and all findings, causes before what follows from them.
    fn examine(&self, global: &Global, host: &Host, named: Vec<String>) -> (&'static str, Vec<Finding>) {
        let (patience, timeout) = (global.helper.control_timeout(), global.helper.timeout());
        let guests = guests::find(host);
        let (units, mut findings) = systemd::look(host);
        // Where systemd has the socket the first client starts the helper, and so its control socket. What is wrong with the
        // helper is the reason for what is wrong at its socket all the same.
        let (helper, of_sockets) = socket::look(host, &global.helper.socket, &guests, patience);
        let (snapshots, of_control) = control::look(host, &self.control, patience);
        findings.extend(of_control);
        findings.extend(of_sockets);

        let asker = Asker { host, helper: helper.map(|socket| Helper::at(socket, timeout)), timeout };
        findings.extend(maps::look(&asker, patience));
        let users: Vec<&Guest> = guests.iter().filter(|guest| uses_reservations(guest, &snapshots)).collect();
        let looked_at = if named.is_empty() { disks_of(host, &users) } else { named.into_iter().collect() };
        let initiators = Initiators::of(host);
        for disk in &looked_at {
            for finding in disks::look(&asker, disk, &guests, &initiators) {
                // A map has been asked already.
                if !findings.contains(&finding) {
                    findings.push(finding);
                }
            }
        }

        findings.extend(shared(host, &users));
        findings.extend(users.iter().flat_map(|guest| on_paths(host, guest)));
        findings.extend(users.iter().flat_map(|guest| policies(guest)));
        findings.extend(denials::look(host));
        let unseen = host.unseen();
        if !unseen.is_empty() {
            findings.push(Finding::NotSeen { what: unseen.join(", ") });
        }
        (units, findings)
    }
}

/// Whether a guest has been started with a helper, or has been given one since.
fn uses_reservations(guest: &Guest, snapshots: &[Snapshot]) -> bool {
    let mut connections = snapshots.iter().flat_map(|snapshot| &snapshot.connections);
    !guest.sockets.is_empty() || connections.any(|connection| connection.client.pid == Some(guest.pid))
}

/// What guests have open and can send reservation commands to.
fn disks_of(host: &Host, guests: &[&Guest]) -> BTreeSet<String> {
    let disks = guests.iter().flat_map(|guest| &guest.disks);
    disks.filter(|disk| luns::takes_scsi_commands(host, disk)).cloned().collect()
}

/// Logical units that several guests have.
fn shared(host: &Host, guests: &[&Guest]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut told = BTreeSet::new();
    for disk in disks_of(host, guests) {
        let lun = luns::lun(host, &disk);
        let users: Vec<&str> = guests
            .iter()
            .filter(|guest| guest.disks.iter().any(|other| luns::lun(host, other) == lun))
            .map(|guest| guest.name.as_str())
            .collect();
        if let [_, .., last] = users[..]
            && told.insert(lun)
        {
            let (disk, last) = (luns::node(host, &disk), last.to_owned());
            findings.push(Finding::SharedDisk { disk, guests: users.join(", "), last });
        }
    }
    findings
}

/// The paths of maps that a guest has instead of the map.
fn on_paths(host: &Host, guest: &Guest) -> Vec<Finding> {
    let finding = |disk: &String| {
        let map = host.attribute(&luns::map_over(host, disk)?, "dm/name")?;
        Some(Finding::GuestOnPath { guest: guest.name.clone(), path: luns::node(host, disk), map })
    };
    guest.disks.iter().filter_map(finding).collect()
}

/// The disks of a guest whose error policy stops it.
fn policies(guest: &Guest) -> Vec<Finding> {
    let finding = |drive: &guests::Drive| {
        let policy = drive.stops.clone().filter(|_| guest.may_stop_at_conflicts())?;
        Some(Finding::StopsAtConflicts { guest: guest.name.clone(), disk: drive.file.clone(), policy })
    };
    guest.drives.iter().filter_map(finding).collect()
}

/// A finding in words, and below it the command, in one line for those who copy it.
fn text(finding: &Finding, units: &str) -> String {
    let (severity, _) = finding.judged();
    let message = finding.to_string();
    let words = terminal::fold_behind(&format!("{}: ", severity.name()), &terminal::plain(&message));
    let mut text = format!("{words}\n");
    let _ = writeln!(text, "    {}", terminal::plain(&finding.mend(units)));
    text
}
