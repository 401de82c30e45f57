//! Two helpers on one host use one map, as libvirt has it: one for each virtual machine.

use pr_lab::prelude::*;
use rustix::process::Signal;

use crate::multipath::disk::keys;
use crate::multipath::lab::{Lab, broker, guard, keeper, kill_at_once, worker};
use crate::multipath::mapped::{Guest, Mapped, Way};

const KEY: u64 = 0xa1;

fn second(lab: &Lab, mapped: &Mapped) -> Helper {
    let this = mapped.clone();
    let launch = lab.enter(lab.bed().launch().at(lab.bed().path("second.sock")));
    launch.args(["--command-timeout", "2"]).device(move |command| this.answer(command)).start()
}

/// A registered guest of the first helper whose change hangs on a path.
fn in_the_middle_of_a_change(lab: &Lab, mapped: &Mapped) -> (Helper, Guest) {
    let first = mapped.launch(lab).args(["--command-timeout", "300"]).start();
    let guest = Guest::of(&first);
    guest.change(0, 0, &keys(0, KEY)).expect_good();
    mapped.hangs(0);
    guest.begin(5, 0, &keys(KEY, 0xb1));
    let before = first.device().count();
    first.device().await_count(before + 1);
    mapped.disk().paths = [Way::Up; 2];
    (first, guest)
}

#[test]
fn one_does_not_change_a_map_while_another_one_does() {
    let lab = Lab::new();
    let mapped = Mapped::default();
    let (first, guest) = in_the_middle_of_a_change(&lab, &mapped);
    let second = second(&lab, &mapped);
    let other = Guest::of(&second);
    assert_eq!(other.change(0, 0, &keys(KEY, 0xa2)).0, (8, [0; 3]), "busy");
    second.await_stderr("another helper of this host is changing the map");
    assert_eq!(mapped.keys(), [Some(KEY); 2]);
    assert_eq!(other.read().status, 0, "reading needs no lock");
    first.device().release(crate::multipath::disk::good());
    guest.end();
    other.change(0, 0, &keys(KEY, 0xa2)).expect_good();
    assert_eq!(mapped.keys(), [Some(0xa2); 2]);
}

#[test]
fn a_worker_that_dies_in_the_middle_leaves_the_lock_to_the_one_that_recovers() {
    let lab = Lab::new();
    let mapped = Mapped::default();
    let (first, _guest) = in_the_middle_of_a_change(&lab, &mapped);
    let keeper = keeper(&first);
    keeper.signal(Signal::STOP);
    worker(&first).signal(Signal::KILL);
    let second = second(&lab, &mapped);
    let other = Guest::of(&second);
    assert_eq!(other.change(0, 0, &keys(KEY, 0xa2)).0, (8, [0; 3]), "what the first has begun is not over");
    assert_eq!(mapped.keys(), [Some(KEY); 2]);
    keeper.signal(Signal::CONT);
    eventually("the first has recovered", || other.change(0, 0, &keys(KEY, 0xa2)).0 == (0, [0; 3]));
    assert_eq!(mapped.keys(), [Some(0xa2); 2]);
}

#[test]
fn what_is_told_by_another_helper_after_a_death_in_a_first_registration_stays_true() {
    let lab = Lab::new();
    let mapped = Mapped::default();
    let first = mapped.launch(&lab).args(["--command-timeout", "300"]).start();
    let guest = Guest::of(&first);
    let disk = mapped.clone();
    // The key gets to the first path and not to the second.
    first.device().behave(move |command| {
        let path = rustix::fs::minor(command.device) as usize - 1;
        if path == 1 && command.is_out() { Outcome::Hang } else { disk.answer(command) }
    });
    guest.begin(0, 0, &keys(0, KEY));
    eventually("the key is on one path", || mapped.keys() == [Some(KEY), None]);
    let keeper = keeper(&first);
    keeper.signal(Signal::STOP);
    worker(&first).signal(Signal::KILL);
    mapped.replace(&first);
    let second = second(&lab, &mapped);
    let other = Guest::of(&second);
    let before = other.change(6, 0, &keys(0, KEY)).0;
    keeper.signal(Signal::CONT);
    assert_eq!(before, (8, [0; 3]), "the first is going to take it back");
    guest.end();
    eventually("the second registers", || other.change(6, 0, &keys(0, KEY)).0 == (0, [0; 3]));
    Guest::of(&first).read();
    assert_eq!(mapped.keys(), [Some(KEY); 2]);
}

#[test]
fn so_does_a_keeper() {
    let lab = Lab::new();
    let mapped = Mapped::default();
    let (first, _guest) = in_the_middle_of_a_change(&lab, &mapped);
    let guard = guard(&first);
    let worker = worker(&first);
    guard.signal(Signal::STOP);
    keeper(&first).signal(Signal::KILL);
    eventually("its worker has died with it", || !worker.is_alive());
    let second = second(&lab, &mapped);
    let other = Guest::of(&second);
    assert_eq!(other.change(0, 0, &keys(KEY, 0xa2)).0, (8, [0; 3]));
    guard.signal(Signal::CONT);
    eventually("the first has recovered", || other.change(0, 0, &keys(KEY, 0xa2)).0 == (0, [0; 3]));
}

#[test]
fn the_lock_of_a_helper_that_dies_altogether_is_free() {
    let lab = Lab::new();
    let mapped = Mapped::default();
    let (first, _guest) = in_the_middle_of_a_change(&lab, &mapped);
    kill_at_once(&broker(&first));
    let second = second(&lab, &mapped);
    let other = Guest::of(&second);
    eventually("the lock is free", || other.change(0, 0, &keys(KEY, 0xa2)).0 == (0, [0; 3]));
    assert_eq!(mapped.keys(), [Some(0xa2); 2]);
}
