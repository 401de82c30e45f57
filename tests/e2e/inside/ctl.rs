//! `qemu-pr-ctl` on a real LUN: it agrees with `sg_persist` field by field, with and without the helper, and its
//! `validate` passes.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pr_conformance::ALL;
use scsi_persistent_reservations::ReservationType;
use serde_json::Value;

use crate::conformance::MAY_REMARK;
use crate::helper::Helper;
use crate::iscsi;
use crate::lun;
use crate::node::Node;
use crate::report::Report;
use crate::request::Request;
use crate::tool::{PROGRAM, Run};
use crate::wait;

const KEY_A: u64 = 0xc71a;
const KEY_B: u64 = 0xc71b;

/// Those that need no PREEMPT AND ABORT, which never ends between two loopback nexuses.
const WITHOUT_ABORT: [&str; 14] = [
    "basics",
    "windows-failover-clustering",
    "windows-arbitration",
    "ocf-sg_persist",
    "qemu-11-migrate-pr",
    "qemu-11-migrate-key",
    "qemu-11.1-migrate-key",
    "rules",
    "enforcement-type-1",
    "enforcement-type-3",
    "enforcement-type-5",
    "enforcement-type-6",
    "enforcement-type-7",
    "enforcement-type-8",
];

/// Tries it on a LUN with two loopback initiators, and on one with two iSCSI sessions.
pub fn run(report: &mut Report, loopback: &[Node; 2], reference: bool) -> Result<()> {
    let helper = Helper::start("ctl", &[])?;
    // Two more than the iSCSI scenarios have.
    let backstore = lun::backstore("ctl")?;
    let sessions = [iscsi::initiate(4, &backstore)?, iscsi::initiate(5, &backstore)?];
    for (name, nodes) in [("loopback", loopback), ("iSCSI", &sessions)] {
        report.check(&format!("qemu-pr-ctl agrees with sg_persist, {name}"), || agree(&helper, nodes));
        for node in nodes {
            node.settle()?;
        }
    }
    if reference {
        // The rest is about the tool alone.
        return helper.stop();
    }
    let [first, second] = &sessions;
    report.check("qemu-pr-ctl validate passes on a LUN with one initiator", || validate(&helper, &loopback[0], &[]));
    report.check("qemu-pr-ctl validate passes between loopback initiators", || {
        validate_pair(&helper, loopback, &only(&WITHOUT_ABORT))
    });
    report.check("qemu-pr-ctl validate passes between iSCSI initiators", || validate_pair(&helper, &sessions, &[]));
    report.check("qemu-pr-ctl validate passes without the helper", || {
        validate_pair(&helper, &sessions, &["--direct"])?;
        // LIO gives reason for a remark in one of them.
        let names: Vec<&str> = ALL.iter().map(|sequence| sequence.name).filter(|name| *name != MAY_REMARK).collect();
        validate_pair(&helper, &sessions, &[&["--direct", "--strict"], &only(&names)[..]].concat())
    });
    report.check("qemu-pr-ctl validate knows one initiator from two", || {
        let run = Run::new(&helper, &["validate", text(first)?, "--second", text(first)?])?;
        ensure!(run.code == Some(1) && run.complaint.contains("the same initiator"), "{run:?}");
        Ok(())
    });
    report.check("qemu-pr-ctl validate knows one LUN from two", || {
        let run = Run::new(&helper, &["validate", text(second)?, "--second", text(&loopback[0])?])?;
        ensure!(run.code == Some(1) && run.complaint.contains("different disks"), "{run:?}");
        Ok(())
    });
    report.check("qemu-pr-ctl validate knows an iSCSI session that is gone", || stale(&helper, first));
    report.check("qemu-pr-ctl compare tells a helper that answers something else", || differs(first));
    report.check("qemu-pr-ctl validate leaves no registrations", || {
        for node in [first, &loopback[0]] {
            node.settle()?;
            let keys = Run::new(&helper, &["keys", text(node)?, "--json"])?.json()?;
            ensure!(keys["keys"] == Value::Array(Vec::new()), "{keys}");
        }
        Ok(())
    });
    helper.stop()
}

/// A registration that an earlier session of the same initiator would have left is told from those of sessions that are there.
fn stale(helper: &Helper, node: &Node) -> Result<()> {
    node.directly(&Request::register(0, KEY_A))?.good()?;
    let status = Run::new(helper, &["status", text(node)?, "--json"])?.json()?;
    let port = status["registrations"][0]["initiator"].as_str().context("a registration")?;
    let (name, _) = port.split_once(",i,0x").context("an iSCSI session")?;
    node.directly(&Request::register(KEY_A, 0))?.good()?;
    let gone = format!("{name},i,0x00023dfffffe");
    let key = format!("{KEY_B:#x}");
    let registered = Run::new(helper, &["register", text(node)?, "--new-key", &key, "--spec-i-pt", &gone])?;
    ensure!(registered.code == Some(0), "{registered:?}");
    let run = Run::new(helper, &["validate", text(node)?]);
    node.directly(&Request::clear(KEY_B))?.good()?;
    // The target takes both sessions for one node, and tells this one of what was done to the other.
    node.settle()?;
    let run = run?;
    let told = format!("(registrations: 2); {key} is that of {gone}, an iSCSI session that this host no longer has;");
    ensure!(run.code == Some(1) && run.complaint.contains(&told), "{run:?}");
    Ok(())
}

