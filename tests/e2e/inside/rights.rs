//! What a helper may do, and for whom: descriptors that are open for reading only, and a helper that gave up its ids.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, chown};

use anyhow::{Context as _, Result, ensure};
use scsi_persistent_reservations::{InAction, ReservationType, SenseCode};

use crate::helper::{Helper, through};
use crate::node::Node;
use crate::report::Report;
use crate::request::Request;
use crate::scenario::{Due, Step, Tools, Way, Who};
use crate::tool::Tool;

const KEY: u64 = 0x0d0d;

/// The ids of nobody and nogroup, as the image has them.
const NOBODY: u32 = 65534;

/// `CAP_SYS_RAWIO` in a set of capabilities.
const SYS_RAWIO: u64 = 1 << 17;

pub fn run(report: &mut Report, nodes: &[Node; 2], reference: bool) -> Result<()> {
    let helper = Helper::start("rights", &[])?;
    // The reference gives a command on a character device one millisecond, and a busy machine may need two.
    if !reference {
        report.check("a LUN is served through its character devices", || {
            let nodes = [nodes[0].generic()?, nodes[1].generic()?];
            let tools = Tools::through(&helper, &nodes);
            let result = some_of_everything(&tools);
            tools.reset()?;
            result
        });
    }
    report.check("a change by a descriptor for reading is refused before it reaches the device", || {
        // The tool opens a disk for writing to change something.
        let device = File::open(nodes[0].path())?;
        let refused = through(&mut helper.client()?, &device, &Request::register(0, KEY))?;
        refused.check_condition(SenseCode::INVALID_OPERATION_CODE)?;
        let keys = nodes[0].directly(&Request::read(InAction::ReadKeys))?.keys()?;
        ensure!(keys.is_empty(), "expected no key, the device has {keys:#x?}");
        // The device itself would have done it: it was the helper who refused.
        Tool::new(&helper, nodes[0].path()).send(&Request::register(0, KEY))?.good().map(drop)
    });
    report.check("a question by a descriptor for reading is answered", || {
        // That is how the tool opens a disk to ask it.
        let keys = Tool::new(&helper, nodes[0].path()).send(&Request::read(InAction::ReadKeys))?.keys()?;
        ensure!(keys == [KEY], "expected {KEY:#x}, came {keys:#x?}");
        Ok(())
    });
    report.check("a LUN is left as it was found", || Way::Direct(nodes).reset());
    helper.stop()?;
    as_nobody(report, nodes, reference)
}

/// Everything once more with a helper that runs as somebody without rights.
fn as_nobody(report: &mut Report, nodes: &[Node; 2], reference: bool) -> Result<()> {
    // It has to be able to remove its socket again.
    fs::create_dir_all("/run/nobody")?;
    chown("/run/nobody", Some(NOBODY), Some(NOBODY))?;
    let helper = Helper::start("nobody", &["-u", "nobody", "-g", "nogroup"])?;
    fs::set_permissions(helper.socket(), fs::Permissions::from_mode(0o777))?;

    report.check("-u nobody -g nogroup: no id is root's, and one capability is left", || {
        let status = fs::read_to_string(format!("/proc/{}/status", helper.pid()))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.map(str::trim).with_context(|| format!("/proc/PID/status has no {name}"))
        };
        for name in ["Uid:", "Gid:"] {
            let ids = field(name)?;
            ensure!(ids.split_whitespace().all(|id| id == NOBODY.to_string()), "{name} {ids}");
        }
        let effective = field("CapEff:")?;
        ensure!(u64::from_str_radix(effective, 16)? == SYS_RAWIO, "CapEff: {effective}");
        // The reference has no sandbox.
        let filter = field("Seccomp:")?;
        ensure!(reference || filter == "2", "Seccomp: {filter}");
        Ok(())
    });
    report.check("-u nobody -g nogroup: register, reserve, conflict, preempt", || {
        let tools = Tools::through(&helper, nodes);
        let result = some_of_everything(&tools);
        tools.reset()?;
        result
    });
    report.check("-u nobody -g nogroup: ends on SIGTERM and removes its socket", || helper.stop());
    Ok(())
}

fn some_of_everything(tools: &Tools<'_>) -> Result<()> {
    let kind = ReservationType::WriteExclusive;
    let answers = tools.play(&[
        Step(Who::A, Request::register(0, KEY), Due::Good),
        Step(Who::B, Request::register(0, KEY + 1), Due::Good),
        Step(Who::A, Request::reserve(KEY, kind), Due::Good),
        Step(Who::B, Request::reserve(KEY + 1, kind), Due::Conflict),
        Step(Who::B, Request::preempt(KEY + 1, KEY, kind), Due::Good),
        Step(Who::A, Request::read(InAction::ReadFullStatus), Due::Check(SenseCode::REGISTRATIONS_PREEMPTED)),
        Step(Who::A, Request::read(InAction::ReadKeys), Due::Good),
    ])?;
    let keys = answers.last().cloned().context("no answer")?.keys()?;
    ensure!(keys == [KEY + 1], "expected {:#x} alone, came {keys:#x?}", KEY + 1);
    Ok(())
}
