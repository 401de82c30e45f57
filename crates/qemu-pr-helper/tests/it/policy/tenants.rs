//! Two tenants with key limits on one disk: neither gets at the other's registrations and reservations.

use std::fs::File;

use pr_lab::prelude::*;

use crate::policy::{
    disks::{Shared, simulated},
    expect_denied, keys, ours, refusal,
};

const A: u32 = 2001;
const B: u32 = 2002;

const SETTINGS: &str = "
    default = \"deny\"
    [[rule]]
    name = \"tenant a\"
    user = [2001]
    keys = { prefix = 0xa1, bits = 8 }
    [[rule]]
    name = \"tenant b\"
    user = [2002]
    keys = { value = \"0xb100000000000000\", mask = \"0xff00000000000000\" }
";

/// A's keys.
const KEY_A: u64 = 0xa1 << 56 | 0x77;
/// B's keys.
const KEY_B: u64 = 0xb1 << 56 | 0x77;

const WRITE_EXCLUSIVE_REGISTRANTS_ONLY: u8 = 5;
const WRITE_EXCLUSIVE_ALL_REGISTRANTS: u8 = 7;

/// A PERSISTENT RESERVE OUT with everything in it that matters.
fn out(client: &Raw, disk: &File, (action, kind): (u8, u8), list: &[u8]) -> Reply {
    let mut cdb = Raw::cdb_out(action, list.len());
    cdb[2] = kind;
    client.send_with(&cdb, &[std::os::fd::AsFd::as_fd(disk)]);
    client.send(list);
    client.reply()
}

/// A list with flags: `SPEC_I_PT` 8, `ALL_TG_PT` 4, APTPL 1.
fn flagged(key: u64, service_action_key: u64, flags: u8) -> [u8; 24] {
    let mut list = keys(key, service_action_key);
    list[20] = flags;
    list
}

/// A name, an action and a type, a parameter list, and what the trail says.
type Attack = (&'static str, (u8, u8), Vec<u8>, &'static str);

/// Each way in which B could hurt A.
fn attacks() -> Vec<Attack> {
    let moved = {
        let mut list = keys(KEY_B, KEY_B).to_vec();
        list[19] = 1;
        list[23] = 24;
        list.extend([0; 24]);
        list
    };
    vec![
        ("clear everything", (3, 0), keys(KEY_B, 0).to_vec(), "CLEAR removes"),
        ("clear everything with A's key", (3, 0), keys(KEY_A, 0).to_vec(), "CLEAR removes"),
        ("preempt A", (4, 5), keys(KEY_B, KEY_A).to_vec(), "SERVICE ACTION RESERVATION KEY"),
        ("preempt A and abort its commands", (5, 5), keys(KEY_B, KEY_A).to_vec(), "SERVICE ACTION RESERVATION KEY"),
        ("preempt everybody", (4, 7), keys(KEY_B, 0).to_vec(), "belongs to all registrants"),
        ("preempt everybody, with another type", (4, 5), keys(KEY_B, 0).to_vec(), "the key zero"),
        ("preempt as A", (4, 5), keys(KEY_A, KEY_A).to_vec(), "its RESERVATION KEY"),
        ("replace A's key", (0, 0), keys(KEY_A, KEY_B).to_vec(), "its RESERVATION KEY"),
        ("unregister A", (0, 0), keys(KEY_A, 0).to_vec(), "its RESERVATION KEY"),
        ("replace whatever is registered", (6, 0), keys(0, KEY_B).to_vec(), "may replace another's key"),
        ("unregister whatever is registered", (6, 0), keys(0, 0).to_vec(), "may replace another's key"),
        ("register a key of A's", (0, 0), keys(0, KEY_A + 1).to_vec(), "SERVICE ACTION RESERVATION KEY"),
        ("release A's reservation", (2, 5), keys(KEY_A, 0).to_vec(), "its RESERVATION KEY"),
        ("reserve as A", (1, 1), keys(KEY_A, 0).to_vec(), "its RESERVATION KEY"),
        ("release what belongs to all", (2, 7), keys(KEY_B, 0).to_vec(), "belongs to all registrants"),
        ("make A a holder", (1, 8), keys(KEY_B, 0).to_vec(), "belongs to all registrants"),
        ("move the reservation", (7, 0), moved, "registers a key for another port"),
        ("register other ports", (0, 0), flagged(0, KEY_B, 8).to_vec(), "SPEC_I_PT"),
        ("register on all paths", (0, 0), flagged(0, KEY_B, 4).to_vec(), "ALL_TG_PT"),
        ("begin anew", (8, 5), keys(KEY_B, KEY_B).to_vec(), "REPLACE LOST RESERVATION"),
        ("an action that nobody knows", (31, 0), keys(KEY_B, KEY_B).to_vec(), "effect of this service action"),
        ("a list without keys", (0, 0), vec![0; 8], "too short"),
    ]
}

/// What A has: its keys and its reservation, as it sees them itself.
fn seen(client: &Raw, disk: &File) -> [Vec<u8>; 2] {
    [0, 1].map(|action| {
        let reply = client.pr_in(disk, action, 64);
        assert_eq!(reply.status, 0);
        reply.payload
    })
}

fn none_hurts(bed: &Bed, helper: &Helper, disk: &File) {
    let mut trail = bed.control().follow().expect("a trail");
    let a = Stranger::greeted(helper.socket(), A, A);
    let b = Stranger::greeted(helper.socket(), B, B);
    out(a.client(), disk, (0, 0), &keys(0, KEY_A)).expect_bare(0);
    out(a.client(), disk, (1, WRITE_EXCLUSIVE_REGISTRANTS_ONLY), &keys(KEY_A, 0)).expect_bare(0);
    assert!(trail.next().is_some() && trail.next().is_some());
    let before = seen(a.client(), disk);
    let attacks = attacks();
    for (what, command, list, reason) in &attacks {
        let reply = out(b.client(), disk, *command, list);
        expect_denied(&reply);
        let (_, told) = refusal(&mut trail);
        assert!(told.contains(reason) && told.ends_with("(rule \"tenant b\")"), "{what}: {told}");
        assert_eq!(seen(a.client(), disk), before, "{what}");
    }
    assert_eq!(bed.refusals("keys"), u64::try_from(attacks.len()).unwrap());
    // A is as well as before, and can do all that it could.
    out(a.client(), disk, (2, WRITE_EXCLUSIVE_REGISTRANTS_ONLY), &keys(KEY_A, 0)).expect_bare(0);
    out(a.client(), disk, (0, 0), &keys(KEY_A, 0)).expect_bare(0);
}

#[test]
fn on_a_shared_path_no_tenant_can_hurt_the_other() {
    ours(|bed| {
        let unit = Shared::default();
        let device = unit.clone();
        let helper = bed.launch_with(SETTINGS).device(move |command| device.answer(command)).start();
        none_hurts(bed, &helper, &null());
        assert_eq!(unit.state(), (Vec::new(), None));
    });
}

#[test]
fn on_paths_of_their_own_no_tenant_can_hurt_the_other() {
    ours(|bed| {
        let helper = bed.launch_with(SETTINGS).arg("--simulate").start();
        let disk = simulated(bed);
        none_hurts(bed, &helper, &disk);
        // The same while B is registered itself, which is what most of it takes.
        let a = Stranger::greeted(helper.socket(), A, A);
        let b = Stranger::greeted(helper.socket(), B, B);
        for (tenant, key) in [(&b, KEY_B), (&a, KEY_A)] {
            out(tenant.client(), &disk, (0, 0), &keys(0, key)).expect_bare(0);
        }
        let before = seen(a.client(), &disk);
        for (what, command, list, _) in attacks() {
            expect_denied(&out(b.client(), &disk, command, &list));
            assert_eq!(seen(a.client(), &disk), before, "{what}");
        }
    });
}

/// Register, reserve, change the key, preempt one's own stale key, release, unregister, and all reads.
fn lives(tenant: &Stranger, stale: &Stranger, key: u64, disk: &File) {
    let (client, kind) = (tenant.client(), WRITE_EXCLUSIVE_REGISTRANTS_ONLY);
    let done = |command, list: &[u8]| out(client, disk, command, list).expect_bare(0);
    done((0, 0), &keys(0, key));
    out(stale.client(), disk, (0, 0), &keys(0, key + 1)).expect_bare(0);
    done((1, kind), &keys(key, 0));
    done((0, 0), &flagged(key, key + 2, 1));
    for action in 0..4 {
        assert_eq!(client.pr_in(disk, action, 64).status, 0, "reading {action}");
    }
    done((5, kind), &keys(key + 2, key + 1));
    done((2, kind), &keys(key + 2, 0));
    done((0, 0), &keys(key + 2, 0));
    // Without a registration: the disk itself says no, as it would without a limit.
    out(client, disk, (1, kind), &keys(0, 0)).expect_bare(0x18);
}

#[test]
fn each_tenants_own_life_cycle_works() {
    ours(|bed| {
        let helper = bed.launch_with(SETTINGS).arg("--simulate").start();
        let disk = simulated(bed);
        for (user, key) in [(A, KEY_A), (B, KEY_B)] {
            let [tenant, stale] = [0, 1].map(|_| Stranger::greeted(helper.socket(), user, user));
            lives(&tenant, &stale, key, &disk);
        }
        assert_eq!(bed.refusals("keys"), 0);
        assert_eq!(bed.refusals("policy"), 0);
    });
}

#[test]
fn one_after_the_other_tenants_may_use_a_shared_path() {
    ours(|bed| {
        let unit = Shared::default();
        let device = unit.clone();
        let helper = bed.launch_with(SETTINGS).device(move |command| device.answer(command)).start();
        for (user, key) in [(A, KEY_A), (B, KEY_B)] {
            let tenant = Stranger::greeted(helper.socket(), user, user);
            for (command, list) in
                [((0, 0), keys(0, key)), ((1, 5), keys(key, 0)), ((2, 5), keys(key, 0)), ((0, 0), keys(key, 0))]
            {
                out(tenant.client(), &null(), command, &list).expect_bare(0);
            }
        }
        // To the disk a second registration is a conflict, and it says so itself.
        let (a, b) = (Stranger::greeted(helper.socket(), A, A), Stranger::greeted(helper.socket(), B, B));
        out(a.client(), &null(), (0, 0), &keys(0, KEY_A)).expect_bare(0);
        out(b.client(), &null(), (0, 0), &keys(0, KEY_B)).expect_bare(0x18);
    });
}

#[test]
fn whoever_is_no_tenant_gets_nothing() {
    ours(|bed| {
        let helper = bed.launch_with(SETTINGS).arg("--simulate").start();
        let mut trail = bed.control().follow().expect("a trail");
        let stranger = Stranger::greeted(helper.socket(), 2003, 2003);
        let disk = simulated(bed);
        expect_denied(&stranger.client().pr_in(&disk, 0, 64));
        expect_denied(&out(stranger.client(), &disk, (0, 0), &keys(0, KEY_A)));
        for action in ["READ KEYS", "REGISTER"] {
            assert_eq!(refusal(&mut trail), (action.to_owned(), "no rule allows it".to_owned()));
        }
        assert_eq!(bed.refusals("policy"), 2);
    });
}

#[test]
fn a_tenant_with_a_path_of_its_own_may_register_without_knowing_the_key() {
    ours(|bed| {
        let settings = "[[rule]]\nkeys = { prefix = 0xa1, bits = 8, own-nexus = true }\n";
        let helper = bed.launch_with(settings).arg("--simulate").start();
        let (client, disk) = (helper.connect(), simulated(bed));
        out(&client, &disk, (6, 0), &keys(0, KEY_A)).expect_bare(0);
        out(&client, &disk, (1, WRITE_EXCLUSIVE_REGISTRANTS_ONLY), &keys(KEY_A, 0)).expect_bare(0);
        expect_denied(&out(&client, &disk, (6, 0), &keys(0, KEY_B)));
        expect_denied(&out(&client, &disk, (2, WRITE_EXCLUSIVE_ALL_REGISTRANTS), &keys(KEY_A, 0)));
        expect_denied(&out(&client, &disk, (3, 0), &keys(KEY_A, 0)));
    });
}

#[test]
fn keys_that_the_trail_hides_are_not_in_its_reasons() {
    ours(|bed| {
        let helper = bed.launch_with(SETTINGS).args(["--simulate", "--audit-keys", "hide"]).start();
        let b = Stranger::greeted(helper.socket(), B, B);
        expect_denied(&out(b.client(), &simulated(bed), (0, 0), &keys(KEY_A, KEY_B)));
        drop(b);
        let audit = helper.end(rustix::process::Signal::TERM).audit.concat();
        assert!(audit.contains("REGISTER refused") && !audit.contains("a1000000"), "{audit}");
    });
}
