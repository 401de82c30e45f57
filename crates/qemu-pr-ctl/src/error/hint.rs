//! Hints: what to do about an answer that is not GOOD.

use scsi_persistent_reservations::{OutAction, SenseCode, SenseKey, Status};

use crate::request::Action;

/// Advice about an answer, where there is any.
pub fn of(action: Action, status: Status, sense: Option<SenseCode>) -> Option<&'static str> {
    match (status, sense) {
        (Status::CHECK_CONDITION, sense) => sense.and_then(about),
        (Status::RESERVATION_CONFLICT, _) => Some(conflict(action)),
        (Status::BUSY | Status::TASK_SET_FULL, _) => Some("try again"),
        _ => None,
    }
}

/// The reason for a conflict depends on the command (SPC-4 5.13).
const fn conflict(action: Action) -> &'static str {
    match action {
        Action::Out(OutAction::Register) => {
            "--key is not the key that this host is registered with (0 if it is not registered); 'register-ignore' \
             does not check it"
        }
        Action::Out(OutAction::Reserve) => {
            "this host is not registered with that key, or the disk is reserved by another initiator or with another \
             type; see 'qemu-pr-ctl status'"
        }
        Action::Out(OutAction::Preempt | OutAction::PreemptAndAbort) => {
            "this host is not registered with that key, or no initiator is with the victim's; see 'qemu-pr-ctl status'"
        }
        Action::Out(OutAction::Release | OutAction::Clear) => {
            "this host is not registered with that key; see 'qemu-pr-ctl status'"
        }
        Action::Out(OutAction::RegisterAndMove) => {
            "only the single holder of the reservation can move it, with its own key; see 'qemu-pr-ctl status'"
        }
        Action::Out(OutAction::ReplaceLostReservation) => {
            "the disk has not lost its reservations; see 'qemu-pr-ctl status'"
        }
        Action::Out(_) | Action::In(_) => {
            "another initiator holds a reservation of SPC-2 (RESERVE) and has to release it"
        }
    }
}

/// LOGICAL UNIT COMMUNICATION FAILURE, of a unit that is not ready: waiting does not help.
const UNIT_COMMUNICATION_FAILURE: SenseCode = SenseCode::new(0x2, 0x08, 0x00);

fn about(sense: SenseCode) -> Option<&'static str> {
    Some(match sense {
        SenseCode::INVALID_OPERATION_CODE => {
            "the device does not support persistent reservations, or it is part of a disk (a partition, a volume); see \
             the helper's log (journalctl -u qemu-pr-helper)"
        }
        SenseCode::INVALID_RELEASE => "the reservation has another type; see 'qemu-pr-ctl reservation'",
        SenseCode::INSUFFICIENT_REGISTRATION_RESOURCES => {
            "the device cannot store another registration; remove unused ones"
        }
        SenseCode::NO_ACCESS_RIGHTS => {
            "denied by a rule in the helper's settings file; the audit log names the rule (journalctl -u qemu-pr-helper)"
        }
        // What the helper answers if the kernel did not accept the command.
        SenseCode::IO_PROCESS_TERMINATED => {
            "the command did not reach the disk; check that it is a SCSI disk and that the helper may send commands to \
             it: see its log (journalctl -u qemu-pr-helper)"
        }
        UNIT_COMMUNICATION_FAILURE => {
            "a Linux target (LIO) reports this to a path that is not registered (see 'qemu-pr-ctl keys'), and to every \
             path if it cannot store registrations: create /var/target/pr there"
        }
        _ => match sense.key {
            SenseKey(0x2) => "wait until the disk is ready, and try again",
            SenseKey(0x3 | 0x4) => "the disk or the path to it is faulty; see dmesg",
            SenseKey(0x5) => "the device does not support this command or its options; see 'qemu-pr-ctl capabilities'",
            SenseKey(0x6) => "the device reported this instead of carrying out the command; try again",
            SenseKey(0xb) => "the path to the disk may have failed (see dmesg); try again",
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use scsi_persistent_reservations::InAction;

    use super::*;

    #[test]
    fn a_conflict_is_explained_by_what_was_wanted() {
        let conflict = |action| of(Action::Out(action), Status::RESERVATION_CONFLICT, None).expect("advice");
        assert!(conflict(OutAction::Register).contains("register-ignore"));
        assert!(conflict(OutAction::Reserve).contains("reserved by another initiator"));
        assert!(conflict(OutAction::Preempt).contains("victim"));
        assert!(conflict(OutAction::PreemptAndAbort).contains("victim"));
        assert!(conflict(OutAction::Release).contains("not registered"));
        assert!(conflict(OutAction::Clear).contains("not registered"));
        let asked = of(Action::In(InAction::ReadKeys), Status::RESERVATION_CONFLICT, None);
        assert!(asked.expect("advice").contains("SPC-2"));
    }

    #[test]
    fn the_usual_answers_come_with_advice() {
        for (sense, words) in [
            (SenseCode::INVALID_OPERATION_CODE, "not support persistent reservations"),
            (SenseCode::INVALID_RELEASE, "another type"),
            (SenseCode::INSUFFICIENT_REGISTRATION_RESOURCES, "cannot store"),
            (SenseCode::NO_ACCESS_RIGHTS, "a rule in the helper's settings"),
            (SenseCode::IO_PROCESS_TERMINATED, "SCSI disk"),
            (SenseCode::MEDIUM_NOT_PRESENT, "ready"),
            (SenseCode::new(0x2, 0x08, 0x00), "/var/target/pr"),
            (SenseCode::INTERNAL_TARGET_FAILURE, "dmesg"),
            (SenseCode::INVALID_FIELD_IN_CDB, "capabilities"),
            (SenseCode::RESERVATIONS_PREEMPTED, "try again"),
            (SenseCode::NEXUS_LOSS, "path"),
        ] {
            let advice = of(Action::In(InAction::ReadKeys), Status::CHECK_CONDITION, Some(sense));
            assert!(advice.is_some_and(|advice| advice.contains(words)), "{sense}: {advice:?}");
        }
    }

    #[test]
    fn an_answer_that_nothing_can_be_done_about_has_no_advice() {
        let action = Action::Out(OutAction::Clear);
        assert_eq!(of(action, Status(0x30), None), None);
        assert_eq!(of(action, Status::CHECK_CONDITION, None), None);
        assert_eq!(of(action, Status::CHECK_CONDITION, Some(SenseCode::new(0xe, 0, 0))), None);
    }
}