/// A server of simulated disks answers for the LUN, and knows nothing of its registration.
fn differs(node: &Node) -> Result<()> {
    node.directly(&Request::register(0, KEY_A))?.good()?;
    let socket = Path::new("/run/ctl-simulate.sock");
    let mut server = Command::new(PROGRAM).args(["simulate", "--socket"]).arg(socket).spawn()?;
    let compared = wait::until("the simulated disks", Duration::from_secs(60), || Ok(socket.exists().then_some(())))
        .and_then(|()| Run::at(socket, &["compare", text(node)?]));
    server.kill()?;
    server.wait()?;
    node.directly(&Request::register_anyhow(0))?.good()?;
    let run = compared?;
    ensure!(run.code == Some(36) && run.output.contains("READ KEYS: DIFFERENT"), "{run:?}");
    Ok(())
}

/// The words that have these sequences played alone.
fn only<'a>(names: &[&'a str]) -> Vec<&'a str> {
    names.iter().flat_map(|name| ["--only", name]).collect()
}

/// Plays every sequence that one initiator can.
fn validate(helper: &Helper, node: &Node, more: &[&str]) -> Result<()> {
    passed(&Run::new(helper, &[&["validate", text(node)?][..], more].concat())?)
}

/// Plays every sequence with two.
fn validate_pair(helper: &Helper, [first, second]: &[Node; 2], more: &[&str]) -> Result<()> {
    first.settle()?;
    second.settle()?;
    let words = ["validate", text(first)?, "--second", text(second)?, "--write"];
    passed(&Run::new(helper, &[&words[..], more].concat())?)
}

/// Insists that `validate` passes, whatever the devices are; what it prints.
pub fn validates(helper: &Helper, device: &Path, second: Option<&Path>) -> Result<String> {
    let device = device.to_str().context("a device has a name")?;
    let mut words = vec!["validate", device, "--write"];
    if let Some(second) = second {
        words.extend(["--second", second.to_str().context("a device has a name")?]);
    }
    let run = Run::new(helper, &words)?;
    passed(&run)?;
    Ok(run.output)
}

fn passed(run: &Run) -> Result<()> {
    let telling = |line: &&str| ["FAILED", "expected", "received", "REGISTERED"].iter().any(|word| line.contains(word));
    let why: Vec<&str> = run.output.lines().filter(telling).map(str::trim).collect();
    ensure!(run.code == Some(0), "exit status {:?}, {} {}", run.code, why.join(" | "), run.complaint);
    Ok(())
}

/// Compares everything that both tools can be asked, in several states.
fn agree(helper: &Helper, nodes: &[Node; 2]) -> Result<()> {
    let [a, b] = nodes;
    let result = (|| {
        same(helper, text(a)?).context("without registrations")?;
        a.directly(&Request::register(0, KEY_A))?.good()?;
        same(helper, text(a)?).context("with one registration")?;
        b.directly(&Request::register(0, KEY_B))?.good()?;
        for kind in ReservationType::ALL {
            a.directly(&Request::reserve(KEY_A, kind))?.good()?;
            same(helper, text(a)?).with_context(|| format!("reserved: {kind}"))?;
            a.directly(&Request::release(KEY_A, kind))?.good()?;
            b.settle()?;
        }
        Ok(())
    })();
    for node in nodes {
        node.settle()?;
        node.directly(&Request::register_anyhow(0))?.good()?;
    }
    result
}

