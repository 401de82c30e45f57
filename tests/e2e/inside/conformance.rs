//! What cluster software asks of a disk: the sequences of `pr-conformance`, those that `qemu-pr-ctl validate` runs,
//! played to a LUN directly and through the helper, by one initiator and by two.
//!
//! The two have to be such that PREEMPT AND ABORT ends between them.

use anyhow::{Result, ensure};
use pr_conformance::{ALL, Command, Initiator, Initiators, Judge, Sequence, Verdict};
use qemu_pr_protocol::Reply;
use scsi_persistent_reservations::ReservationKey;

use crate::helper::Helper;
use crate::node::Node;
use crate::report::Report;
use crate::request::Request;
use crate::scenario::{Way, Who};

const ONE: ReservationKey = ReservationKey(0xc0f0_0001);
const TWO: ReservationKey = ReservationKey(0xc0f0_0002);

/// Where LIO may give reason for a remark: a PREEMPT of the sender's own key ends its registration, as SPC says.
pub const MAY_REMARK: &str = "qemu-11-migrate-key";

/// Plays every sequence by every way.
pub fn run(report: &mut Report, helper: &Helper, nodes: &[Node; 2]) -> Result<()> {
    let ways = [("directly", Way::Direct(nodes)), ("through the helper", Way::through(helper, nodes)?)];
    for (how, mut way) in ways {
        for sequence in &ALL {
            report.check(&format!("iSCSI: {} {how}", sequence.name), || {
                for pair in [false, true] {
                    let played = play(&mut way, sequence, pair);
                    way.reset()?;
                    played?;
                }
                Ok(())
            });
        }
    }
    Ok(())
}

/// Plays a sequence, and insists that each answer is as expected.
fn play(way: &mut Way<'_>, sequence: &Sequence, pair: bool) -> Result<()> {
    let mut judge = Judge::default();
    let initiators = Initiators { writes: true, ..Initiators::new(ONE, TWO, pair) };
    for (number, step) in (1..).zip(sequence.steps(initiators)) {
        let who = match step.initiator {
            Initiator::One => Who::A,
            Initiator::Two => Who::B,
        };
        let report = judge.play(&step, |command| send(way, who, command).map_err(|error| format!("{error:#}")));
        let passed = match report.verdict {
            Verdict::Ok => true,
            Verdict::Remark => sequence.name == MAY_REMARK,
            Verdict::Failed => false,
        };
        ensure!(
            passed,
            "step {number}{}, {who:?} {} ({}): expected {}, received {} after the unit attentions {:?}",
            if pair { " with two initiators" } else { "" },
            step.name,
            step.command.action(),
            report.expected,
            report.received,
            report.attentions,
        );
    }
    Ok(())
}

/// Sends a reservation command this way, and what reads or writes to the device itself: no helper carries that.
fn send(way: &mut Way<'_>, who: Who, command: &Command) -> Result<Reply> {
    let answer = match command {
        Command::Change(change) => way.send(who, &change.into()),
        Command::Read(action, length) => way.send(who, &Request::read_up_to(*action, *length)),
        Command::ReadBlock => way.node(who).read_block(),
        Command::WriteBlock => way.node(who).write_block(),
    };
    answer.map(Reply::from)
}
