//! A client's life, with each call that the helper makes during it failing once.

use std::time::Duration;

use libc::{EINTR, ENOMEM};

use super::{Call, Fault, Faults, plausible};
use crate::{Helper, PATIENCE, within};

/// How a life went, as its client saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// Everything that was asked for.
    Whole,
    /// A request that failed, or a connection that ended, and was known to have.
    Failed(String),
    /// What must never be: no answer, or one that is not true.
    Wrong(String),
}

/// How often it is tried to come to a call, and how long after each time: threads take turns as they like, and who did not
/// get an answer does not ask again at once.
const TRIES: usize = 3;
const REST: Duration = Duration::from_millis(1100);

/// What the standard library says when a new thread has no room for a signal stack; it ends the program then.
const NO_SIGNAL_STACK: &str = "fatal runtime error";

/// Has one call after the other fail, of those that are meant, while `client` lives, and looks afterwards whether the next one has everything,
/// nothing is left open, and the helper still runs. `start` starts a helper that greets.
///
/// Returns how many calls have failed, and how many of these lives were whole.
///
/// # Panics
/// With a list of those that did not go as they should.
pub fn each_call_fails(
    start: impl Fn(&Faults) -> Helper,
    client: impl Fn(&Helper) -> Life,
    is_meant: impl Fn(&Call) -> bool,
) -> (usize, usize) {
    let launch = || {
        let faults = Faults::recorded();
        let helper = start(&faults);
        faults.end();
        // Threads and memory that the first clients bring along.
        for _ in 0..3 {
            assert_eq!(client(&helper), Life::Whole, "nothing fails yet");
            is_idle(&helper, &faults, None);
        }
        let descriptors = settled(&helper);
        (helper, faults, descriptors)
    };
    let (mut helper, mut faults, mut descriptors) = launch();
    let calls = recorded(&helper, &faults, &client);
    let planned = calls
        .iter()
        .filter(|call| is_meant(call))
        .flat_map(|call| plausible(call, "").iter().map(|errno| Fault { errno: *errno, call: call.clone() }));
    let (mut failed, mut whole, mut missed, mut complaints) = (0, 0, Vec::new(), Vec::new());
    for fault in planned {
        let (mut life, mut is_idle_again) = (Life::Whole, true);
        for _ in 0..TRIES {
            faults.fail(fault.clone());
            life = client(&helper);
            is_idle_again = is_idle(&helper, &faults, Some(&descriptors));
            if faults.has_failed() || life != Life::Whole || !is_idle_again {
                break;
            }
            faults.end();
            std::thread::sleep(REST);
        }
        let has_failed = faults.has_failed();
        faults.end();
        missed.extend((!has_failed).then(|| fault.call.to_string()));
        let mut complain = |what: String| complaints.push(format!("{} = {}: {what}", fault.call, fault.errno));
        failed += usize::from(has_failed);
        whole += usize::from(has_failed && life == Life::Whole);
        match &life {
            Life::Wrong(wrong) => complain(wrong.clone()),
            Life::Failed(why) if fault.errno == EINTR => complain(format!("an interruption is no failure: {why}")),
            _ => {}
        }
        if !helper.process().is_alive() {
            let said = helper.stderr();
            if fault.errno != ENOMEM || !said.contains(NO_SIGNAL_STACK) {
                complain(format!("the helper is gone, saying {said:?}"));
            }
            (helper, faults, descriptors) = launch();
            continue;
        }
        if !is_idle_again {
            complain(format!("left open: {:?}, once {descriptors:?}", open(&helper)));
        }
        let next = client(&helper);
        if next != Life::Whole {
            complain(format!("the next client: {next:?}; {:?}", helper.stderr()));
        }
    }
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
    // On a busy machine the recorded life may have had a thread started in it that others do without.
    assert!(missed.len() * 4 <= failed, "{failed} calls failed, and these were not made again: {missed:?}");
    (failed, whole)
}

fn recorded(helper: &Helper, faults: &Faults, client: &impl Fn(&Helper) -> Life) -> Vec<Call> {
    faults.begin();
    assert_eq!(client(helper), Life::Whole, "nothing fails yet");
    is_idle(helper, faults, None);
    let calls = faults.calls();
    faults.end();
    calls
}

/// What the helper's processes have open, by their names.
fn open(helper: &Helper) -> Vec<(String, usize)> {
    let all = std::iter::once(helper.process()).chain(helper.children());
    all.map(|process| (process.status().remove("Name").unwrap_or_default(), process.descriptors().len())).collect()
}

/// The same, once it has not changed for a while: a busy machine may not have come to it yet that the last client is gone,
/// and everything later is held against this.
fn settled(helper: &Helper) -> Vec<(String, usize)> {
    let (mut last, mut looks) = (open(helper), 0);
    within(PATIENCE, || {
        std::thread::sleep(Duration::from_millis(10));
        let now = open(helper);
        looks = if now == last { looks + 1 } else { 0 };
        last = now;
        looks >= 30
    });
    last
}

/// Waits until nothing happens any more; whether as much is open then as there should be.
fn is_idle(helper: &Helper, faults: &Faults, descriptors: Option<&Vec<(String, usize)>>) -> bool {
    let (mut seen, mut last) = (0, Vec::new());
    within(PATIENCE, || {
        std::thread::sleep(Duration::from_millis(10));
        let now = open(helper);
        let is_quiet = std::mem::replace(&mut seen, faults.count()) == faults.count()
            && std::mem::replace(&mut last, now.clone()) == now;
        is_quiet && descriptors.is_none_or(|descriptors| *descriptors == now)
    }) || !helper.process().is_alive()
}
