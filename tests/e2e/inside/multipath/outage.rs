//! What goes away and comes back: multipathd, a path, all paths.

use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use scsi_persistent_reservations::{InAction, Status};

use super::reserve::{KIND, OTHER_KIND, hold};
use super::scene::{self, SETTLE, State};
use super::stage::{Check, Stage};
use super::{KEY, NEW_KEY, THIRD_KEY};
use crate::helper::{Helper, through};
use crate::lun;
use crate::request::{Answer, Request};
use crate::wait;

pub const CHECKS: &[Check] = &[
    (
        "without multipathd a key is on every path, and the log says that nobody else looks after it",
        register_without_multipathd,
    ),
    ("without multipathd a registered map reads and reserves", reserve_without_multipathd),
    ("a path that was away during REGISTER gets the key when it is back", path_away_before),
    ("a path that goes away after REGISTER has the key when it is back", path_away_after),
    ("a path that was removed and found again gets the key", path_removed),
    ("REGISTER changes the key while a path is away, and it follows when it is back", change_while_away),
    ("with a path away, everything else works", one_path_left),
    ("RESERVE is repeated while the path that holds is away", reserve_while_holder_away),
    ("RELEASE ends the reservation of a path that is away", release_while_holder_away),
    ("PREEMPT of the own key while a path is away: it is registered when it is back", preempt_while_away),
    ("without any path an answer comes in time, and others are served", no_path),
];

fn register_without_multipathd(stage: &mut Stage<'_>) -> Result<()> {
    stage.scene.multipathd.kill()?;
    stage.good(&Request::register(0, KEY))?;
    stage.scene.expect(&State { kept: None, ..State::registered(KEY) })?;
    stage.expect_log("multipathd cannot be reached")?;
    stage.scene.multipathd.start_again()?;
    // The next registration tells it.
    stage.good(&Request::register(KEY, NEW_KEY))?;
    stage.scene.expect(&State::registered(NEW_KEY))
}

fn reserve_without_multipathd(stage: &mut Stage<'_>) -> Result<()> {
    stage.good(&Request::register(0, KEY))?;
    stage.scene.multipathd.kill()?;
    let keys = stage.send(&Request::read(InAction::ReadKeys))?.keys()?;
    ensure!(keys == [KEY, KEY], "READ KEYS tells {keys:x?}");
    stage.good(&Request::reserve(KEY, KIND))?;
    stage.scene.expect(&State::registered(KEY).held_by(KEY, KIND))?;
    stage.scene.multipathd.start_again()?;
    stage.good(&Request::register(KEY, NEW_KEY))?;
    stage.scene.expect(&State::registered(NEW_KEY).held_by(NEW_KEY, KIND))
}

/// multipathd registers the path that is back; it takes a moment.
pub fn expect_in_time(stage: &Stage<'_>, expected: &State) -> Result<()> {
    let mut last = State::default();
    // Of a helper without multipath there is nothing to wait for.
    let patience = if stage.reference { Duration::from_secs(5) } else { SETTLE };
    let result = wait::until("multipathd to register the path", patience, || {
        last = stage.scene.state()?;
        if last != *expected {
            thread::sleep(Duration::from_millis(200));
        }
        Ok((last == *expected).then_some(()))
    });
    result.with_context(|| format!("expected {expected:x?}, came {last:x?}"))
}

fn path_away_before(stage: &mut Stage<'_>) -> Result<()> {
    for path in 0..2 {
        stage.scene.lose(path)?;
        stage.good(&Request::register(0, KEY))?;
        let keys = stage.scene.third.keys()?;
        ensure!(keys == [KEY], "with one path away, the keys are {keys:x?}");
        stage.scene.recover(path)?;
        expect_in_time(stage, &State::registered(KEY))?;
        stage.scene.reset()?;
    }
    Ok(())
}

fn path_away_after(stage: &mut Stage<'_>) -> Result<()> {
    hold(stage)?;
    for path in 0..2 {
        stage.scene.lose(path)?;
        // The disk forgets the path meanwhile, not by the helper: only multipathd can know what is to be done.
        let other = &stage.scene.paths[1 - path];
        other.settle()?;
        other.directly(&Request::preempt(KEY, KEY, KIND))?.good()?;
        let keys = stage.scene.third.keys()?;
        ensure!(keys == [KEY], "the path that is away is still registered: {keys:x?}");
        stage.scene.recover(path)?;
        expect_in_time(stage, &State::registered(KEY).held_by(KEY, KIND))?;
    }
    Ok(())
}

fn path_removed(stage: &mut Stage<'_>) -> Result<()> {
    let disk = Path::new("/sys/block").join(stage.scene.paths[1].name()).join("device");
    // host:channel:target:lun
    let address = std::fs::canonicalize(&disk)?;
    let address = address.file_name().and_then(|name| name.to_str()).context("a disk has an address")?;
    let host = address.split(':').next().context("an address has a host")?.to_owned();
    let number = stage.scene.paths[1].number()?;
    lun::put(&disk.join("delete"), "1")?;
    scene::wait_for_removal(&number)?;
    let registered = stage.good(&Request::register(0, KEY));
    let scan = Path::new("/sys/class/scsi_host").join(format!("host{host}")).join("scan");
    let found = lun::appearing(|| lun::put(&scan, "- - -"))?;
    stage.scene.replace_path(1, found.path())?;
    registered?;
    expect_in_time(stage, &State::registered(KEY))
}

fn change_while_away(stage: &mut Stage<'_>) -> Result<()> {
    stage.good(&Request::register(0, KEY))?;
    stage.scene.lose(1)?;
    stage.good(&Request::register(KEY, NEW_KEY))?;
    stage.scene.recover(1)?;
    expect_in_time(stage, &State::registered(NEW_KEY))
}

