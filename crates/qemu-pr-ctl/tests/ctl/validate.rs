//! `validate`: passes on a disk without a fault, and names the step that finds one.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
};

use pr_conformance::{ALL, PRODUCTS, Sequence};
use qemu_pr_protocol::Client;
use rustix::process::Signal;
use scsi_persistent_reservations::{Cdb, OutAction, PrOut, ReservationKey};
use serde_json::Value;

use crate::{
    daemon::Daemon,
    run::{PROGRAM, Run, run},
    simulate::{Simulator, signal},
    stand_in::{Request, StandIn, converse},
};

/// Plays everything with two initiators.
fn validate(simulator: &Simulator, words: &[&str]) -> Run {
    let disk = simulator.path("disk");
    let mut all = vec!["validate", &disk, "--second", &disk];
    all.extend(words);
    run(&simulator.socket(), &all)
}

fn json(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"))
}

#[test]
fn a_proper_disk_passes_and_is_left_as_it_was() {
    let simulator = Simulator::start(&[]);
    let said = validate(&simulator, &[]).expect_done();
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    for Sequence { name, .. } in &ALL {
        let row = said.lines().rfind(|line| line.starts_with(&format!("{name} "))).expect(name);
        assert!(row.ends_with("  passed"), "{row}");
    }
    assert!(said.ends_with("The disk has no registrations left.\n"), "{said}");
    assert!(simulator.ctl("keys").expect_done().contains("no registrations"));
}

#[test]
fn an_initiator_with_a_name_is_node_1() {
    let simulator = Simulator::start(&[]);
    validate(&simulator, &["--as", "alpha"]).expect_done();
    simulator.ctl("register --new-key 0xa --as alpha").expect_done();
    validate(&simulator, &["--as", "alpha"]).expect_error(1, &["is in use (registrations: 1); --force"]);
}

#[test]
fn one_initiator_plays_its_half() {
    let simulator = Simulator::start(&[]);
    let said = simulator.ctl("validate").expect_done();
    assert!(said.contains("see --second") && !said.contains("node 2 reserves"), "{said}");
    assert_eq!(said.matches("  passed\n").count(), ALL.len(), "{said}");
}

#[test]
fn the_daemon_passes_with_its_simulated_disk() {
    let daemon = Daemon::start();
    let disk = daemon.disk();
    let said = run(daemon.socket(), &["validate", &disk, "--second", &disk]).expect_done();
    assert_eq!(said.matches("  passed\n").count(), ALL.len(), "{said}");
}

/// A mistake of a disk or a helper, and the step of a sequence that finds it.
struct Mistake(
    /// Its name for `simulate --misbehave`.
    &'static str,
    /// The sequence that fails, and its step.
    &'static str,
    usize,
    /// The command, and the answers that are expected and received; the keys of the run stand as 1 and 2.
    &'static str,
    &'static str,
    &'static str,
);

