//! Requests a second.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use pr_lab::prelude::*;
use rustix::process::Signal;

use crate::policy::ours;

const RATE: u32 = 100;
const BURST: u32 = 50;

fn settings() -> String {
    format!("[limits]\nrequests-per-second = {RATE}\nburst = {BURST}\n")
}

/// Sends requests on all connections of a process, each as soon as the one before is answered; how many were
/// answered when `stop` is set.
fn flood(stranger: &Stranger, stop: &AtomicBool) -> u64 {
    let answered = AtomicU64::new(0);
    thread::scope(|scope| {
        for client in stranger.clients() {
            scope.spawn(|| {
                let device = null();
                while !stop.load(Ordering::Relaxed) {
                    client.pr_in(&device, 0, 8);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    answered.into_inner()
}

#[test]
fn a_greedy_guest_is_held_to_its_rate_and_nothing_is_refused_or_lost() {
    ours(|bed| {
        let helper = bed.launch_with(&settings()).device(|_| Answer::good(&[0; 8]).into()).start();
        let greedy = Stranger::new(helper.socket(), 2001, 2001, 20);
        greedy.clients().iter().for_each(Raw::hello);
        let stop = AtomicBool::new(false);
        let start = Instant::now();
        let (answered, others) = thread::scope(|scope| {
            let greedy = scope.spawn(|| flood(&greedy, &stop));
            // Another process sends what it may send at once, in the meantime.
            let other = helper.connect();
            let others = (0..BURST - 5).filter(|_| other.pr_in(null(), 0, 8).status == 0).count();
            eventually("the greedy one has had its burst and more", || {
                bed.control().snapshot().is_ok_and(|snapshot| snapshot.totals.paused >= 100)
            });
            stop.store(true, Ordering::Relaxed);
            (greedy.join().expect("every answer"), others)
        });
        let seconds = start.elapsed().as_secs_f64();
        assert_eq!(others, usize::try_from(BURST - 5).unwrap());
        let budget = f64::from(BURST) + f64::from(RATE) * seconds;
        #[expect(clippy::cast_precision_loss, reason = "there are not that many")]
        let answered = answered as f64;
        assert!(answered <= budget + 1.0, "{answered} answers in {seconds} s, {budget} are allowed");
        assert!(answered >= 100.0, "{answered}");
        assert_eq!(helper.end(Signal::TERM).code(), 0);
    });
}

#[test]
fn whoever_has_to_wait_costs_no_processor_no_thread_and_no_deadline() {
    ours(|bed| {
        let settings = "[limits]\nrequests-per-second = 1\nburst = 1\n";
        let helper = bed.launch_with(settings).args(["--request-timeout", "0.3"]).start();
        let client = helper.connect();
        // The greeting was the first thing that was read. These have to wait for their turns.
        let start = Instant::now();
        for _ in 0..2 {
            client.send_with(&Raw::cdb_in(0, 8), &[std::os::fd::AsFd::as_fd(&null())]);
        }
        eventually("it waits", || bed.control().snapshot().is_ok_and(|snapshot| snapshot.totals.paused >= 1));
        let (ticks, threads) = (helper.process().cpu_ticks(), helper.process().threads().len());
        client.reply();
        client.reply();
        assert!(start.elapsed() >= Duration::from_secs(1), "two requests, one a second");
        let used = helper.process().cpu_ticks() - ticks;
        assert!(used < 50, "{used} ticks of the processor");
        assert!(threads <= helper.process().threads().len() + 2);
        assert_eq!(bed.control().snapshot().unwrap().totals.overdue, 0);
    });
}

#[test]
fn a_client_that_leaves_while_it_waits_is_noticed() {
    ours(|bed| {
        let settings = "[limits]\nrequests-per-second = 2\nburst = 1\n";
        let helper = bed.launch_with(settings).start();
        let before = helper.settled_descriptors();
        let client = helper.connect();
        for _ in 0..3 {
            client.send_with(&Raw::cdb_in(0, 8), &[std::os::fd::AsFd::as_fd(&null())]);
        }
        eventually("it waits", || bed.control().snapshot().is_ok_and(|snapshot| snapshot.totals.paused >= 1));
        drop(client);
        helper.await_descriptors(before);
    });
}
