//! What `AppArmor` lets the processes of both services do, and that they are in its profiles.

use std::fs;

use anyhow::{Result, ensure};

use super::command::{sh, try_sh};
use super::process::{self, NAME, Process};
use crate::report::Report;

/// The services' profiles, which are in one file.
const HELPER: &str = "qemu-pr-helper";
const BROKER: &str = "qemu-pr-broker";

/// What the kernel knows of profiles.
const LOADED: &str = "/sys/kernel/security/apparmor/profiles";

/// What a program in a profile must not do, with the name that begins so in the kernel's record of it. A socket has
/// another name before it has its mode.
const FORBIDDEN: [(&str, &str, &str); 3] = [
    (HELPER, "/usr/bin/qemu-pr-helper --config /etc/shadow --check-config", "/etc/shadow"),
    (HELPER, "/usr/bin/qemu-pr-helper -k /etc/forbidden.sock", "/etc/.forbidden.sock"),
    (BROKER, "cat /etc/shadow", "/etc/shadow"),
];

/// Insists that each of these processes is held to what it may do.
pub fn enforced(processes: &[Process]) -> Result<()> {
    ensure!(!processes.is_empty(), "there are no processes");
    for Process { pid, name, arguments } in processes {
        let own = if arguments.iter().any(|argument| argument == "--serve-broker") { BROKER } else { HELPER };
        let found = process::confinement(*pid)?;
        ensure!(found == format!("{own} (enforce)"), "{name} is {found}");
    }
    Ok(())
}

/// The profiles of the package that the kernel has.
pub fn loaded() -> Result<Vec<String>> {
    let all = fs::read_to_string(LOADED)?;
    Ok(all.lines().filter(|line| line.starts_with("qemu-pr-")).map(str::to_owned).collect())
}

/// What the kernel has kept processes in these profiles from.
fn denials() -> Result<Vec<String>> {
    let log = sh("journalctl --no-pager --output=cat _TRANSPORT=kernel + _TRANSPORT=audit")?;
    let ours = |line: &&str| line.contains("apparmor=\"DENIED\"") && line.contains("profile=\"qemu-pr-");
    Ok(log.lines().filter(ours).map(str::to_owned).collect())
}

/// After the services have done all that they do. Returns how much was denied then.
pub fn run(report: &mut Report) -> Result<usize> {
    report.check("each process of both services is in its AppArmor profile, enforced", || {
        ensure!(loaded()?.len() == 2, "the kernel has {:?}", loaded()?);
        enforced(&process::of_services()?)
    });
    nothing_denied(report, 0);
    for (profile, command, what) in FORBIDDEN {
        report.check(&format!("in the profile {profile}, {command} is denied and told"), || {
            let (succeeded, printed) = try_sh(&format!("timeout 60 aa-exec --profile={profile} -- {command}"))?;
            ensure!(!succeeded && printed.contains("Permission denied"), "it printed {printed}");
            let (of, name) = (format!("profile=\"{profile}\""), format!("name=\"{what}"));
            let told = denials()?;
            ensure!(told.iter().any(|line| line.contains(&of) && line.contains(&name)), "the log has {told:?}");
            Ok(())
        });
    }
    Ok(denials()?.len())
}

/// What was done since so much was denied needed nothing that the profiles lack.
pub fn nothing_denied(report: &mut Report, before: usize) {
    report.check("AppArmor has denied the services nothing", || {
        let denied = denials()?.split_off(before);
        ensure!(denied.is_empty(), "{}", denied.join("; "));
        Ok(())
    });
}

/// libvirt's profile starts other programs outside of it, in a profile that fits their path: the package has none.
pub fn managed_helper_is_as_libvirt_made_it(domain: &str) -> Result<()> {
    let helpers = process::of_domain(domain)?;
    ensure!(helpers.first().is_some_and(|helper| helper.name == NAME), "the helpers are {helpers:?}");
    for Process { pid, name, .. } in helpers {
        let found = process::confinement(pid)?;
        ensure!(found == "unconfined", "{name} is {found}");
    }
    Ok(())
}