/// Insists that both tools, and `compare`, say the same of a device as it is now.
pub fn same(helper: &Helper, device: &str) -> Result<()> {
    let ctl = |command| Run::new(helper, &[command, device, "--json"])?.json();
    let keys = ctl("keys")?;
    equal("keys", &strings(&keys["keys"]), &theirs::keys(&sg_persist("-k", device)?))?;
    let reservation = ctl("reservation")?;
    let held = &reservation["reservation"];
    let ours = (!held.is_null()).then(|| (holder(held), kind(held)));
    equal("reservation", &ours, &theirs::reservation(&sg_persist("-r", device)?))?;
    let status = sg_persist("-s", device)?;
    equal("full status", &registrations(&ctl("status")?), &theirs::status(&status))?;
    let generation = keys["generation"].as_u64().context("a generation")?;
    equal("generation", &Some(format!("{generation:#x}")), &theirs::generation(&status))?;
    let ours: BTreeMap<_, _> = capabilities(&ctl("capabilities")?);
    equal("capabilities", &ours, &theirs::capabilities(&sg_persist("-c", device)?))?;
    let compared = Run::new(helper, &["compare", device])?;
    ensure!(compared.code == Some(0), "compare: {}", compared.output);
    Ok(())
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, ours: &T, theirs: &T) -> Result<()> {
    ensure!(ours == theirs, "{what}: qemu-pr-ctl says {ours:x?}, sg_persist {theirs:x?}");
    Ok(())
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// `sg_persist` prints the key zero where every registrant holds the reservation.
fn holder(held: &Value) -> String {
    held["key"].as_str().unwrap_or("0x0").to_owned()
}

fn kind(held: &Value) -> String {
    let kind = held["type"].as_u64().and_then(|code| u8::try_from(code).ok()).and_then(ReservationType::from_code);
    kind.map(|kind| kind.to_string()).unwrap_or_default()
}

/// Key, target port, initiator, and what it holds.
type Registration = (String, String, String, Option<String>);

fn registrations(status: &Value) -> Vec<Registration> {
    let list = status["registrations"].as_array().into_iter().flatten();
    list.map(|one| {
        let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
        let port = one["target_port"].as_u64().map_or("all".to_owned(), |port| format!("{port:#x}"));
        let initiator = text("initiator");
        let initiator = initiator.strip_prefix("sas:").unwrap_or(&initiator).to_owned();
        (text("key"), port, initiator, (!one["holds"].is_null()).then(|| kind(&one["holds"])))
    })
    .collect()
}

fn capabilities(answer: &Value) -> BTreeMap<String, u64> {
    let bit = |name: &str| u64::from(answer[name].as_bool().unwrap_or_default());
    let mut fields = BTreeMap::from([
        ("Replace Lost Reservation Capable(RLR_C)".to_owned(), bit("replace_lost")),
        ("Compatible Reservation Handling(CRH)".to_owned(), bit("compatible_reservation_handling")),
        ("Specify Initiator Ports Capable(SIP_C)".to_owned(), bit("specify_initiator_ports")),
        ("All Target Ports Capable(ATP_C)".to_owned(), bit("all_target_ports")),
        ("Persist Through Power Loss Capable(PTPL_C)".to_owned(), bit("persist_through_power_loss")),
        ("Persist Through Power Loss Active(PTPL_A)".to_owned(), bit("persist_through_power_loss_active")),
        ("Type Mask Valid(TMV)".to_owned(), u64::from(answer["types"].is_array())),
        ("Allow Commands".to_owned(), answer["allow_commands"].as_u64().unwrap_or_default()),
    ]);
    let supported: Vec<String> = answer["types"].as_array().into_iter().flatten().map(kind).collect();
    for kind in ReservationType::ALL.map(|kind| kind.to_string()) {
        let has = u64::from(supported.contains(&kind));
        fields.insert(kind, has);
    }
    fields
}

/// What `sg_persist` prints, by its fields.
mod theirs {
    use std::collections::BTreeMap;

    use super::Registration;

    /// A line for each key, and no other line starts so.
    pub fn keys(text: &str) -> Vec<String> {
        text.lines().map(str::trim).filter(|line| line.starts_with("0x")).map(str::to_owned).collect()
    }

    pub fn reservation(text: &str) -> Option<(String, String)> {
        Some((after(text, "Key=")?, after(text, "type: ")?))
    }

    pub fn generation(text: &str) -> Option<String> {
        after(text, "PR generation=").map(|value| value.trim_end_matches(',').to_owned())
    }

    pub fn status(text: &str) -> Vec<Registration> {
        // Each registration starts with its key.
        text.split("Key=").skip(1).map(registration).collect()
    }

    fn registration(text: &str) -> Registration {
        let key = text.lines().next().unwrap_or_default().trim().to_owned();
        let port = if text.contains("All target ports bit set") {
            "all".to_owned()
        } else {
            after(text, "Relative port address: ").unwrap_or_default()
        };
        let name = ["SAS address: ", "unique port id: ", "iSCSI name: "].iter().find_map(|word| after(text, word));
        let holds = text.contains("<< Reservation holder >>").then(|| after(text, "type: ")).flatten();
        (key, port, name.unwrap_or_default(), holds)
    }

    pub fn capabilities(text: &str) -> BTreeMap<String, u64> {
        let field = |line: &str| {
            let (name, value) = line.rsplit_once(": ")?;
            Some((name.trim().to_owned(), value.trim().parse().ok()?))
        };
        text.lines().filter_map(field).collect()
    }

    /// What follows a word, to the end of its line.
    fn after(text: &str, word: &str) -> Option<String> {
        let at = text.find(word)? + word.len();
        text[at..].lines().next().map(|value| value.trim().to_owned())
    }
}

fn sg_persist(question: &str, device: &str) -> Result<String> {
    let output = Command::new("/usr/bin/sg_persist").args(["-n", "-i", question, device]).output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "sg_persist {question}: {} {complaint}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn text(node: &Node) -> Result<&str> {
    node.path().to_str().context("a device has a name")
}
