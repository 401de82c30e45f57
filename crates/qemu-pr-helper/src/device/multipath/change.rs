//! PERSISTENT RESERVE OUT on a multipath map.
//!
//! A map is one disk to a guest and several initiators to the disk, each with a registration of its own. Two rules
//! follow. *The disk is the judge*: whether a key is right, and what a reservation is, is asked of the disk by the
//! command itself on one path, and its answer is the guest's, sense and all. *Registrations are on every path or on
//! none*: libmpathpersist puts them there and tells multipathd, which keeps them for paths that come later.
//!
//! Nothing else is left to the library: releases before 0.13 give up other nodes' reservations, lose the key of
//! every path but one, or call a wrong key a broken line.

use scsi_pr::{
    BasicParameters, Cdb, Command, OutAction, ParameterError, Reservation, ReservationKey, Sense, SenseCode, Status,
};

use super::{
    message::Answer,
    register,
    session::{Session, basic, is_unit_attention, news, settled},
    takeover,
};
use crate::device::sg_io::Came;

/// Carries out a PERSISTENT RESERVE OUT.
pub fn change(session: &Session<'_>, cdb: &Cdb, list: &[u8]) -> Answer {
    let Command::Out(command) = cdb.command() else { return invalid(SenseCode::INVALID_OPERATION_CODE) };
    let Some(action) = command.action() else { return invalid(SenseCode::INVALID_FIELD_IN_CDB) };
    if matches!(action, OutAction::RegisterAndMove | OutAction::ReplaceLostReservation) {
        // They are about one nexus, and a map has several. The original says the same.
        return invalid(SenseCode::INVALID_FIELD_IN_CDB);
    }
    let parameters = match BasicParameters::parse(list) {
        Ok(parameters) => parameters,
        Err(ParameterError::TooShort) => return invalid(SenseCode::PARAMETER_LIST_LENGTH),
        Err(ParameterError::Length) => return invalid(SenseCode::INVALID_FIELD_IN_PARAMETER_LIST),
    };
    let order = Order { cdb: *cdb, list, scope_type: command.scope_type, parameters };
    match action {
        OutAction::Register => register::register(session, &order),
        OutAction::RegisterAndIgnoreExistingKey => register::register_and_ignore(session, &order),
        OutAction::Reserve => reserve(session, &order),
        OutAction::Release => release(session, &order),
        OutAction::Clear => clear(session, &order),
        _ => takeover::preempt(session, &order),
    }
}

/// One command, taken apart.
pub struct Order<'a> {
    /// The CDB as it came.
    pub cdb: Cdb,
    /// The parameter list as it came.
    pub list: &'a [u8],
    /// Scope and type, as they came.
    pub scope_type: u8,
    /// What the parameter list says.
    pub parameters: BasicParameters<'a>,
}

impl Order<'_> {
    /// Sends the command as it came, to the map and then to path after path until one knows the key.
    pub fn send(&self, session: &Session<'_>) -> Came {
        session.send_until(&self.cdb, self.list, &mut [], settled)
    }

    /// Whether a reservation is the sender's, by its key. Holders of the all-registrants types have no key.
    pub fn owns(&self, reservation: Reservation) -> bool {
        !self.parameters.key.is_zero() && reservation.key == self.parameters.key
    }
}

/// RESERVE. The holder may repeat it, but the disk knows the holder by its path.
fn reserve(session: &Session<'_>, order: &Order<'_>) -> Answer {
    let came = order.send(session);
    if came.status != Status::RESERVATION_CONFLICT {
        return came.into();
    }
    // Every path that answers says no. If the reservation is ours all the same, its path is away.
    match session.reservation() {
        Ok(Some(held)) if held.scope_type == order.scope_type && order.owns(held) => match proves_key(session, order) {
            Ok(true) => Answer { note: "the reservation is held already, by a path that is away".to_owned(), ..good() },
            Ok(false) => came.into(),
            Err(news) => news.into(),
        },
        Err(asked) if is_unit_attention(&asked) => asked.into(),
        _ => came.into(),
    }
}

