//! Helpers as processes of the host.

use std::fs;

use anyhow::Result;

/// What everybody calls it: libvirt, its users' scripts, and those who look for it.
pub const NAME: &str = "qemu-pr-helper";

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// The name that `killall` and `pidof` know it by.
    pub name: String,
    /// Its command line.
    pub arguments: Vec<String>,
}

/// All processes of all helpers, whatever each one's name is.
pub fn all() -> Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // Processes come and go.
        let Ok(arguments) = fs::read_to_string(format!("/proc/{pid}/cmdline")) else { continue };
        let Ok(name) = fs::read_to_string(format!("/proc/{pid}/comm")) else { continue };
        let arguments: Vec<String> = arguments.split_terminator('\0').map(str::to_owned).collect();
        if arguments.first().is_some_and(|program| program.rsplit('/').next() == Some(NAME)) {
            found.push(Process { pid, name: name.trim_end().to_owned(), arguments });
        }
    }
    Ok(found)
}

/// The processes of the package's services.
pub fn of_services() -> Result<Vec<Process>> {
    let mut processes = all()?;
    let options = ["--broker", "--serve-broker"];
    processes.retain(|process| process.arguments.iter().any(|argument| options.contains(&argument.as_str())));
    Ok(processes)
}

/// The processes of the helper that libvirt started for a domain; those of that name first.
pub fn of_domain(domain: &str) -> Result<Vec<Process>> {
    let mut processes = all()?;
    processes.retain(|process| process.arguments.iter().any(|argument| argument.contains(&format!("-{domain}/"))));
    processes.sort_by_key(|process| process.name != NAME);
    Ok(processes)
}

/// No capability, as `/proc/PID/status` shows it.
pub const NO_CAPABILITY: &str = "0000000000000000";

/// What a security module holds a process to: a profile of `AppArmor`'s, or a context of SELinux'.
pub fn confinement(pid: u32) -> Result<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/attr/current"))?;
    Ok(text.trim_end_matches(['\0', '\n']).to_owned())
}

/// Lines of `/proc/PID/status`.
pub fn status(pid: u32, field: &str) -> Result<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    Ok(line.unwrap_or_default().trim().to_owned())
}
