//! SECURITY.md's table, held against running processes.

use std::collections::BTreeMap;

use pr_lab::{Subject, prelude::*};

use crate::OURS;

/// The rows of the table of SECURITY.md, each with its cells.
fn table() -> BTreeMap<&'static str, Vec<&'static str>> {
    let text = include_str!("../../../../SECURITY.md").split("## What each process can do").nth(1).expect("the table");
    // The first one: others follow.
    let is_row = |line: &&str| line.starts_with('|');
    let rows = text.lines().skip_while(|line| !is_row(line)).take_while(is_row);
    rows.filter_map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        Some((cells.next()?, cells.collect()))
    })
    .collect()
}

fn capabilities(mask: &str) -> String {
    let mask = u64::from_str_radix(mask, 16).expect("a mask");
    let known = [(17, "CAP_SYS_RAWIO"), (21, "CAP_SYS_ADMIN")];
    let rest = known.iter().fold(mask, |mask, (bit, _)| mask & !(1 << bit));
    assert_eq!(rest, 0, "a capability that nobody expected");
    let names: Vec<&str> = known.iter().filter(|(bit, _)| mask & (1 << bit) != 0).map(|(_, name)| *name).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// What a process is, in the words of the table.
fn measured(process: Process) -> BTreeMap<&'static str, String> {
    let status = process.status();
    let user = match status["Uid"].split_whitespace().next() {
        Some("0") => "root",
        Some("65534") => "nobody",
        other => panic!("user {other:?}"),
    };
    BTreeMap::from([
        ("capabilities", capabilities(&status["CapPrm"])),
        ("capabilities that a program it runs could get", capabilities(&status["CapBnd"])),
        ("user, without `-u`", user.to_owned()),
        ("new privileges", if status["NoNewPrivs"] == "1" { "ruled out" } else { "possible" }.to_owned()),
    ])
}

/// Whether a filter is in force; `SG_IO` is emulated without one here, so that there is none but the program's own.
fn is_filtered(process: Process) -> bool {
    process.status()["Seccomp"] == "2"
}

#[track_caller]
fn expect(process: Process, column: usize, filtered: bool) {
    let table = table();
    eventually("the walls are up", || is_filtered(process) == filtered);
    for (row, found) in measured(process) {
        assert_eq!(table[row][column], found, "{row}");
    }
    let calls = table["system calls, of about 370"][column];
    assert_eq!(calls == "all", !filtered, "system calls: {calls}");
}

#[test]
fn security_md_tells_what_each_process_can_do() {
    pr_lab::ours(OURS, |bed| {
        let helper = bed.launch().arg("--control").arg(bed.path("control")).start();
        expect(helper.process(), 0, true);
        expect(helper.child("qemu-pr-names"), 1, true);
        expect(helper.child("qemu-pr-resolve"), 1, true);
        expect(helper.child("qemu-pr-broker"), 2, true);
        drop(helper);
        let helper = bed.launch().args(["-u", "nobody", "-g", "nogroup"]).start();
        expect(helper.child("qemu-pr-cleanup"), 3, true);
    });
    let bed = Bed::new(&Subject::reference());
    expect(bed.start().process(), 4, false);
}

#[test]
fn without_the_sandbox_there_is_no_filter() {
    pr_lab::ours(OURS, |bed| {
        for (how, filtered) in [("off", false), ("log", true), ("enforce", true)] {
            let helper = bed.launch().args(["--sandbox", how]).start();
            assert_eq!(is_filtered(helper.process()), filtered, "--sandbox {how}");
            helper.connect().expect_served();
        }
        bed.launch().args(["--sandbox", "maybe"]).run().expect_refusal(&["--sandbox", "maybe"]);
    });
}
