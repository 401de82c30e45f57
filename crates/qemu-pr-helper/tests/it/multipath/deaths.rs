//! Whoever dies in the middle of a command: the guest is not told GOOD, no map stays suspended, and what was begun is finished or
//! taken back without anybody's help.

use std::time::Duration;

use pr_control::Control;
use pr_lab::prelude::*;
use rustix::process::Signal;

use crate::multipath::disk::keys_with;
use crate::multipath::lab::{Lab, device, guard, keeper, worker};
use crate::multipath::mapped::{Guest, Mapped, Way};

const KEY: u64 = 0xa1;

/// Where the helper can be asked. The usual name is device-mapper's here.
const ASKED: &str = "asked";

/// A registered guest whose self-preempt hangs when its key is to be given back to the second path; then one of the broker's
/// processes is killed.
fn killed_while_preempting(lab: &Lab, which: fn(&Helper) -> Process) -> (Helper, Mapped, Guest, Process) {
    let mapped = Mapped::default();
    let control = lab.bed().path(ASKED);
    let helper = mapped.launch(lab).args(["--command-timeout", "300"]).arg("--control").arg(control).start();
    let guest = Guest::of(&helper);
    guest.change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    guest.change(1, 5, &keys_with(0, KEY, 0)).expect_good();
    // Looked for now: a path that hangs is given up after some seconds.
    let victim = which(&helper);
    let disk = mapped.clone();
    helper.device().behave(move |command| {
        let mut disk = disk.disk();
        let path = rustix::fs::minor(command.device) as usize - 1;
        // A key that is given back, as against one that is proved.
        let gives = command.is_out() && command.cdb[1] & 0x1f == 6;
        if gives && disk.paths[path] == Way::Up {
            return Outcome::Hang;
        }
        disk.carry_out(crate::multipath::mapped::PATHS[path], command)
    });
    guest.begin(4, 5, &keys_with(0, KEY, KEY));
    eventually("the key is gone from one path", || mapped.keys().contains(&None));
    assert!(lab.mapper().is_suspended(device(0)));
    mapped.replace(&helper);
    victim.signal(Signal::KILL);
    (helper, mapped, guest, victim)
}

/// It is seen to, whatever died.
#[track_caller]
fn is_mended(lab: &Lab, helper: &Helper, mapped: &Mapped, guest: &Guest) {
    assert_eq!(guest.end(), (2, [0xb, 8, 0]), "nobody knows how it went");
    // What was begun is over by then: nothing changes any more after the answer.
    assert_eq!(mapped.keys(), [Some(KEY); 2]);
    assert!(!lab.mapper().is_suspended(device(0)));
    helper.await_stderr("another one has taken over");
    let control = Control::new(lab.bed().path(ASKED), PATIENCE);
    let totals = control.snapshot().expect("a snapshot").totals;
    assert_eq!(totals.multipath_failures, 1);
    assert!(totals.multipath_notes >= 1, "{totals:?}");
    Guest::of(helper).change(0, 0, &keys_with(0, KEY, 0xa2)).expect_good();
    assert_eq!(mapped.keys(), [Some(0xa2); 2]);
    assert!(!helper.stderr().contains("restart"), "{}", helper.stderr());
}

#[test]
fn a_worker_that_dies_while_the_map_is_suspended_is_replaced_by_one_that_finishes() {
    let lab = Lab::new();
    let (helper, mapped, guest, _) = killed_while_preempting(&lab, worker);
    is_mended(&lab, &helper, &mapped, &guest);
}

#[test]
fn so_is_a_keeper() {
    let lab = Lab::new();
    let (helper, mapped, guest, before) = killed_while_preempting(&lab, keeper);
    is_mended(&lab, &helper, &mapped, &guest);
    assert_ne!(keeper(&helper), before);
}

#[test]
fn a_map_that_is_held_back_by_a_worker_that_has_died_in_the_attempt_goes_on() {
    let lab = Lab::new();
    let (helper, mapped) = Mapped::start(&lab);
    let guest = Guest::of(&helper);
    guest.change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    guest.change(1, 5, &keys_with(0, KEY, 0)).expect_good();
    lab.mapper().set_locked(true);
    guest.change(4, 5, &keys_with(0, KEY, KEY)).expect_good();
    // The kernel carries out what it was asked for all the same.
    worker(&helper).signal(Signal::KILL);
    lab.mapper().set_suspended(device(0), true);
    lab.mapper().set_locked(false);
    eventually("the map goes on", || !lab.mapper().is_suspended(device(0)));
    assert_eq!(mapped.keys(), [Some(KEY); 2]);
}

