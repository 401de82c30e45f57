//! The subjects of `cargo xtask bench` in turns on a LUN of the kernel's own target, and on maps.

pub mod multipath;
mod storage;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use pr_measure::request::{KEY, Request as Measured, Target};
use pr_measure::subject::Subject;
use pr_measure::turn::{Rounds, in_rounds, started};
use qemu_pr_protocol::Client;
use scsi_persistent_reservations::InAction;

use crate::helper::through;
use crate::lun::Loopback;
use crate::node::Node;
use crate::report::{Report, sample};
use crate::request::Request;

/// The subjects' programs, by their numbers.
const PROGRAMS: &str = "/subjects";

/// After so many rounds, A B and B A, everybody starts anew: the clock here lets the threads of a process fall into one
/// rhythm and stay in it, and it is not always the same one.
const TOGETHER: usize = 2;

/// `ROUNDS MILLISECONDS CONNECTIONS,… NAME…`: how often and how long, how many clients at a time, and what the subjects
/// are called.
pub fn run(report: &mut Report, words: &[&str]) -> Result<()> {
    let [rounds, slice, connections, names @ ..] = words else {
        bail!("usage: bed-inside bench ROUNDS MILLISECONDS CONNECTIONS,… NAME…")
    };
    let rounds = Rounds { count: rounds.parse()?, slice: Duration::from_millis(slice.parse()?) };
    let subjects: Vec<Subject> = names.iter().enumerate().map(subject).collect();
    let luns = Loopback::set_up(1)?;
    let node = &luns.lun(0)[0];
    for subject in &subjects {
        let check = format!("the key that it registers and what it reads are the LUN's own: {}", subject.name);
        report.check(&check, || same_work(subject, node));
    }
    let target = Target::disk(node.path())?;
    for connections in connections.split(',') {
        let connections = connections.parse()?;
        for first in (0..rounds.count).step_by(TOGETHER) {
            let mut all = started(&subjects, connections, &target)?;
            let part = Rounds { count: TOGETHER.min(rounds.count - first), ..rounds };
            for request in [Measured::Keys, Measured::Register] {
                in_rounds(part, request, &mut all, |name, turn| {
                    sample(request.name(), connections, name, turn.rate_by_clock());
                })?;
            }
        }
    }
    Ok(())
}

fn subject((number, name): (usize, &&str)) -> Subject {
    let program: PathBuf = Path::new(PROGRAMS).join(number.to_string());
    Subject::new(name, &program)
}

/// What is compared has to be the same: a key that a subject registers is the LUN's, and what it reads as well.
fn same_work(subject: &Subject, node: &Node) -> Result<()> {
    node.settle()?;
    node.directly(&Request::register_anyhow(0))?.good()?;
    let running = subject.start();
    let mut client = Client::connect(running.socket()).context("it takes no connection")?;
    let device = node.open()?;
    through(&mut client, &device, &Request::register_anyhow(KEY))?.good()?;
    let read = Request::read_up_to(InAction::ReadKeys, 72);
    let (told, is) = (through(&mut client, &device, &read)?, node.directly(&read)?);
    ensure!(told == is, "the LUN answers {is}; it {told}");
    let keys = told.keys()?;
    ensure!(keys == [KEY], "the LUN has the keys {keys:#x?}");
    Ok(())
}
