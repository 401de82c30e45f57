//! A QEMU guest on the map: `scsi-block` shows it one disk, and whatever it does to that disk has to be done to all paths.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::kill::{self, Victim};
use super::reserve::KIND;
use super::scene::{MAP, SETTLE, Scene, State};
use super::stage::{Identity, Stage};
use super::{KEY, NEW_KEY, THIRD_KEY, services};
use crate::fence;
use crate::guest_machine::Guest;
use crate::lun;
use crate::node::Node;
use crate::random::Chance;
use crate::report::{Report, remark};
use crate::request::Request;
use crate::tool::Run;
use crate::wait;

/// One step of the story, checked on both sides.
type Chapter = (&'static str, fn(&mut Tale<'_, '_>) -> Result<()>);

const TALE: &[Chapter] = &[
    ("the guest registers: its key is on both paths and in prkeys", registers),
    ("the guest reserves and reads who holds its disk", reserves),
    ("qemu-pr-ctl doctor finds nothing on this host, and each thing that is broken on purpose", is_examined),
    ("the guest writes by either path, and the third initiator is fenced", writes),
    ("the guest preempts its own key, as after a migration, and goes on writing", preempts_itself),
    ("the guest writes while it preempts its own key again and again", preempts_itself_often),
    (
        "the guest writes, registers and reserves while processes of the helper and multipathd are killed at any moment",
        lives_through_kills,
    ),
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
    is_full: bool,
}

/// Tells it, with a helper that is nobody: that is the one with less rights.
pub fn run(report: &mut Report, reference: bool, is_full: bool) -> Result<()> {
    let mut scene = Scene::set_up()?;
    scene.reset()?;
    let mut stage = Stage::set(&mut scene, Identity::Nobody, reference, "guest", &[])?;
    let map = Node::new(PathBuf::from("/dev/mapper").join(MAP));
    let guest = Guest::boot(&map, stage.helper.socket())?;
    let mut tale = Tale { stage: &mut stage, guest, is_full };
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
        self.guest.done(command)
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

/// What is broken, with the kind of finding that names it first, and what mends it.
const BROKEN: &[(&str, &[&str], &[&str])] = &[
    ("multipathd-does-not-register", &["unsetprstatus map mpatha"], &["setprstatus map mpatha"]),
    ("multipathd-other-key", &["setprkey map mpatha key 0x1"], &["setprkey map mpatha key 0x6b01"]),
];

/// `qemu-pr-ctl doctor` on a host with a real multipathd and a real guest.
fn is_examined(tale: &mut Tale<'_, '_>) -> Result<()> {
    if tale.stage.reference {
        return Ok(());
    }
    let socket = tale.stage.helper.socket().to_owned();
    says(&socket, None)?;
    says(Path::new("/run/none"), Some("no-socket"))?;
    for (kind, broken, mended) in BROKEN {
        for command in *broken {
            services::tell(command)?;
        }
        let result = says(&socket, Some(kind));
        for command in *mended {
            services::tell(command)?;
        }
        result?;
    }
    lun::run("/sbin/dmsetup", &["suspend", "--nolockfs", "--noflush", MAP])?;
    let result = says(&socket, Some("map-suspended"));
    lun::run("/sbin/dmsetup", &["resume", MAP])?;
    result?;
    tale.stage.scene.multipathd.kill()?;
    let result = says(&socket, Some("no-multipathd"));
    tale.stage.scene.multipathd.start_again()?;
    result?;
    wait::until("doctor to find nothing any more", SETTLE, || Ok(says(&socket, None).ok()))
}

/// Insists on what doctor finds first, or that it finds nothing, of a helper at this socket.
fn says(socket: &Path, kind: Option<&str>) -> Result<()> {
    let run = Run::at(socket, &["doctor", "--json"])?;
    let said: serde_json::Value = serde_json::from_str(&run.output).with_context(|| format!("{run:?}"))?;
    let first = said["findings"][0]["kind"].as_str();
    ensure!(first == kind, "expected {kind:?}, came {said}");
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

/// How often the guest preempts its own key while it writes, and how often somebody is killed meanwhile.
fn rounds(tale: &Tale<'_, '_>) -> (usize, usize) {
    if tale.is_full { (500, 200) } else { (50, 10) }
}

/// Between looks from outside.
const BATCH: usize = 25;

fn preempt_in_guest() -> String {
    format!(
        "sg_persist --no-inquiry --out --preempt --param-rk={KEY:#x} --param-sark={KEY:#x} --prout-type={} {DISK}",
        KIND.code()
    )
}

fn preempts_itself_often(tale: &mut Tale<'_, '_>) -> Result<()> {
    let times = rounds(tale).0;
    start_writing(tale)?;
    for _ in 0..times / BATCH {
        let command = preempt_in_guest();
        tale.runs(&format!("i=0; while [ $i -lt {BATCH} ] && {command} >/said 2>&1; do i=$((i+1)); done; [ $i -eq {BATCH} ] || {{ echo $i; cat /said; false; }}"))?;
        tale.expect(&held())?;
    }
    let writes = end_writing(tale)?;
    remark(&format!("a guest that preempted its own key {times} times: {writes} writes"));
    Ok(())
}

/// It registers and reserves all the time as well; these commands may fail, as those of a disk that is reset may. It does
/// not preempt its own key: the map is suspended meanwhile, longer if somebody dies then, and a QEMU that does not wait
/// for the end of that (7.2) tells its guest of an I/O error after a few tries. Who writes without QEMU waits: that is
/// tried without a guest.
fn lives_through_kills(tale: &mut Tale<'_, '_>) -> Result<()> {
    let kills = rounds(tale).1;
    let mut chance = Chance(u64::from(std::process::id()));
    let victims = Victim::all(tale.stage.reference);
    start_writing(tale)?;
    let command = "sg_persist --no-inquiry --out";
    let kind = KIND.code();
    tale.runs(&format!(
        "(n=0; f=0; until test -e /stop; do \
         {command} --register-ignore --param-sark={KEY:#x} {DISK} >/said 2>&1 || f=$((f+1)); \
         {command} --reserve --param-rk={KEY:#x} --prout-type={kind} {DISK} >/said 2>&1 || f=$((f+1)); \
         n=$((n+2)); echo $n $f >/new2; mv /new2 /commands; done) &"
    ))?;
    for number in 0..kills {
        let victim = victims[number % victims.len()];
        // A command takes the guest some tenths of a second.
        let moment = chance.below(1000);
        thread::sleep(Duration::from_millis(moment));
        let place = || format!("kill {number}: {victim} after {moment} ms");
        victim.kill(tale.stage).with_context(place)?;
        kill::healed(tale.stage, &[KEY]).with_context(place)?;
        let before = count(tale)?;
        wait::until("the guest's next write", SETTLE, || Ok((count(tale)? > before).then_some(())))
            .with_context(place)?;
    }
    let writes = end_writing(tale)?;
    let commands = tale.runs("cat /commands")?;
    remark(&format!("{kills} kills: {writes} writes; commands of the guest, and how many of them failed: {commands}"));
    let (all, failed) = commands.split_once(' ').with_context(|| format!("{commands:?} is not two numbers"))?;
    ensure!(all.parse::<usize>()? > failed.parse::<usize>()?, "of {commands} commands none was carried out");
    kill::healed(tale.stage, &[KEY]).map(drop)
}

/// Has the guest write in the background until it is told to end, and tell how often it did and what failed.
fn start_writing(tale: &mut Tale<'_, '_>) -> Result<()> {
    tale.runs("rm -f /stop /errors; dmesg -c >/dev/null; echo 0 >/writes; >/errors")?;
    tale.runs(&format!(
        "(n=0; until test -e /stop; do dd if=/dev/zero of={DISK} bs=4096 count=8 oflag=direct status=none 2>>/errors; \
         n=$((n+1)); echo $n >/new; mv /new /writes; done) &"
    ))
    .map(drop)
}

fn count(tale: &mut Tale<'_, '_>) -> Result<usize> {
    let count = tale.runs("cat /writes")?;
    count.parse().with_context(|| format!("{count:?} is no number"))
}

/// Ends it and insists that nothing has failed, neither for the program nor for the guest's kernel. How often it wrote.
fn end_writing(tale: &mut Tale<'_, '_>) -> Result<usize> {
    tale.runs("touch /stop; wait")?;
    let writes = count(tale)?;
    let errors = tale.runs("cat /errors; dmesg | grep -iE 'error|conflict|sense' || true")?;
    ensure!(errors.is_empty(), "of {writes} writes some failed: {errors}");
    ensure!(writes > 0, "the guest wrote nothing");
    Ok(writes)
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
