//! Key limits: tenants that share a disk, and maybe the path to it, must not get at each other's registrations.
//!
//! To the disk all guests of a host are one initiator. What one of them registers, reserves or releases, it does for
//! all of them, and the only thing that tells them apart is the key that they name. So a client with a key limit is
//! held to commands that name its own keys and touch nothing else.
//!
//! What this cannot prevent, because the disk's rules are made so: the client that reserves first has the reservation; APTPL
//! counts for all; PREEMPT AND ABORT of an own key aborts what else goes on at that path.

use scsi_persistent_reservations::{BASIC_LENGTH, OutAction, PersistentReserveOut, ReservationKey, ReservationType};

use crate::config::settings::KeyLimit;

const SPEC_I_PT: u8 = 0x08;
const ALL_TG_PT: u8 = 0x04;

/// Why a key limit forbids a command, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied(pub &'static str);

/// Whether a client with this limit may send this.
pub fn check(limit: KeyLimit, out: PersistentReserveOut, parameters: &[u8]) -> Result<(), Denied> {
    let action = out.action().ok_or(Denied("the effect of this service action on other keys is not known"))?;
    check_action(limit, action)?;
    // Every registrant holds a reservation of these types, and each can end it for all.
    if action.uses_scope_and_type() && out.reservation_type().is_some_and(ReservationType::is_all_registrants) {
        return Err(Denied("a reservation of this type belongs to all registrants"));
    }
    let too_short = Denied("the parameter list is too short for its keys");
    let list: &[u8; BASIC_LENGTH] = parameters.first_chunk().ok_or(too_short)?;
    let flags = list[20];
    if flags & SPEC_I_PT != 0 {
        return Err(Denied("SPEC_I_PT registers keys for other ports"));
    }
    if action.is_register() && flags & ALL_TG_PT != 0 && !limit.own_nexus {
        return Err(Denied("ALL_TG_PT may replace another's key on a shared path (own-nexus = true)"));
    }
    // Zero proves nothing: a disk takes it for REGISTER where nothing is registered, and for nothing else.
    let outside = |key: ReservationKey| !key.is_zero() && !limit.contains(key);
    let [key, service_action_key] = keys_of(list).ok_or(too_short)?;
    if action != OutAction::RegisterAndIgnoreExistingKey && outside(key) {
        return Err(Denied("its RESERVATION KEY is not one of the client's"));
    }
    if action.is_preempt() && service_action_key.is_zero() {
        return Err(Denied("PREEMPT of the key zero removes the registrations of all others"));
    }
    if (action.is_register() || action.is_preempt()) && outside(service_action_key) {
        return Err(Denied("its SERVICE ACTION RESERVATION KEY is not one of the client's"));
    }
    Ok(())
}

/// The two keys that every parameter list begins with (SPC-4 table 229).
pub fn keys_of(parameters: &[u8]) -> Option<[ReservationKey; 2]> {
    let (key, rest) = parameters.split_first_chunk()?;
    let service_action_key = rest.first_chunk()?;
    Some([ReservationKey::from_bytes(*key), ReservationKey::from_bytes(*service_action_key)])
}

