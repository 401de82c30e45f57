//! What systemd is told, beyond what the C helper says to it.

use std::os::unix::net::UnixDatagram;

use pr_lab::ours;
use pr_lab::prelude::*;
use rustix::process::Signal;

use crate::OURS;

#[test]
fn systemd_is_told_when_all_is_ready_and_when_the_end_begins() {
    ours(OURS, |bed| {
        let path = bed.path("notify");
        let notify = UnixDatagram::bind(&path).unwrap();
        notify.set_read_timeout(Some(PATIENCE)).unwrap();
        let helper = bed.launch().env("NOTIFY_SOCKET", &path).spawn();
        let told = || {
            let mut text = [0; 512];
            let count = notify.recv(&mut text).expect("a notification");
            String::from_utf8_lossy(&text[..count]).into_owned()
        };
        assert!(told().lines().any(|line| line == "READY=1"));
        // Ready is ready: no waiting for anything.
        Raw::greeted(&bed.socket()).expect_served();
        assert_eq!(helper.end(Signal::TERM).code(), 0);
        assert!(told().lines().any(|line| line == "STOPPING=1"));
    });
}

#[test]
fn systemds_watchdog_is_fed_as_often_as_it_wants_to_be() {
    ours(OURS, |bed| {
        let path = bed.path("notify");
        let notify = UnixDatagram::bind(&path).unwrap();
        notify.set_read_timeout(Some(PATIENCE)).unwrap();
        let _helper = bed.launch().env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "100000").spawn();
        let mut fed = 0;
        while fed < 3 {
            let mut text = [0; 512];
            let count = notify.recv(&mut text).expect("a notification");
            fed += usize::from(&text[..count] == b"WATCHDOG=1");
        }
    });
}
