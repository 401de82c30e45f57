//! What cluster software asks of a disk: the sequences of `pr-conformance`, those that `qemu-pr-ctl validate` runs,
//! played to a LUN directly and through the helper, by one initiator and by two; and who may do what while a reservation
//! stands, by three.
//!
//! They have to be such that PREEMPT AND ABORT ends between them.

use anyhow::{Context as _, Result, bail, ensure};
use pr_conformance::{ALL, Case, Command, Initiator, Initiators, Judge, Sequence, Step, StepReport, Verdict, cases};
use qemu_pr_protocol::{Client, Reply};
use scsi_persistent_reservations::{InAction, ReservationKey, ReservationType};

use crate::helper::{Helper, through};
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
            Initiator::Three => bail!("sequences have two initiators"),
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

/// The key of the initiator that is not registered, and to change to.
const THREE: ReservationKey = ReservationKey(0xc0f0_0003);

/// Plays every operation of three initiators under every type, by every way.
pub fn grid(report: &mut Report, helper: &Helper, nodes: &[Node; 3]) -> Result<()> {
    let cases = cases([ONE, TWO, THREE]);
    let kinds = [None].into_iter().chain(ReservationType::ALL.map(Some));
    let clients = [helper.client()?, helper.client()?, helper.client()?];
    let mut ways =
        [("directly", Three { nodes, clients: None }), ("through the helper", Three { nodes, clients: Some(clients) })];
    for kind in kinds {
        let name = kind.map_or_else(|| "no reservation".to_owned(), |kind| kind.to_string());
        for (how, way) in &mut ways {
            let cases: Vec<&Case> = cases.iter().filter(|case| case.kind == kind).collect();
            report.check(&format!("iSCSI: {} operations of three initiators, {name}, {how}", cases.len()), || {
                for case in cases {
                    let played = way.play(&case.steps);
                    way.reset()?;
                    played.with_context(|| format!("{:?} by {:?}", case.operation, case.who))?;
                }
                Ok(())
            });
        }
    }
    Ok(())
}

/// Three initiators, with a connection to the helper each if there is one.
struct Three<'a> {
    nodes: &'a [Node; 3],
    clients: Option<[Client; 3]>,
}

impl Three<'_> {
    fn play(&mut self, steps: &[Step]) -> Result<()> {
        let mut judge = Judge::default();
        for (number, step) in (1..).zip(steps) {
            let report = judge.play(step, |command| self.send(step, command).map_err(|error| format!("{error:#}")));
            let StepReport { verdict, expected, received, .. } = report;
            ensure!(
                verdict == Verdict::Ok,
                "step {number}, {} by {:?}: expected {expected}, received {received}",
                step.command.action(),
                step.initiator
            );
        }
        Ok(())
    }

    fn send(&mut self, step: &Step, command: &Command) -> Result<Reply> {
        let number = step.initiator as usize;
        let node = &self.nodes[number];
        let request = match command {
            Command::Change(change) => change.into(),
            Command::Read(action, length) => Request::read_up_to(*action, *length),
            Command::ReadBlock => return node.read_block().map(Reply::from),
            Command::WriteBlock => return node.write_block().map(Reply::from),
        };
        let answer = match &mut self.clients {
            Some(clients) => through(&mut clients[number], node.open()?, &request),
            None => node.directly(&request),
        };
        answer.map(Reply::from)
    }

    /// Nobody is registered, and nobody has anything to report.
    fn reset(&self) -> Result<()> {
        for node in self.nodes {
            node.settle()?;
            node.directly(&Request::register_anyhow(0))?.good()?;
        }
        for node in self.nodes {
            node.settle()?;
        }
        let left = self.nodes[0].directly(&Request::read(InAction::ReadKeys))?.keys()?;
        ensure!(left.is_empty(), "the LUN keeps the keys {left:#x?}");
        Ok(())
    }
}
