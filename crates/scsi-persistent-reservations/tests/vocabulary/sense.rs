use scsi_persistent_reservations::{AdditionalSense, Completion, SENSE_LENGTH, Sense, SenseCode, SenseKey, Status};

fn padded(bytes: &[u8]) -> [u8; SENSE_LENGTH] {
    let mut all = [0; SENSE_LENGTH];
    all[..bytes.len()].copy_from_slice(bytes);
    all
}

#[rustfmt::skip]
const FIXED: [u8; 18] = [
    0x70,                   // fixed format, current
    0x00,
    0x06,                   // SENSE KEY: UNIT ATTENTION
    0x00, 0x00, 0x00, 0x00, // INFORMATION
    0x0a,                   // ADDITIONAL SENSE LENGTH
    0x00, 0x00, 0x00, 0x00, // COMMAND-SPECIFIC INFORMATION
    0x2a, 0x04,             // RESERVATIONS RELEASED
    0x00, 0x00, 0x00, 0x00,
];

#[rustfmt::skip]
const DESCRIPTOR: [u8; 8] = [
    0x72,                   // descriptor format, current
    0x06,                   // SENSE KEY: UNIT ATTENTION
    0x2a, 0x04,             // RESERVATIONS RELEASED
    0x00, 0x00, 0x00,
    0x00,                   // ADDITIONAL SENSE LENGTH
];

#[test]
fn fixed_format_both_ways() {
    let sense = Sense::fixed(SenseCode::RESERVATIONS_RELEASED);
    assert_eq!(*sense.as_bytes(), padded(&FIXED));
    assert_eq!(sense.code(), Some(SenseCode::RESERVATIONS_RELEASED));
    assert_eq!(Sense::from_device(&FIXED), sense);
}

#[test]
fn descriptor_format_is_read() {
    let sense = Sense::from_device(&DESCRIPTOR);
    assert_eq!(*sense.as_bytes(), padded(&DESCRIPTOR));
    assert_eq!(sense.code(), Some(SenseCode::RESERVATIONS_RELEASED));
}

#[test]
fn deferred_errors_are_read_like_current_ones() {
    for (mut bytes, response_code) in [(FIXED.to_vec(), 0x71), (DESCRIPTOR.to_vec(), 0x73)] {
        bytes[0] = response_code;
        assert_eq!(Sense::from_device(&bytes).code(), Some(SenseCode::RESERVATIONS_RELEASED));
        // VALID is no part of the response code.
        bytes[0] |= 0x80;
        assert_eq!(Sense::from_device(&bytes).code(), Some(SenseCode::RESERVATIONS_RELEASED));
    }
}

#[test]
fn flags_beside_the_sense_key_are_no_part_of_it() {
    let mut bytes = FIXED;
    bytes[2] |= 0xf0; // FILEMARK, EOM, ILI
    assert_eq!(Sense::from_device(&bytes).code(), Some(SenseCode::RESERVATIONS_RELEASED));
}

#[test]
fn other_formats_are_no_code() {
    for response_code in (0..0x80).filter(|code| !(0x70..=0x73).contains(code)) {
        let sense = Sense::from_device(&[response_code, 6, 6, 0]);
        assert_eq!(sense.code(), None);
    }
    assert_eq!(Sense::from_device(&[0x7f]).to_string(), "sense data of unknown format 0x7f");
}

#[test]
fn sense_data_that_ends_early_has_zeros_behind_it() {
    assert_eq!(Sense::from_device(&FIXED[..3]).code(), Some(SenseCode::new(6, 0, 0)));
    assert_eq!(Sense::from_device(&[]), Sense::NONE);
    assert!(Sense::NONE.is_none() && Sense::NONE.code().is_none());
    assert!(!Sense::from_device(&FIXED).is_none());
}

#[test]
fn sense_data_beyond_96_bytes_is_dropped() {
    let long: Vec<u8> = (0..=250).collect();
    assert_eq!(Sense::from_device(&long).as_bytes()[..], long[..SENSE_LENGTH]);
}

