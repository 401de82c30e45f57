//! Fencing, the point of it all: after a reservation made through the helper, whose reads and writes get through.

use std::io;

use anyhow::{Result, ensure};
use scsi_persistent_reservations::ReservationType;

use crate::helper::Helper;
use crate::node::Node;
use crate::report::Report;
use crate::request::Request;
use crate::scenario::{Due, Step, Tools, Who};

const HOLDER: u64 = 0xfe01;
const OTHER: u64 = 0xfe02;

/// Reserves with every type and looks what the other initiator can still do.
pub fn run(report: &mut Report, nodes: &[Node; 2]) -> Result<()> {
    let helper = Helper::start("fence", &[])?;
    let tools = Tools::through(&helper, nodes);
    for kind in ReservationType::ALL {
        report.check(&format!("fenced by {kind}"), || {
            let result = fence(&tools, nodes, kind);
            tools.reset()?;
            result?;
            expect("after the reservation, the other's write", nodes[1].write(), true)
        });
    }
    helper.stop()
}

fn fence(tools: &Tools<'_>, [holder, other]: &[Node; 2], kind: ReservationType) -> Result<()> {
    expect("before the reservation, the other's write", other.write(), true)?;
    tools.play(&[
        Step(Who::A, Request::register(0, HOLDER), Due::Good),
        Step(Who::A, Request::reserve(HOLDER, kind), Due::Good),
    ])?;
    expect("the holder's write", holder.write(), true)?;
    expect("the unregistered one's write", other.write(), false)?;
    expect("the unregistered one's read", other.read(), !kind.excludes_readers())?;
    tools.play(&[Step(Who::B, Request::register(0, OTHER), Due::Good)])?;
    expect("the registered one's write", other.write(), kind.admits_registrants())?;
    expect("the registered one's read", other.read(), kind.admits_registrants() || !kind.excludes_readers())?;
    expect("the holder's second write", holder.write(), true)
}

/// Insists on success, or on what Linux makes of RESERVATION CONFLICT on a read or write.
pub fn expect(what: &str, result: io::Result<()>, passes: bool) -> Result<()> {
    match result {
        Ok(()) => ensure!(passes, "{what}: expected to be refused, but it went through"),
        Err(error) if passes => ensure!(false, "{what}: expected to go through, came {error}"),
        Err(error) => {
            ensure!(error.raw_os_error() == Some(libc::EBADE), "{what}: expected EBADE, came {error}");
        }
    }
    Ok(())
}
