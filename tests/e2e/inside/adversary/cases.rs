//! The hard cases that have a name: what other people's bug trackers and reviews say goes wrong on a map. Each begins with
//! an empty LUN, and ends with what one disk would be like.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use scsi_persistent_reservations::OutAction::{
    Clear, Preempt, Register, RegisterAndIgnoreExistingKey as Ignore, Release, Reserve,
};
use scsi_persistent_reservations::ReservationType::{
    WriteExclusive, WriteExclusiveAllRegistrants, WriteExclusiveRegistrantsOnly as RegistrantsOnly,
};
use scsi_persistent_reservations::{BasicParameters, InAction, ReservationKey, ReservationType, Status};

use super::array::{Access, Array, Nexus, PATHS};
use super::disk::{Act, Disk, Held, Told, Who};
use super::faults::Deed;
use super::judge::{Broken, Came, difference};
use super::meddle::{Done, Moment, Plan};
use super::run::Run;
use crate::report::remark;
use crate::request::{Answer, Request};

/// The guest's keys and the other node's.
const KEY: u64 = 0xa1;
const NEW: u64 = 0xa2;
const OTHER: u64 = 0xb1;

/// A case.
pub type Case = (&'static str, fn(&mut Run) -> Result<()>);

pub const CASES: &[Case] = &[
    // The first: of registrations that were preempted the target may keep references, and then a LUN is not unmapped.
    ("with a path's LUN unmapped RESERVE works", lun_unmapped),
    ("a key is changed while the path that holds is away: RELEASE releases", release_after_change),
    ("a key is changed while the path that holds is away: RESERVE is repeated", reserve_after_change),
    ("the key is removed while the path that holds is away: the reservation ends", unregister_holder_away),
    ("a guest that is fenced while a path is away does not come back with it", fenced_while_away),
    ("a guest that is fenced in the middle of a REGISTER stays fenced", fenced_in_the_middle),
    ("RESERVE with the key of another node that holds is a conflict", reserve_same_key),
    ("RELEASE with the key of another node that holds changes nothing", release_same_key),
    ("RESERVE goes on to a path that still has the key", reserve_lost_key),
    ("CLEAR goes on to a path that still has the key", clear_lost_key),
    ("with a port group unavailable RESERVE and RELEASE work", group_unavailable),
    ("with a port group unavailable a conflict stays a conflict", conflict_unavailable),
    ("where the target cannot store a key none is left", no_store),
    ("REGISTER, PREEMPT of the own key without a reservation, REGISTER: as one disk", migration),
    ("a registration with ALL_TG_PT can be changed and removed", all_target_ports),
    ("a guest is not told of its own RELEASE", own_release),
    ("RESERVE of type 1 says that one path may write", one_writer),
    ("a path that hangs does not keep REGISTER from being done", register_hang),
    ("a path that hangs does not keep PREEMPT of the own key from being done", preempt_hang),
    ("a path that is gone for a moment has the key of the REGISTER that it missed", blip),
    ("PREEMPT of an all registrants reservation with key 0 takes it", preempt_all),
    ("PREEMPT of the own key while a path is gone for a moment gives the others their key", preempt_blip),
    ("RELEASE with a wrong key is a conflict, whichever path holds", release_wrong_key),
    ("REGISTER of no key by a holder is a conflict and changes nothing", register_nothing),
    ("another node that registers a key while the guest changes from it keeps it", old_key_of_another),
    ("the key is removed while a path is out of the map: no reservation is left, or it is said", unregister_removed),
    (
        "the key is removed while a path is out of the map: what all registrants hold stays the other node's",
        leave_to_other,
    ),
    ("after a process was killed RELEASE releases", release_after_kill),
    ("a helper that sees the map for the first time gives a path the key that the others have", first_helper),
    (
        "two paths were removed and found again under other names, and the one that holds is away: RELEASE releases",
        release_renamed,
    ),
];

fn act(action: scsi_persistent_reservations::OutAction, key: u64, other_key: u64) -> Act {
    Act::new(action, key, other_key, RegistrantsOnly)
}

fn guest(key: u64) -> Disk {
    Disk { guest: Some(key), ..Disk::default() }
}

fn held(by: Who, kind: ReservationType) -> Held {
    Held { by, kind }
}

/// The guest is registered and holds through a path of choice, which then goes away.
fn holder_away(run: &mut Run, path: usize) -> Result<()> {
    run.good(act(Register, 0, KEY))?;
    run.host.array.path(path)?.settle()?;
    run.host.array.path(path)?.directly(&act(Reserve, KEY, 0).request())?.good()?;
    run.lose(path)
}

fn release_after_change(run: &mut Run) -> Result<()> {
    holder_away(run, 1)?;
    run.good(act(Register, KEY, NEW))?;
    run.good(act(Release, NEW, 0))?;
    run.expect(&guest(NEW))?;
    run.bring_back(1)?;
    run.expect(&guest(NEW))
}

fn reserve_after_change(run: &mut Run) -> Result<()> {
    holder_away(run, 1)?;
    run.good(act(Register, KEY, NEW))?;
    run.good(act(Reserve, NEW, 0))?;
    run.expect(&Disk { held: Some(held(Who::Guest, RegistrantsOnly)), ..guest(NEW) })
}

fn unregister_holder_away(run: &mut Run) -> Result<()> {
    holder_away(run, 2)?;
    run.good(act(Register, KEY, 0))?;
    run.expect(&Disk::default())?;
    run.bring_back(2)?;
    run.expect(&Disk::default())
}

fn fenced_while_away(run: &mut Run) -> Result<()> {
    holder_away(run, 3)?;
    run.good(act(Register, KEY, NEW))?;
    run.other(act(Ignore, 0, OTHER))?;
    run.other(act(Preempt, OTHER, NEW))?;
    run.bring_back(3)?;
    // Whatever looks after paths that are back has looked.
    std::thread::sleep(Duration::from_secs(3));
    let books = run.host.array.books()?;
    for path in 0..PATHS {
        ensure!(books.key(Nexus::Path(path)).is_none(), "the fenced guest is registered on path {path}: {books:x?}");
    }
    Ok(())
}

fn fenced_in_the_middle(run: &mut Run) -> Result<()> {
    for changes in 1..6 {
        run.reset()?;
        run.good(act(Ignore, 0, KEY))?;
        run.other(act(Ignore, 0, OTHER))?;
        let fence = |victim| Deed::Act(act(Preempt, OTHER, victim));
        let plan = Plan { moment: Moment::Changes(changes), deeds: vec![fence(KEY), fence(NEW)] };
        let (answer, done) = run.guest(&act(Register, KEY, NEW).request(), Some(&plan))?;
        if done.acts.len() == 2 && done.acts.iter().any(|(_, told)| *told == Told::Good) {
            std::thread::sleep(Duration::from_millis(500));
            let books = run.host.array.books()?;
            let left: Vec<usize> = (0..PATHS).filter(|path| books.key(Nexus::Path(*path)).is_some()).collect();
            // Only where both fences came before the first change of the guest's is it registered by right.
            ensure!(
                left.is_empty(),
                "fenced after {changes} changes ({:?}), told {answer}, and registered on {left:?}",
                done.acts.iter().map(|(_, told)| *told).collect::<Vec<_>>()
            );
        }
    }
    Ok(())
}

fn reserve_same_key(run: &mut Run) -> Result<()> {
    run.other(act(Register, 0, KEY))?;
    run.other(act(Reserve, KEY, 0))?;
    run.good(act(Register, 0, KEY))?;
    run.answered(act(Reserve, KEY, 0), Told::Conflict)?;
    run.expect(&Disk { other: Some(KEY), held: Some(held(Who::Other, RegistrantsOnly)), ..guest(KEY) })
}

fn release_same_key(run: &mut Run) -> Result<()> {
    run.other(act(Register, 0, KEY))?;
    run.other(act(Reserve, KEY, 0))?;
    run.good(act(Register, 0, KEY))?;
    run.good(act(Release, KEY, 0))?;
    run.expect(&Disk { other: Some(KEY), held: Some(held(Who::Other, RegistrantsOnly)), ..guest(KEY) })
}

/// Three of the four paths lose the key, not by the helper.
fn lose_keys(run: &mut Run) -> Result<()> {
    run.good(act(Register, 0, KEY))?;
    for path in 0..PATHS - 1 {
        run.host.array.path(path)?.settle()?;
        run.host.array.path(path)?.directly(&act(Register, KEY, 0).request())?.good()?;
    }
    Ok(())
}

fn reserve_lost_key(run: &mut Run) -> Result<()> {
    lose_keys(run)?;
    run.good(act(Reserve, KEY, 0))?;
    let books = run.host.array.books()?;
    ensure!(books.held.is_some_and(|(_, kind, key)| kind == RegistrantsOnly && key == KEY), "{books:x?}");
    Ok(())
}

fn clear_lost_key(run: &mut Run) -> Result<()> {
    lose_keys(run)?;
    run.good(act(Clear, KEY, 0))?;
    run.expect(&Disk::default())
}

fn group_unavailable(run: &mut Run) -> Result<()> {
    run.good(act(Register, 0, KEY))?;
    for second in [false, true] {
        run.host.apply(&Deed::Access(second, Access::Unavailable))?;
        run.good_after_news(act(Reserve, KEY, 0))?;
        run.good_after_news(act(Release, KEY, 0))?;
        run.host.apply(&Deed::Access(second, Access::Optimized))?;
        run.mend()?;
    }
    Ok(())
}

fn conflict_unavailable(run: &mut Run) -> Result<()> {
    run.good(act(Register, 0, KEY))?;
    run.other(act(Register, 0, OTHER))?;
    run.other(act(Reserve, OTHER, 0))?;
    for second in [true, false] {
        run.host.apply(&Deed::Access(second, Access::Unavailable))?;
        let answer = run.after_news(act(Reserve, KEY, 0))?;
        ensure!(answer.status == Status::RESERVATION_CONFLICT, "expected RESERVATION CONFLICT, came {answer}");
        run.host.apply(&Deed::Access(second, Access::Optimized))?;
        run.mend()?;
    }
    Ok(())
}

fn lun_unmapped(run: &mut Run) -> Result<()> {
    run.good(act(Register, 0, KEY))?;
    Array::unmap(0)?;
    let result = run.good_after_news(act(Reserve, KEY, 0));
    run.host.array.map(0)?;
    result
}

/// The target keeps what is to survive a loss of power in a directory; without that it registers and then says that it
/// has not.
fn no_store(run: &mut Run) -> Result<()> {
    let (store, away) = (Path::new("/var/target/pr"), Path::new("/var/target/away"));
    fs::rename(store, away)?;
    let result = run.guest(&Act { persist: true, ..act(Register, 0, KEY) }.request(), None);
    fs::rename(away, store)?;
    let (answer, _) = result?;
    ensure!(answer.status != Status::GOOD, "GOOD was told");
    run.expect(&Disk::default()).with_context(|| format!("after {answer}"))
}

fn migration(run: &mut Run) -> Result<()> {
    run.good(act(Register, 0, KEY))?;
    run.good(Act::new(Preempt, KEY, KEY, WriteExclusive))?;
    run.expect(&Disk::default())?;
    run.good(act(Register, 0, KEY))?;
    run.expect(&guest(KEY))
}

fn all_target_ports(run: &mut Run) -> Result<()> {
    let register = |from: u64, to: u64| {
        let parameters = BasicParameters {
            all_target_ports: true,
            ..BasicParameters::keys(ReservationKey(from), ReservationKey(to))
        };
        Request::change(Register, None, &parameters)
    };
    for (from, to) in [(0, KEY), (KEY, NEW), (NEW, 0)] {
        let (answer, _) = run.guest(&register(from, to), None)?;
        answer.good().with_context(|| format!("REGISTER {from:x}->{to:x}"))?;
        // The target does not tell by which port such a registration came.
        let keys = run.host.array.other.keys()?;
        let due = if to == 0 { Vec::new() } else { vec![to; PATHS] };
        ensure!(keys == due, "after REGISTER {from:x}->{to:x} the keys are {keys:x?}");
    }
    Ok(())
}

fn own_release(run: &mut Run) -> Result<()> {
    run.good(act(Register, 0, KEY))?;
    for _ in 0..4 {
        run.good(act(Reserve, KEY, 0))?;
        run.good(act(Release, KEY, 0))?;
        for _ in 0..PATHS {
            run.guest(&Request::read(InAction::ReadKeys), None)?.0.good()?;
        }
    }
    Ok(())
}

fn one_writer(run: &mut Run) -> Result<()> {
    run.good(act(Register, 0, KEY))?;
    let mark = run.host.log().len();
    run.good(Act::new(Reserve, KEY, 0, WriteExclusive))?;
    let started = Instant::now();
    loop {
        let log = run.host.log();
        let said = log.get(mark..).unwrap_or_default();
        if said.lines().any(|line| !line.contains("audit: ") && line.contains("Write Exclusive")) {
            return Ok(());
        }
        if started.elapsed() > Duration::from_secs(3) {
            bail!("GOOD, and nothing is said of the paths that may not write");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn register_hang(run: &mut Run) -> Result<()> {
    for path in [0, 3] {
        run.reset()?;
        run.host.apply(&Deed::Cut(path, Duration::from_secs(9)))?;
        let started = Instant::now();
        run.good(act(Register, 0, KEY))?;
        ensure!(started.elapsed() < Duration::from_secs(20), "it took {} s", started.elapsed().as_secs());
        run.expect(&guest(KEY)).context("while it hangs")?;
        run.mend()?;
        run.expect(&guest(KEY)).context("when it is back")?;
    }
    Ok(())
}

fn preempt_hang(run: &mut Run) -> Result<()> {
    for path in [1, 2] {
        run.reset()?;
        run.good(act(Register, 0, KEY))?;
        run.good(act(Reserve, KEY, 0))?;
        run.host.apply(&Deed::Cut(path, Duration::from_secs(9)))?;
        run.good(act(Preempt, KEY, KEY))?;
        let due = Disk { held: Some(held(Who::Guest, RegistrantsOnly)), ..guest(KEY) };
        run.expect(&due).context("while it hangs")?;
        run.mend()?;
        run.expect(&due).context("when it is back")?;
    }
    Ok(())
}

fn blip(run: &mut Run) -> Result<()> {
    run.good(act(Register, 0, KEY))?;
    run.host.apply(&Deed::Offline(2))?;
    run.good(act(Register, KEY, NEW))?;
    run.host.apply(&Deed::Running(2))?;
    run.expect_at_once(&guest(NEW))
}

fn preempt_blip(run: &mut Run) -> Result<()> {
    for path in [0, 3] {
        run.reset()?;
        run.good(act(Register, 0, KEY))?;
        run.good(act(Reserve, KEY, 0))?;
        run.host.apply(&Deed::Offline(path))?;
        run.good(act(Preempt, KEY, KEY))?;
        run.expect_at_once(&Disk { held: Some(held(Who::Guest, RegistrantsOnly)), ..guest(KEY) })?;
    }
    Ok(())
}

fn release_wrong_key(run: &mut Run) -> Result<()> {
    for path in 0..PATHS {
        run.reset()?;
        run.good(act(Register, 0, KEY))?;
        run.host.array.path(path)?.settle()?;
        run.host.array.path(path)?.directly(&act(Reserve, KEY, 0).request())?.good()?;
        run.answered(act(Release, NEW, 0), Told::Conflict)?;
        run.expect(&Disk { held: Some(held(Who::Guest, RegistrantsOnly)), ..guest(KEY) })?;
    }
    Ok(())
}

fn register_nothing(run: &mut Run) -> Result<()> {
    run.good(act(Register, 0, KEY))?;
    run.good(act(Reserve, KEY, 0))?;
    run.answered(act(Register, 0, 0), Told::Conflict)?;
    run.expect(&Disk { held: Some(held(Who::Guest, RegistrantsOnly)), ..guest(KEY) })
}

fn old_key_of_another(run: &mut Run) -> Result<()> {
    for changes in 1..6 {
        run.reset()?;
        run.good(act(Ignore, 0, KEY))?;
        let plan = Plan { moment: Moment::Changes(changes), deeds: vec![Deed::Act(act(Register, 0, KEY))] };
        let (answer, done) = run.guest(&act(Register, KEY, NEW).request(), Some(&plan))?;
        answer.good()?;
        let other = (!done.acts.is_empty()).then_some(KEY);
        run.expect(&Disk { other, ..guest(NEW) }).with_context(|| format!("after {changes} changes"))?;
    }
    Ok(())
}

fn unregister_removed(run: &mut Run) -> Result<()> {
    run.good(act(Register, 0, KEY))?;
    run.host.apply(&Deed::Remove(1))?;
    run.good(Act::new(Reserve, KEY, 0, WriteExclusiveAllRegistrants))?;
    let mark = run.host.log().len();
    let (answer, _) = run.guest(&act(Register, KEY, 0).request(), None)?;
    // Nobody can take a registration off a path that is not there without the others; but then that is said, or nothing
    // may be changed.
    if answer.status != Status::GOOD && run.host.has_named_a_path(mark) {
        return Ok(());
    }
    let due = match Told::by(&answer) {
        Some(Told::Good) => Disk::default(),
        Some(_) => bail!("{answer}"),
        None => Disk { held: Some(held(Who::Guest, WriteExclusiveAllRegistrants)), ..guest(KEY) },
    };
    run.expect(&due).with_context(|| answer.to_string())?;
    run.host.apply(&Deed::Add(1))?;
    run.mend()?;
    run.expect(&due).with_context(|| format!("{answer}, and the path is back"))
}

fn leave_to_other(run: &mut Run) -> Result<()> {
    run.other(act(Register, 0, OTHER))?;
    run.good(act(Register, 0, KEY))?;
    run.good(Act::new(Reserve, KEY, 0, WriteExclusiveAllRegistrants))?;
    run.host.apply(&Deed::Remove(3))?;
    run.good(act(Register, KEY, 0))?;
    let held = Some(held(Who::Other, WriteExclusiveAllRegistrants));
    run.expect(&Disk { other: Some(OTHER), held, ..Disk::default() })
}

fn release_after_kill(run: &mut Run) -> Result<()> {
    for deed in [Deed::KillChild(0), Deed::KillChild(1), Deed::KillDaemon] {
        for path in 0..PATHS {
            run.reset()?;
            run.good(act(Register, 0, KEY))?;
            run.host.array.path(path)?.settle()?;
            run.host.array.path(path)?.directly(&act(Reserve, KEY, 0).request())?.good()?;
            run.host.apply(&deed)?;
            if let Err(Broken(rule, what)) = run.host.look_after_helper(&[deed])? {
                bail!("{} ({what})", rule.promise());
            }
            run.good_after_news(act(Release, KEY, 0)).with_context(|| deed.to_string())?;
            run.expect(&guest(KEY)).with_context(|| format!("{deed}, path {path}"))?;
        }
    }
    Ok(())
}

/// It may only if it knows that nobody but the map's own paths has the key: by how the host calls its iSCSI sessions, as
/// it has registered none of them.
fn first_helper(run: &mut Run) -> Result<()> {
    run.good(act(Register, 0, KEY))?;
    run.host.apply(&Deed::KillDaemon)?;
    fs::remove_dir_all("/run/qemu-pr-broker")?;
    run.host.array.path(1)?.settle()?;
    run.host.array.path(1)?.directly(&act(Register, KEY, 0).request())?.good()?;
    if let Err(Broken(rule, what)) = run.host.look_after_helper(&[Deed::KillDaemon])? {
        bail!("{} ({what})", rule.promise());
    }
    run.guest(&Request::read(InAction::ReadKeys), None)?;
    run.expect(&guest(KEY))
}

fn release_renamed(run: &mut Run) -> Result<()> {
    run.good(act(Register, 0, KEY))?;
    // Each finds the other's name free, unless somebody still has that open.
    for path in [1, 2] {
        run.host.apply(&Deed::Remove(path))?;
    }
    for path in [2, 1] {
        run.host.apply(&Deed::Add(path))?;
    }
    run.mend()?;
    run.good_after_news(act(Register, KEY, NEW))?;
    run.host.array.path(1)?.settle()?;
    run.host.array.path(1)?.directly(&act(Reserve, NEW, 0).request())?.good()?;
    run.lose(1)?;
    run.good_after_news(act(Release, NEW, 0))?;
    run.expect(&guest(NEW))?;
    run.bring_back(1)?;
    run.expect(&guest(NEW))
}

fn preempt_all(run: &mut Run) -> Result<()> {
    run.other(act(Register, 0, OTHER))?;
    run.other(Act::new(Reserve, OTHER, 0, WriteExclusiveAllRegistrants))?;
    run.good(act(Register, 0, KEY))?;
    run.good(act(Preempt, KEY, 0))?;
    run.expect(&Disk { held: Some(held(Who::Guest, RegistrantsOnly)), ..guest(KEY) })
}

impl Run {
    /// The cases that have a name.
    pub fn cases(&mut self, mut made: impl FnMut(&str, Result<()>)) -> Result<()> {
        for (name, case) in CASES {
            self.record.step((*name).to_owned());
            self.reset().with_context(|| format!("the reset before: {name}"))?;
            let mark = self.host.log().len();
            let result = case(self);
            let failed = result.is_err();
            made(name, result);
            if failed {
                // It answers before it says something.
                std::thread::sleep(Duration::from_millis(300));
                for line in self.host.log().get(mark..).unwrap_or_default().lines() {
                    remark(&format!("   helper: {line}"));
                }
            }
            self.host.look_after_helper(&[])?.ok();
        }
        self.reset()
    }

    /// Sends a command as the guest; nothing but an answer will do.
    fn guest(&mut self, request: &Request, plan: Option<&Plan>) -> Result<(Answer, Done)> {
        match self.host.send(request, plan)? {
            (Came::Answer(answer), done) => Ok((answer, done)),
            (Came::Nothing(reason), _) => bail!("{}: {reason}", request.name),
        }
    }

    /// The other node sends a command, and it is carried out.
    fn other(&mut self, act: Act) -> Result<()> {
        let told = self.host.reach()?.perform(&Deed::Act(act))?;
        ensure!(told == Some(Told::Good), "the other node's {act}: {told:?}");
        Ok(())
    }

    /// Takes a path away until the map does not use it.
    fn lose(&mut self, path: usize) -> Result<()> {
        self.host.apply(&Deed::Offline(path))?;
        self.host.wait_for(std::array::from_fn(|number| number != path))
    }

    /// Brings it back until the map uses it.
    fn bring_back(&mut self, path: usize) -> Result<()> {
        self.host.apply(&Deed::Running(path))?;
        self.host.wait_for([true; PATHS])
    }

    /// Waits until no path hangs and the map uses all.
    fn mend(&mut self) -> Result<()> {
        self.host.faults.uncut()?;
        self.host.wait_for([true; PATHS])
    }

    /// Everything is so, or soon is.
    fn expect(&mut self, disk: &Disk) -> Result<()> {
        self.disk = disk.clone();
        match self.expect_quiet()? {
            Ok(()) => Ok(()),
            Err(Broken(rule, what)) => bail!("{} ({what})", rule.promise()),
        }
    }

    /// Everything is so this moment.
    fn expect_at_once(&self, disk: &Disk) -> Result<()> {
        let (books, active) = self.host.look()?;
        match difference(disk, &books, active, false) {
            None => Ok(()),
            Some(Broken(rule, what)) => bail!("{} ({what})", rule.promise()),
        }
    }

    /// The guest is told this.
    fn answered(&mut self, act: Act, due: Told) -> Result<()> {
        let (answer, _) = self.guest(&act.request(), None)?;
        ensure!(Told::by(&answer) == Some(due), "{act}: expected {due:?}, came {answer}");
        Ok(())
    }

    fn good(&mut self, act: Act) -> Result<()> {
        self.answered(act, Told::Good)
    }

    /// Each path may have news of its own first.
    fn after_news(&mut self, act: Act) -> Result<Answer> {
        let mut answer = self.guest(&act.request(), None)?.0;
        for _ in 0..PATHS {
            let is_news = answer.sense.code().is_some_and(|code| answer.status != Status::GOOD && code.key.0 == 6);
            if !is_news {
                break;
            }
            answer = self.guest(&act.request(), None)?.0;
        }
        Ok(answer)
    }

    fn good_after_news(&mut self, act: Act) -> Result<()> {
        self.after_news(act)?.good().map(drop).with_context(|| act.to_string())
    }
}
