//! What the policy allows the package's domains, read from the kernel with `sesearch` and held against a short list.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};

use super::domain::{BROKER, HELPER};
use crate::host::command::sh;
use crate::report::Report;

/// The policy that is in force.
const POLICY: &str = "/sys/fs/selinux/policy";

/// One permission that a rule gives.
#[derive(Debug)]
struct Rule {
    target: String,
    class: String,
    permission: String,
}

/// Looks at both domains, and at who may be a client.
pub fn run(report: &mut Report) {
    for domain in [HELPER, BROKER] {
        report.check(&format!("what the policy allows {domain} is on the list, and nothing else"), || {
            let rules = rules(domain)?;
            ensure!(rules.len() > 50, "only {} permissions were found", rules.len());
            let beyond: BTreeSet<String> = rules.iter().filter(|rule| !is_listed(domain, rule)).map(show).collect();
            ensure!(beyond.is_empty(), "{}", beyond.into_iter().collect::<Vec<_>>().join(" | "));
            Ok(())
        });
    }
    report.check("that list does not have what another service may do", || {
        let rules = rules("lvm_t")?;
        let beyond = rules.iter().filter(|rule| !is_listed(BROKER, rule)).count();
        ensure!(beyond > 100, "only {beyond} permissions of lvm_t are not on it");
        Ok(())
    });
    report.check("a disk is only sent SCSI commands, and device-mapper what a map needs", || {
        for (domain, class, target, expected) in [
            (HELPER, "blk_file", "fixed_disk_device_t", "{ 0x2282 0x2285 }"),
            (HELPER, "chr_file", "scsi_generic_device_t", "{ 0x2282 0x2285 }"),
            (HELPER, "blk_file", "svirt_image_t", "{ 0x2282 0x2285 }"),
            (HELPER, "chr_file", "svirt_image_t", "{ 0x2282 0x2285 }"),
            (BROKER, "blk_file", "fixed_disk_device_t", "{ 0x2282 0x2285 }"),
            (BROKER, "blk_file", "svirt_image_t", "{ 0x2282 0x2285 }"),
            (BROKER, "chr_file", "lvm_control_t", "{ 0xfd06 0xfd0c 0xfd0e 0xfd10 }"),
        ] {
            let found = sh(&format!("sesearch --allowxperm -s {domain} -t {target} -c {class} -p ioctl {POLICY}"))?;
            let numbers = found.split_once(" ioctl ").map(|(_, numbers)| numbers.trim_end_matches(';').to_lowercase());
            ensure!(numbers.as_deref() == Some(expected), "{domain} on {target}: {found}");
        }
        Ok(())
    });
    report.check("guests and administrators may connect, and nobody who is confined otherwise", || {
        let found = sh(&format!("sesearch -A -t {HELPER} -c unix_stream_socket -p connectto {POLICY}"))?;
        let sources: BTreeSet<&str> = found.lines().filter_map(|line| line.split(' ').nth(1)).collect();
        ensure!(sources.contains("qemu_pr_client"), "guests may not: {found}");
        let known = ["qemu_pr_client", HELPER, "unconfined_domain_type", "kern_unconfined"];
        let beyond: Vec<_> = sources.iter().filter(|source| !known.contains(source)).collect();
        ensure!(beyond.is_empty(), "{beyond:?} may, too");
        let clients = sh(&format!("seinfo {POLICY} -a qemu_pr_client -x"))?;
        let clients: BTreeSet<&str> = clients.split_whitespace().filter(|word| word.ends_with("_t")).collect();
        // Debian's policy has no other domain for guests.
        ensure!(clients == BTreeSet::from(["svirt_t", "unconfined_t"]), "{clients:?}");
        Ok(())
    });
}

/// All that a domain may do, by itself and by what it has in common with others.
fn rules(domain: &str) -> Result<Vec<Rule>> {
    let found = sh(&format!("sesearch --allow -s {domain} {POLICY}"))?;
    let mut rules = Vec::new();
    for line in found.lines().filter(|line| line.starts_with("allow ")) {
        let (rule, _) = line.split_once(';').with_context(|| format!("a rule without an end: {line}"))?;
        let words: Vec<&str> = rule.split_whitespace().filter(|word| !["{", "}"].contains(word)).collect();
        let [_, _, object, ref permissions @ ..] = *words else { continue };
        let (target, class) = object.split_once(':').with_context(|| format!("a rule without a class: {line}"))?;
        rules.extend(permissions.iter().map(|permission| Rule {
            target: target.to_owned(),
            class: class.to_owned(),
            permission: (*permission).to_owned(),
        }));
    }
    Ok(rules)
}

fn show(rule: &Rule) -> String {
    format!("{}:{} {}", rule.target, rule.class, rule.permission)
}