#[test]
fn every_named_sense_code_survives_the_wire() {
    for (code, numbers, text) in [
        (SenseCode::MEDIUM_NOT_PRESENT, (0x2, 0x3a, 0x00), "NOT READY: MEDIUM NOT PRESENT (2/3a/00)"),
        (SenseCode::UNRECOVERED_READ_ERROR, (0x3, 0x11, 0x00), "MEDIUM ERROR: UNRECOVERED READ ERROR (3/11/00)"),
        (SenseCode::INTERNAL_TARGET_FAILURE, (0x4, 0x44, 0x00), "HARDWARE ERROR: INTERNAL TARGET FAILURE (4/44/00)"),
        (SenseCode::PARAMETER_LIST_LENGTH, (0x5, 0x1a, 0x00), "ILLEGAL REQUEST: PARAMETER LIST LENGTH ERROR (5/1a/00)"),
        (
            SenseCode::INVALID_OPERATION_CODE,
            (0x5, 0x20, 0x00),
            "ILLEGAL REQUEST: INVALID COMMAND OPERATION CODE (5/20/00)",
        ),
        (SenseCode::INVALID_FIELD_IN_CDB, (0x5, 0x24, 0x00), "ILLEGAL REQUEST: INVALID FIELD IN CDB (5/24/00)"),
        (
            SenseCode::INVALID_FIELD_IN_PARAMETER_LIST,
            (0x5, 0x26, 0x00),
            "ILLEGAL REQUEST: INVALID FIELD IN PARAMETER LIST (5/26/00)",
        ),
        (
            SenseCode::INVALID_RELEASE,
            (0x5, 0x26, 0x04),
            "ILLEGAL REQUEST: INVALID RELEASE OF PERSISTENT RESERVATION (5/26/04)",
        ),
        (
            SenseCode::INSUFFICIENT_REGISTRATION_RESOURCES,
            (0x5, 0x55, 0x04),
            "ILLEGAL REQUEST: INSUFFICIENT REGISTRATION RESOURCES (5/55/04)",
        ),
        (
            SenseCode::RESET_OCCURRED,
            (0x6, 0x29, 0x00),
            "UNIT ATTENTION: POWER ON, RESET, OR BUS DEVICE RESET OCCURRED (6/29/00)",
        ),
        (SenseCode::RESERVATIONS_PREEMPTED, (0x6, 0x2a, 0x03), "UNIT ATTENTION: RESERVATIONS PREEMPTED (6/2a/03)"),
        (SenseCode::RESERVATIONS_RELEASED, (0x6, 0x2a, 0x04), "UNIT ATTENTION: RESERVATIONS RELEASED (6/2a/04)"),
        (SenseCode::REGISTRATIONS_PREEMPTED, (0x6, 0x2a, 0x05), "UNIT ATTENTION: REGISTRATIONS PREEMPTED (6/2a/05)"),
        (
            SenseCode::SPACE_ALLOCATION_FAILED,
            (0x7, 0x27, 0x07),
            "DATA PROTECT: SPACE ALLOCATION FAILED WRITE PROTECT (7/27/07)",
        ),
        (SenseCode::IO_PROCESS_TERMINATED, (0xb, 0x00, 0x06), "ABORTED COMMAND: I/O PROCESS TERMINATED (b/00/06)"),
        (
            SenseCode::NO_RESPONSE_TO_SELECTION,
            (0xb, 0x05, 0x00),
            "ABORTED COMMAND: LOGICAL UNIT DOES NOT RESPOND TO SELECTION (b/05/00)",
        ),
        (
            SenseCode::COMMUNICATION_FAILURE,
            (0xb, 0x08, 0x00),
            "ABORTED COMMAND: LOGICAL UNIT COMMUNICATION FAILURE (b/08/00)",
        ),
        (SenseCode::NEXUS_LOSS, (0xb, 0x29, 0x07), "ABORTED COMMAND: I_T NEXUS LOSS OCCURRED (b/29/07)"),
        (
            SenseCode::COMMAND_TIMEOUT,
            (0xb, 0x2e, 0x02),
            "ABORTED COMMAND: COMMAND TIMEOUT DURING PROCESSING DUE TO ERROR RECOVERY (b/2e/02)",
        ),
        (
            SenseCode::COMMANDS_CLEARED,
            (0xb, 0x2f, 0x02),
            "ABORTED COMMAND: COMMANDS CLEARED BY DEVICE SERVER (b/2f/02)",
        ),
        (SenseCode::PARITY_ERROR, (0xb, 0x47, 0x00), "ABORTED COMMAND: SCSI PARITY ERROR (b/47/00)"),
    ] {
        let (key, additional, qualifier) = numbers;
        assert_eq!(code, SenseCode::new(key, additional, qualifier), "{text}");
        assert_eq!(Sense::fixed(code).code(), Some(code));
        assert_eq!(Sense::fixed(code).to_string(), text);
    }
}

