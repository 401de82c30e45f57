//! What comes of a command with a fault.
//!
//! The simulated disk itself has none: the commands that it gets, or its answers, are changed outside of it.

use pr_sim::{Held, LogicalUnit, Medium, Nexus};
use qemu_pr_protocol::{MAX_DATA, Reply};
use scsi_persistent_reservations::{
    BasicParameters, Cdb, Command, DataIn, InAction, OutAction, PersistentReserveOut, PrOut, ReadReservation,
    Reservation, ReservationKey, ReservationType, Sense, SenseCode, Status,
};

use super::fault::Fault;

/// The answer without a fault.
pub fn without_fault(unit: &mut LogicalUnit, nexus: Nexus, cdb: &Cdb, list: &[u8]) -> Reply {
    let mut buffer = [0; MAX_DATA];
    let completion = unit.execute(nexus, cdb, list, &mut buffer);
    Reply { status: completion.status, sense: completion.sense.clone(), data: completion.data.to_vec() }
}

/// Carries out an access to the medium, with a fault if there is one.
pub fn access(unit: &mut LogicalUnit, nexus: Nexus, medium: Medium, fault: Option<Fault>) -> Reply {
    let completion = unit.access(nexus, medium);
    let reply = Reply { status: completion.status, sense: completion.sense, data: Vec::new() };
    let Some(held) = unit.reservation().filter(|_| reply.status != Status::CHECK_CONDITION) else { return reply };
    let is_holder = held.holder.is_none_or(|holder| holder == nexus);
    let is_registered = unit.registrations().any(|(other, _)| other == nexus);
    match fault {
        Some(Fault::NoEnforcement) => status(Status::GOOD),
        Some(Fault::Type8) if held.kind == ReservationType::ExclusiveAccessAllRegistrants => status(Status::GOOD),
        Some(Fault::NoReaders) if !is_registered => status(Status::RESERVATION_CONFLICT),
        Some(Fault::NoRegistrants)
            if is_registered && !is_holder && (medium == Medium::Write || held.kind.excludes_readers()) =>
        {
            status(Status::RESERVATION_CONFLICT)
        }
        _ => reply,
    }
}

/// What a disk with a fault has besides its state.
#[derive(Default)]
pub struct Leftover {
    /// A reservation that is over, and is told all the same until the next one.
    reservation: Option<Reservation>,
    /// How many commands there were.
    commands: u32,
}

/// A command with what decides whether a fault concerns it.
struct Sent<'a> {
    nexus: Nexus,
    cdb: &'a Cdb,
    list: &'a [u8],
    action: OutAction,
    kind: Option<ReservationType>,
    keys: BasicParameters<'a>,
}

/// The disk as it was before a command.
struct Before {
    held: Option<Held>,
    /// The reservation as it is told.
    told: Option<Reservation>,
    registrations: Vec<(Nexus, ReservationKey)>,
}

impl Before {
    fn of(unit: &LogicalUnit) -> Self {
        let registrations: Vec<_> =
            unit.registrations().map(|(nexus, registration)| (nexus, registration.key)).collect();
        let held = unit.reservation();
        let key = |holder| registrations.iter().find(|(nexus, _)| *nexus == holder).map(|(_, key)| *key);
        let told =
            held.map(|held| Reservation::new(held.holder.and_then(key).unwrap_or(ReservationKey::ZERO), held.kind));
        Self { held, told, registrations }
    }

    fn key(&self, nexus: Nexus) -> Option<ReservationKey> {
        self.registrations.iter().find(|(other, _)| *other == nexus).map(|(_, key)| *key)
    }

    /// Whether an initiator holds the reservation, alone or with all other registrants.
    fn holds(&self, nexus: Nexus) -> bool {
        self.held.is_some_and(|held| held.holder.is_none_or(|holder| holder == nexus) && self.key(nexus).is_some())
    }

    fn is_for_all(&self) -> bool {
        self.held.is_some_and(|held| held.holder.is_none())
    }
}

/// Carries out a command with a fault.
pub fn execute(
    unit: &mut LogicalUnit,
    leftover: &mut Leftover,
    nexus: Nexus,
    cdb: &Cdb,
    list: &[u8],
    fault: Fault,
) -> Reply {
    leftover.commands = leftover.commands.wrapping_add(1);
    match cdb.command() {
        Command::In(command) => {
            let mut reply = without_fault(unit, nexus, cdb, list);
            if reply.status == Status::GOOD
                && let Some(action) = command.action()
            {
                distort(&mut reply.data, unit, leftover, action, fault);
                // No more than the protocol allows: that would be another fault.
                if fault == Fault::TooMuchData {
                    reply.data.resize((usize::from(command.allocation_length) + 8).min(MAX_DATA), 0);
                }
            }
            reply
        }
        Command::Out(command) => match (command.action(), BasicParameters::parse(list)) {
            (Some(action), Ok(keys)) => {
                let sent = Sent { nexus, cdb, list, action, kind: command.reservation_type(), keys };
                change(unit, leftover, &sent, fault)
            }
            _ => without_fault(unit, nexus, cdb, list),
        },
    }
}

