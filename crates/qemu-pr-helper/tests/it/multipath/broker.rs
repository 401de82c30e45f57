//! The broker's processes: what they hold, and when they end.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use pr_lab::{Manners, prelude::*};
use rustix::process::Signal;

use crate::multipath::disk::{keys, keys_with, willing};
use crate::multipath::lab::{Lab, broker, children, device, guard, keeper, kill_at_once, node, worker};
use crate::multipath::mapped::{Guest, Mapped, OTHER, PATHS, Way};

const RAWIO: &str = "0000000000020000";
const RAWIO_AND_ADMIN: &str = "0000000000220000";
const NONE: &str = "0000000000000000";
const KEY: u64 = 0xa1;

#[track_caller]
fn expect_status(process: Process, expected: &[(&str, &str)]) {
    for status in process.threads() {
        for (name, value) in expected {
            assert_eq!(status[*name], *value, "{name} of {}", status["Name"]);
        }
    }
}

#[test]
fn the_daemon_keeps_one_capability_and_the_broker_two() {
    for user in [&["-u", "nobody"][..], &["-u", "nobody", "-g", "nogroup"], &[]] {
        let lab = Lab::new();
        let mapped = Mapped::default();
        let helper = mapped.launch(&lab).args(user).start();
        Guest::of(&helper).change(6, 0, &keys(0, KEY)).expect_good();

        let dropped = [("CapInh", NONE), ("CapBnd", NONE), ("CapAmb", NONE), ("NoNewPrivs", "1"), ("Groups", "")];
        expect_status(helper.process(), &dropped);
        expect_status(helper.process(), &[("CapPrm", RAWIO), ("CapEff", RAWIO)]);
        if !user.is_empty() {
            expect_status(helper.process(), &[("Uid", "65534 65534 65534 65534")]);
        }
        for process in broker(&helper) {
            expect_status(process, &dropped);
            expect_status(process, &[("CapPrm", RAWIO_AND_ADMIN), ("CapEff", RAWIO_AND_ADMIN)]);
            expect_status(process, &[("Uid", "0 0 0 0"), ("Seccomp", "2")]);
        }
    }
}

/// What a process has open, by kind: numbers of inodes do not matter.
fn open(process: Process) -> Vec<String> {
    let kind = |path: PathBuf| path.to_string_lossy().split([':', ' ']).next().unwrap_or_default().to_owned();
    let mut open: Vec<String> = process.descriptors().into_values().map(kind).collect();
    open.sort();
    open
}

