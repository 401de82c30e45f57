//! The multipath bed: a map over two paths of a LUN, looked after by udev and multipathd as on any host, and a helper
//! that has to treat it as one disk.

mod conflict;
mod ctl;
pub mod guest;
mod kill;
mod outage;
pub mod port;
mod preempt;
pub mod process;
mod register;
mod reserve;
pub mod scene;
pub mod services;
mod stage;

use anyhow::{Result, bail, ensure};

use crate::lun;
use crate::report::Report;
use scene::{Scene, State};
use stage::{Check, Identity, Stage};

/// The map's key, and one to change to.
const KEY: u64 = 0x6b01;
const NEW_KEY: u64 = 0x6b02;
/// The third initiator's.
const THIRD_KEY: u64 = 0x7d03;
/// Nobody's.
const WRONG_KEY: u64 = 0xbad0;

/// Every check, in the order of the making.
const CHECKS: &[&[Check]] = &[
    register::CHECKS,
    reserve::CHECKS,
    conflict::CHECKS,
    preempt::CHECKS,
    ctl::CHECKS,
    outage::CHECKS,
    process::CHECKS,
];

/// Makes every check, with a helper that stays root or with one that does not: another machine does the other half.
pub fn run(report: &mut Report, reference: bool, is_full: bool, part: &[&str]) -> Result<()> {
    let identity = match part {
        ["root"] => Identity::Root,
        ["nobody"] => Identity::Nobody,
        other => bail!("{other:?} is neither root nor nobody"),
    };
    let mut scene = Scene::set_up()?;
    if identity == Identity::Root {
        report.check("the bed: mpathpersist registers on both paths and multipathd keeps the key", || {
            by_mpathpersist(&mut scene)
        });
    }
    let mut stage = Stage::set(&mut scene, identity, reference, "multipath", &[])?;
    for checks in CHECKS {
        stage.make(report, checks);
    }
    kill::run(&mut stage, report, is_full);
    stage.end(report);
    if reference && identity == Identity::Root {
        let lacking = report.lacking;
        report.check("the bed tells a helper without multipath from one with it", || {
            ensure!(lacking > 0, "every check held");
            Ok(())
        });
    }
    Ok(())
}

/// What the library's own tool does is what the checks below expect of the helper.
fn by_mpathpersist(scene: &mut Scene) -> Result<()> {
    scene.reset()?;
    let key = format!("{KEY:x}");
    lun::run("/sbin/mpathpersist", &["--out", "--register", &format!("--param-sark={key}"), "/dev/mapper/mpatha"])?;
    scene.expect(&State::registered(KEY))?;
    lun::run("/sbin/mpathpersist", &["--out", "--clear", &format!("--param-rk={key}"), "/dev/mapper/mpatha"])?;
    scene.expect(&State::default())?;
    ensure!(scene.map.write().is_ok(), "the map cannot be written to");
    Ok(())
}