/// Changes the data of a PERSISTENT RESERVE IN.
fn distort(data: &mut Vec<u8>, unit: &LogicalUnit, leftover: &Leftover, action: InAction, fault: Fault) {
    let tells_generation = matches!(action, InAction::ReadKeys | InAction::ReadReservation | InAction::ReadFullStatus);
    match (fault, action) {
        (Fault::Keys, InAction::ReadKeys) if data.len() > 16 => {
            data.truncate(16);
            data[4..8].copy_from_slice(&8u32.to_be_bytes());
        }
        (Fault::Type, InAction::ReadReservation) if data.len() >= 24 => {
            data[21] = if data[21] == 1 { 3 } else { 1 };
        }
        (Fault::Holder, InAction::ReadReservation) if data.len() >= 24 => data[15] ^= 0xff,
        (Fault::AllHolder, InAction::ReadReservation) if data.len() >= 24 && data[8..16] == [0; 8] => {
            let first = unit.registrations().next().map_or(ReservationKey::ZERO, |(_, registration)| registration.key);
            data[8..16].copy_from_slice(&first.0.to_be_bytes());
        }
        (Fault::Generation, _) if tells_generation => data.iter_mut().take(4).for_each(|byte| *byte = 0),
        (Fault::ReadsCount, _) if tells_generation && data.len() >= 4 => {
            data[..4].copy_from_slice(&leftover.commands.to_be_bytes());
        }
        (_, InAction::ReadReservation) if data.len() == 8 && leftover.reservation.is_some() => {
            data.resize(24, 0);
            ReadReservation::write(unit.generation(), leftover.reservation, &mut DataIn::new(data));
        }
        _ => {}
    }
}

/// Carries out a PERSISTENT RESERVE OUT.
fn change(unit: &mut LogicalUnit, leftover: &mut Leftover, sent: &Sent<'_>, fault: Fault) -> Reply {
    let before = Before::of(unit);
    if let Some(reply) = instead(unit, &before, sent, fault) {
        return reply;
    }
    let Sent { nexus, list, action, .. } = *sent;
    let ignoring = PersistentReserveOut::new(OutAction::RegisterAndIgnoreExistingKey, None, 24).cdb();
    let is_wrong_key = fault == Fault::WrongKey && action == OutAction::Register;
    let reply = without_fault(unit, nexus, if is_wrong_key { &ignoring } else { sent.cdb }, list);
    if reply.status != Status::GOOD {
        return reply;
    }
    if action == OutAction::Reserve {
        leftover.reservation = None;
    }
    after(unit, leftover, &before, sent, fault);
    match fault {
        Fault::DataAfterOut => Reply { data: vec![0; 8], ..reply },
        _ => reply,
    }
}

/// The answer to a command that is not carried out; `None` if it is.
fn instead(unit: &mut LogicalUnit, before: &Before, sent: &Sent<'_>, fault: Fault) -> Option<Reply> {
    use OutAction::{Clear, Preempt, PreemptAndAbort, Register, RegisterAndIgnoreExistingKey, Release, Reserve};
    let Sent { nexus, action, kind, keys, .. } = *sent;
    let registered = before.key(nexus);
    let proven = registered == Some(keys.key);
    let held_by_it = before.holds(nexus);
    let is_other_type = before.held.is_some_and(|held| kind != Some(held.kind));
    let is_known = |key| before.registrations.iter().any(|(_, other)| *other == key);
    let good = || Some(status(Status::GOOD));
    let conflict = || Some(status(Status::RESERVATION_CONFLICT));
    match (fault, action) {
        (Fault::Busy, _) => Some(status(Status::BUSY)),
        (Fault::NoAbort, PreemptAndAbort) => {
            Some(Reply { sense: Sense::fixed(SenseCode::INVALID_FIELD_IN_CDB), ..status(Status::CHECK_CONDITION) })
        }
        (Fault::RepeatedReserve, Reserve) if held_by_it => conflict(),
        (Fault::AllReserve, Reserve) if before.is_for_all() => conflict(),
        (Fault::SharedReserve, Reserve) if before.held.is_some() && !held_by_it => good(),
        (Fault::ReserveType, Reserve) if proven && held_by_it && is_other_type => good(),
        (Fault::ReserveUnknown, Reserve) if registered.is_none() => good(),
        (Fault::ReserveKey, Reserve) if !proven && registered.is_some() => {
            let reserve = PrOut::reserve(registered?, kind?);
            Some(without_fault(unit, nexus, &reserve.cdb(), &reserve.list()))
        }
        (Fault::ReleaseNothing, Release) if proven && held_by_it => good(),
        (Fault::ReleaseType, Release) if proven && held_by_it && is_other_type => {
            release(unit);
            good()
        }
        (Fault::Clear, Clear) | (Fault::Preempt, Preempt | PreemptAndAbort) if proven => good(),
        (Fault::PreemptUnknown, Preempt | PreemptAndAbort) if proven && !is_known(keys.service_action_key) => good(),
        (Fault::SharedKey, Register | RegisterAndIgnoreExistingKey)
            if before.registrations.iter().any(|(other, key)| *other != nexus && *key == keys.service_action_key) =>
        {
            conflict()
        }
        _ => None,
    }
}

