//! PREEMPT on a multipath map, and what is built on it.
//!
//! Preempting somebody else is one path's business. Preempting one's own key (a live-migrated guest and `fence_scsi`
//! do that) removes it from every path but the one that says so, and until it is back the guest's writes fail on the
//! others. So the map is suspended meanwhile: writes wait.

use scsi_pr::{BasicParameters, OutAction, Reservation, ReservationKey, Status};

use super::{
    change::Order,
    child,
    message::Answer,
    register,
    session::{Session, basic, settled},
};
use crate::{device::sg_io::Came, sys::dm};

/// PREEMPT and PREEMPT AND ABORT.
pub fn preempt(session: &Session<'_>, order: &Order<'_>) -> Answer {
    let BasicParameters { key, service_action_key: victim, .. } = order.parameters;
    // A key of zero takes over an all-registrants reservation from everybody, our other paths among them.
    if victim != key && !victim.is_zero() {
        return order.send(session).into();
    }
    let persist = match session.persists() {
        Ok(persist) => persist,
        Err(came) => return came.into(),
    };
    held_back(session, || {
        let mut answer = Answer::from(on_one_path(session, order));
        if answer.status == Status::GOOD {
            answer.note = register_again(session, order, persist);
        }
        answer
    })
}

/// Releases a reservation that a path holds which is away: takes it over to a path that is there, and releases it.
pub fn release(session: &Session<'_>, order: &Order<'_>, held: Reservation) -> Answer {
    let key = order.parameters.key;
    let (cdb, list) = basic(OutAction::Preempt, held.scope_type, &BasicParameters::keys(key, key));
    let take = Order { cdb, list: &list, parameters: BasicParameters::keys(key, key), ..*order };
    let persist = match session.persists() {
        Ok(persist) => persist,
        Err(came) => return came.into(),
    };
    held_back(session, || {
        let taken = on_one_path(session, &take);
        if taken.status != Status::GOOD {
            return Answer { note: "the path that holds the reservation is away".to_owned(), ..taken.into() };
        }
        let released = on_one_path(session, order);
        Answer { note: register_again(session, order, persist), ..released.into() }
    })
}

/// Sends a command to path after path, until one knows the key. The map itself may be suspended.
fn on_one_path(session: &Session<'_>, order: &Order<'_>) -> Came {
    let mut best = None;
    for path in session.paths() {
        let mut came = session.send_to(path, &order.cdb, order.list, &mut []);
        if !came.reached {
            // The answer may be all that was lost. To this path the command means the same once more; to the next one
            // its key would be gone.
            came = session.send_to(path, &order.cdb, order.list, &mut []);
        }
        if settled(&came) {
            return came;
        }
        best = best.filter(|best: &Came| best.reached).or(Some(came));
    }
    // Without a single path to open (a container without their nodes) there is still the map.
    best.unwrap_or_else(|| session.send(&order.cdb, order.list, &mut []))
}

/// Puts our key back on every path; what did not work, in words.
fn register_again(session: &Session<'_>, order: &Order<'_>, persist: bool) -> String {
    let key = order.parameters.key;
    if session.paths().is_empty() {
        let parameters =
            BasicParameters { activate_persist: persist, ..BasicParameters::keys(ReservationKey::ZERO, key) };
        return register::everywhere(session, &parameters).note;
    }
    let failed = session.paths().iter().filter_map(|path| {
        let came = session.register_on(path, key, persist);
        (came.status != Status::GOOD).then(|| format!("path {} has lost the key {key}: {}", path.name, came.status))
    });
    failed.collect::<Vec<_>>().join("; ")
}

/// Does something while the map waits. Without the right to suspend it, it is done all the same: a write that fails
/// in that moment is better than a command that never works.
fn held_back(session: &Session<'_>, work: impl FnOnce() -> Answer) -> Answer {
    let device = session.about.device;
    let control = (!session.paths().is_empty()).then(dm::control).and_then(Result::ok);
    let Some(control) = control else { return work() };
    // Should this process not get as far as resuming, the broker does.
    child::announce_suspension();
    let suspended = dm::suspend(&control, device);
    let mut answer = work();
    if suspended.is_ok()
        && let Err(error) = dm::resume(&control, device)
    {
        answer.note = format!("map {} stays suspended: {error}; resume it: dmsetup resume", session.about.name);
        return answer;
    }
    child::announce_resumption();
    answer
}