/// What a disk may do wrong.
const MISTAKES: [Mistake; 35] = [
    Mistake("repeated-reserve", "windows-failover-clustering", 6, "RESERVE", "GOOD", "RESERVATION CONFLICT"),
    Mistake("shared-reserve", "windows-failover-clustering", 9, "RESERVE", "RESERVATION CONFLICT", "GOOD"),
    Mistake("clear", "windows-failover-clustering", 21, "READ KEYS", "no keys", "1 2"),
    Mistake("preempt", "windows-failover-clustering", 12, "READ KEYS", "2", "1 2"),
    Mistake(
        "preempt-loses",
        "windows-failover-clustering",
        13,
        "READ RESERVATION",
        "held by 2, type 5",
        "no reservation",
    ),
    Mistake(
        "no-abort",
        "fence_scsi",
        9,
        "PREEMPT AND ABORT",
        "GOOD",
        "ILLEGAL REQUEST: INVALID FIELD IN CDB (5/24/00)",
    ),
    Mistake("release", "ocf-sg_persist", 8, "READ RESERVATION", "held by 1, type 1", "no reservation"),
    Mistake("unregister", "windows-failover-clustering", 17, "READ RESERVATION", "held by 2, type 5", "no reservation"),
    Mistake("wrong-key", "fence_mpath", 2, "REGISTER", "RESERVATION CONFLICT", "GOOD"),
    Mistake("keys", "windows-arbitration", 11, "READ KEYS", "1 2", "1"),
    Mistake("type", "windows-failover-clustering", 7, "READ RESERVATION", "held by 1, type 5", "held by 1, type 1"),
    Mistake("generation", "basics", 5, "READ KEYS", "PRGENERATION above 0", "PRGENERATION still 0"),
    Mistake("busy", "basics", 4, "REGISTER", "GOOD", "BUSY"),
    Mistake("reserve-type", "rules", 6, "RESERVE", "RESERVATION CONFLICT", "GOOD"),
    Mistake("reserve-key", "rules", 3, "RESERVE", "RESERVATION CONFLICT", "GOOD"),
    Mistake("reserve-unknown", "windows-failover-clustering", 14, "RESERVE", "RESERVATION CONFLICT", "GOOD"),
    Mistake("all-reserve", "lvm-persist", 28, "RESERVE", "GOOD", "RESERVATION CONFLICT"),
    Mistake("all-holder", "lvm-persist", 19, "READ RESERVATION", "held by all, type 7", "held by 1, type 7"),
    Mistake("release-nothing", "ocf-sg_persist", 14, "READ RESERVATION", "no reservation", "held by 2, type 1"),
    Mistake("release-type", "rules", 9, "RELEASE", "RESERVATION CONFLICT, or an error", "GOOD"),
    Mistake(
        "clear-keeps",
        "windows-failover-clustering",
        22,
        "READ RESERVATION",
        "no reservation",
        "held by 2, type 5",
    ),
    Mistake("preempt-keeps", "windows-failover-clustering", 12, "READ KEYS", "2", "1 2"),
    Mistake("self-preempt", "fence_scsi", 15, "READ KEYS", "1 2", "1"),
    Mistake("preempt-unknown", "rules", 11, "PREEMPT", "RESERVATION CONFLICT", "GOOD"),
    Mistake("preempt-type", "rules", 38, "READ RESERVATION", "held by 1, type 5", "held by 1, type 6"),
    Mistake("last-unregister", "lvm-persist-2.03.36", 21, "READ RESERVATION", "no reservation", "held by all, type 7"),
    // The sequence before ended with a holder, which was unregistered.
    Mistake("holder-leaves", "fence_scsi-4.16", 3, "READ RESERVATION", "no reservation", "held by 2, type 5"),
    Mistake("key-change", "rules", 13, "READ RESERVATION", "held by 2, type 5", "no reservation"),
    Mistake("shared-key", "qemu-11-migrate-pr", 5, "REGISTER", "GOOD", "RESERVATION CONFLICT"),
    Mistake("no-enforcement", "enforcement-type-1", 6, "WRITE", "RESERVATION CONFLICT", "GOOD"),
    Mistake("type-8", "enforcement-type-8", 5, "READ", "RESERVATION CONFLICT", "GOOD"),
    Mistake("no-readers", "enforcement-type-1", 5, "READ", "GOOD", "RESERVATION CONFLICT"),
    Mistake("no-registrants", "enforcement-type-5", 10, "WRITE", "GOOD", "RESERVATION CONFLICT"),
    Mistake("data-after-out", "basics", 4, "REGISTER", "GOOD", "the reply to a PERSISTENT RESERVE OUT has data"),
    Mistake(
        "too-much-data",
        "basics",
        6,
        "READ KEYS",
        "8 bytes, more announced",
        "the reply has more data than requested",
    ),
];

/// Those that other tests are about: no software fails for the first two, and the last one has a key of chance.
const ELSEWHERE: [&str; 3] = ["attention", "reads-count", "holder"];

#[test]
fn each_fault_is_one_of_the_mistakes() {
    let help = run(Path::new("/nonexistent"), &["simulate", "--help"]).expect_done();
    let (_, table) = help.split_once("Faults:\n").expect("a table of faults");
    let rows = table.lines().take_while(|line| line.starts_with("  "));
    let mut faults: Vec<&str> = rows.filter_map(|line| line.split_whitespace().next()).collect();
    let mut listed: Vec<&str> = MISTAKES.iter().map(|mistake| mistake.0).chain(ELSEWHERE).collect();
    faults.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, faults);
}

