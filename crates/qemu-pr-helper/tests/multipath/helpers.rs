//! Two helpers on one host use one map, as libvirt has it: one for each virtual machine.

use pr_lab::prelude::*;
use rustix::process::Signal;

use crate::disk::keys;
use crate::lab::{Lab, keeper, worker};
use crate::mapped::{Guest, Mapped, Way};

const KEY: u64 = 0xa1;

fn second(lab: &Lab, mapped: &Mapped) -> Helper {
    let this = mapped.clone();
    let launch = lab.enter(lab.bed().launch().at(lab.bed().path("second.sock")));
    launch.args(["--command-timeout", "2"]).device(move |command| this.answer(command)).start()
}

#[test]
fn one_does_not_change_a_map_while_another_one_does() {
    let lab = Lab::new();
    let mapped = Mapped::default();
    let first = mapped.launch(&lab).args(["--command-timeout", "300"]).start();
    let guest = Guest::of(&first);
    guest.change(0, 0, &keys(0, KEY)).expect_good();
    mapped.hangs(0);
    guest.begin(5, 0, &keys(KEY, 0xb1));
    let before = first.device().count();
    first.device().await_count(before + 1);
    mapped.disk().paths = [Way::Up; 2];
    let second = second(&lab, &mapped);
    let other = Guest::of(&second);
    assert_eq!(other.change(0, 0, &keys(KEY, 0xa2)).0, (8, [0; 3]), "busy");
    second.await_stderr("another helper of this host is changing the map");
    assert_eq!(mapped.keys(), [Some(KEY); 2]);
    assert_eq!(other.read().status, 0, "reading needs no lock");
    first.device().release(crate::disk::good());
    guest.end();
    other.change(0, 0, &keys(KEY, 0xa2)).expect_good();
    assert_eq!(mapped.keys(), [Some(0xa2); 2]);
}

#[test]
fn the_lock_of_one_that_dies_is_free() {
    let lab = Lab::new();
    let mapped = Mapped::default();
    let first = mapped.launch(&lab).args(["--command-timeout", "300"]).start();
    let guest = Guest::of(&first);
    guest.change(0, 0, &keys(0, KEY)).expect_good();
    mapped.hangs(0);
    guest.begin(5, 0, &keys(KEY, 0xb1));
    let before = first.device().count();
    first.device().await_count(before + 1);
    mapped.disk().paths = [Way::Up; 2];
    keeper(&first).signal(Signal::STOP);
    worker(&first).signal(Signal::KILL);
    let second = second(&lab, &mapped);
    Guest::of(&second).change(0, 0, &keys(KEY, 0xa2)).expect_good();
    keeper(&first).signal(Signal::CONT);
}