/// Whether the key is ours, by the disk's own word: it changes the key into itself.
///
/// # Errors
/// A unit attention instead of that word: a conflict would be a guess, and a guest that gets one may start fencing.
fn proves_key(session: &Session<'_>, order: &Order<'_>) -> Result<bool, Came> {
    let key = order.parameters.key;
    let persist = session.persists()?;
    let same = BasicParameters { activate_persist: persist, ..BasicParameters::keys(key, key) };
    let (cdb, list) = basic(OutAction::Register, 0, &same);
    Ok(news(session.send(&cdb, &list, &mut []))?.status == Status::GOOD)
}

/// RELEASE. Only the path that holds the reservation releases it; every other one is told GOOD and nothing happens.
/// And nobody else's reservation is touched: the disk sees to that as long as it is asked by the path itself.
fn release(session: &Session<'_>, order: &Order<'_>) -> Answer {
    let held = match session.reservation() {
        Ok(held) => held,
        Err(came) => return came.into(),
    };
    // Nothing to release, or an all-registrants one: any path of ours releases it, and a second RELEASE might meet a
    // newer one.
    let Some(held) = held.filter(|held| !held.key.is_zero()) else { return order.send(session).into() };
    if !order.owns(held) {
        return release_of_others(session, order);
    }
    let mut came = session.send(&order.cdb, order.list, &mut []);
    let mut verdict = None;
    let mut paths = session.paths().iter();
    loop {
        match came.status {
            Status::GOOD => match left(session) {
                Ok(now) if now == Some(held) => {}
                Ok(_) => return good(),
                // Released or not: who cannot see it must not say so. The guest asks again.
                Err(came) => return came.into(),
            },
            // This path does not know the key, or (the kernel's own target) holds it and wants another type.
            Status::RESERVATION_CONFLICT => verdict = Some(came),
            _ if came.reached => return came.into(),
            _ => {}
        }
        let Some(path) = paths.next() else { break };
        came = session.send_to(path, &order.cdb, order.list, &mut []);
    }
    match verdict {
        Some(came) => came.into(),
        // All paths that answer are GOOD, and still the reservation stands: the one that holds it is away.
        None => takeover::release(session, order, held),
    }
}

/// RELEASE of a reservation that is not held under the sender's key. The disk decides; but the kernel's own target looks
/// at the key only on the path that holds, so a wrong key for a reservation of ours is found out there.
fn release_of_others(session: &Session<'_>, order: &Order<'_>) -> Answer {
    let came = order.send(session);
    if came.status != Status::GOOD {
        return came.into();
    }
    let conflict = session.paths().iter().find_map(|path| {
        let came = session.send_to(path, &order.cdb, order.list, &mut []);
        (came.status == Status::RESERVATION_CONFLICT).then_some(came)
    });
    let Some(conflict) = conflict else { return good() };
    // A path that just does not have the key yet says the same.
    match proves_key(session, order) {
        Ok(true) => good(),
        Ok(false) => conflict.into(),
        Err(news) => news.into(),
    }
}

/// The reservation that a RELEASE left. If it released, our other paths are told so; that is no news for the guest.
fn left(session: &Session<'_>) -> Result<Option<Reservation>, Came> {
    let mut now = session.reservation();
    for _ in session.paths() {
        match &now {
            Err(came) if came.sense.code() == Some(SenseCode::RESERVATIONS_RELEASED) => now = session.reservation(),
            _ => break,
        }
    }
    now
}

/// CLEAR. The keys are gone with one path's word; multipathd has to forget them too, or it would register paths that
/// come back.
fn clear(session: &Session<'_>, order: &Order<'_>) -> Answer {
    let came = order.send(session);
    if came.status != Status::GOOD {
        return came.into();
    }
    let nothing = BasicParameters::keys(ReservationKey::ZERO, ReservationKey::ZERO);
    Answer { note: register::everywhere(session, &nothing).note, ..good() }
}

/// Success.
pub fn good() -> Answer {
    Answer { status: Status::GOOD, sense: Sense::NONE, data: Vec::new(), note: String::new() }
}

/// The request itself is wrong.
pub fn invalid(code: SenseCode) -> Answer {
    Answer { status: Status::CHECK_CONDITION, sense: Sense::fixed(code), ..good() }
}

impl From<Came> for Answer {
    fn from(came: Came) -> Self {
        Self { status: came.status, sense: came.sense, ..good() }
    }
}