#[test]
fn a_fault_fails_in_the_right_step_with_the_right_words() {
    for Mistake(fault, sequence, number, command, expected, received) in MISTAKES {
        let simulator = Simulator::start(&["--misbehave", fault]);
        let run = validate(&simulator, &["--json"]);
        assert_eq!((run.code, run.stderr.as_str()), (Some(36), ""), "{fault}: {run:?}");
        let page = json(&run);
        let failed = page["sequences"].as_array().expect("sequences").iter().find(|s| s["result"] == "failed");
        let failed = failed.unwrap_or_else(|| panic!("{fault} fails nowhere"));
        let step = failed["steps"].as_array().and_then(|steps| steps.last()).expect("a step");
        let text = |name: &str| {
            let text = step[name].as_str().expect("words");
            let keys = page["keys"].as_array().expect("keys").iter().map(|key| key.as_str().expect("a key"));
            (1..).zip(keys).fold(text.to_owned(), |text, (number, key)| text.replace(key, &number.to_string()))
        };
        assert_eq!((&failed["name"], &step["number"]), (&sequence.into(), &number.into()), "{fault}: {step}");
        assert_eq!((text("command"), text("expected")), (command.to_owned(), expected.to_owned()), "{fault}");
        assert!(
            text("came").ends_with(received) || text("came").contains(received) && received.len() > 20,
            "{fault}: {step}"
        );
        assert_eq!(page["passed"], false);
        assert_eq!(page["left_behind"], Value::Array(Vec::new()), "{fault}");
    }
}

/// What is said of each product.
fn products(page: &Value) -> Vec<(&str, &str, &str)> {
    let products = page["products"].as_array().expect("products");
    let words = products.iter().map(|product| ["name", "works", "reason"].map(|name| product[name].as_str()));
    words.map(|words| words.map(Option::unwrap_or_default).into()).collect()
}

#[test]
fn each_cluster_product_has_a_verdict() {
    let simulator = Simulator::start(&[]);
    let page = json(&validate(&simulator, &["--json"]));
    let verdicts = products(&page);
    assert_eq!(verdicts.len(), PRODUCTS.len());
    assert!(verdicts.iter().all(|(_, works, reason)| (*works, *reason) == ("yes", "")), "{verdicts:?}");

    let simulator = Simulator::start(&["--misbehave", "no-abort"]);
    let run = validate(&simulator, &["--json"]);
    let page = json(&run);
    for (name, works, reason) in products(&page) {
        let due = match name {
            "Pacemaker: fence_scsi" | "Pacemaker: fence_scsi 4.16 and newer" => {
                "fence_scsi, step 9 (PREEMPT AND ABORT)"
            }
            "Pacemaker: fence_mpath" => "fence_mpath, step 7 (PREEMPT AND ABORT)",
            "LVM: vgchange --persist" => "lvm-persist, step 30 (PREEMPT AND ABORT)",
            _ => "",
        };
        assert_eq!((works, reason), (if due.is_empty() { "yes" } else { "no" }, due), "{name}");
    }
    let simulator = Simulator::start(&["--misbehave", "no-enforcement"]);
    let run = validate(&simulator, &[]);
    let said: Vec<&str> = run.stdout.lines().skip_while(|line| !line.starts_with("will work with")).collect();
    assert!(
        said.contains(&"Pacemaker: fence_mpath                no: enforcement-type-5, step 6 (WRITE)"),
        "{}",
        run.stdout
    );
    assert!(said.iter().all(|line| !line.ends_with("  yes")), "{}", run.stdout);
}

#[test]
fn one_initiator_or_one_sequence_is_not_all_that_a_product_needs() {
    let simulator = Simulator::start(&[]);
    let said = simulator.ctl("validate").expect_done();
    assert_eq!(said.matches("as far as tested: needs --second").count(), PRODUCTS.len(), "{said}");
    let said = validate(&simulator, &["--only", "fence_mpath"]).expect_done();
    assert!(
        said.contains("Pacemaker: fence_mpath                not known: basics was not run to its end\n"),
        "{said}"
    );
    assert_eq!(said.matches("not known").count(), 1, "{said}");
}

#[test]
fn attentions_that_nobody_is_told_are_a_remark_or_a_failure_if_wanted() {
    let simulator = Simulator::start(&["--misbehave", "attention"]);
    let said = validate(&simulator, &[]).expect_done();
    assert!(said.contains("passed, with 2 remarks") && said.contains("remark  node 1 gets a unit attention"), "{said}");
    let run = validate(&simulator, &["--strict"]);
    assert_eq!(run.code, Some(36));
    assert!(run.stdout.contains("  11  FAILED  node 1 gets a unit attention (READ KEYS)"), "{}", run.stdout);
}

