use super::*;

const NO_SENSE: [u8; SENSE_LENGTH] = [0; SENSE_LENGTH];

fn check(code: SenseCode) -> (Status, Sense) {
    (Status::CHECK_CONDITION, Sense::fixed(code))
}

fn bare(status: Status) -> (Status, Sense) {
    (status, Sense::NONE)
}

fn host(host_status: u16, status: u8) -> (Status, Sense) {
    answer(Outcome { status, host_status, ..Outcome::default() }, &NO_SENSE)
}

#[test]
fn each_host_byte_has_its_answer() {
    let rows = [
        (0x01, check(SenseCode::NO_RESPONSE_TO_SELECTION)),
        (0x02, bare(Status::BUSY)),
        (0x03, check(SenseCode::COMMAND_TIMEOUT)),
        (0x04, check(SenseCode::COMMUNICATION_FAILURE)),
        (0x05, check(SenseCode::COMMANDS_CLEARED)),
        (0x06, check(SenseCode::PARITY_ERROR)),
        (0x07, check(SenseCode::COMMUNICATION_FAILURE)),
        (0x08, check(SenseCode::RESET_OCCURRED)),
        (0x09, check(SenseCode::COMMUNICATION_FAILURE)),
        (0x0a, check(SenseCode::COMMUNICATION_FAILURE)),
        (0x0b, bare(Status::BUSY)),
        (0x0c, bare(Status::BUSY)),
        (0x0d, bare(Status::BUSY)),
        (0x0e, check(SenseCode::NEXUS_LOSS)),
        (0x0f, check(SenseCode::NEXUS_LOSS)),
        (0x10, check(SenseCode::INTERNAL_TARGET_FAILURE)),
        (0x11, bare(Status::RESERVATION_CONFLICT)),
        (0x12, check(SenseCode::SPACE_ALLOCATION_FAILED)),
        (0x13, check(SenseCode::UNRECOVERED_READ_ERROR)),
        (0x14, check(SenseCode::NEXUS_LOSS)),
    ];
    for (byte, wanted) in rows {
        assert_eq!(host(byte, 0), wanted, "host byte {byte:#x}");
    }
}

#[test]
fn nothing_but_a_clean_result_is_good() {
    for host_status in 0..=u16::from(u8::MAX) + 1 {
        for driver_status in 0..=u16::from(u8::MAX) {
            for status in [0x00, 0x02, 0x08, 0x18, 0x28, 0xff] {
                let outcome = Outcome { status, host_status, driver_status, ..Outcome::default() };
                let good = answer(outcome, &NO_SENSE).0 == Status::GOOD;
                let clean = status == 0 && host_status == 0 && matches!(driver_status, 0 | 8);
                assert_eq!(good, clean, "{outcome:?}");
            }
        }
    }
}

#[test]
fn a_reservation_conflict_is_told_whatever_the_adapter_says() {
    for host_status in 0..=0x20 {
        assert_eq!(host(host_status, 0x18), bare(Status::RESERVATION_CONFLICT), "host byte {host_status:#x}");
    }
}

#[test]
fn a_status_of_the_device_says_more_than_did_error() {
    assert_eq!(host(0x07, 0x08), bare(Status::BUSY));
    assert_eq!(host(0x07, 0x28), bare(Status::TASK_SET_FULL));
    assert_eq!(host(0x01, 0x08), check(SenseCode::NO_RESPONSE_TO_SELECTION));
}

#[test]
fn sense_counts_as_far_as_the_kernel_wrote_it() {
    let old = [0xee; SENSE_LENGTH];
    let outcome = Outcome { status: 2, sense_written: 18, driver_status: 8, ..Outcome::default() };
    let (status, sense) = answer(outcome, &old);
    assert_eq!(status, Status::CHECK_CONDITION);
    assert_eq!(sense, Sense::from_device(&[0xee; 18]));
    let all = Outcome { sense_written: u8::MAX, ..outcome };
    assert_eq!(answer(all, &old).1, Sense::from_device(&old));
}

#[test]
fn each_errno_has_its_answer_and_none_is_good() {
    let known = [
        (libc::EDOM, bare(Status::TASK_SET_FULL)),
        (libc::EBADE, bare(Status::RESERVATION_CONFLICT)),
        (libc::EINVAL, check(SenseCode::INVALID_FIELD_IN_CDB)),
        (libc::ENOMEM, check(SenseCode::INTERNAL_TARGET_FAILURE)),
        (libc::EREMOTEIO, check(SenseCode::INTERNAL_TARGET_FAILURE)),
        (libc::ENOSPC, check(SenseCode::SPACE_ALLOCATION_FAILED)),
        (libc::ENODATA, check(SenseCode::UNRECOVERED_READ_ERROR)),
        (libc::ENOMEDIUM, check(SenseCode::MEDIUM_NOT_PRESENT)),
    ];
    for errno in 1..=200 {
        let wanted = known.iter().find(|row| row.0 == errno).map(|row| row.1.clone());
        let wanted = wanted.unwrap_or_else(|| check(SenseCode::IO_PROCESS_TERMINATED));
        assert_eq!(errno_failure(&io::Error::from_raw_os_error(errno)).parts(), wanted, "errno {errno}");
    }
}