#[test]
fn the_brokers_processes_have_nothing_of_the_daemons_open_and_nothing_of_each_others() {
    let lab = Lab::new();
    lab.map(3, &[4]);
    let inherited = std::fs::File::open("/dev/zero").unwrap();
    let pidfile = lab.bed().path("pid");
    let helper = lab.launch(willing).fd(inherited, 33).arg("-f").arg(&pidfile).start();
    let client = helper.connect();
    client.pr_out(node(0), 6, &keys(0, KEY)).expect_bare(0);
    let standard = ["/dev/null"; 3];
    // What says that it lives, and the line to the daemon.
    let presence = lab.bed().path("locks/brokers").display().to_string();
    let open = |process| {
        let mut open = open(process);
        // It is named by where it is in this world, or in that of the broker.
        open.iter_mut().filter(|path| path.ends_with("/brokers")).for_each(|path| presence.clone_into(path));
        open.sort();
        open
    };
    let sorted = |lists: &[&[&str]]| {
        let mut all: Vec<String> = lists.concat().into_iter().map(str::to_owned).collect();
        all.sort();
        all
    };
    assert_eq!(open(guard(&helper)), sorted(&[&standard, &["socket", &presence]]));
    // Besides the guard, the control node, and the worker with the line to it.
    let keepers =
        sorted(&[&["/dev/mapper/control", &presence], &standard, &["anon_inode", "anon_inode", "socket", "socket"]]);
    let is_settled = within(PATIENCE, || open(keeper(&helper)) == keepers);
    assert!(is_settled, "{:?}", open(keeper(&helper)));
    // The line to the keeper, the lock, the paths, and the control node once for events and once for orders.
    let lock = lab.bed().path("locks/map-7:0").display().to_string();
    let lock = lock.split(':').next().unwrap();
    let workers = ["/dev/loop1", "/dev/loop2", "/dev/mapper/control", "/dev/mapper/control", lock, &presence, "socket"]
        .map(str::to_owned);
    let of_worker = |process: Process| {
        let mut open = open(process);
        open.retain(|path| path != "/dev/null");
        // A lock is named by where it is in this world, or in that of the worker.
        open.iter_mut().filter(|path| path.ends_with("/map-7")).for_each(|path| lock.clone_into(path));
        open.sort();
        open
    };
    let mut workers = workers.to_vec();
    workers.sort();
    let is_settled = within(PATIENCE, || of_worker(worker(&helper)) == workers);
    assert!(is_settled, "{:?}", of_worker(worker(&helper)));
    // After many commands it is the same, and so it is after those of another map.
    for _ in 0..20 {
        client.pr_out(node(0), 6, &keys(0, KEY)).expect_bare(0);
        assert_eq!(client.pr_in(node(0), 0, 8).status, 0);
    }
    let first = worker(&helper);
    client.pr_out(node(3), 6, &keys(0, KEY)).expect_bare(0);
    assert_eq!(of_worker(first), workers);
    let second = children(keeper(&helper)).into_iter().find(|child| *child != first).expect("a second worker");
    assert!(!open(second).iter().any(|path| path == "/dev/loop1"), "{:?}", open(second));
}

#[test]
fn a_worker_alone_sends_commands_and_it_opens_paths_to_read() {
    let lab = Lab::new();
    let (helper, _mapped) = Mapped::start(&lab);
    let guest = Guest::of(&helper);
    guest.change(0, 0, &keys(0, KEY)).expect_good();
    guest.change(1, 5, &keys(KEY, 0)).expect_good();
    assert_eq!(guest.read().status, 0);
    let worker = worker(&helper);
    let seen = helper.device().seen();
    let is_its = |thread: i32| fs::exists(format!("/proc/{}/task/{thread}", worker.id())).unwrap();
    assert!(seen.len() > 3 && seen.iter().all(|command| is_its(command.thread)), "{seen:#?}");
    let mut paths = worker.descriptors();
    paths.retain(|_, path| path.to_string_lossy().starts_with("/dev/loop"));
    assert_eq!(paths.len(), 2, "{paths:?}");
    for (descriptor, path) in paths {
        let info = fs::read_to_string(format!("/proc/{}/fdinfo/{descriptor}", worker.id())).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("flags");
        assert_eq!(u32::from_str_radix(flags.trim(), 8).unwrap() & 3, 0, "{path:?} is open for writing");
    }
}

#[test]
fn locks_that_others_could_have_made_are_not_used_and_the_log_says_so() {
    let lab = Lab::new();
    let locks = lab.bed().path("locks");
    fs::set_permissions(&locks, fs::Permissions::from_mode(0o777)).unwrap();
    let (helper, _mapped) = Mapped::start(&lab);
    Guest::of(&helper).change(0, 0, &keys(0, KEY)).expect_good();
    helper.await_stderr(
        "not kept from using the map at the same time: /run/qemu-pr-broker is not root's alone; remove it",
    );
    assert_eq!(fs::read_dir(locks).unwrap().count(), 0);
}

#[test]
fn a_worker_is_there_as_long_as_a_key_is() {
    let lab = Lab::new();
    let (helper, _mapped) = Mapped::start(&lab);
    let guest = Guest::of(&helper);
    assert_eq!(children(keeper(&helper)), [], "none before the first command");
    guest.change(0, 0, &keys(0, KEY)).expect_good();
    let first = worker(&helper);
    guest.change(0, 0, &keys(KEY, 0xa2)).expect_good();
    assert_eq!(guest.read().status, 0);
    assert_eq!(children(keeper(&helper)), [first], "one for all commands of a map");
}

