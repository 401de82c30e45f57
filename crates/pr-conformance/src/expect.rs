//! The expected answer, and how an answer compares with it.

use std::{collections::BTreeSet, fmt};

use qemu_pr_protocol::Reply;
use scsi_persistent_reservations::{
    FullStatus, ReadKeys, ReadReservation, ReservationKey, ReservationType, SenseCode, SenseKey, Status,
};

/// The sense key of a command that a disk will not carry out.
const ILLEGAL_REQUEST: SenseKey = SenseKey(0x5);

/// The expected answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// GOOD.
    Good,
    /// RESERVATION CONFLICT.
    Conflict,
    /// RESERVATION CONFLICT, or CHECK CONDITION with any sense key but UNIT ATTENTION: targets differ.
    Refusal,
    /// RESERVATION CONFLICT, or GOOD where the command changes nothing: targets differ.
    ConflictOrNothing,
    /// These keys in any order, each as often as its node has paths.
    Keys(Vec<ReservationKey>),
    /// The header of READ KEYS and no key.
    KeysHeader,
    /// The data of READ RESERVATION without a reservation.
    NoReservation,
    /// A reservation with this holder (zero: all registrants) and type.
    Reservation(ReservationKey, ReservationType),
    /// Registrations with these keys in the full status. Not every disk supports it.
    Registrations(Vec<ReservationKey>),
    /// A unit attention. Another program, such as a path checker, may have received it.
    UnitAttention(SenseCode),
    /// GOOD, if the disk supports the command.
    GoodIfSupported,
    /// GOOD, or CHECK CONDITION with ILLEGAL REQUEST.
    GoodOrIllegalRequest,
    /// These keys, unless the disk has removed them with an earlier command.
    KeysIfKept(Vec<ReservationKey>),
}

/// How an answer compares with the expected one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As expected.
    Ok,
    /// Worth knowing, and no reason to refuse the disk.
    Remark,
    /// The disk or what is in front of it is not fit for the software.
    Failed,
}

impl Expect {
    /// Compares an answer with the expected one; the second value is the answer in words.
    pub fn compare(&self, reply: &Reply) -> (Verdict, String) {
        let good = reply.status == Status::GOOD;
        let (holds, received) = match self {
            Self::Good | Self::GoodIfSupported => (good, reply.to_string()),
            Self::Conflict => (reply.status == Status::RESERVATION_CONFLICT, reply.to_string()),
            Self::Refusal => {
                let checked = reply.status == Status::CHECK_CONDITION && !reply.is_unit_attention();
                (checked || reply.status == Status::RESERVATION_CONFLICT, reply.to_string())
            }
            Self::ConflictOrNothing => (good || reply.status == Status::RESERVATION_CONFLICT, reply.to_string()),
            Self::UnitAttention(code) => {
                let is_attention = reply.is_unit_attention();
                let is_expected = is_attention && reply.sense.code() == Some(*code);
                let received = match (is_expected, is_attention) {
                    (true, _) => code.additional.to_string(),
                    (false, true) => reply.to_string(),
                    (false, false) => "no unit attention".to_owned(),
                };
                (is_expected, received)
            }
            Self::GoodOrIllegalRequest => {
                let illegal = reply.sense.code().is_some_and(|code| code.key == ILLEGAL_REQUEST);
                (good || reply.status == Status::CHECK_CONDITION && illegal, reply.to_string())
            }
            _ if !good => (false, reply.to_string()),
            Self::Keys(expected) | Self::KeysIfKept(expected) => match ReadKeys::parse(&reply.data) {
                Ok(data) => {
                    let keys: Vec<_> = data.keys().collect();
                    (!data.is_truncated() && distinct(&keys) == distinct(expected), list(&keys))
                }
                Err(_) => (false, too_short(reply)),
            },
            Self::KeysHeader => match ReadKeys::parse(&reply.data) {
                Ok(data) => {
                    let received = format!("{} bytes, {} more announced", reply.data.len(), data.additional_length);
                    let announced = data.additional_length > 0 && data.additional_length % 8 == 0;
                    (reply.data.len() == 8 && announced, received)
                }
                Err(_) => (false, too_short(reply)),
            },
            Self::NoReservation | Self::Reservation(..) => match ReadReservation::parse(&reply.data) {
                Ok(data) => {
                    let received = data.reservation.map(|held| (held.key, held.scope_type));
                    let expected = match self {
                        Self::Reservation(key, kind) => Some((*key, kind.code())),
                        _ => None,
                    };
                    let cut = data.additional_length > 0 && received.is_none();
                    (
                        received == expected && !cut,
                        received.map_or("no reservation".to_owned(), |(key, kind)| held(key, kind)),
                    )
                }
                Err(_) => (false, too_short(reply)),
            },
            Self::Registrations(expected) => match FullStatus::parse(&reply.data) {
                Ok(data) => {
                    let keys: Vec<_> = data.descriptors().map(|descriptor| descriptor.key).collect();
                    (!data.is_truncated() && distinct(&keys) == distinct(expected), list(&keys))
                }
                Err(_) => (false, too_short(reply)),
            },
        };
        let optional = match self {
            Self::UnitAttention(_) => true,
            Self::KeysIfKept(_) => good,
            Self::GoodIfSupported | Self::Registrations(_) => !good,
            _ => false,
        };
        match (holds, optional) {
            (true, _) => (Verdict::Ok, received),
            (false, true) => (Verdict::Remark, received),
            (false, false) => (Verdict::Failed, received),
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good | Self::GoodIfSupported => f.write_str("GOOD"),
            Self::Conflict => f.write_str("RESERVATION CONFLICT"),
            Self::ConflictOrNothing => f.write_str("RESERVATION CONFLICT or GOOD"),
            Self::Refusal => f.write_str("RESERVATION CONFLICT, or an error"),
            Self::Keys(keys) | Self::KeysIfKept(keys) | Self::Registrations(keys) => f.write_str(&list(keys)),
            Self::KeysHeader => f.write_str("8 bytes, more announced"),
            Self::NoReservation => f.write_str("no reservation"),
            Self::Reservation(key, kind) => f.write_str(&held(*key, kind.code())),
            Self::UnitAttention(code) => code.fmt(f),
            Self::GoodOrIllegalRequest => write!(f, "GOOD or {}", ILLEGAL_REQUEST.name()),
        }
    }
}