#[test]
fn without_its_guard_a_keeper_goes_on_and_has_another_one() {
    let lab = Lab::new();
    let (helper, mapped) = Mapped::start(&lab);
    let guest = Guest::of(&helper);
    guest.change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    let (first_guard, first_keeper) = (guard(&helper), keeper(&helper));
    first_guard.signal(Signal::KILL);
    eventually("the keeper is the guard", || {
        first_keeper.status().get("Name").is_some_and(|name| name == "qemu-pr-broker")
    });
    guest.change(0, 0, &keys_with(0, KEY, 0xa2)).expect_good();
    let second = first_keeper.children().into_iter().find(|child| child.status()["Name"] == "qemu-pr-keeper");
    second.expect("another keeper").signal(Signal::KILL);
    eventually("a third keeper", || {
        first_keeper
            .children()
            .into_iter()
            .any(|child| Some(child) != second && child.status()["Name"] == "qemu-pr-keeper")
    });
    guest.change(0, 0, &keys_with(0, 0xa2, 0xa3)).expect_good();
    assert_eq!(mapped.keys(), [Some(0xa3); 2]);
    let third = first_keeper.children();
    assert_eq!(helper.end(Signal::TERM).code(), 0);
    for process in third.into_iter().chain([first_keeper]) {
        assert!(process.ends_within(PATIENCE), "{process:?}");
    }
}

#[test]
fn reading_is_tried_again_when_the_worker_dies_of_it() {
    let lab = Lab::new();
    let mapped = Mapped::default();
    let helper = mapped.launch(&lab).args(["--command-timeout", "300"]).start();
    let guest = Guest::of(&helper);
    guest.change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    mapped.hangs(0);
    let reader = std::thread::scope(|scope| {
        let before = helper.device().count();
        let reader = scope.spawn(|| guest.read());
        helper.device().await_count(before + 1);
        mapped.disk().paths[0] = Way::Up;
        worker(&helper).signal(Signal::KILL);
        reader.join().expect("an answer")
    });
    assert_eq!((reader.status, &reader.payload[8..16]), (0, &KEY.to_be_bytes()[..]));
}

#[test]
fn deaths_at_any_moment_lose_no_key_and_leave_no_map_suspended() {
    const ROUNDS: usize = 60;
    let lab = Lab::new();
    let (helper, mapped) = Mapped::start(&lab);
    let guest = Guest::of(&helper);
    guest.change(0, 0, &keys_with(0, 0, KEY)).expect_good();
    guest.change(1, 5, &keys_with(0, KEY, 0)).expect_good();
    for round in 0..ROUNDS {
        let (action, kind, list) = match round % 3 {
            0 => (4, 5, keys_with(0, KEY, KEY)),
            1 => (0, 0, keys_with(0, KEY, KEY)),
            _ => (6, 0, keys_with(0, 0, KEY)),
        };
        guest.begin(action, kind, &list);
        std::thread::sleep(Duration::from_micros(u64::try_from(round).expect("a number") * 137 % 4000));
        match round % 5 {
            4 => keeper(&helper).signal(Signal::KILL),
            _ => worker(&helper).signal(Signal::KILL),
        }
        let said = guest.end();
        assert!([(0, [0; 3]), (2, [0xb, 8, 0])].contains(&said) || said.1[0] == 6, "round {round}: {said:?}");
        let whole = || mapped.keys() == [Some(KEY); 2] && !lab.mapper().is_suspended(device(0));
        let is_whole = within(PATIENCE, whole);
        assert!(is_whole, "round {round}: {said:?}, {:?}, {}", mapped.keys(), helper.stderr());
        lab.mapper().set_active(device(1), true);
        lab.mapper().set_active(device(2), true);
        // A keeper that dies takes what it has been given with it.
        let said = guest.change(0, 0, &keys_with(0, KEY, KEY)).0;
        let is_fine = said.0 == 0 || round % 5 == 4 && guest.change(0, 0, &keys_with(0, KEY, KEY)).0.0 == 0;
        assert!(is_fine, "round {round}: {said:?}, {}", helper.stderr());
    }
    assert!(mapped.disk().unit.reservation().is_some());
}