#[test]
fn the_broker_ends_with_the_daemon_however_that_ends() {
    for signal in [Signal::KILL, Signal::TERM, Signal::INT] {
        let lab = Lab::new();
        let (helper, _mapped) = Mapped::start(&lab);
        Guest::of(&helper).change(6, 0, &keys(0, KEY)).expect_good();
        let processes = broker(&helper);
        helper.end(signal);
        for process in processes {
            assert!(process.ends_within(PATIENCE), "after {signal:?}");
        }
    }
}

#[test]
fn a_command_under_way_when_the_daemon_dies_is_finished_and_one_that_waits_is_not_begun() {
    let lab = Lab::new();
    let mapped = Mapped::default();
    let helper = mapped.launch(&lab).args(["--command-timeout", "300"]).start();
    let (first, second) = (Guest::of(&helper), Guest::of(&helper));
    first.change(0, 0, &keys(0, KEY)).expect_good();
    mapped.hangs(0);
    mapped.hangs(1);
    let before = helper.device().count();
    // It waits for the other side's commands to end, as long as it takes.
    first.begin(5, 0, &keys_with(0, KEY, 0xb1));
    helper.device().await_count(before + 1);
    second.begin(0, 0, &keys(KEY, 0xa2));
    let processes = broker(&helper);
    let device = helper.device().clone();
    std::thread::sleep(std::time::Duration::from_millis(50));
    helper.end(Signal::KILL);
    mapped.disk().paths = [Way::Up; 2];
    device.release(crate::multipath::disk::good());
    for process in processes {
        assert!(process.ends_within(PATIENCE), "{process:?}");
    }
    assert_eq!(mapped.keys(), [Some(KEY); 2]);
}

#[test]
fn signals_for_the_daemon_do_not_end_the_broker() {
    let lab = Lab::new();
    let (helper, _mapped) = Mapped::start(&lab);
    let guest = Guest::of(&helper);
    guest.change(0, 0, &keys(0, KEY)).expect_good();
    let processes = broker(&helper);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::PIPE] {
        for process in processes {
            process.signal(signal);
        }
    }
    guest.change(0, 0, &keys(KEY, 0xa2)).expect_good();
    assert!(processes.iter().all(Process::is_alive));
}

#[test]
fn without_any_of_its_broker_the_daemon_ends_and_says_so() {
    let lab = Lab::new();
    let (helper, _mapped) = Mapped::start(&lab);
    Guest::of(&helper).change(0, 0, &keys(0, KEY)).expect_good();
    kill_at_once(&broker(&helper));
    helper.await_stderr("the multipath broker is gone, all of it");
    // systemd starts it again.
    assert_eq!(helper.finish().code(), 1);
}

#[test]
fn a_map_that_is_left_suspended_by_a_death_of_all_is_resumed_by_the_next_helper() {
    let lab = Lab::new();
    let mapped = Mapped::default();
    let helper = mapped.launch(&lab).args(["--command-timeout", "300"]).start();
    let guest = Guest::of(&helper);
    guest.change(0, 0, &keys(0, KEY)).expect_good();
    guest.change(1, 5, &keys(KEY, 0)).expect_good();
    let processes = broker(&helper);
    let disk = mapped.clone();
    // It does not get to the end of giving its key back.
    helper.device().behave(move |command| {
        if command.is_out() && command.cdb[1] & 0x1f == 6 { Outcome::Hang } else { disk.answer(command) }
    });
    guest.begin(4, 5, &keys(KEY, KEY));
    eventually("the key is gone from one path", || mapped.keys().contains(&None));
    kill_at_once(&processes);
    assert!(lab.mapper().is_suspended(device(0)));
    helper.finish();
    let next = mapped.launch(&lab).start();
    // Nobody sends a command for it: whoever would waits for the map.
    eventually("the map goes on", || !lab.mapper().is_suspended(device(0)));
    Guest::of(&next).change(6, 0, &keys(0, KEY)).expect_good();
    assert_eq!(mapped.keys(), [Some(KEY); 2]);
}

