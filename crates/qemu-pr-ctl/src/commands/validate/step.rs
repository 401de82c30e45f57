//! One step of a sequence: who sends what, and what is to come of it.

use std::{collections::BTreeSet, fmt};

use pr_wire::Reply;
use scsi_pr::{
    FullStatus, InAction, OutAction, ReadKeys, ReadReservation, ReservationKey, ReservationType, SenseCode, SenseKey,
    Status,
};

use crate::{output::text, request::Request, target::is_attention};

/// The sense key of a command that a disk will not carry out.
const ILLEGAL_REQUEST: SenseKey = SenseKey(0x5);

/// Which of the two initiators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    One,
    Two,
}

/// One step.
#[derive(Clone, Debug)]
pub struct Step {
    pub who: Who,
    /// What it is for, in few words.
    pub name: &'static str,
    pub what: What,
    pub due: Due,
}

/// What is sent.
#[derive(Clone, Debug)]
pub enum What {
    Order(Request),
    /// A question, and for how many bytes of answer.
    Ask(InAction, u16),
}

/// What is to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    Good,
    Conflict,
    /// These keys, in whatever order and each as often as its node has paths.
    Keys(Vec<ReservationKey>),
    /// The head of a list of keys, and nothing else.
    Head,
    /// No reservation.
    Free,
    /// A reservation with this holder (zero: all registrants) and type.
    Held(ReservationKey, ReservationType),
    /// Registrations with these keys in the full status. Not every disk has one.
    Registrations(Vec<ReservationKey>),
    /// A unit attention. Somebody else may have taken it, a path checker for example.
    Told(SenseCode),
    /// GOOD; a disk may do without.
    Offered,
    /// GOOD, or ILLEGAL REQUEST for whatever reason.
    GoodOrRefused,
    /// These keys; a disk may have dropped them on the way.
    Kept(Vec<ReservationKey>),
}

/// How an answer compares with what was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    /// Worth knowing, and no reason to refuse the disk.
    Remark,
    Failed,
}

impl Due {
    /// Compares an answer with what is due; the second value says what came.
    pub fn compare(&self, reply: &Reply) -> (Verdict, String) {
        let good = reply.status == Status::GOOD;
        let (holds, came) = match self {
            Self::Good | Self::Offered => (good, text::reply(reply)),
            Self::Conflict => (reply.status == Status::RESERVATION_CONFLICT, text::reply(reply)),
            Self::Told(code) => {
                let told = is_attention(reply);
                let due = told && reply.sense.code() == Some(*code);
                let came = match (due, told) {
                    (true, _) => code.additional.to_string(),
                    (false, true) => text::reply(reply),
                    (false, false) => "no unit attention".to_owned(),
                };
                (due, came)
            }
            Self::GoodOrRefused => {
                let illegal = reply.sense.code().is_some_and(|code| code.key == ILLEGAL_REQUEST);
                (good || reply.status == Status::CHECK_CONDITION && illegal, text::reply(reply))
            }
            _ if !good => (false, text::reply(reply)),
            Self::Keys(expected) | Self::Kept(expected) => match ReadKeys::parse(&reply.data) {
                Some(data) => {
                    let keys: Vec<_> = data.keys().collect();
                    (!data.is_truncated() && distinct(&keys) == distinct(expected), list(&keys))
                }
                None => (false, too_short(reply)),
            },
            Self::Head => match ReadKeys::parse(&reply.data) {
                Some(data) => {
                    let came = format!("{} bytes of {}", reply.data.len(), data.additional_length);
                    let announced = data.additional_length > 0 && data.additional_length % 8 == 0;
                    (reply.data.len() == 8 && announced, came)
                }
                None => (false, too_short(reply)),
            },
            Self::Free | Self::Held(..) => match ReadReservation::parse(&reply.data) {
                Some(data) => {
                    let came = data.reservation.map(|held| (held.key, held.scope_type));
                    let due = match self {
                        Self::Held(key, kind) => Some((*key, kind.code())),
                        _ => None,
                    };
                    let cut = data.additional_length > 0 && came.is_none();
                    (came == due && !cut, came.map_or("no reservation".to_owned(), |(key, kind)| held(key, kind)))
                }
                None => (false, too_short(reply)),
            },
            Self::Registrations(expected) => match FullStatus::parse(&reply.data) {
                Some(data) => {
                    let keys: Vec<_> = data.descriptors().map(|descriptor| descriptor.key).collect();
                    (!data.is_truncated() && distinct(&keys) == distinct(expected), list(&keys))
                }
                None => (false, too_short(reply)),
            },
        };
        let optional = match self {
            Self::Told(_) => true,
            Self::Kept(_) => good,
            Self::Offered | Self::Registrations(_) => !good,
            _ => false,
        };
        match (holds, optional) {
            (true, _) => (Verdict::Ok, came),
            (false, true) => (Verdict::Remark, came),
            (false, false) => (Verdict::Failed, came),
        }
    }
}

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good | Self::Offered => f.write_str("GOOD"),
            Self::Conflict => f.write_str("RESERVATION CONFLICT"),
            Self::Keys(keys) | Self::Kept(keys) | Self::Registrations(keys) => f.write_str(&list(keys)),
            Self::Head => f.write_str("8 bytes of a longer list"),
            Self::Free => f.write_str("no reservation"),
            Self::Held(key, kind) => f.write_str(&held(*key, kind.code())),
            Self::Told(code) => code.fmt(f),
            Self::GoodOrRefused => write!(f, "GOOD or {}", ILLEGAL_REQUEST.name()),
        }
    }
}

