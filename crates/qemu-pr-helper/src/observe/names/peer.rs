//! Who a process is, by what `/proc` tells everybody.

use std::fs;

use pr_control::Client;

use super::clean;

/// Program, unit and virtual machine of a process, as far as they can be found.
pub fn look_up(pid: u32) -> Client {
    if pid == 0 {
        return Client::default();
    }
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).ok();
    let text = |name: &str| read(name).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok().and_then(|path| clean(&path.to_string_lossy()));
    let unit = text("cgroup").and_then(|groups| unit(&groups));
    let arguments = text("cmdline").unwrap_or_default();
    let vm = unit.as_deref().and_then(vm_of_unit).or_else(|| vm_of_arguments(&arguments));
    Client {
        program: path.or_else(|| text("comm").and_then(|name| clean(&name))),
        vm: vm.and_then(|vm| clean(&vm)),
        unit: unit.and_then(|unit| clean(&unit)),
        ..Client::default()
    }
}

/// The path of a process' control group.
pub fn control_group(pid: u32) -> Option<String> {
    path(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?).map(str::to_owned)
}

fn path(groups: &str) -> Option<&str> {
    // The unified hierarchy, or the one that systemd keeps for itself beside the old ones.
    let line = groups.lines().find(|line| line.starts_with("0::") || line.contains(":name=systemd:"))?;
    line.splitn(3, ':').nth(2)
}

/// The innermost systemd unit of `/proc/PID/cgroup`, otherwise the control group itself.
fn unit(groups: &str) -> Option<String> {
    let path = path(groups)?;
    let is_unit = |part: &&str| [".service", ".scope"].iter().any(|kind| part.ends_with(kind));
    Some(path.rsplit('/').find(is_unit).unwrap_or(path).to_owned())
}

/// The machine in the name of a scope of systemd-machined's: `machine-qemu\x2d1\x2dweb1.scope` is libvirt's `web1`.
fn vm_of_unit(unit: &str) -> Option<String> {
    let name = unescape(unit.strip_prefix("machine-")?.strip_suffix(".scope")?);
    // libvirt puts its driver and the number of the domain in front.
    let rest = name.strip_prefix("qemu-")?;
    let (number, vm) = rest.split_once('-')?;
    number.parse::<u32>().ok().map(|_| vm.to_owned())
}

/// Undoes systemd's escapes: `\x2d` is a dash.
fn unescape(name: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = name;
    while let Some((before, escape)) = rest.split_once("\\x") {
        bytes.extend_from_slice(before.as_bytes());
        if let Some(byte) = escape.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            bytes.push(byte);
            rest = &escape[2..];
        } else {
            bytes.extend_from_slice(b"\\x");
            rest = escape;
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The machine that QEMU was started as: `-name guest=web1,debug-threads=on`, or `-name web1`.
fn vm_of_arguments(arguments: &str) -> Option<String> {
    let mut arguments = arguments.split('\0').skip(1);
    arguments.find(|argument| *argument == "-name" || *argument == "--name")?;
    let value = arguments.next()?;
    let guest = value.split(',').find_map(|part| part.strip_prefix("guest="));
    guest.or_else(|| value.split(',').next().filter(|first| !first.contains('='))).map(str::to_owned)
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_found_in_either_kind_of_hierarchy() {
        let rows = [
            ("0::/machine.slice/machine-qemu\\x2d1\\x2da.scope/libvirt/emulator\n", "machine-qemu\\x2d1\\x2da.scope"),
            ("12:cpu:/x\n1:name=systemd:/system.slice/foo.service\n", "foo.service"),
            ("0::/user.slice/user-0.slice/session-1.scope", "session-1.scope"),
            ("0::/kubepods/besteffort/pod1", "/kubepods/besteffort/pod1"),
            ("0::/", "/"),
        ];
        for (groups, wanted) in rows {
            assert_eq!(unit(groups).as_deref(), Some(wanted), "{groups}");
        }
        assert_eq!(unit(""), None);
    }

    #[test]
    fn libvirts_scope_names_the_machine_even_with_dashes_in_it() {
        assert_eq!(vm_of_unit("machine-qemu\\x2d12\\x2dweb\\x2d1.scope").as_deref(), Some("web-1"));
        assert_eq!(vm_of_unit("machine-lxc\\x2d12\\x2dweb.scope"), None);
        assert_eq!(vm_of_unit("foo.service"), None);
        assert_eq!(unescape("a\\xzz\\x2"), "a\\xzz\\x2");
    }

    #[test]
    fn qemus_arguments_name_the_machine() {
        let rows = [
            ("qemu\0-name\0guest=web1,debug-threads=on\0-S", Some("web1")),
            ("qemu\0-S\0-name\0web2", Some("web2")),
            ("qemu\0-name\0debug-threads=on", None),
            ("qemu\0-name", None),
            ("-name\0x", None),
        ];
        for (arguments, wanted) in rows {
            assert_eq!(vm_of_arguments(arguments).as_deref(), wanted, "{arguments:?}");
        }
    }

    #[test]
    fn this_process_has_a_program() {
        assert!(look_up(std::process::id()).program.is_some());
        assert_eq!(look_up(0), Client::default());
    }
}