/// Whether the service action is one that can be held to keys at all. Each is named here, so that a new one is not allowed
/// by omission.
fn check_action(limit: KeyLimit, action: OutAction) -> Result<(), Denied> {
    match action {
        OutAction::Register
        | OutAction::Reserve
        | OutAction::Release
        | OutAction::Preempt
        | OutAction::PreemptAndAbort => Ok(()),
        OutAction::RegisterAndIgnoreExistingKey if limit.own_nexus => Ok(()),
        OutAction::RegisterAndIgnoreExistingKey => Err(Denied(
            "REGISTER AND IGNORE EXISTING KEY may replace another's key on a shared path (own-nexus = true)",
        )),
        OutAction::Clear => Err(Denied("CLEAR removes the registrations of all others")),
        OutAction::RegisterAndMove => Err(Denied("REGISTER AND MOVE registers a key for another port")),
        OutAction::ReplaceLostReservation => {
            Err(Denied("REPLACE LOST RESERVATION ends the registrations of all others"))
        }
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Keys that begin with a1.
    const OURS: KeyLimit = KeyLimit { value: 0xa1 << 56, mask: 0xff << 56, own_nexus: false };
    const MINE: u64 = 0xa1 << 56 | 7;
    const THEIRS: u64 = 0xb1 << 56 | 7;

    fn list(key: u64, service_action_key: u64, flags: u8) -> [u8; BASIC_LENGTH] {
        let mut list = [0; BASIC_LENGTH];
        list[..8].copy_from_slice(&key.to_be_bytes());
        list[8..16].copy_from_slice(&service_action_key.to_be_bytes());
        list[20] = flags;
        list
    }

    fn is_allowed(limit: KeyLimit, action: OutAction, kind: Option<ReservationType>, list: &[u8]) -> bool {
        check(limit, PersistentReserveOut::new(action, kind, 24), list).is_ok()
    }

    #[test]
    fn ones_own_life_cycle_is_allowed() {
        let kind = Some(ReservationType::WriteExclusiveRegistrantsOnly);
        let rows = [
            (OutAction::Register, None, 0, MINE),
            (OutAction::Register, None, MINE, MINE + 1),
            (OutAction::Register, None, MINE, 0),
            (OutAction::Reserve, kind, MINE, 0),
            // The field means nothing for these, whatever is in it.
            (OutAction::Reserve, kind, MINE, THEIRS),
            (OutAction::Release, kind, MINE, THEIRS),
            (OutAction::Preempt, kind, MINE, MINE + 1),
            (OutAction::PreemptAndAbort, kind, MINE, MINE),
            // The disk answers these itself.
            (OutAction::Reserve, kind, 0, 0),
            (OutAction::Release, kind, 0, 0),
        ];
        for (action, kind, key, service_action_key) in rows {
            assert!(is_allowed(OURS, action, kind, &list(key, service_action_key, 1)), "{action}");
        }
    }

    #[test]
    fn what_touches_others_is_refused_although_every_key_is_ones_own() {
        let kind = Some(ReservationType::WriteExclusiveRegistrantsOnly);
        let of_all = Some(ReservationType::WriteExclusiveAllRegistrants);
        let rows = [
            (OutAction::Clear, None, 0),
            (OutAction::ReplaceLostReservation, kind, 0),
            (OutAction::RegisterAndMove, None, 0),
            (OutAction::RegisterAndIgnoreExistingKey, None, 0),
            (OutAction::Reserve, of_all, 0),
            (OutAction::Release, of_all, 0),
            (OutAction::Preempt, of_all, 0),
            (OutAction::PreemptAndAbort, of_all, 0),
            (OutAction::Register, None, SPEC_I_PT),
            (OutAction::Register, None, ALL_TG_PT),
        ];
        for (action, kind, flags) in rows {
            assert!(!is_allowed(OURS, action, kind, &list(MINE, MINE, flags)), "{action} {kind:?} {flags:#x}");
        }
        assert!(!is_allowed(OURS, OutAction::Preempt, kind, &list(MINE, 0, 0)), "zero stands for all others");
        // On a path of its own two of these harm no other client.
        let own = KeyLimit { own_nexus: true, ..OURS };
        for (action, kind, flags) in rows {
            let harmless = action == OutAction::RegisterAndIgnoreExistingKey || flags == ALL_TG_PT;
            assert_eq!(
                is_allowed(own, action, kind, &list(MINE, MINE, flags)),
                harmless,
                "{action} {kind:?} {flags:#x}"
            );
        }
    }

    #[test]
    fn a_field_that_means_nothing_for_the_action_is_not_looked_at() {
        let of_all = Some(ReservationType::WriteExclusiveAllRegistrants);
        let kind = Some(ReservationType::WriteExclusiveRegistrantsOnly);
        assert!(is_allowed(OURS, OutAction::Register, of_all, &list(MINE, MINE, 0)));
        assert!(is_allowed(OURS, OutAction::Reserve, kind, &list(MINE, 0, ALL_TG_PT)));
        // Every bit but those two.
        assert!(is_allowed(OURS, OutAction::Register, None, &list(MINE, MINE, !(SPEC_I_PT | ALL_TG_PT))));
    }

    #[test]
    fn a_nexus_of_ones_own_may_be_registered_anew() {
        let own = KeyLimit { own_nexus: true, ..OURS };
        let ignore = OutAction::RegisterAndIgnoreExistingKey;
        assert!(!is_allowed(OURS, ignore, None, &list(0, MINE, 0)));
        assert!(is_allowed(own, ignore, None, &list(THEIRS, MINE, 0)), "RESERVATION KEY is ignored");
        assert!(!is_allowed(own, ignore, None, &list(0, THEIRS, 0)));
        assert!(is_allowed(own, OutAction::Register, None, &list(0, MINE, ALL_TG_PT)));
        assert!(!is_allowed(own, OutAction::Register, None, &list(0, MINE, SPEC_I_PT)));
        assert!(!is_allowed(own, OutAction::Clear, None, &list(MINE, 0, 0)));
    }

    #[test]
    fn what_has_no_keys_that_could_be_looked_at_is_refused() {
        for length in 0..BASIC_LENGTH {
            assert!(!is_allowed(OURS, OutAction::Register, None, &list(0, MINE, 0)[..length]));
        }
        let unknown = PersistentReserveOut { service_action: 0x1f, scope_type: 0, parameter_list_length: 24 };
        assert!(check(OURS, unknown, &list(MINE, MINE, 0)).is_err());
    }

    proptest! {
        /// Whatever the rest of the command is: another client's key in a field that counts, and it is refused.
        #[test]
        fn no_key_of_others_gets_through(
            action in prop::sample::select(OutAction::ALL),
            kind in prop::option::of(prop::sample::select(&ReservationType::ALL[..])),
            theirs in any::<u64>().prop_filter("theirs", |key| *key != 0 && key >> 56 != 0xa1),
            other in any::<u64>(),
            flags in any::<u8>(),
            own_nexus: bool,
        ) {
            let limit = KeyLimit { own_nexus, ..OURS };
            let ignores = action == OutAction::RegisterAndIgnoreExistingKey;
            let as_key = is_allowed(limit, action, kind, &list(theirs, other, flags));
            prop_assert!(!as_key || ignores);
            let names_two = action.is_register() || action.is_preempt();
            let as_service_action_key = is_allowed(limit, action, kind, &list(other, theirs, flags));
            prop_assert!(!as_service_action_key || !names_two);
        }
    }
}
