//! What clients do to the names of processes, units and disks.

use std::{
    os::fd::AsFd,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use pr_control::{Client, Control, Told};
use pr_lab::{Cgroup, keys, prelude::*};
use rustix::process::Signal;

use crate::ours;

/// A user of the machine, who is nobody to the helper.
const USER: u32 = 2001;

/// What decides and cannot be asked ends the program after a while; much longer than that.
const LONG: Duration = Duration::from_secs(90);

fn launch(bed: &Bed, settings: &str) -> Launch {
    bed.launch_with(settings).device(|_| Answer::good(&[0; 8]).into())
}

/// The process that finds out what rules need.
fn resolver(helper: &Helper) -> Process {
    helper.child("qemu-pr-resolve")
}

fn clear(client: &Raw) -> Reply {
    client.pr_out(null(), 3, &keys(1, 0))
}

#[track_caller]
fn expect_denied(reply: &Reply) {
    reply.expect_check(0x5, 0x20, 0x02);
}

/// Allows what fits this unit, and nothing else.
fn allowing(unit: &str) -> String {
    format!("default = \"deny\"\n[[rule]]\nname = \"the rule\"\nunit = ['{unit}']\n")
}

/// Denies what fits this unit, and nothing else.
fn denying(unit: &str) -> String {
    format!("[[rule]]\nname = \"the rule\"\nunit = ['{unit}']\ndecision = \"deny\"\n")
}

/// A control group that no other test has: `%` is a number.
fn group(path: &str) -> Cgroup {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let own = format!("{}{:02}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
    Cgroup::new(&path.replace('%', &own))
}

/// Libvirt's machine `web`, and what libvirt makes in it.
const WEB: &str = r"/machine.slice/machine-qemu\x2d%\x2dweb.scope/libvirt/emulator";

#[test]
fn a_stuck_names_process_keeps_no_rule_from_deciding() {
    ours(|bed| {
        let web = group(WEB);
        for settings in [allowing("machine-qemu*web.scope"), "default = \"deny\"\n[[rule]]\ndevice = ['null']\n".into()]
        {
            let helper = launch(bed, &settings).start();
            // As one is that reads what a client makes slow for it.
            helper.child("qemu-pr-names").signal(Signal::STOP);
            let client = web.around(|| Stranger::greeted(helper.socket(), USER, USER));
            for _ in 0..5 {
                clear(client.client()).expect_bare(0);
            }
            assert_eq!(bed.refusals("no-names"), 0);
            helper.child("qemu-pr-names").signal(Signal::CONT);
        }
    });
}

#[test]
fn a_resolver_that_dies_ends_the_helper_with_an_error() {
    ours(|bed| {
        let helper = launch(bed, &allowing("*")).start();
        resolver(&helper).signal(Signal::KILL);
        let end = helper.finish();
        assert_eq!(end.code(), 1, "{}", end.stderr);
        assert!(end.stderr.contains("the resolver has exited"), "{}", end.stderr);
        assert!(!bed.socket().exists(), "it cleans up");
    });
}

#[test]
fn a_resolver_that_hangs_is_told_and_ends_the_helper_in_the_end() {
    ours(|bed| {
        let helper = launch(bed, &allowing("*")).start();
        let resolver = resolver(&helper);
        resolver.signal(Signal::STOP);
        let client = helper.connect();
        expect_denied(&clear(&client));
        assert_eq!(bed.refusals("no-names"), 1);
        helper.await_stderr("the rule \"the rule\" needs the client's unit");
        // Whoever asks on is refused, but not for ever.
        let ended = within(LONG, || {
            _ = client.try_send_with(&Raw::cdb_in(0, 8), &[null().as_fd()]);
            helper.ends_within(Duration::from_secs(1))
        });
        assert!(ended, "it refuses for ever; it says {}", helper.stderr());
        let end = helper.finish();
        assert_eq!(end.code(), 1, "{}", end.stderr);
        assert!(end.stderr.contains("the resolver has not answered"), "{}", end.stderr);
        resolver.signal(Signal::KILL);
    });
}

#[test]
fn a_names_process_that_dies_is_told_at_once_and_the_helper_serves_on() {
    ours(|bed| {
        let helper = launch(bed, "").start();
        assert_eq!(bed.control().snapshot().expect("an answer").totals.without_names, 0);
        helper.child("qemu-pr-names").signal(Signal::KILL);
        helper.await_stderr("the name lookup process has exited");
        assert_eq!(bed.control().snapshot().expect("an answer").totals.without_names, 1);
        clear(&helper.connect()).expect_bare(0);
        assert_eq!(helper.end(Signal::TERM).code(), 0);
    });
}

/// Whether a process in a control group with this path may do what a rule allows its unit.
fn is_allowed(bed: &Bed, path: &str, settings: &str) -> bool {
    let group = group(path);
    let helper = launch(bed, settings).start();
    let client = group.around(|| Stranger::greeted(helper.socket(), USER, USER));
    let reply = clear(client.client());
    if reply.status != 0 {
        expect_denied(&reply);
    }
    reply.status == 0
}

/// Where a process can have a control group of this name without being what the name says.
const IMPOSTORS: [&str; 5] = [
    // What root in a container makes, where nothing around it is systemd's: Incus, Docker with cgroupfs.
    r"/lxc.payload.%/machine.slice/machine-qemu\x2d1\x2dweb.scope",
    r"/docker/%/machine-qemu\x2d1\x2dweb.scope",
    // What a user makes.
    r"/user.slice/user-1000.slice/user@1000.service/app.slice/machine-qemu\x2d1\x2dweb%.scope",
    r"/system.slice/tenant-%.service/machine-qemu\x2d1\x2dweb.scope",
    // A unit's folder is not below a folder that is none.
    r"/machine.slice/tenant%/machine-qemu\x2d1\x2dweb.scope",
];

#[test]
fn a_unit_is_what_the_systems_own_manager_made_and_nothing_else() {
    ours(|bed| {
        assert!(is_allowed(bed, WEB, &allowing("machine-qemu*web.scope")));
        assert!(is_allowed(bed, WEB, &allowing("/machine.slice/machine-qemu*web.scope")));
        assert!(is_allowed(bed, "/system.slice/system-qemu.slice/qemu@%.service/x", &allowing("qemu@*.service")));
        for path in IMPOSTORS {
            assert!(!is_allowed(bed, path, &allowing("machine-qemu*web*.scope")), "{path}");
        }
    });
}

#[test]
fn a_process_in_no_unit_of_the_systems_manager_is_not_allowed_by_a_rule_that_would_deny_its_unit() {
    ours(|bed| {
        assert!(!is_allowed(bed, WEB, &denying("machine-qemu*web.scope")));
        assert!(is_allowed(bed, WEB, &denying("machine-qemu*db.scope")));
        for path in [IMPOSTORS[0], IMPOSTORS[2]] {
            assert!(!is_allowed(bed, path, &denying("machine-qemu*db.scope")), "{path}");
        }
    });
}

#[test]
fn a_star_crosses_no_slash_and_nothing_below_a_unit_is_compared() {
    ours(|bed| {
        // All that is below the unit is the unit's own to name.
        let path = r"/system.slice/tenant-%.service/machine.slice/machine-qemu\x2d1\x2dweb.scope";
        assert!(!is_allowed(bed, path, &allowing("/system.slice/*/machine-qemu*web.scope")));
        assert!(!is_allowed(bed, path, &allowing("/system.slice/*.scope")));
        // Such a pattern fits any group of this name.
        launch(bed, &allowing("*/libvirt/emulator")).run().expect_refusal(&["*/libvirt/emulator", "/machine.slice/"]);
    });
}

/// How the audit log names a client in this control group.
fn recorded(bed: &Bed, path: &str) -> Client {
    let group = group(path);
    let helper = launch(bed, "").start();
    let mut trail = Control::new(bed.control_path(), PATIENCE).follow().expect("a trail");
    let client = group.around(|| Stranger::greeted(helper.socket(), USER, USER));
    clear(client.client());
    match trail.next() {
        Some(Ok(Told::Record(record))) => record.client,
        other => panic!("no record: {other:?}"),
    }
}

#[test]
fn the_audit_log_names_no_virtual_machine_that_a_process_says_it_is() {
    ours(|bed| {
        let web = recorded(bed, WEB);
        assert_eq!(web.vm.as_deref(), Some("web"));
        let unit = web.unit.expect("a unit");
        assert!(unit.starts_with(r"machine-qemu\x2d") && unit.ends_with(r"\x2dweb.scope"), "{unit}");
        assert_eq!(web.inner_unit, None, "there is one unit");
        for path in IMPOSTORS {
            let client = recorded(bed, path);
            assert_eq!(client.vm, None, "{path}: {client}");
        }
        let tenant = recorded(bed, IMPOSTORS[3]);
        assert!(tenant.unit.as_ref().is_some_and(|unit| unit.starts_with("tenant-")), "{tenant}");
        assert_eq!(tenant.inner_unit.as_deref(), Some(r"machine-qemu\x2d1\x2dweb.scope"), "{tenant}");
        let user = recorded(bed, IMPOSTORS[2]);
        assert!(user.unit.as_ref().is_some_and(|path| path.starts_with("/user.slice/user-1000.slice/")), "{user}");
    });
}

#[test]
fn a_client_has_the_unit_that_it_connected_from() {
    ours(|bed| {
        let (web, other) = (group(WEB), group("/system.slice/other-%.service"));
        let helper = launch(bed, &allowing("machine-qemu*web.scope")).start();
        let client = web.around(|| Stranger::greeted(helper.socket(), USER, USER));
        let late = other.around(|| Stranger::greeted(helper.socket(), USER, USER));
        // Who is greeted has been asked about.
        let resolver = resolver(&helper);
        eventually("both have been looked up", || resolver.waits());
        other.take(client.id());
        web.take(late.id());
        clear(client.client()).expect_bare(0);
        expect_denied(&clear(late.client()));
    });
}

#[test]
fn a_client_that_is_gone_before_anybody_has_looked_is_nobody() {
    ours(|bed| {
        let helper = launch(bed, &allowing("machine-qemu*web.scope")).start();
        let resolver = resolver(&helper);
        let web = group(WEB);
        resolver.signal(Signal::STOP);
        let client = web.around(|| Stranger::greeted(helper.socket(), USER, USER));
        let process = Process::new(client.id().try_into().unwrap());
        process.signal(Signal::KILL);
        eventually("it is gone", || !process.is_alive());
        resolver.signal(Signal::CONT);
        expect_denied(&clear(client.client()));
        assert_eq!(bed.refusals("no-names"), 1);
    });
}
