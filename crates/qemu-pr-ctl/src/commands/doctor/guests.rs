//! Virtual machines, as the processes of QEMU tell by their command lines and open files. Anybody can name a process as
//! they like: this is good enough for a report, and for nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
};

use serde_json::Value;

use super::host::{Host, is_denied};

/// From this release on QEMU tells the guest of a RESERVATION CONFLICT whatever the error policy says.
const REPORTS_CONFLICTS: (u32, u32) = (9, 1);

/// What only root can look at.
pub const OPEN_FILES: &str = "the open files of virtual machines";

/// A running virtual machine.
#[derive(Debug, Default)]
pub struct Guest {
    pub pid: u32,
    /// The name that it was started with, or that of its process.
    pub name: String,
    pub user: u32,
    pub groups: Vec<u32>,
    /// The sockets of the helpers that it was started with.
    pub sockets: BTreeSet<String>,
    /// The disks that it was started with and that have a helper.
    pub drives: Vec<Drive>,
    /// The kernel's names of the block devices that it has open.
    pub disks: BTreeSet<String>,
    /// The version of its machine type, which QEMU's own is not older than.
    machine: Option<(u32, u32)>,
}

/// A disk that goes through a helper.
#[derive(Debug, PartialEq, Eq)]
pub struct Drive {
    /// The file that QEMU opens for it.
    pub file: String,
    /// What QEMU does about errors, where it is told: `write error stop` for example.
    pub stops: Option<String>,
}

impl Guest {
    /// Whether a reservation conflict can stop it.
    pub fn may_stop_at_conflicts(&self) -> bool {
        self.machine.is_none_or(|version| version < REPORTS_CONFLICTS)
    }
}

/// The virtual machines that run.
pub fn find(host: &Host) -> Vec<Guest> {
    let processes = host.names("/proc");
    processes.iter().filter_map(|name| guest(host, name.parse().ok()?)).collect()
}

fn guest(host: &Host, pid: u32) -> Option<Guest> {
    let line = fs::read(host.path(format!("/proc/{pid}/cmdline"))).ok()?;
    let words: Vec<String> =
        line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let program = Path::new(words.first()?).file_name()?.to_str()?;
    if !(program.starts_with("qemu-system-") || program == "qemu-kvm" || program == "kvm") {
        return None;
    }
    let mut guest = from_command_line(&words);
    guest.pid = pid;
    if guest.name.is_empty() {
        guest.name = format!("{program}[{pid}]");
    }
    let status = host.text(format!("/proc/{pid}/status")).unwrap_or_default();
    let numbers = |name: &str| -> Vec<u32> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().filter_map(|number| number.parse().ok()).collect()
    };
    // The second number is the effective one.
    guest.user = numbers("Uid:").get(1).copied().unwrap_or_default();
    guest.groups = numbers("Gid:").get(1).copied().into_iter().chain(numbers("Groups:")).collect();
    guest.disks = disks(host, pid);
    Some(guest)
}

/// The block devices that a process has open.
fn disks(host: &Host, pid: u32) -> BTreeSet<String> {
    let directory = format!("/proc/{pid}/fd");
    let descriptors = host.list(&directory).unwrap_or_else(|error| {
        if is_denied(&error) {
            host.could_not_see(OPEN_FILES);
        }
        Vec::new()
    });
    descriptors.iter().filter_map(|descriptor| open_disk(host, &host.path(&directory).join(descriptor))).collect()
}

fn open_disk(host: &Host, descriptor: &Path) -> Option<String> {
    match fs::metadata(descriptor) {
        // In a container it may have any name.
        Ok(file) if file.file_type().is_block_device() => host.block_device(file.rdev()),
        _ => {
            let link = host.shown(&fs::read_link(descriptor).ok()?);
            host.disk_at(link.starts_with("/dev").then_some(&link)?)
        }
    }
}

/// The value of an option, be it `driver,name=value` or JSON, flat: `file.filename`.
type Values = BTreeMap<String, String>;

fn from_command_line(words: &[String]) -> Guest {
    let mut guest = Guest::default();
    let (mut managers, mut nodes, mut devices) = (Values::new(), BTreeMap::new(), Vec::new());
    for pair in words.windows(2) {
        let [option, value] = pair else { continue };
        match option.strip_prefix('-').map(|option| option.trim_start_matches('-')).unwrap_or_default() {
            "name" => guest.name = values(value, "guest").remove("guest").unwrap_or_default(),
            "machine" | "M" => guest.machine = values(value, "type").get("type").and_then(|name| version(name)),
            "object" => {
                let mut object = values(value, "qom-type");
                if object.get("qom-type").is_some_and(|kind| kind == "pr-manager-helper")
                    && let (Some(id), Some(path)) = (object.remove("id"), object.remove("path"))
                {
                    managers.insert(id, path);
                }
            }
            "blockdev" | "drive" => {
                let node = values(value, "driver");
                if let Some(name) = node.get("node-name").or_else(|| node.get("id")) {
                    nodes.insert(name.clone(), node);
                }
            }
            "device" => devices.push(values(value, "driver")),
            _ => {}
        }
    }
    guest.drives = devices.iter().filter_map(|device| drive(device, &nodes)).collect();
    guest.sockets = managers.into_values().collect();
    guest
}

