//! Scenarios: commands from two initiators, each with the answer that is due, played to a LUN by either way.

use std::fmt;

use anyhow::{Context as _, Result, ensure};
use qemu_pr_protocol::Client;
use scsi_persistent_reservations::{InAction, SenseCode};

use crate::helper::{Helper, through};
use crate::node::Node;
use crate::request::{Answer, Request};
use crate::tool::{Told, Tool};

/// The two initiators of a LUN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    A,
    B,
}

/// The answer that is due.
#[derive(Clone, Copy)]
pub enum Due {
    Good,
    Conflict,
    Check(SenseCode),
}

/// One command of a scenario.
pub struct Step(pub Who, pub Request, pub Due);

/// How commands reach a LUN's two nodes.
pub enum Way<'a> {
    /// From this process to the device.
    Direct(&'a [Node; 2]),
    /// Through the helper, with a connection for each initiator: those are two virtual machines.
    Helper(&'a [Node; 2], Box<[Client; 2]>),
}

impl<'a> Way<'a> {
    /// By way of the helper.
    pub fn through(helper: &Helper, nodes: &'a [Node; 2]) -> Result<Self> {
        Ok(Self::Helper(nodes, Box::new([helper.client()?, helper.client()?])))
    }

    fn nodes(&self) -> &'a [Node; 2] {
        match self {
            Self::Direct(nodes) | Self::Helper(nodes, _) => nodes,
        }
    }

    /// The device of an initiator.
    pub fn node(&self, who: Who) -> &'a Node {
        &self.nodes()[who as usize]
    }

    /// Sends one command.
    pub fn send(&mut self, who: Who, request: &Request) -> Result<Answer> {
        match self {
            Self::Direct(nodes) => nodes[who as usize].directly(request),
            Self::Helper(nodes, clients) => through(&mut clients[who as usize], nodes[who as usize].open()?, request),
        }
    }

    /// Plays the steps and insists on every answer that is due; returns all answers.
    pub fn play(&mut self, steps: &[Step]) -> Result<Vec<Answer>> {
        play(
            steps,
            |who, request| self.send(who, request),
            |answer, due| match due {
                Due::Good => answer.clone().good().map(drop),
                Due::Conflict => answer.conflict(),
                Due::Check(code) => answer.check_condition(code),
            },
        )
    }

    /// Leaves the LUN without registrations and both nodes without anything to report.
    pub fn reset(&self) -> Result<()> {
        reset(self.nodes())
    }
}

/// The two initiators as two administrators, each with `qemu-pr-ctl` and the same helper.
pub struct Tools<'a> {
    nodes: &'a [Node; 2],
    tools: [Tool; 2],
}

impl<'a> Tools<'a> {
    pub fn through(helper: &Helper, nodes: &'a [Node; 2]) -> Self {
        Self { nodes, tools: nodes.each_ref().map(|node| Tool::new(helper, node.path())) }
    }

    /// One of them.
    pub fn of(&self, who: Who) -> &Tool {
        &self.tools[who as usize]
    }

    /// Sends one command.
    pub fn send(&self, who: Who, request: &Request) -> Result<Told> {
        self.of(who).send(request)
    }

    /// Plays the steps and insists on every answer that is due; returns all answers.
    pub fn play(&self, steps: &[Step]) -> Result<Vec<Told>> {
        play(
            steps,
            |who, request| self.send(who, request),
            |told, due| match due {
                Due::Good => told.clone().good().map(drop),
                Due::Conflict => told.conflict(),
                Due::Check(code) => told.check_condition(code),
            },
        )
    }

    /// Leaves the LUN without registrations and both nodes without anything to report, without the tool: what it did is
    /// not to hide what it did not.
    pub fn reset(&self) -> Result<()> {
        reset(self.nodes)
    }
}

fn play<A>(
    steps: &[Step],
    mut send: impl FnMut(Who, &Request) -> Result<A>,
    judge: impl Fn(&A, Due) -> Result<()>,
) -> Result<Vec<A>> {
    let mut answers = Vec::new();
    for (number, Step(who, request, due)) in steps.iter().enumerate() {
        let place = || format!("step {}, {who:?} sends {request}", number + 1);
        let answer = send(*who, request).with_context(place)?;
        judge(&answer, *due).with_context(place)?;
        answers.push(answer);
    }
    Ok(answers)
}

fn reset(nodes: &[Node; 2]) -> Result<()> {
    for node in nodes {
        node.settle()?;
        node.directly(&Request::register_anyhow(0))?.good()?;
    }
    for node in nodes {
        node.settle()?;
    }
    let left = nodes[0].directly(&Request::read(InAction::ReadKeys))?.keys()?;
    ensure!(left.is_empty(), "the LUN keeps the keys {left:#x?}");
    Ok(())
}

/// Insists that two ways gave the same answers, byte by byte.
pub fn same(direct: &[Answer], helper: &[Answer]) -> Result<()> {
    ensure!(direct.len() == helper.len(), "{} answers are not {}", helper.len(), direct.len());
    for (number, (direct, helper)) in direct.iter().zip(helper).enumerate() {
        ensure!(direct == helper, "step {}: the device answers {direct}; the helper {helper}", number + 1);
    }
    Ok(())
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:02x?}", self.name, self.cdb.command_bytes())?;
        if !self.parameters.is_empty() {
            write!(f, " {:02x?}", &self.parameters)?;
        }
        f.write_str(")")
    }
}
