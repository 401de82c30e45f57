//! Many commands at once: one map's one after the other in the order in which they came, different maps' side by side.

use std::collections::HashMap;
use std::fs;
use std::os::fd::AsFd;

use fake_mpath::Event;
use pr_lab::prelude::*;

use crate::disk::{keys, willing};
use crate::lab::{IDLE, Lab, await_idle, broker, node};

const MAPS: u32 = 8;
const COMMANDS: u32 = 200;

/// What the broker has open for a command: the device and the pipe for the verdict, and for one under way its process and two pipes.
const WAITING: usize = 2;
const UNDER_WAY: usize = 5;

/// What the allocator may keep for the next time.
const MARGIN_KB: u64 = 512;

/// 200 commands on 8 maps while the library waits for `gate`; their order is known, because each is in the broker's hands before the
/// next one is sent. Then the gate opens.
fn round(lab: &Lab, helper: &Helper, gate: &std::path::Path) {
    let broker = broker(helper);
    let sent: Vec<Raw> = (0..COMMANDS)
        .map(|number| {
            let client = helper.connect();
            let device = node(number % MAPS);
            client.send_with(&Raw::cdb_out(6, 24), &[device.as_fd()]);
            client.send(&keys(0, u64::from(number) + 1));
            let under_way = number.min(MAPS - 1) as usize + 1;
            let open = IDLE + under_way * UNDER_WAY + (number as usize + 1 - under_way) * WAITING;
            let settled = within(PATIENCE, || broker.descriptors().len() == open);
            assert!(settled, "command {number}: not {open} descriptors but {:#?}", broker.descriptors());
            client
        })
        .collect();
    eventually("the library is called for every map at the same time", || lab.journal().len() == MAPS as usize);
    fs::write(gate, "").expect("open the gate");
    for client in &sent {
        client.reply().expect_bare(0);
    }
}

/// Each map's calls one after the other, in the order in which the commands were sent.
fn expect_order(journal: &[Event]) {
    assert_eq!(journal.len(), 2 * COMMANDS as usize);
    assert!(journal[..MAPS as usize].iter().all(|event| matches!(event, Event::Begin(_))), "all maps at once");
    let mut last: HashMap<&str, u64> = HashMap::new();
    let mut under_way: HashMap<&str, bool> = HashMap::new();
    for event in journal {
        match event {
            Event::Begin(call) => {
                let before = under_way.insert(&call.map, true);
                assert_ne!(before, Some(true), "one at a time on {}", call.map);
                let minor: u64 = call.map.strip_prefix("7:").unwrap().parse().unwrap();
                let expected = last.get(call.map.as_str()).map_or(minor + 1, |key| key + u64::from(MAPS));
                assert_eq!(call.new_key, expected, "in order on {}", call.map);
                last.insert(&call.map, call.new_key);
            }
            Event::Return { map, code } => {
                assert_eq!((under_way.insert(map, false), *code), (Some(true), 0));
            }
        }
    }
}

#[test]
fn two_hundred_commands_on_eight_maps_keep_their_order_and_leave_nothing_behind() {
    let lab = Lab::without_maps();
    for map in 0..MAPS {
        lab.map(map, &[]);
    }
    let helper = lab.launch(willing).args(["--command-timeout", "300"]).start();
    let broker = broker(&helper);
    let one_round = |number: u32| {
        let gate = lab.bed().path(&format!("gate{number}"));
        lab.script(&format!("out hold={}", gate.display()));
        fs::write(lab.bed().path("journal"), "").expect("empty the journal");
        round(&lab, &helper, &gate);
        expect_order(&lab.journal());
        await_idle(broker);
        (helper.settled_descriptors(), helper.process().resident_kb(), broker.resident_kb())
    };
    let first = one_round(0);
    let second = one_round(1);
    assert_eq!(first.0, second.0, "descriptors of the daemon");
    assert!(second.1 <= first.1 + MARGIN_KB, "the daemon grew from {} to {} kB", first.1, second.1);
    assert!(second.2 <= first.2 + MARGIN_KB, "the broker grew from {} to {} kB", first.2, second.2);
    assert_eq!(helper.end(rustix::process::Signal::TERM).code(), 0);
}

#[test]
fn a_command_that_waits_too_long_for_its_map_never_starts() {
    let lab = Lab::new();
    let helper = lab.launch(willing).args(["--command-timeout", "1"]).start();
    lab.script("out hang");
    let device = node(0);
    let clients: Vec<Raw> = (1..=3)
        .map(|key| {
            let client = helper.connect();
            client.send_with(&Raw::cdb_out(6, 24), &[device.as_fd()]);
            client.send(&keys(0, key));
            client
        })
        .collect();
    for client in &clients {
        client.reply().expect_check(0xb, 0x2e, 2);
    }
    let begun = lab.journal().len();
    assert!((1..=3).contains(&begun), "{begun}");
    lab.script("");
    clients[0].pr_out(node(0), 6, &keys(0, 9)).expect_bare(0);
    await_idle(broker(&helper));
}

/// With 64 descriptors the daemon serves 13 clients, and its broker has room for 4 children.
const LIMIT: u64 = 64;
const CLIENTS: u32 = 13;
const CHILDREN: usize = 4;

/// A command on every connection there may be, on so many maps; all are answered, and nobody has anything to complain of.
fn a_command_on_every_connection(maps: u32) {
    let lab = Lab::without_maps();
    for map in 0..maps {
        lab.map(map, &[]);
    }
    let launch = lab.launch(willing).limit(rustix::process::Resource::Nofile, LIMIT);
    let helper = launch.args(["--command-timeout", "300"]).start();
    // The connection that waited for the greeting has to be gone.
    helper.settled_descriptors();
    let gate = lab.bed().path("gate");
    lab.script(&format!("out hold={}", gate.display()));
    let broker = broker(&helper);
    let sent: Vec<Raw> = (0..CLIENTS)
        .map(|number| {
            let client = helper.connect();
            let device = node(number % maps);
            client.send_with(&Raw::cdb_out(6, 24), &[device.as_fd()]);
            client.send(&keys(0, u64::from(number) + 1));
            client
        })
        .collect();
    Raw::connect(helper.socket()).expect_closed();
    let under_way = CHILDREN.min(maps as usize);
    let open = IDLE + under_way * UNDER_WAY + (CLIENTS as usize - under_way) * WAITING;
    let settled = within(PATIENCE, || broker.descriptors().len() == open);
    assert!(settled, "not {open} descriptors but {:#?}", broker.descriptors());
    fs::write(gate, "").expect("open the gate");
    for client in &sent {
        assert_eq!(client.reply().status, 0, "{}", helper.stderr());
    }
    await_idle(broker);
    let words = helper.stderr();
    assert_eq!(words.lines().filter(|line| !line.contains("turning a client away")).count(), 0, "{words}");
}

#[test]
fn descriptors_last_for_a_command_on_every_connection() {
    a_command_on_every_connection(1);
}

#[test]
fn descriptors_last_for_a_command_on_every_connection_each_on_another_map() {
    a_command_on_every_connection(MAPS);
}
