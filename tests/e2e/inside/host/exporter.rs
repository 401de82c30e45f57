//! The exporter's unit: nobody has it who did not ask for it, and what it may do.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::command::{property, sh};
use super::process::{NO_CAPABILITY, status};
use super::unit::exposure;
use crate::report::Report;
use crate::wait;

/// Its name.
const EXPORTER: &str = "qemu-pr-exporter.service";

/// Where it listens.
const ADDRESS: &str = "127.0.0.1:9437";

/// What `systemd-analyze security` may say at most. What keeps it from less stands in the unit, line by line.
const EXPOSURE: f64 = 1.0;

const PATIENCE: Duration = Duration::from_secs(60);

/// Tries the package's unit beside the helper's, which runs.
pub fn run(report: &mut Report) {
    report.check("the exporter is not there unless somebody asks for it", || {
        let (enabled, active) = (property(EXPORTER, "UnitFileState")?, property(EXPORTER, "ActiveState")?);
        ensure!(enabled == "disabled" && active == "inactive", "it is {enabled} and {active}");
        Ok(())
    });
    report.check("systemd finds no fault with the exporter's unit", || {
        let complaints = sh(&format!("systemd-analyze verify --man=no {EXPORTER} 2>&1"))?;
        ensure!(complaints.is_empty(), "{complaints}");
        Ok(())
    });
    report.check("once switched on it tells of the helper", || {
        sh(&format!("systemctl enable --now {EXPORTER}"))?;
        wait::until("metrics", PATIENCE, || Ok(page().ok().filter(|page| page.contains("\nqemu_pr_helper_up 1\n"))))?;
        Ok(())
    });
    report.check("it has no right but to ask", rights);
    report.check(&format!("its exposure is at most {EXPOSURE}"), || exposure(EXPORTER, EXPOSURE));
    report.check("it outlives a restart of the helper, and tells when there is none", || {
        sh("systemctl stop qemu-pr-helper.socket qemu-pr-helper.service")?;
        wait::until("no helper", PATIENCE, || Ok(page().ok().filter(|page| page.contains("\nqemu_pr_helper_up 0\n"))))?;
        sh("systemctl start qemu-pr-helper.socket qemu-pr-helper.service")?;
        wait::until("a helper", PATIENCE, || Ok(page().ok().filter(|page| page.contains("\nqemu_pr_helper_up 1\n"))))?;
        Ok(())
    });
    report.check("it goes again", || sh(&format!("systemctl disable --now {EXPORTER}")).map(drop));
}

/// What Prometheus would get.
pub fn page() -> Result<String> {
    let mut stream = TcpStream::connect(ADDRESS)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

/// No user that exists without it, one group, no capability to be had.
fn rights() -> Result<()> {
    let pid: u32 = property(EXPORTER, "MainPID")?.parse()?;
    for (field, due) in [
        ("CapPrm", NO_CAPABILITY),
        ("CapBnd", NO_CAPABILITY),
        ("CapAmb", NO_CAPABILITY),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        let found = status(pid, field)?;
        ensure!(found == due, "{field} is {found}");
    }
    let user: u32 = status(pid, "Uid")?.split_whitespace().next().context("no user")?.parse()?;
    // Dynamic users have these numbers (systemd's "Users, Groups, UIDs and GIDs").
    ensure!((61184..=65519).contains(&user), "it runs as {user}");
    let (own, groups) = (sh("getent group qemu-pr-helper | cut -d: -f3")?, status(pid, "Groups")?);
    let others = groups.split_whitespace().filter(|group| *group != user.to_string());
    ensure!(others.eq([own.as_str()]), "its groups are {groups}");
    Ok(())
}