/// Whether a permission is among those that SECURITY.md tells, or every program has it and it does no harm.
fn is_listed(domain: &str, rule: &Rule) -> bool {
    let (target, permission) = (rule.target.as_str(), rule.permission.as_str());
    let broker = domain == BROKER;
    let own = [domain, "self", "qemu_pr_domain"].contains(&target);
    let among = |list: &[&str]| list.contains(&target);
    let only = |list: &[&str]| list.contains(&permission);
    let looks = only(&["getattr", "ioctl", "lock", "open", "read", "search"]);
    let harmless = among(&["null_device_t", "zero_device_t", "devtty_t", "urandom_device_t"]);
    match rule.class.as_str() {
        "capability" => own && (permission == "sys_rawio" || (broker && permission == "sys_admin")),
        "process" if own => only(PROCESS),
        "process" => permission == "sigchld",
        "fd" => permission == "use",
        "dir" => {
            (looks && among(DIRECTORIES))
                || (among(&[if broker { "qemu_pr_broker_runtime_t" } else { "qemu_pr_helper_runtime_t" }])
                    && only(&["write", "add_name", "remove_name"]))
                || own
        }
        "lnk_file" => only(&["getattr", "read", "ioctl", "lock"]),
        "file" => {
            (looks && among(FILES))
                || (among(LIBRARIES) && only(&["map", "execute"]))
                || (target == "ld_so_cache_t" && permission == "map")
                || (target == "qemu_pr_helper_exec_t" && only(&["map", "execute", "entrypoint"]))
                || (broker
                    && target == "qemu_pr_broker_runtime_t"
                    && only(&["create", "write", "unlink", "rename", "map"]))
                || (own && only(&["append", "create", "link", "rename", "setattr", "unlink", "write"]))
                || (target == "textrel_shlib_t" && permission == "execmod")
        }
        "blk_file" => {
            among(&["fixed_disk_device_t", "svirt_image_t"])
                && (only(&["getattr", "read", "write", "ioctl"])
                    || (broker && target == "fixed_disk_device_t" && permission == "open"))
        }
        "chr_file" => {
            (harmless && (looks || only(&["write", "append"])))
                || (!broker
                    && among(&["scsi_generic_device_t", "svirt_image_t"])
                    && only(&["getattr", "read", "write", "ioctl"]))
                || (broker && target == "lvm_control_t" && (looks || permission == "write"))
        }
        "sock_file" => {
            only(&["getattr", "open", "append", "write"])
                && (among(MESSAGES) || among(if broker { MULTIPATHD } else { &["qemu_pr_broker_socket_t"] }))
                || (!broker && among(&["qemu_pr_helper_runtime_t", "qemu_pr_helper_socket_t"]))
        }
        "fifo_file" => among(&["qemu_pr_helper_t"]) || own,
        "unix_stream_socket" => match permission {
            "connectto" => (own && !broker) || target == "setrans_t" || (target == "lvm_t" && broker),
            _ => own || target == "init_t" || (broker && target == HELPER),
        },
        "unix_dgram_socket" => own || (permission == "sendto" && among(&["init_t", "syslogd_t"])),
        // Labels of networks, which matter to who has a socket of one.
        "peer" | "association" => only(&["recv", "recvfrom"]) || (own && permission == "sendto"),
        // No kernel asks for it any more (Linux 5.16).
        "lockdown" => own,
        "tcp_socket" => permission == "recvfrom",
        _ => false,
    }
}

/// What they do among their own processes.
const PROCESS: &[&str] =
    &["fork", "getattr", "getcap", "getsched", "setcap", "setrlimit", "sigchld", "sigkill", "signal", "signull"];

/// Directories that they look into: what every program may, sysfs, settings, and what udev knows; a client in /proc.
const DIRECTORIES: &[&str] = &[
    "device_t",
    "etc_t",
    "init_runtime_t",
    "lib_t",
    "proc_t",
    "qemu_pr_broker_runtime_t",
    "qemu_pr_client",
    "qemu_pr_helper_runtime_t",
    "root_t",
    "setrans_runtime_t",
    "sysctl_crypto_t",
    "sysctl_t",
    "sysfs_t",
    "syslogd_runtime_t",
    "tmp_t",
    "tmpfs_t",
    "udev_runtime_t",
    "usr_t",
    "var_run_t",
    "var_t",
];

/// Files that they read.
const FILES: &[&str] = &[
    "cpu_online_t",
    "etc_t",
    "ld_so_cache_t",
    "ld_so_t",
    "lib_t",
    "qemu_pr_broker_runtime_t",
    "qemu_pr_broker_t",
    "qemu_pr_client",
    "qemu_pr_domain",
    "qemu_pr_helper_exec_t",
    "qemu_pr_helper_t",
    "sysctl_crypto_t",
    "sysfs_t",
    "textrel_shlib_t",
    "udev_runtime_t",
];

/// Libraries.
const LIBRARIES: &[&str] = &["ld_so_t", "lib_t", "textrel_shlib_t"];

/// Where messages go: the journal, systemd, and the names of categories.
const MESSAGES: &[&str] =
    &["devlog_t", "init_runtime_t", "setrans_runtime_t", "syslogd_runtime_t", "systemd_runtime_notify_t"];

/// multipathd's socket, by who has made it.
const MULTIPATHD: &[&str] = &["lvm_runtime_t", "var_run_t"];