#[test]
fn a_generation_that_counts_what_changes_nothing_is_a_remark() {
    let simulator = Simulator::start(&["--misbehave", "reads-count"]);
    let said = validate(&simulator, &["--only", "basics"]).expect_done();
    assert!(said.contains("   8  remark  node 1 reads the keys again (READ KEYS)"), "{said}");
    assert!(said.contains("expected  PRGENERATION still ") && said.contains(" after no change"), "{said}");
}

#[test]
fn a_failure_is_shown_with_what_was_expected_and_received() {
    let simulator = Simulator::start(&["--misbehave", "holder"]);
    let run = validate(&simulator, &["--only", "fence_scsi"]);
    assert_eq!(run.code, Some(36));
    assert!(
        run.stdout.contains(
            "   5  FAILED  node 1 reads the reservation (READ RESERVATION)\n              \
             expected  held by key 1, type 5\n              received  held by 0x"
        ),
        "{}",
        run.stdout
    );
    assert!(run.stdout.contains("  5/16  failed: READ RESERVATION\n"), "{}", run.stdout);
    assert!(run.stdout.lines().all(|line| line.chars().count() <= 80), "{}", run.stdout);
}

#[test]
fn a_disk_in_use_is_left_alone_unless_forced() {
    let simulator = Simulator::start(&[]);
    simulator.ctl("register --new-key 0xa").expect_done();
    validate(&simulator, &[]).expect_error(1, &["is in use (registrations: 1)", "--force"]);
    assert!(simulator.ctl("keys").expect_done().contains("0xa"));
    validate(&simulator, &["--force", "--only", "basics"]).expect_done();
    assert!(simulator.ctl("keys").expect_done().contains("no registrations"));
}

#[test]
fn somebody_who_comes_in_the_meantime_is_left_alone() {
    let daemon = Daemon::start();
    let disk = daemon.disk();
    let mut client = Client::connect(daemon.socket()).expect("a helper");
    let mut somebody = Some(Client::connect(daemon.socket()).expect("a helper"));
    // Cleaning up behind the first sequence starts with this; somebody registers just before.
    let cleans = |cdb: &Cdb| {
        matches!(cdb.command(), scsi_persistent_reservations::Command::Out(command)
            if command.action() == Some(OutAction::RegisterAndIgnoreExistingKey))
    };
    let helper = StandIn::answering(move |request| {
        if cleans(&request.cdb)
            && let Some(mut other) = somebody.take()
        {
            let register = PrOut::register(ReservationKey::ZERO, ReservationKey(0xdead));
            other.execute(&request.device, &register.cdb(), &register.list()).expect("an answer");
        }
        client.execute(&request.device, &request.cdb, &request.parameters).ok()
    });
    let run = run(&helper.socket(), &["validate", &disk]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains("is in use (registrations: 1)"), "{run:?}");
    let keys = daemon.ctl(daemon.socket(), "keys").expect_done();
    assert!(keys.contains(": 1 registration ") && keys.ends_with("\n  0xdead\n"), "{keys}");
}

/// As a map is to QEMU's helper without multipath: each command takes either path.
#[test]
fn what_is_registered_by_one_path_and_not_by_the_other_is_removed_or_said_to_be_left() {
    for seed in 1..=12_u64 {
        let daemon = Daemon::start();
        let disk = daemon.disk();
        let paths = [(); 2].map(|()| Client::connect(daemon.socket()).expect("a helper"));
        let state = Arc::new(Mutex::new((paths, seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))));
        // Cleaning up opens another connection while it has one.
        let helper = StandIn::serving(move |stream| {
            let state = Arc::clone(&state);
            thread::spawn(move || {
                converse(stream, &mut |request: Request| {
                    let (paths, random) = &mut *state.lock().expect("nobody panics");
                    *random ^= *random << 13;
                    *random ^= *random >> 7;
                    *random ^= *random << 17;
                    let path = &mut paths[usize::from(*random >> 40 & 1 == 1)];
                    path.execute(&request.device, &request.cdb, &request.parameters).ok()
                })
            });
        });
        let run = run(&helper.socket(), &["validate", &disk, "--json"]);
        let page = json(&run);
        assert_eq!((run.code, &page["error"]), (Some(36), &Value::Null), "seed {seed}: {run:?}");
        let keys = daemon.ctl(daemon.socket(), "keys").expect_done();
        let left = page["left_behind"].as_array().expect("keys");
        assert_eq!(left.is_empty(), keys.contains("no registrations"), "seed {seed}: {left:?}, {keys}");
    }
}

