//! The rules for one disk, held against one disk of the same kernel: if they were wrong, everything here would be.

use anyhow::{Context as _, Result, ensure};
use scsi_persistent_reservations::{InAction, OutAction};

use super::chance::Chance;
use super::disk::{Disk, Told, Who};
use crate::lun::Loopback;
use crate::request::Request;

const COMMANDS: usize = 1500;

pub fn run(seed: u64) -> Result<()> {
    let luns = Loopback::set_up(1)?;
    let nodes = luns.lun(0);
    let mut chance = Chance::new(seed);
    let mut disk = Disk::default();
    for number in 0..COMMANDS {
        let who = chance.pick(&[Who::Guest, Who::Other]);
        let mut act = chance.act(&disk, who, true);
        if act.action == OutAction::PreemptAndAbort {
            // It never ends between two loopback nexuses.
            act.action = OutAction::Preempt;
        }
        let before = disk.clone();
        let (due, _) = disk.play(who, &act);
        let node = &nodes[who as usize];
        node.settle()?;
        let answer = node.directly(&act.request())?;
        let place = || format!("command {number}, {who:?} sends {act} to ({before})");
        ensure!(Told::by(&answer) == Some(due), "{}: {answer} is not {due:?}", place());
        nodes[0].settle()?;
        let keys = nodes[0].directly(&Request::read(InAction::ReadKeys))?.keys()?;
        let mut due: Vec<u64> = disk.guest.into_iter().chain(disk.other).collect();
        due.sort_unstable();
        ensure!(keys == due, "{}: the keys are {keys:x?}, due {due:x?}", place());
        let held = nodes[0].directly(&Request::read(InAction::ReadReservation))?.reservation().with_context(place)?;
        let due = disk.held.map(|held| (held.kind.code(), if held.by_all() { None } else { disk.key(held.by) }));
        let held = held.map(|held| (held.scope_type, Some(held.key.0).filter(|key| *key != 0)));
        ensure!(held == due, "{}: the reservation is {held:x?}, due {due:x?}", place());
    }
    for node in nodes {
        node.settle()?;
        node.directly(&Request::register_anyhow(0))?.good()?;
    }
    Ok(())
}
