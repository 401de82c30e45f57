//! The systemd unit of a process, by the path of its control group.
//!
//! A process that may make control groups below its own calls them what it likes. The system's own manager makes every directory
//! of a path from the root down to the first service or scope, if all those before it are slices, and the first of them
//! is one where no other process makes any. So that one is the unit, and what is below it is the unit's own business. A
//! process anywhere else is in no unit. (`a_unit_is_what_the_systems_own_manager_made_and_nothing_else`)

use std::{fs, path::Path};

/// The slices whose units count: services of the system, and virtual machines.
pub const SLICES: [&str; 2] = ["machine.slice", "system.slice"];

/// The path of the control group of the process with this number; `None` if it is gone, or if it has not been there
/// since before `connected`: then it is another one that has the number now.
pub fn control_group(pid: u32, connected: u64) -> Option<String> {
    find(Path::new(&format!("/proc/{pid}")), connected)
}

fn find(process: &Path, connected: u64) -> Option<String> {
    let groups = fs::read_to_string(process.join("cgroup")).ok()?;
    // After that: as long as it lives the number is its own.
    if was_there(process, connected) { path(&groups).map(str::to_owned) } else { None }
}

/// Whether the process of this directory lives, and was there by then.
pub fn was_there(process: &Path, connected: u64) -> bool {
    fs::read(process.join("stat")).is_ok_and(|stat| birth(&stat).is_some_and(|born| born <= connected))
}

/// When a process started, in clock ticks since the system did, by its `/proc/PID/stat`; `None` if it has ended.
fn birth(stat: &[u8]) -> Option<u64> {
    // The process calls itself what it likes, between brackets.
    let name_ends = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(&stat[name_ends + 1..]).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    let has_ended = matches!(state, "Z" | "X" | "x");
    fields.nth(18)?.parse().ok().filter(|_| !has_ended)
}

/// The path of the control group by which systemd knows a process, from its `/proc/PID/cgroup`: in the unified
/// hierarchy, or in the one that systemd has for itself beside the old ones. Where there are both they have to agree,
/// unless all processes are at the root of one of them.
pub fn path(groups: &str) -> Option<&str> {
    let mut found = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(number), Some(name), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        if name != "name=systemd" && (number, name) != ("0", "") {
            continue;
        }
        match found {
            None | Some("/") => found = Some(path),
            Some(other) if path == "/" || path == other => {}
            Some(_) => return None,
        }
    }
    found
}

/// The unit of the system's manager in the path of a control group, with all that is above it.
pub fn unit(path: &str) -> Option<&str> {
    let mut parts = path.strip_prefix('/')?.split('/');
    let mut slice = parts.next().filter(|part| SLICES.contains(part))?.strip_suffix(".slice")?;
    let mut end = "/.slice".len() + slice.len();
    for part in parts {
        end += "/".len() + part.len();
        match part.strip_suffix(".slice") {
            // `a-b.slice` is in `a.slice`.
            Some(below) if below.strip_prefix(slice).is_some_and(|rest| rest.starts_with('-')) => slice = below,
            Some(_) => return None,
            None => return is_unit(part).then(|| &path[..end]),
        }
    }
    None
}

/// The unit's own name.
pub fn name(unit: &str) -> &str {
    unit.rsplit('/').next().unwrap_or(unit)
}

/// The innermost of the units that there are below a unit, as the process that made them calls them.
pub fn inner<'a>(path: &'a str, unit: &str) -> Option<&'a str> {
    path.strip_prefix(unit)?.rsplit('/').find(|part| is_unit(part))
}

fn is_unit(name: &str) -> bool {
    [".service", ".scope"].iter().any(|kind| name.strip_suffix(kind).is_some_and(|name| !name.is_empty()))
}

