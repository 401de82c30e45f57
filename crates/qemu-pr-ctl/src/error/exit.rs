//! Exit statuses: those of `sg_persist` (`sg3_utils(8)`) wherever it has one, so that scripts can change tools.

use std::fmt::Write as _;

use scsi_persistent_reservations::{SenseCode, SenseKey, Status};

pub const GOOD: u8 = 0;
pub const COMMAND_LINE: u8 = 1;
pub const NOT_OPENED: u8 = 15;
pub const TIMED_OUT: u8 = 33;
pub const LOST: u8 = 35;
pub const NEGATIVE: u8 = 36;
pub const INVALID_ANSWER: u8 = 97;
pub const OTHER_SENSE: u8 = 98;
pub const TRANSPORT: u8 = 99;

/// Every exit status and what it means.
pub const ALL: [(u8, &str); 29] = [
    (GOOD, "success"),
    (COMMAND_LINE, "invalid command line, or others are registered (--yes, --force)"),
    (2, "the device is not ready"),
    (3, "the device reports a medium or hardware error"),
    (5, "the device reports an illegal request"),
    (6, "unit attention; the command was not carried out, try again"),
    (7, "the device is write protected"),
    (9, "the device does not support the command"),
    (10, "the device reports a copy aborted"),
    (11, "the command was aborted"),
    (14, "the device reports a miscompare"),
    (NOT_OPENED, "the socket, the device or the output cannot be opened or used"),
    (20, "the device reports NO SENSE"),
    (21, "the device reports a recovered error"),
    (24, "reservation conflict"),
    (25, "condition met"),
    (26, "the device is busy, try again"),
    (27, "the device's task set is full, try again"),
    (28, "ACA active"),
    (29, "the command was aborted by another initiator"),
    (TIMED_OUT, "the helper did not answer in time"),
    (LOST, "the command did not reach the device (--direct)"),
    (NEGATIVE, "negative result (compare, doctor, validate, trace, reload)"),
    (INVALID_ANSWER, "the answer is invalid"),
    (OTHER_SENSE, "the device refused for another reason"),
    (TRANSPORT, "the helper closed the connection, or the connection failed"),
    (129, "terminated by SIGHUP (validate has cleaned up)"),
    (130, "terminated by SIGINT (validate has cleaned up)"),
    (143, "terminated by SIGTERM (validate has cleaned up)"),
];

/// The exit status for a SCSI answer that is not GOOD.
pub fn of_answer(status: Status, sense: Option<SenseCode>) -> u8 {
    match (status, sense) {
        (Status::CHECK_CONDITION, Some(sense)) => of_sense(sense),
        (Status::RESERVATION_CONFLICT, _) => 24,
        (Status(0x04), _) => 25,
        (Status::BUSY, _) => 26,
        (Status::TASK_SET_FULL, _) => 27,
        (Status(0x30), _) => 28,
        (Status(0x40), _) => 29,
        _ => OTHER_SENSE,
    }
}

fn of_sense(sense: SenseCode) -> u8 {
    match sense.key {
        SenseKey(0x0) => 20,
        SenseKey(0x1) => 21,
        SenseKey(0x2) => 2,
        SenseKey(0x3 | 0x4 | 0x8) => 3,
        SenseKey(0x5) if sense == SenseCode::INVALID_OPERATION_CODE => 9,
        SenseKey(key @ 0x5..=0x7) => key,
        SenseKey(0xa) => 10,
        SenseKey(0xb) => 11,
        SenseKey(0xe) => 14,
        _ => OTHER_SENSE,
    }
}

/// The table for the help.
pub fn table() -> String {
    ALL.iter().fold(
        "Exit status (the same as those of sg_persist where it has them):\n".to_owned(),
        |mut text, (status, meaning)| {
            let _ = writeln!(text, "  {status:>3}  {meaning}");
            text
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_the_exit_statuses_of_sg_persist() {
        let check = Status::CHECK_CONDITION;
        for (status, sense, expected) in [
            (check, SenseCode::MEDIUM_NOT_PRESENT, 2),
            (check, SenseCode::UNRECOVERED_READ_ERROR, 3),
            (check, SenseCode::INTERNAL_TARGET_FAILURE, 3),
            (check, SenseCode::INVALID_FIELD_IN_CDB, 5),
            (check, SenseCode::INVALID_RELEASE, 5),
            (check, SenseCode::RESERVATIONS_PREEMPTED, 6),
            (check, SenseCode::SPACE_ALLOCATION_FAILED, 7),
            (check, SenseCode::INVALID_OPERATION_CODE, 9),
            (check, SenseCode::IO_PROCESS_TERMINATED, 11),
            (check, SenseCode::new(0xd, 0, 0), 98),
        ] {
            assert_eq!(of_answer(status, Some(sense)), expected, "{sense}");
        }
        for (status, expected) in [(0x02, 98), (0x04, 25), (0x08, 26), (0x18, 24), (0x28, 27), (0x30, 28), (0x40, 29)] {
            assert_eq!(of_answer(Status(status), None), expected, "{status:#x}");
        }
    }

    #[test]
    fn a_reservation_conflict_is_one_whatever_sense_data_lies_around() {
        assert_eq!(of_answer(Status::RESERVATION_CONFLICT, Some(SenseCode::MEDIUM_NOT_PRESENT)), 24);
    }

    #[test]
    fn every_answer_that_is_not_good_has_an_exit_status_that_is_documented() {
        for status in 1..=u8::MAX {
            for key in 0..=0xf {
                for code in [0, 0x20] {
                    let exit = of_answer(Status(status), Some(SenseCode::new(key, code, 0)));
                    assert_ne!(exit, GOOD, "status {status:#x}, sense key {key:#x}");
                    assert!(ALL.iter().any(|(known, _)| *known == exit), "exit status {exit} is not documented");
                }
            }
        }
    }
}