#[test]
fn two_devices_have_to_be_one_disk() {
    let simulator = Simulator::start_with(&[], &["a", "b"]);
    let words = ["validate", &simulator.path("a"), "--second", &simulator.path("b")];
    run(&simulator.socket(), &words).expect_error(1, &["are different disks"]);
    let keys = run(&simulator.socket(), &["keys", &simulator.path("a")]);
    assert!(keys.expect_done().contains("no registrations"), "what was tried is cleaned up");
}

#[test]
fn a_signal_ends_it_and_it_cleans_up() {
    let daemon = Daemon::start();
    let disk = daemon.disk();
    let (tell, process) = mpsc::channel::<Child>();
    let (give_back, children) = mpsc::channel();
    let mut client = Client::connect(daemon.socket()).expect("a helper");
    // The signal comes in the middle of a sequence: before the answer to a RESERVE.
    let helper = StandIn::answering(move |request| {
        if matches!(request.cdb.command(), scsi_persistent_reservations::Command::Out(command) if command.action() == Some(OutAction::Reserve))
        {
            let child = process.recv().expect("the process");
            signal(&child, Signal::TERM);
            give_back.send(child).expect("a test that waits");
        }
        client.execute(&request.device, &request.cdb, &request.parameters).ok()
    });
    let mut command = Command::new(PROGRAM);
    command.args(["validate", &disk, "--socket"]).arg(helper.socket()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("run the tool");
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    tell.send(child).expect("a helper that waits");
    let lines: Vec<String> = lines.map(|line| line.expect("a line")).collect();
    let mut child = children.recv().expect("the process");
    assert_eq!(child.wait().expect("its end").code(), Some(143), "{lines:#?}");
    assert!(lines.iter().any(|line| line.ends_with("  interrupted")), "{lines:#?}");
    assert_eq!(lines.last().map(String::as_str), Some("The disk has no registrations left."));
    assert!(daemon.ctl(daemon.socket(), "keys").expect_done().contains("no registrations"));
}

#[test]
fn a_helper_that_hangs_up_fails_the_step_and_another_connection_cleans_up() {
    let daemon = Daemon::start();
    let disk = daemon.disk();
    let socket = daemon.socket().to_path_buf();
    let mut connections = Vec::new();
    // Each connection of the tool is an initiator of its own, as behind a simulating helper.
    let helper = StandIn::serving(move |stream| {
        let mut client = Client::connect(&socket).expect("a helper");
        let mut answer = |request: Request| {
            let preempts = matches!(request.cdb.command(), scsi_persistent_reservations::Command::Out(command)
                if command.action() == Some(OutAction::Preempt) && command.reservation_type().is_some_and(|t| t.code() == 5));
            if preempts { None } else { client.execute(&request.device, &request.cdb, &request.parameters).ok() }
        };
        converse(stream, &mut answer).unwrap_or_default();
        connections.push(client);
    });
    let run = run(&helper.socket(), &["validate", &disk, "--only", "fence_scsi", "--json"]);
    assert_eq!(run.code, Some(36), "{run:?}");
    let page = json(&run);
    let step = page["sequences"][0]["steps"].as_array().and_then(|steps| steps.last()).expect("a step").clone();
    assert!(step["came"].as_str().is_some_and(|came| came.contains("closed the connection")), "{step}");
    assert_eq!(page["left_behind"], Value::Array(Vec::new()));
    assert!(daemon.ctl(daemon.socket(), "keys").expect_done().contains("no registrations"));
}

#[test]
fn nobody_reading_on_is_no_reason_to_leave_registrations_behind() {
    let simulator = Simulator::start(&[]);
    let mut command = Command::new(PROGRAM);
    command.args(["validate", &simulator.path("disk"), "--socket"]).arg(simulator.socket());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("run the tool");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("registers"))).expect("a step").expect("a line");
    drop(lines);
    child.wait().expect("its end");
    assert!(simulator.ctl("keys").expect_done().contains("no registrations"));
}