/// Changes the effect of a command that was carried out.
fn after(unit: &mut LogicalUnit, leftover: &mut Leftover, before: &Before, sent: &Sent<'_>, fault: Fault) {
    use OutAction::{Clear, Preempt, PreemptAndAbort, Register, RegisterAndIgnoreExistingKey, Release};
    let Sent { nexus, action, kind, keys, .. } = *sent;
    let victim = keys.service_action_key;
    let unregisters = victim == ReservationKey::ZERO;
    let is_holder = before.held.is_some_and(|held| held.holder == Some(nexus));
    match (fault, action) {
        (Fault::PreemptLoses, Preempt | PreemptAndAbort) | (Fault::Release, Release) => release(unit),
        (Fault::Unregister, Register | RegisterAndIgnoreExistingKey) if unregisters => release(unit),
        (Fault::KeyChange, Register | RegisterAndIgnoreExistingKey)
            if is_holder && !unregisters && before.key(nexus) != Some(victim) =>
        {
            release(unit);
        }
        (Fault::HolderLeaves, Register | RegisterAndIgnoreExistingKey) if is_holder && unregisters => {
            leftover.reservation = before.told;
        }
        (Fault::LastUnregister, Register | RegisterAndIgnoreExistingKey)
            if before.is_for_all() && unit.registrations().len() == 0 =>
        {
            leftover.reservation = before.told;
        }
        (Fault::ClearKeeps, Clear) => leftover.reservation = before.told,
        (Fault::PreemptKeeps, Preempt | PreemptAndAbort) => {
            let is_gone = |nexus: Nexus| unit.registrations().all(|(other, _)| other != nexus);
            let gone: Vec<_> = before.registrations.iter().filter(|(other, _)| is_gone(*other)).copied().collect();
            for (other, key) in gone {
                insist(unit, other, &PrOut::register(ReservationKey::ZERO, key));
            }
        }
        (Fault::SelfPreempt, Preempt | PreemptAndAbort) if is_holder && victim == keys.key => {
            insist(unit, nexus, &PrOut::register(keys.key, ReservationKey::ZERO));
        }
        (Fault::PreemptType, Preempt | PreemptAndAbort) => {
            let held = unit.reservation().filter(|held| before.held == Some(*held));
            if let (Some(Held { holder: Some(holder), .. }), Some(kind)) = (held, kind)
                && let Some(key) = before.key(holder)
            {
                release(unit);
                insist(unit, holder, &PrOut::reserve(key, kind));
            }
        }
        (Fault::Attention, _) => {
            before.registrations.iter().filter(|(other, _)| *other != nexus).for_each(|(other, _)| unit.forget(*other));
        }
        _ => {}
    }
}

/// Releases the reservation as its holder.
fn release(unit: &mut LogicalUnit) {
    let Some(held) = unit.reservation() else { return };
    let holder = unit.registrations().find(|(nexus, _)| held.holder.is_none_or(|holder| holder == *nexus));
    if let Some((nexus, registration)) = holder {
        insist(unit, nexus, &PrOut::release(registration.key, held.kind));
    }
}

/// Has a command carried out that nobody has sent.
fn insist(unit: &mut LogicalUnit, nexus: Nexus, command: &PrOut<'_>) {
    let (cdb, list) = (command.cdb(), command.list());
    // The unit attentions of the initiator come first; one of the tries carries the command out.
    for _ in 0..8 {
        if without_fault(unit, nexus, &cdb, &list).status == Status::GOOD {
            return;
        }
    }
}

fn status(status: Status) -> Reply {
    Reply { status, sense: Sense::NONE, data: Vec::new() }
}
