//! What `AppArmor` and SELinux have denied the helper, or QEMU on its way to it, during the last day.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{ErrorKind, Read as _, Seek as _, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    finding::Finding,
    host::{Host, is_denied},
};

/// As much of a log as is read.
const MAX_LOG: usize = 16 << 20;

/// What is older has been mended, or nobody minds.
const RECENT: Duration = Duration::from_secs(24 * 60 * 60);

/// The denials, each once.
pub fn look(host: &Host) -> Vec<Finding> {
    let mut told = BTreeSet::new();
    let log = kernel_log(host) + &audit_log(host);
    let mut findings = Vec::new();
    for line in log.lines().filter(|line| concerns_us(line) && is_recent(line)) {
        if let Some(finding) = denial(line)
            && told.insert(finding.to_string())
        {
            findings.push(finding);
        }
    }
    findings
}

/// The kernel's log: from the journal, or from the kernel itself.
fn kernel_log(host: &Host) -> String {
    let arguments =
        ["--quiet", "--no-pager", "--boot", "--output=cat", "--lines=20000", "_TRANSPORT=kernel", "_TRANSPORT=audit"];
    let journal = host.has_systemd().then(|| host.output("journalctl", &arguments)).flatten();
    journal.filter(|journal| !journal.is_empty()).unwrap_or_else(|| messages(host))
}

/// `/dev/kmsg`: each read is a record, and the end is that there is none now.
fn messages(host: &Host) -> String {
    let mut options = File::options();
    let mut log = Vec::new();
    match options.read(true).custom_flags(libc::O_NONBLOCK).open(host.path("/dev/kmsg")) {
        Err(error) if is_denied(&error) => host.could_not_see("the kernel's log"),
        Err(_) => {}
        Ok(mut file) => {
            let mut record = vec![0; 8192];
            while log.len() < MAX_LOG {
                match file.read(&mut record) {
                    Ok(0) => break,
                    Ok(length) => log.extend_from_slice(&record[..length]),
                    // The oldest record has been overwritten, and the next one comes.
                    Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted) => {}
                    Err(error) => {
                        if is_denied(&error) {
                            host.could_not_see("the kernel's log");
                        }
                        break;
                    }
                }
            }
        }
    }
    String::from_utf8_lossy(&log).into_owned()
}

/// The end of auditd's log: where it runs the kernel's has nothing of this.
fn audit_log(host: &Host) -> String {
    let mut log = Vec::new();
    match File::open(host.path("/var/log/audit/audit.log")) {
        Err(error) if is_denied(&error) => host.could_not_see("the log of auditd"),
        Err(_) => {}
        Ok(mut file) => {
            let length = file.metadata().map_or(0, |file| file.len());
            let limit = u64::try_from(MAX_LOG).unwrap_or(u64::MAX);
            let _ = file.seek(SeekFrom::Start(length.saturating_sub(limit)));
            let _ = file.take(limit).read_to_end(&mut log);
        }
    }
    String::from_utf8_lossy(&log).into_owned()
}

/// Whether a record names the helper, one of its processes, or its socket.
fn concerns_us(line: &str) -> bool {
    ["qemu-pr-", "pr-helper"].iter().any(|name| line.contains(name))
}

/// The record's own time: seconds since the Unix epoch.
fn is_recent(line: &str) -> bool {
    let time = line.split_once("audit(").and_then(|(_, rest)| rest.split_once('.')?.0.parse().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    time.is_none_or(|time| now.saturating_sub(Duration::from_secs(time)) < RECENT)
}

fn denial(line: &str) -> Option<Finding> {
    let field = |name: &str| {
        let (_, rest) = line.split_once(&format!(" {name}="))?;
        let value = match rest.strip_prefix('"') {
            Some(rest) => rest.split('"').next(),
            None => rest.split_whitespace().next(),
        };
        value.map(str::to_owned)
    };
    let any = |names: &[&str]| names.iter().find_map(|name| field(name)).unwrap_or_else(|| "?".to_owned());
    let (program, object) = (any(&["comm", "exe"]), any(&["name", "path", "peer_addr", "addr", "capname", "tclass"]));
    if line.contains("apparmor=\"DENIED\"") {
        let (action, by) = (any(&["operation"]), any(&["profile"]));
        return Some(Finding::AppArmorDenies { program, action, object, by });
    }
    let (_, rest) = line.split_once("avc:").filter(|(_, rest)| rest.trim_start().starts_with("denied"))?;
    let action = rest.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    let action = action.map_or("?", |(action, _)| action.trim()).to_owned();
    Some(Finding::SelinuxDenies { program, action, object, by: any(&["scontext"]) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denials_are_read_from_the_kernels_words() {
        let line = "5,1,2,-;audit: type=1400 audit(9999999999.123:45): apparmor=\"DENIED\" operation=\"connect\" \
                    profile=\"libvirt-1\" name=\"/run/qemu-pr-helper.sock\" pid=7 comm=\"qemu-system-x86\" \
                    requested_mask=\"wr\" denied_mask=\"wr\" fsuid=64055 ouid=0";
        assert!(concerns_us(line) && is_recent(line));
        assert_eq!(
            denial(line).expect("a denial").to_string(),
            "AppArmor denies qemu-system-x86 'connect' on /run/qemu-pr-helper.sock (profile libvirt-1)"
        );
        let line = "type=AVC msg=audit(9999999999.5:6): avc:  denied  { connectto } for  pid=7 comm=\"qemu-pr-broker\" \
                    path=\"/run/multipathd.socket\" scontext=system_u:system_r:virtd_t:s0 tcontext=x tclass=unix_stream_socket";
        assert_eq!(
            denial(line).expect("a denial").to_string(),
            "SELinux denies qemu-pr-broker 'connectto' on /run/multipathd.socket (system_u:system_r:virtd_t:s0)"
        );
        assert_eq!(denial("audit: avc:  granted  { load_policy } for comm=\"qemu-pr-helper\""), None);
        assert!(!is_recent("audit(1000000000.5:6)") && is_recent("nothing of a time"));
    }
}
