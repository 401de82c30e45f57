//! REGISTER on a multipath map: on every path or on none.

use scsi_pr::{BasicParameters, OutAction, ReservationKey, Sense, SenseCode, Status};

use super::{
    change::{Order, good, invalid},
    child, hints,
    message::Answer,
    session::{Session, basic, settled},
};
use crate::sys::mpath::Library;

/// REGISTER. The disk says on one path whether the key is right; only then is anything spread.
pub fn register(session: &Session<'_>, order: &Order<'_>) -> Answer {
    let BasicParameters { key, service_action_key: new, activate_persist, .. } = order.parameters;
    // Asked before anything changes: without the library there is no way back to "on no path".
    let library = match Library::open() {
        Ok(library) => library,
        Err(error) => return failure(error.to_string()),
    };
    // A first key is registered on the path that is asked, which the rest then follows. An old key proves itself by
    // being changed into itself: if what comes after fails, nothing has happened.
    let proves = !key.is_zero() && order.parameters.initiator_ports.is_none();
    // A key that is on some path already (another path has lost it, say) is not this command's to take back.
    let is_first = key.is_zero()
        && !new.is_zero()
        && match session.has_key(new) {
            Ok(has) => !has,
            Err(came) => return came.into(),
        };
    let came = if proves {
        let same = BasicParameters { activate_persist, ..BasicParameters::keys(key, key) };
        let (cdb, list) = basic(OutAction::Register, order.scope_type, &same);
        session.send_until(&cdb, &list, &mut [], settled)
    } else {
        // A conflict settles this: the path is registered, and so are the others.
        session.send_until(&order.cdb, order.list, &mut [], |came| came.reached)
    };
    if came.status != Status::GOOD || (key.is_zero() && new.is_zero()) {
        return came.into();
    }
    if !is_first {
        return spread(&library, session, &order.parameters);
    }
    // The library may take this process with it; then the broker takes the key back.
    child::announce_begun();
    let answer = spread(&library, session, &order.parameters);
    if answer.status != Status::GOOD {
        undo(session, new);
    }
    child::announce_settled();
    answer
}

/// REGISTER AND IGNORE EXISTING KEY: there is nothing to ask first.
pub fn register_and_ignore(session: &Session<'_>, order: &Order<'_>) -> Answer {
    if order.parameters.initiator_ports.is_some() {
        return invalid(SenseCode::INVALID_FIELD_IN_PARAMETER_LIST);
    }
    everywhere(session, &order.parameters)
}

/// Puts a key on every path, or takes it from every path.
pub fn everywhere(session: &Session<'_>, parameters: &BasicParameters<'_>) -> Answer {
    match Library::open() {
        Ok(library) => spread(&library, session, parameters),
        Err(error) => failure(error.to_string()),
    }
}

fn spread(library: &Library, session: &Session<'_>, parameters: &BasicParameters<'_>) -> Answer {
    match library.init().and_then(|()| library.register_and_ignore(session.map, parameters)) {
        Ok(0) => good(),
        Ok(code) => hints::explain(session, code),
        Err(error) => failure(error.to_string()),
    }
}

/// Takes a key back from the paths that have it: its registration was new.
pub fn undo(session: &Session<'_>, key: ReservationKey) {
    let (cdb, list) = basic(OutAction::Register, 0, &BasicParameters::keys(key, ReservationKey::ZERO));
    // Paths without the key answer with a conflict, and have nothing to take back.
    if session.paths().is_empty() {
        session.send(&cdb, &list, &mut []);
    }
    for path in session.paths() {
        session.send_to(path, &cdb, &list, &mut []);
    }
}

/// The command could not be carried out, for a reason that is ours and not the disk's.
pub fn failure(note: String) -> Answer {
    let sense = Sense::fixed(SenseCode::COMMUNICATION_FAILURE);
    Answer { status: Status::CHECK_CONDITION, sense, data: Vec::new(), note }
}
