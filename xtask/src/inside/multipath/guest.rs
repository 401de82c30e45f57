//! A QEMU guest on the map: `scsi-block` shows it one disk, and whatever it does to that disk has to be done to all paths.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use super::reserve::KIND;
use super::scene::{MAP, Scene, State};
use super::stage::{Identity, Stage};
use super::{KEY, NEW_KEY, THIRD_KEY};
use crate::fence;
use crate::guest_machine::Guest;
use crate::node::Node;
use crate::report::Report;
use crate::request::Request;

/// One step of the story, checked on both sides.
type Chapter = (&'static str, fn(&mut Tale<'_, '_>) -> Result<()>);

const TALE: &[Chapter] = &[
    ("the guest registers: its key is on both paths and in prkeys", registers),
    ("the guest reserves and reads who holds its disk", reserves),
    ("the guest writes by either path, and the third initiator is fenced", writes),
    ("the guest preempts its own key, as after a migration, and goes on writing", preempts_itself),
    ("the guest preempts the third initiator", preempts_the_third),
    ("a path goes away and comes back: the guest's key is on it", loses_a_path),
    ("the guest changes its key on both paths", changes_its_key),
    ("the guest's wrong key conflicts, and sg_persist says so", errs),
    ("the guest releases, and leaves no key behind", leaves),
];

/// What `sg_persist` exits with after a reservation conflict (`SG_LIB_CAT_RES_CONFLICT`).
const RESERVATION_CONFLICT: i32 = 24;

/// The guest's name for its disk.
const DISK: &str = "/dev/sda";

/// A guest on the stage.
struct Tale<'a, 'b> {
    stage: &'a mut Stage<'b>,
    guest: Guest,
}

/// Tells it, with a helper that is nobody: that is the one with less rights.
pub fn run(report: &mut Report, reference: bool) -> Result<()> {
    let mut scene = Scene::set_up()?;
    scene.reset()?;
    let mut stage = Stage::set(&mut scene, Identity::Nobody, reference, "guest", &[])?;
    let map = Node::new(PathBuf::from("/dev/mapper").join(MAP));
    let guest = Guest::boot(&map, stage.helper.socket())?;
    let mut tale = Tale { stage: &mut stage, guest };
    for (name, chapter) in TALE {
        let result = chapter(&mut tale);
        tale.stage.report(report, name, result);
    }
    drop(tale);
    stage.end(report);
    Ok(())
}

impl Tale<'_, '_> {
    fn runs(&mut self, command: &str) -> Result<String> {
        let (status, printed) = self.guest.run(command)?;
        ensure!(status == 0, "{command} in the guest: exit status {status}: {printed}");
        Ok(printed)
    }

    fn out(&mut self, change: &str) -> Result<String> {
        self.runs(&format!("sg_persist --no-inquiry --out {change} {DISK}"))
    }

    fn ask(&mut self, question: &str) -> Result<String> {
        self.runs(&format!("sg_persist --no-inquiry --in {question} {DISK}"))
    }

    fn write(&mut self) -> Result<()> {
        self.runs(&format!("dd if=/dev/zero of={DISK} bs=4096 count=1 oflag=direct status=none")).map(drop)
    }

    /// Writes with only one path in use, then with only the other.
    fn write_by_either_path(&mut self) -> Result<()> {
        for path in 0..2 {
            self.stage.scene.fail(path)?;
            self.write()?;
            self.stage.scene.reinstate(path)?;
        }
        Ok(())
    }

    fn expect(&self, state: &State) -> Result<()> {
        self.stage.scene.expect(state)
    }
}

fn held() -> State {
    State::registered(KEY).held_by(KEY, KIND)
}

fn registers(tale: &mut Tale<'_, '_>) -> Result<()> {
    tale.out(&format!("--register --param-sark={KEY:#x}"))?;
    tale.expect(&State::registered(KEY))
}

fn reserves(tale: &mut Tale<'_, '_>) -> Result<()> {
    tale.out(&format!("--reserve --param-rk={KEY:#x} --prout-type={}", KIND.code()))?;
    tale.expect(&held())?;
    let reservation = tale.ask("--read-reservation")?;
    ensure!(reservation.contains(&format!("Key={KEY:#x}")), "the guest read {reservation}");
    let keys = tale.ask("--read-keys")?;
    ensure!(keys.matches(&format!("{KEY:#x}")).count() == 2, "the guest read {keys}");
    Ok(())
}

fn writes(tale: &mut Tale<'_, '_>) -> Result<()> {
    fence::expect("the third's write", tale.stage.scene.third.write(), false)?;
    tale.write_by_either_path()
}

fn preempts_itself(tale: &mut Tale<'_, '_>) -> Result<()> {
    for _ in 0..3 {
        tale.out(&format!("--preempt --param-rk={KEY:#x} --param-sark={KEY:#x} --prout-type={}", KIND.code()))?;
        tale.expect(&held())?;
        tale.write_by_either_path()?;
    }
    Ok(())
}

fn preempts_the_third(tale: &mut Tale<'_, '_>) -> Result<()> {
    tale.stage.third(&Request::register(0, THIRD_KEY))?;
    fence::expect("the registered third's write", tale.stage.scene.third.write(), true)?;
    tale.out(&format!("--preempt --param-rk={KEY:#x} --param-sark={THIRD_KEY:#x} --prout-type={}", KIND.code()))?;
    tale.expect(&held())?;
    fence::expect("the preempted third's write", tale.stage.scene.third.write(), false)?;
    tale.write_by_either_path()
}

fn loses_a_path(tale: &mut Tale<'_, '_>) -> Result<()> {
    for path in 0..2 {
        tale.stage.scene.lose(path)?;
        tale.write()?;
        tale.ask("--read-keys")?;
        tale.stage.scene.recover(path)?;
        super::outage::expect_in_time(tale.stage, &held())?;
    }
    tale.write_by_either_path()
}

fn changes_its_key(tale: &mut Tale<'_, '_>) -> Result<()> {
    tale.out(&format!("--register --param-rk={KEY:#x} --param-sark={NEW_KEY:#x}"))?;
    tale.expect(&State::registered(NEW_KEY).held_by(NEW_KEY, KIND))?;
    tale.out(&format!("--register-ignore --param-sark={KEY:#x}"))?;
    tale.expect(&held())
}

fn errs(tale: &mut Tale<'_, '_>) -> Result<()> {
    let command =
        format!("sg_persist --no-inquiry --out --reserve --param-rk={NEW_KEY:#x} --prout-type={} {DISK}", KIND.code());
    let (status, printed) = tale.guest.run(&command)?;
    ensure!(status == RESERVATION_CONFLICT, "expected {RESERVATION_CONFLICT}, came {status}: {printed}");
    tale.expect(&held())
}

fn leaves(tale: &mut Tale<'_, '_>) -> Result<()> {
    tale.out(&format!("--release --param-rk={KEY:#x} --prout-type={}", KIND.code()))?;
    tale.expect(&State::registered(KEY))?;
    fence::expect("the third's write", tale.stage.scene.third.write(), true)?;
    tale.out(&format!("--register --param-rk={KEY:#x} --param-sark=0"))?;
    tale.expect(&State::default())
}