#[test]
fn a_key_that_multipathd_has_not_heard_of_being_gone_is_taken_from_its_paths_by_the_next_helper() {
    let lab = Lab::new();
    let (helper, mapped) = Mapped::start(&lab);
    let guest = Guest::of(&helper);
    guest.change(0, 0, &keys(0, KEY)).expect_good();
    lab.multipathd().behave(Manners::Dying);
    guest.change(0, 0, &keys(KEY, 0)).expect_good();
    kill_at_once(&broker(&helper));
    helper.finish();
    let _next = mapped.launch(&lab).start();
    // It starts with the key that it was told last, and another node has the same.
    for path in PATHS {
        mapped.act(path, 6, 0, &keys(0, KEY));
    }
    lab.multipathd().behave(Manners::Willing);
    eventually("it is told to forget the key", || !lab.multipathd().kept("map0").registers);
    eventually("no path has it", || mapped.keys() == [None; 2]);
}

/// Nobody else has it, as multipathd is not there.
#[test]
fn the_next_helper_knows_the_key_of_the_map_and_gives_it_to_a_path_that_comes_back() {
    let lab = Lab::without_multipathd();
    lab.map(0, &[1, 2]);
    let (helper, mapped) = Mapped::start(&lab);
    Guest::of(&helper).change(0, 0, &keys(0, KEY)).expect_good();
    assert_eq!(helper.end(Signal::TERM).code(), 0);
    mapped.goes(1);
    lab.mapper().set_active(device(2), false);
    mapped.act(PATHS[1], 6, 0, &keys(0, 0));
    let next = mapped.launch(&lab).start();
    Guest::of(&next).read();
    mapped.comes_back(&lab, 1);
    eventually("both paths have the key", || mapped.keys() == [Some(KEY); 2]);
}

#[test]
fn a_unit_attention_that_a_reading_has_told_is_not_told_again_by_the_next_helper() {
    let lab = Lab::new();
    let (helper, mapped) = Mapped::start(&lab);
    let guest = Guest::of(&helper);
    guest.change(0, 0, &keys(0, KEY)).expect_good();
    mapped.act(OTHER, 0, 0, &keys(0, 0xb1));
    mapped.act(OTHER, 3, 0, &keys(0xb1, 0));
    // Whoever looks at a path that came back meets what the others have to tell, and keeps it for the guest.
    mapped.goes(1);
    lab.mapper().set_active(device(2), false);
    eventually("that is seen", || !lab.mapper().is_active(device(2)));
    mapped.comes_back(&lab, 1);
    eventually("it is looked for", || mapped.disk().unit.unit_attentions(PATHS[0]).is_empty());
    assert_eq!(guest.read().status, 2, "a unit attention");
    kill_at_once(&broker(&helper));
    helper.finish();
    let next = mapped.launch(&lab).start();
    let guest = Guest::of(&next);
    guest.begin(6, 0, &keys(0, KEY));
    assert_eq!(guest.end(), (0, [0; 3]));
}

#[test]
fn what_a_helper_had_begun_when_all_of_it_died_is_taken_back_by_the_next_one() {
    let lab = Lab::new();
    let mapped = Mapped::default();
    let helper = mapped.launch(&lab).args(["--command-timeout", "300"]).start();
    let guest = Guest::of(&helper);
    guest.change(0, 0, &keys(0, KEY)).expect_good();
    let processes = broker(&helper);
    mapped.hangs(1);
    guest.begin(0, 0, &keys(KEY, 0xb1));
    eventually("one path has the new key", || mapped.keys() == [Some(0xb1), Some(KEY)]);
    kill_at_once(&processes);
    helper.finish();
    mapped.disk().paths[1] = Way::Up;
    let _next = mapped.launch(&lab).start();
    // Nobody sends a command for it.
    eventually("both paths have the key from before", || mapped.keys() == [Some(KEY); 2]);
}
