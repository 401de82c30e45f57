//! Two real iSCSI initiators of one LUN, over the machine's own loopback interface: the only pair of nexuses on which
//! LIO carries out PREEMPT AND ABORT, and whose TransportIDs have a length of their own.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use scsi_persistent_reservations::{InAction, ReservationType, SenseCode};

use crate::conformance;
use crate::fence;
use crate::helper::{Helper, through};
use crate::lun::{self, TARGET, put};
use crate::node::Node;
use crate::report::Report;
use crate::request::Request;
use crate::scenario::{Due, Step, Tools, Who};
use crate::tool::Registration;

const KEY_A: u64 = 0x15c5_1a00;
const KEY_B: u64 = 0x15c5_1b00;

/// The relative target port identifier of the target that was made first.
const FIRST_PORT: &str = "1";

const BACKSTORE: &str = "network";

const ADDRESS: &str = "127.0.0.1";
const PORT: &str = "3261";

pub fn run(report: &mut Report) -> Result<()> {
    let nodes = log_in()?;
    let helper = Helper::start("iscsi", &[])?;
    let tools = Tools::through(&helper, &nodes);
    let kind = ReservationType::WriteExclusiveRegistrantsOnly;

    report.check("iSCSI: register both and reserve", || {
        tools
            .play(&[
                Step(Who::A, Request::register(0, KEY_A), Due::Good),
                Step(Who::B, Request::register(0, KEY_B), Due::Good),
                Step(Who::A, Request::reserve(KEY_A, kind), Due::Good),
                Step(Who::B, Request::reserve(KEY_B, kind), Due::Conflict),
            ])
            .map(drop)
    });
    report.check("iSCSI: READ FULL STATUS names both initiators and the holder", || {
        let question = Request::read(InAction::ReadFullStatus);
        let answer = through(&mut helper.client()?, nodes[1].open()?, &question)?.good()?;
        ensure!(answer == nodes[1].directly(&question)?, "the device itself answers something else");
        full_status(&tools.send(Who::B, &question)?.registrations()?)
    });
    let status = tools.send(Who::A, &Request::read(InAction::ReadFullStatus))?.registrations()?;
    let first = status.into_iter().find(|one| one.key == KEY_A).context("the key has no registration")?.initiator;
    let [key_a, key_b] = [KEY_A, KEY_B].map(|key| format!("{key:#x}"));
    report.check("iSCSI: PREEMPT AND ABORT", || {
        tools.play(&[
            Step(Who::B, Request::preempt_and_abort(KEY_B, KEY_A, kind), Due::Good),
            Step(Who::A, Request::read(InAction::ReadKeys), Due::Check(SenseCode::REGISTRATIONS_PREEMPTED)),
        ])?;
        let keys = tools.send(Who::A, &Request::read(InAction::ReadKeys))?.keys()?;
        ensure!(keys == [KEY_B], "expected {KEY_B:#x} alone, came {keys:#x?}");
        let reservation = tools.send(Who::A, &Request::read(InAction::ReadReservation))?.reservation()?;
        ensure!(reservation.is_some_and(|held| held.key.0 == KEY_B), "B does not hold it: {reservation:?}");
        Ok(())
    });
    report.check("iSCSI: the preempted initiator is fenced, the other is not", || {
        fence::expect("the preempted one's write", nodes[0].write(), false)?;
        fence::expect("the holder's write", nodes[1].write(), true)
    });
    report.check("iSCSI: REGISTER AND MOVE hands the reservation back", || {
        tools
            .of(Who::B)
            .tell(&[
                "move",
                "--key",
                &key_b,
                "--new-key",
                &key_a,
                "--to",
                &first,
                "--target-port",
                FIRST_PORT,
                "--unregister",
            ])?
            .good()?;
        let keys = tools.send(Who::B, &Request::read(InAction::ReadKeys))?.keys()?;
        ensure!(keys == [KEY_A], "expected {KEY_A:#x} alone, came {keys:#x?}");
        fence::expect("the new holder's write", nodes[0].write(), true)?;
        fence::expect("the former holder's write", nodes[1].write(), false)
    });
    report.check("iSCSI: the LUN is left as it was found", || tools.reset());
    report.check("iSCSI: REGISTER for another initiator", || {
        tools.of(Who::B).tell(&["register", "--new-key", &key_b, "--spec-i-pt", &first])?.good()?;
        let keys = tools.send(Who::A, &Request::read(InAction::ReadKeys))?.keys()?;
        ensure!(keys == [KEY_B, KEY_B], "expected {KEY_B:#x} twice, came {keys:#x?}");
        Ok(())
    });
    report.check("iSCSI: the LUN is left without keys", || tools.reset());
    conformance::run(report, &helper, &nodes)?;
    let [first, second] = nodes;
    let third = initiate(3, &lun::of_backstore(BACKSTORE))?;
    conformance::grid(report, &helper, &[first, second, third])?;
    helper.stop()
}

/// Both registrations, each with the right name, and the reservation with the right one.
fn full_status(status: &[Registration]) -> Result<()> {
    let mut seen = Vec::new();
    for one in status {
        let (name, session) = one.initiator.split_once(",i,0x").context("no iSCSI session")?;
        ensure!(!session.is_empty(), "a session without digits");
        seen.push((one.key, name.to_owned(), one.holds));
    }
    let expected = [(KEY_A, initiator(1), true), (KEY_B, initiator(2), false)];
    ensure!(seen == expected, "expected {expected:x?}, came {seen:x?}");
    Ok(())
}

fn initiator(number: u32) -> String {
    format!("iqn.2024-01.test.bed:initiator-{number}")
}

fn target(number: u32) -> String {
    format!("iqn.2024-01.test.bed:target-{number}")
}

/// Two initiators of one LUN.
pub fn log_in() -> Result<[Node; 2]> {
    lun::mount_configfs()?;
    let backstore = lun::backstore(BACKSTORE)?;
    Ok([initiate(1, &backstore)?, initiate(2, &backstore)?])
}

/// Logs one more initiator in to a LUN, at a target of its own, since iscsistart logs in only once to each.
pub fn initiate(number: u32, backstore: &Path) -> Result<Node> {
    lun::run("ip", &["link", "set", "lo", "up"])?;
    serve(number, backstore)?;
    lun::appearing(|| {
        let (initiator, target) = (initiator(number), target(number));
        lun::run("iscsistart", &["-i", &initiator, "-t", &target, "-g", "1", "-a", ADDRESS, "-p", PORT])
    })
}

fn serve(number: u32, backstore: &Path) -> Result<()> {
    let group: PathBuf = Path::new(TARGET).join("iscsi").join(target(number)).join("tpgt_1");
    std::fs::create_dir_all(group.join("np").join(format!("{ADDRESS}:{PORT}")))?;
    lun::link(&group.join("lun/lun_0"), backstore)?;
    // Anybody may log in and write.
    for (attribute, value) in [("generate_node_acls", "1"), ("demo_mode_write_protect", "0"), ("authentication", "0")] {
        put(&group.join("attrib").join(attribute), value)?;
    }
    put(&group.join("enable"), "1")
}