/// The disk that a device of the guest stands for, if it has a helper.
fn drive(device: &Values, nodes: &BTreeMap<String, Values>) -> Option<Drive> {
    let mut node = nodes.get(device.get("drive")?)?;
    let policy = |name: &str| device.get(name).or_else(|| node.get(name)).filter(|policy| *policy == "stop").cloned();
    let (writes, reads) = (policy("werror"), policy("rerror"));
    let stops = match (writes, reads) {
        (Some(_), Some(_)) => Some("werror=stop, rerror=stop"),
        (Some(_), None) => Some("werror=stop"),
        (None, Some(_)) => Some("rerror=stop"),
        (None, None) => None,
    };
    // A format, a filter, the file: no disk has more of them on top of each other.
    for _ in 0..8 {
        let of = |name: &str| node.get(name).or_else(|| node.get(&format!("file.{name}")));
        if of("pr-manager").is_some() {
            let file = of("filename").or_else(|| node.get("file"))?.clone();
            return Some(Drive { file, stops: stops.map(str::to_owned) });
        }
        node = nodes.get(node.get("file")?)?;
    }
    None
}

/// Takes an option's value apart. The first word may go without its name.
fn values(text: &str, first: &str) -> Values {
    let mut values = Values::new();
    if text.starts_with('{') {
        flatten("", &serde_json::from_str(text).unwrap_or_default(), &mut values);
        return values;
    }
    // A comma within a value is doubled.
    let text = text.replace(",,", "\0");
    for (index, word) in text.split(',').enumerate() {
        let (name, value) = match word.split_once('=') {
            Some(pair) => pair,
            None if index == 0 => (first, word),
            None => (word, "on"),
        };
        values.insert(name.to_owned(), value.replace('\0', ","));
    }
    values
}

fn flatten(name: &str, value: &Value, values: &mut Values) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let name = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
                flatten(&name, value, values);
            }
        }
        Value::String(text) => drop(values.insert(name.to_owned(), text.clone())),
        value => drop(values.insert(name.to_owned(), value.to_string())),
    }
}

/// The version at the end of a machine type: `pc-q35-9.1`.
fn version(machine: &str) -> Option<(u32, u32)> {
    let (major, minor) = machine.rsplit('-').next()?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(line: &[&str]) -> Guest {
        from_command_line(&line.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_guest_of_libvirt_is_understood() {
        let guest = started(&[
            "/usr/bin/qemu-system-x86_64",
            "-name",
            "guest=web1,debug-threads=on",
            "-machine",
            "pc-q35-7.2,usb=off",
            "-object",
            r#"{"qom-type":"pr-manager-helper","id":"pr-helper0","path":"/run/qemu-pr-helper.sock"}"#,
            "-blockdev",
            r#"{"driver":"host_device","filename":"/dev/sdb","pr-manager":"pr-helper0","node-name":"libvirt-1-storage"}"#,
            "-blockdev",
            r#"{"node-name":"libvirt-1-format","driver":"raw","file":"libvirt-1-storage"}"#,
            "-device",
            r#"{"driver":"scsi-block","bus":"scsi0.0","drive":"libvirt-1-format","id":"scsi0-0-0-0","werror":"stop"}"#,
        ]);
        assert_eq!((guest.name.as_str(), guest.may_stop_at_conflicts()), ("web1", true));
        assert!(guest.sockets.iter().eq(["/run/qemu-pr-helper.sock"]));
        assert_eq!(guest.drives, [Drive { file: "/dev/sdb".into(), stops: Some("werror=stop".into()) }]);
    }

    #[test]
    fn so_is_one_that_was_started_by_hand() {
        let guest = started(&[
            "qemu-system-x86_64",
            "-M",
            "q35",
            "-object",
            "pr-manager-helper,id=helper,path=/run/a,,b.sock",
            "-drive",
            "if=none,id=disk,file=/dev/sdc,file.pr-manager=helper,rerror=stop,werror=report",
            "-device",
            "scsi-block,drive=disk",
            "-drive",
            "if=none,id=other,file=/dev/sdd",
            "-device",
            "scsi-block,drive=other",
        ]);
        assert!(guest.sockets.iter().eq(["/run/a,b.sock"]) && guest.may_stop_at_conflicts());
        assert_eq!(guest.drives, [Drive { file: "/dev/sdc".into(), stops: Some("rerror=stop".into()) }]);
    }

    #[test]
    fn a_newer_qemu_reports_conflicts() {
        for (machine, may_stop) in
            [("pc-q35-9.0", true), ("pc-q35-9.1", false), ("type=pc-i440fx-10.2", false), ("pc-q35-rhel9.4.0", true)]
        {
            assert_eq!(started(&["qemu", "-machine", machine]).may_stop_at_conflicts(), may_stop, "{machine}");
        }
    }
}
