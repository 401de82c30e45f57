//! Many commands at once: one map's one after the other, different maps' side by side, and nothing left behind.

use std::os::fd::AsFd;

use pr_lab::prelude::*;
use rustix::process::{Resource, Signal};

use crate::multipath::disk::{Op, good, keys, willing};
use crate::multipath::lab::{Lab, children, keeper, node};

const MAPS: u32 = 3;
const COMMANDS: u32 = 120;

/// What the allocator may keep for the next time. (A thread of the daemon's is 75 kB.)
const MARGIN_KB: u64 = 128;

fn send(client: &Raw, minor: u32, key: u64) {
    let device = node(minor);
    client.send_with(&Raw::cdb_out(6, 24), &[device.as_fd()]);
    client.send(&keys(0, key));
}

/// Maps loop0 to loop2, with a path each: loop3 to loop5.
fn maps() -> Lab {
    let lab = Lab::without_maps();
    (0..MAPS).for_each(|map| lab.map(map, &[map + MAPS]));
    lab
}

#[test]
fn a_hundred_commands_on_three_maps_leave_nothing_behind() {
    let lab = maps();
    let helper = lab.launch(willing).args(["--command-timeout", "300"]).start();
    let round = || {
        let sent: Vec<Raw> = (0..COMMANDS)
            .map(|number| {
                let client = helper.connect();
                send(&client, number % MAPS, u64::from(number) + 1);
                client
            })
            .collect();
        for client in &sent {
            client.reply().expect_bare(0);
        }
        drop(sent);
        let keeper = keeper(&helper);
        let workers = children(keeper);
        assert_eq!(workers.len(), MAPS as usize);
        let open = |process: &Process| process.descriptors().len();
        let threads = |process: &Process| process.threads().len();
        let now = || -> Vec<usize> {
            workers.iter().flat_map(|process| [open(process), threads(process)]).chain([open(&keeper)]).collect()
        };
        let mut last = now();
        eventually("nothing happens any more", || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            std::mem::replace(&mut last, now()) == now()
        });
        let daemon = helper.process();
        last.push(daemon.threads().len());
        (helper.settled_descriptors(), last, daemon.resident_kb(), keeper.resident_kb())
    };
    // How many threads the daemon needs at once is another number each time, until there is one for each command.
    (0..5).for_each(|_| _ = round());
    let (mut first, mut second) = (round(), round());
    for _ in 0..20 {
        if first.1 == second.1 {
            break;
        }
        (first, second) = (second, round());
    }
    assert_eq!((first.0, &first.1), (second.0, &second.1), "descriptors and threads");
    assert!(second.2 <= first.2 + MARGIN_KB, "the daemon grew from {} to {} kB", first.2, second.2);
    assert!(second.3 <= first.3 + MARGIN_KB, "the keeper grew from {} to {} kB", first.3, second.3);
    assert_eq!(helper.end(Signal::TERM).code(), 0);
}

#[test]
fn what_hangs_on_one_map_does_not_delay_another() {
    let lab = maps();
    let helper = lab.launch(|minor, op| match (minor, op) {
        (3, Op::Out(_)) => Outcome::Hang,
        (_, op) => willing(minor, op),
    });
    let helper = helper.args(["--command-timeout", "300"]).start();
    let stuck = helper.connect();
    send(&stuck, 0, 1);
    helper.device().await_count(1);
    let client = helper.connect();
    for _ in 0..10 {
        client.pr_out(node(1), 6, &keys(0, 2)).expect_bare(0);
    }
    helper.device().release(good());
}

#[test]
fn a_command_that_waits_too_long_for_its_map_is_answered() {
    let lab = maps();
    let helper = lab.launch(|_, op| if matches!(op, Op::Out(5)) { Outcome::Hang } else { good() });
    let helper = helper.args(["--command-timeout", "1"]).start();
    let clients: Vec<Raw> = (1..=3)
        .map(|key| {
            let client = helper.connect();
            let device = node(0);
            client.send_with(&Raw::cdb_out(5, 24), &[device.as_fd()]);
            client.send(&keys(key, 0xb1));
            client
        })
        .collect();
    for client in &clients {
        assert_ne!(client.reply().status, 0);
    }
    helper.device().behave(|_| good());
    helper.device().release(good());
    eventually("the map is of use again", || clients[0].pr_in(node(0), 0, 8).status == 0);
}

/// With 96 descriptors the daemon serves 13 clients.
const CLIENTS: u32 = 13;

/// A command on every connection there may be, on so many maps; all are answered, and nobody has anything to complain of.
fn a_command_on_every_connection(maps: u32) {
    let lab = self::maps();
    let helper = lab.launch(|_, op| if matches!(op, Op::Out(_)) { Outcome::Hang } else { good() });
    let helper = helper.limit(Resource::Nofile, 96).args(["--command-timeout", "300"]).start();
    // The connection that waited for the greeting has to be gone.
    helper.settled_descriptors();
    let sent: Vec<Raw> = (0..CLIENTS)
        .map(|number| {
            let client = helper.connect();
            send(&client, number % maps, u64::from(number) + 1);
            client
        })
        .collect();
    Raw::connect(helper.socket()).expect_closed();
    let keeper = keeper(&helper);
    let replies = || keeper.descriptors().values().filter(|open| open.to_string_lossy().starts_with("pipe:")).count();
    assert!(within(PATIENCE, || replies() == CLIENTS as usize), "{:#?}", keeper.descriptors());
    lab.behave(&helper, willing);
    helper.device().release(good());
    for client in &sent {
        assert_eq!(client.reply().status, 0, "{}", helper.stderr());
    }
    let words = helper.stderr();
    assert_eq!(words.lines().filter(|line| !line.contains("rejecting a client")).count(), 0, "{words}");
}

#[test]
fn descriptors_last_for_a_command_on_every_connection() {
    a_command_on_every_connection(1);
}

#[test]
fn descriptors_last_for_a_command_on_every_connection_each_on_another_map() {
    a_command_on_every_connection(MAPS);
}

/// With 63 descriptors there is room for two connections, and for as many workers.
#[test]
fn where_there_is_room_for_few_workers_those_go_that_are_not_needed() {
    let lab = maps();
    let helper = lab.launch(willing).limit(Resource::Nofile, 63).start();
    helper.settled_descriptors();
    let client = helper.connect();
    for _ in 0..2 {
        for map in 0..MAPS {
            assert_eq!(client.pr_in(node(map), 0, 8).status, 0, "{}", helper.stderr());
        }
    }
    for map in 0..2 {
        client.pr_out(node(map), 6, &keys(0, 1)).expect_bare(0);
    }
    assert_eq!(client.pr_out(node(2), 6, &keys(0, 1)).status, 8, "BUSY: {}", helper.stderr());
    helper.await_stderr("keys are registered on 2 maps");
    client.pr_out(node(0), 6, &keys(0, 0)).expect_bare(0);
    client.pr_out(node(2), 6, &keys(0, 1)).expect_bare(0);
}