/// The virtual machine of a control group: libvirt's `web1` in `/machine.slice/machine-qemu\x2d1\x2dweb1.scope`, which
/// systemd-machined had made. There is none in a scope anywhere else.
pub fn vm(path: &str) -> Option<String> {
    let scope = unit(path)?.strip_prefix("/machine.slice/").filter(|scope| !scope.contains('/'))?;
    let name = unescape(scope.strip_prefix("machine-")?.strip_suffix(".scope")?);
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

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    const WEB: &str = r"/machine.slice/machine-qemu\x2d1\x2dweb.scope";

    #[test]
    fn the_fields_of_a_line_are_what_counts_and_not_what_is_in_a_path() {
        let rows = [
            (format!("0::{WEB}\n"), Some(WEB)),
            (format!("12:cpu,cpuacct:/x\n1:name=systemd:{WEB}\n"), Some(WEB)),
            // A control group of that name, in a hierarchy where a tenant may make them.
            (format!("10:cpu:/tenant/:name=systemd:{WEB}\n1:name=systemd:/docker/1\n"), Some("/docker/1")),
            (format!("10:cpu:/tenant/0::{WEB}\n1:name=systemd:/docker/1\n"), Some("/docker/1")),
            (format!("10:cpu:/tenant/:name=systemd:{WEB}\n"), None),
            (format!("3:name=other:{WEB}\n4::{WEB}\n10:0::{WEB}\n"), None),
            // Both kinds of hierarchies.
            (format!("1:name=systemd:{WEB}\n0::{WEB}\n"), Some(WEB)),
            (format!("1:name=systemd:{WEB}\n0::/\n"), Some(WEB)),
            (format!("1:name=systemd:/\n0::{WEB}\n"), Some(WEB)),
            (format!("1:name=systemd:/docker/1\n0::{WEB}\n"), None),
            ("1:name=systemd:/\n0::/\n".to_owned(), Some("/")),
            (String::new(), None),
            ("0:\n\n0\n".to_owned(), None),
        ];
        for (groups, wanted) in rows {
            assert_eq!(path(&groups), wanted, "{groups}");
        }
    }

    #[test]
    fn a_unit_is_the_first_one_below_slices_of_the_systems_manager() {
        let rows = [
            (WEB, Some(WEB)),
            (r"/machine.slice/machine-qemu\x2d1\x2dweb.scope/libvirt/emulator", Some(WEB)),
            ("/system.slice/foo.service", Some("/system.slice/foo.service")),
            (
                "/system.slice/system-a.slice/system-a-b.slice/a@1.service/x.scope",
                Some("/system.slice/system-a.slice/system-a-b.slice/a@1.service"),
            ),
            ("/system.slice/foo.service/machine.slice/web.scope", Some("/system.slice/foo.service")),
            ("/user.slice/user-1000.slice/user@1000.service/web.scope", None),
            ("/user.slice/user-1000.slice/session-1.scope", None),
            ("/lxc.payload.x/machine.slice/web.scope", None),
            ("/docker/1/web.scope", None),
            ("/kubepods.slice/x.scope", None),
            ("/machine.slice/tenant/web.scope", None),
            ("/machine.slice/tenant.slice/web.scope", None),
            ("/machine.slice/machine.slice/web.scope", None),
            ("/system.slice/system-a.slice/system-b.slice/web.scope", None),
            ("/system.slice/.scope/web.scope", None),
            ("/system.slice/web.scope (deleted)", None),
            ("/system.slice", None),
            ("/system.slice/", None),
            ("/system.slice//web.scope", None),
            ("//system.slice/web.scope", None),
            ("/../system.slice/web.scope", None),
            ("system.slice/web.scope", None),
            ("/web.scope", None),
            ("/init.scope", None),
            ("/", None),
            ("", None),
        ];
        for (path, wanted) in rows {
            assert_eq!(unit(path), wanted, "{path}");
        }
    }

    #[test]
    fn what_is_below_a_unit_is_told_apart_from_it() {
        let path = r"/system.slice/tenant.service/a.scope/machine-qemu\x2d1\x2dweb.scope/x";
        let own = unit(path).unwrap();
        assert_eq!((name(own), inner(path, own)), ("tenant.service", Some(r"machine-qemu\x2d1\x2dweb.scope")));
        assert_eq!(inner(WEB, unit(WEB).unwrap()), None);
    }

    #[test]
    fn only_a_scope_directly_below_machine_slice_names_a_virtual_machine() {
        let rows = [
            (WEB, Some("web")),
            (r"/machine.slice/machine-qemu\x2d12\x2dweb\x2d1.scope/libvirt/emulator", Some("web-1")),
            (r"/machine.slice/machine-lxc\x2d12\x2dweb.scope", None),
            (r"/machine.slice/machine-qemu\x2dx\x2dweb.scope", None),
            (r"/machine.slice/machine-qemu\x2d1\x2dweb.service", None),
            (r"/machine.slice/machine-tenant.slice/machine-qemu\x2d1\x2dweb.scope", None),
            (r"/machine.slice/machine-qemu\x2d1\x2da.slice/x.scope", None),
            (r"/machine.slice/machine-qemu-1-a.slice/x.scope", None),
            (r"/machine.slice/other.scope/machine-qemu\x2d1\x2dweb.scope", None),
            (r"/system.slice/machine-qemu\x2d1\x2dweb.scope", None),
            (r"/system.slice/a.service/machine.slice/machine-qemu\x2d1\x2dweb.scope", None),
            (r"/user.slice/machine-qemu\x2d1\x2dweb.scope", None),
            (r"/machine-qemu\x2d1\x2dweb.scope", None),
        ];
        for (path, wanted) in rows {
            assert_eq!(vm(path).as_deref(), wanted, "{path}");
        }
        assert_eq!(unescape("a\\xzz\\x2"), "a\\xzz\\x2");
    }

    #[test]
    fn a_number_that_has_become_another_process_is_nobodys() {
        let process = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(process.path().join(name), text).unwrap();
        let stat = |state: &str, born: u64| {
            let zeros = "0 ".repeat(18);
            // It may call itself anything.
            write("stat", &format!("7 (a) Z 1 2 ) {state} {zeros}{born} 0 0\n"));
        };
        write("cgroup", &format!("0::{WEB}\n"));
        stat("S", 5000);
        assert_eq!(find(process.path(), 5000).as_deref(), Some(WEB));
        assert_eq!(find(process.path(), 4999), None, "it has started since");
        stat("Z", 5000);
        assert_eq!(find(process.path(), 5000), None, "it has ended");
        write("stat", "7 (a) S 1\n");
        assert_eq!(find(process.path(), 5000), None);
        std::fs::remove_file(process.path().join("stat")).unwrap();
        assert_eq!(find(process.path(), 5000), None, "it is gone");
    }

    #[test]
    fn this_process_has_been_here_for_a_while() {
        let own = std::process::id();
        assert!(control_group(own, pr_sys::clock::ticks()).is_some());
        assert_eq!(control_group(own, 0), None);
    }
}
