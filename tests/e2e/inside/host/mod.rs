//! The host bed: an administrator's day. The package comes, systemd and libvirt use what it brought, the package goes.

mod apparmor;
mod busy;
pub mod command;
pub mod domain;
pub mod exporter;
mod guests;
mod package;
pub mod process;
mod restart;
mod unit;

use std::fs;

use anyhow::Result;

use crate::lun::Loopback;
use crate::report::{Report, remark};

/// Where the units listen, and every client looks first.
const SOCKET: &str = "/run/qemu-pr-helper.sock";

/// The unit's names.
const SERVICE: &str = "qemu-pr-helper.service";
const SOCKET_UNIT: &str = "qemu-pr-helper.socket";

/// The units of what multipath needs.
const BROKER: &str = "qemu-pr-broker@.service";
const BROKER_SOCKET: &str = "qemu-pr-broker.socket";

/// Runs it.
pub fn run(report: &mut Report, reference: bool) -> Result<()> {
    // Where LIO keeps registrations that are to persist.
    fs::create_dir_all("/var/target/pr")?;
    let luns = Loopback::set_up(2)?;
    let originals = package::Originals::read()?;
    let mut denied = 0;
    if reference {
        remark("skipped with Debian's helper: the package, its units, the multipath map, the audit log");
        unit::write_plain_units()?;
    } else {
        package::arrives(report, &originals);
        unit::run(report, &luns.lun(0)[0], luns.lun(1));
        exporter::run(report);
        denied = apparmor::run(report)?;
        package::leaves(report, &originals);
    }
    guests::run(report, luns.lun(0), &originals, reference)?;
    if !reference {
        apparmor::nothing_denied(report, denied);
        package::on_proxmox(report);
    }
    Ok(())
}