fn one_path_left(stage: &mut Stage<'_>) -> Result<()> {
    stage.third(&Request::register(0, THIRD_KEY))?;
    stage.good(&Request::register(0, KEY))?;
    // The one that comes first wherever paths stand in a row.
    stage.scene.lose(0)?;
    let keys = stage.send(&Request::read(InAction::ReadKeys))?.keys()?;
    ensure!(keys == [KEY, KEY, THIRD_KEY], "READ KEYS tells {keys:x?}");
    stage.good(&Request::reserve(KEY, KIND))?;
    let held = stage.send(&Request::read(InAction::ReadReservation))?.reservation()?;
    ensure!(held.is_some_and(|held| held.key.0 == KEY), "READ RESERVATION tells {held:?}");
    stage.good(&Request::release(KEY, KIND))?;
    stage.good(&Request::preempt(KEY, THIRD_KEY, KIND))?;
    stage.scene.recover(0)?;
    expect_in_time(stage, &State::registered(KEY))
}

/// The map is registered, and this path holds the reservation and is then lost.
fn lose_holder(stage: &mut Stage<'_>, path: usize) -> Result<()> {
    stage.third(&Request::register(0, THIRD_KEY))?;
    stage.good(&Request::register(0, KEY))?;
    stage.scene.paths[path].directly(&Request::reserve(KEY, KIND))?.good()?;
    stage.scene.lose(path)
}

fn reserve_while_holder_away(stage: &mut Stage<'_>) -> Result<()> {
    lose_holder(stage, 0)?;
    stage.good(&Request::reserve(KEY, KIND))?;
    stage.conflict(&Request::reserve(KEY, OTHER_KIND))?;
    stage.scene.recover(0)?;
    stage.scene.expect(&State::registered(KEY).and_third(THIRD_KEY).held_by(KEY, KIND))
}

fn release_while_holder_away(stage: &mut Stage<'_>) -> Result<()> {
    lose_holder(stage, 1)?;
    stage.good(&Request::release(KEY, KIND))?;
    let held = stage.scene.third.reservation()?;
    ensure!(held.is_none(), "after RELEASE, {held:?} stands");
    stage.scene.recover(1)?;
    expect_in_time(stage, &State::registered(KEY).and_third(THIRD_KEY))
}

fn preempt_while_away(stage: &mut Stage<'_>) -> Result<()> {
    lose_holder(stage, 0)?;
    stage.good(&Request::preempt(KEY, KEY, KIND))?;
    stage.scene.recover(0)?;
    expect_in_time(stage, &State::registered(KEY).and_third(THIRD_KEY).held_by(KEY, KIND))
}

/// The map queues what it cannot send, for ever if need be. The helper asks the paths themselves.
fn no_path(stage: &mut Stage<'_>) -> Result<()> {
    let started = Instant::now();
    stage.good(&Request::register(0, KEY))?;
    // It has enough for a REGISTER, though, however long that takes here; the one after the outage looks after both paths
    // first, and is several commands more.
    let patience = (1 + (8 * started.elapsed()).as_secs()).to_string();
    let options: &[&str] = if stage.reference { &[] } else { &["--command-timeout", &patience] };
    let stage = Stage::set(stage.scene, stage.identity, stage.reference, "impatient", options)?;
    scene::message("queue_if_no_path")?;
    for path in &stage.scene.paths {
        path.set_state("offline")?;
    }
    stage.scene.wait_for_paths([false, false])?;

    let result = without_paths(&stage);

    for path in &stage.scene.paths {
        path.set_state("running")?;
    }
    stage.scene.wait_for_paths([true, true])?;
    scene::message("fail_if_no_path")?;
    result.with_context(|| format!("the helper said: {}", stage.new_log()))?;
    expect_in_time(&stage, &State::registered(KEY))?;
    let keys = stage.send(&Request::read(InAction::ReadKeys))?.keys()?;
    ensure!(keys == [KEY, KEY], "with the paths back, READ KEYS tells {keys:x?}");
    stage.good(&Request::register(KEY, NEW_KEY))?;
    stage.scene.expect(&State::registered(NEW_KEY))?;
    stage.helper.stop()
}

fn without_paths(stage: &Stage<'_>) -> Result<()> {
    let patience = Duration::from_secs(30);
    for request in [Request::read(InAction::ReadKeys), Request::reserve(KEY, KIND)] {
        let waiting = in_background(&stage.helper, stage.scene.map.file.try_clone()?, request)?;
        let question = Request::read(InAction::ReadKeys);
        let others = in_background(&stage.helper, stage.scene.third.file.try_clone()?, question)?;
        others.recv_timeout(patience).context("the other client was not served")??.good()?;
        failed(&waiting, patience)?;
    }
    Ok(())
}

fn failed(waiting: &Receiver<Result<Answer>>, patience: Duration) -> Result<()> {
    let answer = waiting.recv_timeout(patience).context("no answer without a path")??;
    ensure!(answer.status == Status::CHECK_CONDITION, "expected CHECK CONDITION without a path, came {answer}");
    Ok(())
}

/// Sends a command on a connection of its own.
fn in_background(helper: &Helper, device: std::fs::File, request: Request) -> Result<Receiver<Result<Answer>>> {
    let mut client = helper.client()?;
    let (sender, answer) = mpsc::channel();
    thread::spawn(move || {
        // Nobody listens any more if the check was given up.
        let _ = sender.send(through(&mut client, device, &request));
    });
    Ok(answer)
}
