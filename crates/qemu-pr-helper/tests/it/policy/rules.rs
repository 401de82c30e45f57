//! Rules as they work on clients and devices that are there.

use pr_lab::{Cgroup, prelude::*};
use rustix::process::Signal;

use crate::policy::{expect_denied, keys, ours, refusal};

/// A helper whose one rule denies what fits these conditions.
fn denying(bed: &Bed, conditions: &str) -> Helper {
    let settings = format!("[[rule]]\nname = \"the rule\"\ndecision = \"deny\"\n{conditions}\n");
    bed.launch_with(&settings).device(|_| Answer::good(&[0; 8]).into()).start()
}

/// Whether a client of user 2001, group 2002 and this unit is refused a CLEAR of /dev/null.
fn is_denied(bed: &Bed, conditions: &str, unit: &Cgroup) -> bool {
    let helper = denying(bed, conditions);
    let stranger = unit.around(|| Stranger::greeted(helper.socket(), 2001, 2002));
    let reply = stranger.client().pr_out(null(), 3, &keys(1, 0));
    if reply.status == 0 {
        return false;
    }
    expect_denied(&reply);
    assert_eq!(bed.refusals("policy"), 1, "{conditions}");
    true
}

#[test]
fn rules_are_about_those_whom_they_name() {
    let name = format!("test-{}.service", std::process::id());
    let unit = Cgroup::new(&format!("/system.slice/{name}/x"));
    let rows = [
        (String::new(), true),
        ("user = [2001]".into(), true),
        ("user = [2002]".into(), false),
        ("group = [2002]".into(), true),
        ("group = [2001]".into(), false),
        ("group = [\"root\"]".into(), false),
        ("user = [\"root\", 2001]".into(), true),
        ("device = [\"1:3\"]".into(), true),
        ("device = [\"nul?\"]".into(), true),
        ("device = [\"sd*\", \"wwn-*\"]".into(), false),
        ("action = [\"clear\"]".into(), true),
        ("action = [\"change\"]".into(), true),
        ("action = [\"read\", \"PREEMPT AND ABORT\"]".into(), false),
        ("user = [2001]\ngroup = [2002]\ndevice = [\"null\"]\naction = [\"CLEAR\"]".into(), true),
        ("user = [2001]\ngroup = [2002]\ndevice = [\"zero\"]\naction = [\"CLEAR\"]".into(), false),
        ("unit = [\"/system.slice/no-such-*\"]".into(), false),
        (format!("unit = ['{name}']"), true),
        (format!("unit = ['/system.slice/{name}']"), true),
        ("unit = [\"x\"]".into(), false),
    ];
    ours(|bed| {
        for (conditions, wanted) in &rows {
            assert_eq!(is_denied(bed, conditions, &unit), *wanted, "{conditions}");
        }
    });
}

#[test]
fn a_refusal_is_recorded_with_the_rules_name_and_the_device_hears_nothing() {
    ours(|bed| {
        let helper = denying(bed, "action = [\"PREEMPT\", \"read full status\"]");
        let mut trail = bed.control().follow().expect("a trail");
        let client = helper.connect();
        expect_denied(&client.pr_out(null(), 4, &keys(1, 2)));
        expect_denied(&client.pr_in(null(), 3, 64));
        let reason = "the rule \"the rule\" denies it".to_owned();
        assert_eq!(refusal(&mut trail), ("PREEMPT".to_owned(), reason.clone()));
        assert_eq!(refusal(&mut trail), ("READ FULL STATUS".to_owned(), reason));
        assert_eq!(helper.device().count(), 0);
        assert_eq!(client.pr_in(null(), 0, 8).status, 0, "and nothing else is refused");
        assert_eq!(helper.device().count(), 1);
    });
}

#[test]
fn what_nobody_can_look_up_is_refused() {
    ours(|bed| {
        for (conditions, what) in [("device = [\"sdz\"]", "names of the disk"), ("unit = [\"*\"]", "the client's unit")]
        {
            let helper = denying(bed, &format!("action = [\"change\"]\n{conditions}"));
            let mut trail = bed.control().follow().expect("a trail");
            let resolver = helper.child("qemu-pr-resolve");
            resolver.signal(Signal::STOP);
            let unit = Cgroup::new(&format!("/system.slice/test-{}.service", std::process::id()));
            let stranger = unit.around(|| Stranger::greeted(helper.socket(), 2001, 2001));
            let client = stranger.client();
            expect_denied(&client.pr_out(null(), 3, &keys(1, 0)));
            let (_, reason) = refusal(&mut trail);
            assert!(reason.contains("the rule \"the rule\" needs") && reason.contains(what), "{reason}");
            assert_eq!(bed.refusals("no-names"), 1);
            helper.await_stderr(&format!("refusing CLEAR of process {} of user 2001: {reason}", stranger.id()));
            assert_eq!(client.pr_in(null(), 0, 8).status, 0, "what needs no names is not refused");
            // It was only slow. Not for ever, so the next question is asked again.
            resolver.signal(Signal::CONT);
            eventually("it is asked again, and answers", || {
                let before = bed.refusals("no-names");
                client.pr_out(null(), 3, &keys(1, 0));
                bed.refusals("no-names") == before
            });
        }
    });
}

#[test]
fn a_client_that_is_gone_is_not_taken_for_another_process() {
    ours(|bed| {
        let helper = denying(bed, "unit = [\"/system.slice/no-such-*\"]");
        // Nobody has found out who it was.
        let resolver = helper.child("qemu-pr-resolve");
        resolver.signal(Signal::STOP);
        let unit = Cgroup::new(&format!("/system.slice/test-{}.service", std::process::id()));
        let stranger = unit.around(|| Stranger::greeted(helper.socket(), 2001, 2001));
        let process = Process::new(i32::try_from(stranger.id()).unwrap());
        process.signal(Signal::KILL);
        eventually("it is gone", || !process.is_alive());
        resolver.signal(Signal::CONT);
        expect_denied(&stranger.client().pr_out(null(), 3, &keys(1, 0)));
        assert_eq!(bed.refusals("no-names"), 1);
    });
}