impl What {
    /// The command by SPC's name.
    pub fn action(&self) -> String {
        match self {
            Self::Order(request) => request.action.to_string(),
            Self::Ask(action, _) => action.to_string(),
        }
    }

    /// Whether it makes a reservation that admits the path that holds it and no other.
    pub fn admits_one_path(&self) -> bool {
        match self {
            Self::Order(request) => {
                let makes_one =
                    matches!(request.action, OutAction::Reserve | OutAction::Preempt | OutAction::PreemptAndAbort);
                makes_one && request.kind.is_some_and(|kind| !kind.admits_registrants())
            }
            Self::Ask(..) => false,
        }
    }

    /// Whether PRGENERATION counts it. Disks differ about unregistering (SPC counts it, Linux does not).
    pub fn counts(&self) -> bool {
        match self {
            Self::Order(request) => match request.action {
                OutAction::Register | OutAction::RegisterAndIgnoreExistingKey => !request.service_action_key.is_zero(),
                OutAction::Reserve | OutAction::Release => false,
                _ => true,
            },
            Self::Ask(..) => false,
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
        _ => format!("held by {key}, {}", text::reservation_type(scope_type)),
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
mod tests {
    use scsi_pr::Sense;

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
        let verdict = |reply: &Reply| Due::GoodOrRefused.compare(reply).0;
        assert_eq!(verdict(&check(SenseCode::INVALID_FIELD_IN_CDB)), Verdict::Ok);
        assert_eq!(verdict(&check(SenseCode::INVALID_FIELD_IN_PARAMETER_LIST)), Verdict::Ok);
        assert_eq!(verdict(&keys(&[])), Verdict::Ok);
        assert_eq!(verdict(&check(SenseCode::INTERNAL_TARGET_FAILURE)), Verdict::Failed);
        let conflict = Reply { status: Status::RESERVATION_CONFLICT, ..keys(&[]) };
        assert_eq!(verdict(&conflict), Verdict::Failed);
    }

    #[test]
    fn keys_that_a_disk_dropped_on_the_way_are_worth_a_remark() {
        let compare = |reply: &Reply| Due::Kept(vec![KEY]).compare(reply);
        assert_eq!(compare(&keys(&[7, 7])), (Verdict::Ok, "0x7 0x7".to_owned()));
        assert_eq!(compare(&keys(&[])), (Verdict::Remark, "no keys".to_owned()));
        assert_eq!(compare(&check(SenseCode::INVALID_FIELD_IN_CDB)).0, Verdict::Failed);
    }
}
