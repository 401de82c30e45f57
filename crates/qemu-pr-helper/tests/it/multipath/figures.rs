//! What the broker counts is in the daemon's figures.

use pr_control::{Control, Totals};
use pr_lab::prelude::*;
use rustix::process::Signal;

use crate::multipath::disk::keys_with;
use crate::multipath::lab::{Lab, device, guard, keeper, worker};
use crate::multipath::mapped::{Guest, Mapped};

const KEY: u64 = 0xa1;

/// A registered guest that holds a reservation, and where its helper is asked.
struct Asked {
    lab: Lab,
    helper: Helper,
    mapped: Mapped,
    guest: Guest,
    control: Control,
}

impl Asked {
    fn start() -> Self {
        let lab = Lab::new();
        let mapped = Mapped::default();
        let control = lab.bed().path("asked");
        let helper = mapped.launch(&lab).arg("--control").arg(&control).start();
        let guest = Guest::of(&helper);
        guest.change(0, 0, &keys_with(0, 0, KEY)).expect_good();
        guest.change(1, 5, &keys_with(0, KEY, 0)).expect_good();
        Self { lab, helper, mapped, guest, control: Control::new(control, PATIENCE) }
    }

    /// The figures: maps, those that are suspended, broker processes that died, paths that were restored.
    fn figures(&self) -> [u64; 4] {
        let totals = self.control.snapshot().expect("a snapshot").totals;
        let Totals { multipath_maps, multipath_suspended, multipath_deaths, multipath_restored, .. } = totals;
        [multipath_maps, multipath_suspended, multipath_deaths, multipath_restored]
    }

    #[track_caller]
    fn await_figures(&self, figures: [u64; 4]) {
        let come = within(PATIENCE, || self.figures() == figures);
        assert!(come, "{:?}, not {figures:?}: {}", self.figures(), self.helper.stderr());
    }
}

#[test]
fn a_path_that_comes_back_is_counted_once() {
    let asked = Asked::start();
    asked.await_figures([1, 0, 0, 0]);
    asked.mapped.goes(1);
    asked.lab.mapper().set_active(device(2), false);
    // A look at the paths, so that it has gone for whoever counts.
    asked.guest.change(0, 0, &keys_with(0, KEY, 0xa2)).expect_good();
    asked.await_figures([1, 0, 0, 0]);
    asked.mapped.comes_back(&asked.lab, 1);
    eventually("it has the key", || asked.mapped.keys() == [Some(0xa2); 2]);
    asked.await_figures([1, 0, 0, 1]);
    // A command that gives both paths another key restores none.
    asked.guest.change(0, 0, &keys_with(0, 0xa2, KEY)).expect_good();
    assert_eq!(asked.figures(), [1, 0, 0, 1]);
}

#[test]
fn a_map_that_cannot_be_resumed_is_counted_until_it_is() {
    let asked = Asked::start();
    asked.lab.mapper().set_refuses_resume(true);
    asked.guest.change(4, 5, &keys_with(0, KEY, KEY));
    asked.helper.await_stderr("stays suspended");
    assert!(asked.lab.mapper().is_suspended(device(0)));
    asked.await_figures([1, 1, 0, 0]);
    asked.lab.mapper().set_refuses_resume(false);
    eventually("it goes on", || !asked.lab.mapper().is_suspended(device(0)));
    asked.await_figures([1, 0, 0, 0]);
}

#[test]
fn processes_of_the_broker_that_die_are_counted_whoever_they_are() {
    let asked = Asked::start();
    let mut deaths = 0;
    for which in [worker, keeper, worker] {
        which(&asked.helper).signal(Signal::KILL);
        deaths += 1;
        asked.await_figures([1, 0, deaths, 0]);
        // The one in its place works.
        asked.guest.change(0, 0, &keys_with(0, KEY, KEY)).expect_good();
    }
    let last = keeper(&asked.helper);
    guard(&asked.helper).signal(Signal::KILL);
    eventually("the keeper is the guard", || last.status().get("Name").is_some_and(|name| name == "qemu-pr-broker"));
    asked.await_figures([1, 0, deaths + 1, 0]);
    asked.guest.change(0, 0, &keys_with(0, KEY, KEY)).expect_good();
}
