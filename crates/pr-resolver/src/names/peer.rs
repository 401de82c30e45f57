//! Who a process is, by what `/proc` tells everybody and the process cannot make slow: not its command line, which the
//! kernel reads from the process' own memory, and where it says what it likes.

use std::{fs, path::Path};

use pr_control::Client;

use crate::{text::clean, unit};

/// Program, unit and virtual machine of a process, as far as they can be found; nothing of one that was not there by then.
pub fn look_up(pid: u32, connected: u64) -> Client {
    let process = format!("/proc/{pid}");
    let process = Path::new(&process);
    let client = if pid == 0 { Client::default() } else { find(process) };
    // After all that has been read: as long as it lives the number is its own.
    if unit::was_there(process, connected) { client } else { Client::default() }
}

fn find(process: &Path) -> Client {
    let text = |name: &str| fs::read(process.join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).ok();
    let program = fs::read_link(process.join("exe")).ok().and_then(|path| clean(&path.to_string_lossy()));
    let program = program.or_else(|| text("comm").and_then(|name| clean(&name)));
    let groups = text("cgroup").unwrap_or_default();
    let Some(path) = unit::path(&groups) else { return Client { program, ..Client::default() } };
    // In no unit that the system's manager made, all of the path is told: the outer part is not the process' choice.
    let own = unit::unit(path);
    Client {
        program,
        unit: clean(own.map_or(path, unit::name)),
        inner_unit: own.and_then(|own| unit::inner(path, own)).and_then(clean),
        vm: unit::vm(path).and_then(|vm| clean(&vm)),
        ..Client::default()
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn a_client_is_named_without_reading_what_it_can_make_slow() {
        let process = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(process.path().join(name), text).unwrap();
        write("comm", "qemu-system-x86\n");
        for slow in ["cmdline", "environ", "maps"] {
            // Opening one of these waits for ever.
            mknodat(CWD, process.path().join(slow), FileType::Fifo, Mode::RUSR, 0).unwrap();
        }
        let client = |groups: &str| {
            write("cgroup", groups);
            find(process.path())
        };
        let web = client("0::/machine.slice/machine-qemu\\x2d1\\x2dweb.scope/libvirt/emulator\n");
        let told = |name: &Option<String>| name.clone().unwrap_or_default();
        assert_eq!(told(&web.program), "qemu-system-x86");
        assert_eq!((told(&web.vm), told(&web.unit)), ("web".into(), "machine-qemu\\x2d1\\x2dweb.scope".into()));
        let inner = client("0::/system.slice/a.service/machine-qemu\\x2d1\\x2dweb.scope/x\n");
        assert_eq!((told(&inner.unit), inner.vm), ("a.service".into(), None));
        assert_eq!(told(&inner.inner_unit), "machine-qemu\\x2d1\\x2dweb.scope");
        let user = client("0::/user.slice/user-1.slice/user@1.service/machine-qemu\\x2d1\\x2dweb.scope\n");
        assert_eq!(told(&user.unit), "/user.slice/user-1.slice/user@1.service/machine-qemu\\x2d1\\x2dweb.scope");
        assert_eq!((user.vm, user.inner_unit), (None, None));
        assert_eq!(client("").unit, None);
    }

    #[test]
    fn this_process_has_a_program() {
        let now = pr_sys::clock::ticks();
        assert!(look_up(std::process::id(), now).program.is_some());
        assert_eq!(look_up(0, now), Client::default());
        assert_eq!(
            look_up(std::process::id(), 0),
            Client::default(),
            "a process that has the number since is another one"
        );
    }
}