fn held(key: ReservationKey, scope_type: u8) -> String {
    let kind = ReservationType::from_scope_type(scope_type);
    if kind.is_some_and(ReservationType::is_all_registrants) && key.is_zero() {
        return format!("held by all, type {scope_type}");
    }
    match scope_type >> 4 {
        0 => format!("held by {key}, type {scope_type}"),
        // Of a scope that no longer exists.
        _ => format!("held by {key}, unknown type {scope_type}"),
    }
}

fn list(keys: &[ReservationKey]) -> String {
    match keys {
        [] => "no keys".to_owned(),
        keys => keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    }
}

fn too_short(reply: &Reply) -> String {
    format!("GOOD with {} bytes, which is too short", reply.data.len())
}

/// A node that has several paths has a registration for each of them, all with one key.
fn distinct(keys: &[ReservationKey]) -> BTreeSet<ReservationKey> {
    keys.iter().copied().collect()
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use scsi_persistent_reservations::Sense;

    use super::*;

    const KEY: ReservationKey = ReservationKey(7);

    fn keys(keys: &[u8]) -> Reply {
        let length = u8::try_from(keys.len() * 8).expect("few keys");
        let mut data = vec![0, 0, 0, 1, 0, 0, 0, length];
        for key in keys {
            data.extend([0, 0, 0, 0, 0, 0, 0, *key]);
        }
        Reply { status: Status::GOOD, sense: Sense::NONE, data }
    }

    fn check(code: SenseCode) -> Reply {
        Reply { status: Status::CHECK_CONDITION, sense: Sense::fixed(code), data: Vec::new() }
    }

    #[test]
    fn what_some_disks_carry_out_and_others_refuse_fails_for_other_answers_only() {
        let verdict = |reply: &Reply| Expect::GoodOrIllegalRequest.compare(reply).0;
        assert_eq!(verdict(&check(SenseCode::INVALID_FIELD_IN_CDB)), Verdict::Ok);
        assert_eq!(verdict(&check(SenseCode::INVALID_FIELD_IN_PARAMETER_LIST)), Verdict::Ok);
        assert_eq!(verdict(&keys(&[])), Verdict::Ok);
        assert_eq!(verdict(&check(SenseCode::INTERNAL_TARGET_FAILURE)), Verdict::Failed);
        let conflict = Reply { status: Status::RESERVATION_CONFLICT, ..keys(&[]) };
        assert_eq!(verdict(&conflict), Verdict::Failed);
    }

    #[test]
    fn keys_that_a_disk_dropped_on_the_way_are_worth_a_remark() {
        let compare = |reply: &Reply| Expect::KeysIfKept(vec![KEY]).compare(reply);
        assert_eq!(compare(&keys(&[7, 7])), (Verdict::Ok, "0x7 0x7".to_owned()));
        assert_eq!(compare(&keys(&[])), (Verdict::Remark, "no keys".to_owned()));
        assert_eq!(compare(&check(SenseCode::INVALID_FIELD_IN_CDB)).0, Verdict::Failed);
    }
}