#[test]
fn the_names_are_sorted_for_the_binary_search() {
    assert!(AdditionalSense::NAMES.is_sorted_by_key(|row| (row.0, row.1)));
    for (code, qualifier, name) in AdditionalSense::NAMES {
        assert_eq!(AdditionalSense { code: *code, qualifier: *qualifier }.name(), Some(*name));
    }
    let unknown = AdditionalSense { code: 0xff, qualifier: 0x01 };
    assert_eq!((unknown.name(), unknown.to_string().as_str()), (None, "additional sense ff/01"));
}

#[test]
fn every_sense_key_has_a_name() {
    let names: Vec<_> = (0..16).map(|key| SenseKey(key).name()).collect();
    assert_eq!(
        names,
        [
            "NO SENSE",
            "RECOVERED ERROR",
            "NOT READY",
            "MEDIUM ERROR",
            "HARDWARE ERROR",
            "ILLEGAL REQUEST",
            "UNIT ATTENTION",
            "DATA PROTECT",
            "BLANK CHECK",
            "VENDOR SPECIFIC",
            "COPY ABORTED",
            "ABORTED COMMAND",
            "RESERVED SENSE KEY",
            "VOLUME OVERFLOW",
            "MISCOMPARE",
            "COMPLETED",
        ]
    );
}

#[test]
fn sense_data_shows_without_its_zeros() {
    assert_eq!(format!("{:?}", Sense::from_device(&DESCRIPTOR)), "Sense([72, 06, 2a, 04])");
    assert_eq!(format!("{:?}", Sense::NONE), "Sense([])");
    assert_eq!(Sense::NONE.to_string(), "no sense data");
}

#[test]
fn status_bytes_have_the_names_of_sam() {
    for (status, byte, name) in [
        (Status::GOOD, 0x00, "GOOD"),
        (Status::CHECK_CONDITION, 0x02, "CHECK CONDITION"),
        (Status(0x04), 0x04, "CONDITION MET"),
        (Status::BUSY, 0x08, "BUSY"),
        (Status::RESERVATION_CONFLICT, 0x18, "RESERVATION CONFLICT"),
        (Status::TASK_SET_FULL, 0x28, "TASK SET FULL"),
        (Status(0x30), 0x30, "ACA ACTIVE"),
        (Status(0x40), 0x40, "TASK ABORTED"),
    ] {
        assert_eq!((status.0, status.name(), status.to_string()), (byte, Some(name), name.to_owned()));
    }
    assert_eq!((Status(0x17).name(), Status(0x17).to_string()), (None, "status 0x17".to_owned()));
}

#[test]
fn a_completion_has_sense_data_only_with_check_condition() {
    let check = Completion::check_condition(Sense::fixed(SenseCode::INVALID_FIELD_IN_CDB));
    assert_eq!((check.status, check.sense.code()), (Status::CHECK_CONDITION, Some(SenseCode::INVALID_FIELD_IN_CDB)));
    let conflict = Completion::status(Status::RESERVATION_CONFLICT);
    assert!(conflict.sense.is_none() && conflict.data.is_empty());
    assert_eq!(Completion::GOOD, Completion::status(Status::GOOD));
}
