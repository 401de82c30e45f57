use scsi_persistent_reservations::{
    CDB_LENGTH, Cdb, Command, InAction, OutAction, ParseError, PersistentReserveIn, PersistentReserveOut,
    ReservationType,
};

#[rustfmt::skip]
const IN: [(InAction, u16, [u8; 16]); 4] = [
    (InAction::ReadKeys, 0x2000, [
        0x5e,                   // PERSISTENT RESERVE IN
        0x00,                   // READ KEYS
        0x00, 0x00, 0x00, 0x00, 0x00,
        0x20, 0x00,             // ALLOCATION LENGTH
        0x00,                   // CONTROL
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // no part of the command
    ]),
    (InAction::ReadReservation, 24, [
        0x5e,                   // PERSISTENT RESERVE IN
        0x01,                   // READ RESERVATION
        0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x18,             // ALLOCATION LENGTH
        0x00,                   // CONTROL
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ]),
    (InAction::ReportCapabilities, 8, [
        0x5e,                   // PERSISTENT RESERVE IN
        0x02,                   // REPORT CAPABILITIES
        0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x08,             // ALLOCATION LENGTH
        0x00,                   // CONTROL
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ]),
    (InAction::ReadFullStatus, 0xffff, [
        0x5e,                   // PERSISTENT RESERVE IN
        0x03,                   // READ FULL STATUS
        0x00, 0x00, 0x00, 0x00, 0x00,
        0xff, 0xff,             // ALLOCATION LENGTH
        0x00,                   // CONTROL
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ]),
];

#[rustfmt::skip]
const OUT: [(OutAction, Option<ReservationType>, u32, [u8; 16]); 9] = [
    (OutAction::Register, None, 24, [
        0x5f,                   // PERSISTENT RESERVE OUT
        0x00,                   // REGISTER
        0x00,                   // SCOPE and TYPE
        0x00, 0x00,
        0x00, 0x00, 0x00, 0x18, // PARAMETER LIST LENGTH
        0x00,                   // CONTROL
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // no part of the command
    ]),
    (OutAction::Reserve, Some(ReservationType::WriteExclusive), 24, [
        0x5f,                   // PERSISTENT RESERVE OUT
        0x01,                   // RESERVE
        0x01,                   // logical unit, Write Exclusive
        0x00, 0x00,
        0x00, 0x00, 0x00, 0x18, // PARAMETER LIST LENGTH
        0x00,                   // CONTROL
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ]),
    (OutAction::Release, Some(ReservationType::ExclusiveAccess), 24, [
        0x5f,                   // PERSISTENT RESERVE OUT
        0x02,                   // RELEASE
        0x03,                   // logical unit, Exclusive Access
        0x00, 0x00,
        0x00, 0x00, 0x00, 0x18, // PARAMETER LIST LENGTH
        0x00,                   // CONTROL
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ]),
    (OutAction::Clear, None, 24, [
        0x5f,                   // PERSISTENT RESERVE OUT
        0x03,                   // CLEAR
        0x00,                   // SCOPE and TYPE
        0x00, 0x00,
        0x00, 0x00, 0x00, 0x18, // PARAMETER LIST LENGTH
        0x00,                   // CONTROL
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ]),
    (OutAction::Preempt, Some(ReservationType::WriteExclusiveRegistrantsOnly), 24, [
        0x5f,                   // PERSISTENT RESERVE OUT
        0x04,                   // PREEMPT
        0x05,                   // logical unit, Write Exclusive - Registrants Only
        0x00, 0x00,
        0x00, 0x00, 0x00, 0x18, // PARAMETER LIST LENGTH
        0x00,                   // CONTROL
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ]),
    (OutAction::PreemptAndAbort, Some(ReservationType::ExclusiveAccessRegistrantsOnly), 24, [
        0x5f,                   // PERSISTENT RESERVE OUT
        0x05,                   // PREEMPT AND ABORT
        0x06,                   // logical unit, Exclusive Access - Registrants Only
        0x00, 0x00,
        0x00, 0x00, 0x00, 0x18, // PARAMETER LIST LENGTH
        0x00,                   // CONTROL
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ]),
    (OutAction::RegisterAndIgnoreExistingKey, None, 24, [
        0x5f,                   // PERSISTENT RESERVE OUT
        0x06,                   // REGISTER AND IGNORE EXISTING KEY
        0x00,                   // SCOPE and TYPE
        0x00, 0x00,
        0x00, 0x00, 0x00, 0x18, // PARAMETER LIST LENGTH
        0x00,                   // CONTROL
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ]),
    (OutAction::RegisterAndMove, None, 48, [
        0x5f,                   // PERSISTENT RESERVE OUT
        0x07,                   // REGISTER AND MOVE
        0x00,                   // SCOPE and TYPE
        0x00, 0x00,
        0x00, 0x00, 0x00, 0x30, // PARAMETER LIST LENGTH
        0x00,                   // CONTROL
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ]),
    (OutAction::ReplaceLostReservation, Some(ReservationType::ExclusiveAccessAllRegistrants), 0x0123_4567, [
        0x5f,                   // PERSISTENT RESERVE OUT
        0x08,                   // REPLACE LOST RESERVATION
        0x08,                   // logical unit, Exclusive Access - All Registrants
        0x00, 0x00,
        0x01, 0x23, 0x45, 0x67, // PARAMETER LIST LENGTH
        0x00,                   // CONTROL
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ]),
];

#[test]
fn every_persistent_reserve_in_is_its_bytes() {
    assert_eq!(IN.map(|row| row.0), InAction::ALL);
    for (action, allocation_length, bytes) in IN {
        let command = PersistentReserveIn::new(action, allocation_length);
        assert_eq!(*command.cdb().as_bytes(), bytes, "{action}");
        assert_eq!(command.cdb().command_bytes(), &bytes[..CDB_LENGTH]);
        assert_eq!(Cdb::new(bytes).map(|cdb| cdb.command()), Ok(Command::In(command)));
        assert_eq!(command.action(), Some(action));
    }
}

#[test]
fn every_persistent_reserve_out_is_its_bytes() {
    assert_eq!(OUT.map(|row| row.0), OutAction::ALL);
    for (action, kind, parameter_list_length, bytes) in OUT {
        let command = PersistentReserveOut::new(action, kind, parameter_list_length);
        assert_eq!(*command.cdb().as_bytes(), bytes, "{action}");
        assert_eq!(command.cdb().command_bytes(), &bytes[..CDB_LENGTH]);
        assert_eq!(Cdb::new(bytes).map(|cdb| cdb.command()), Ok(Command::Out(command)));
        assert_eq!((command.action(), command.reservation_type()), (Some(action), kind));
        assert!(command.scope().is_logical_unit());
    }
}

#[test]
fn another_operation_code_is_no_persistent_reserve() {
    for operation_code in (0..=0xff).filter(|code| !matches!(code, 0x5e | 0x5f)) {
        let mut bytes = [0; 16];
        bytes[0] = operation_code;
        assert_eq!(Cdb::new(bytes), Err(ParseError::OperationCode(operation_code)));
    }
    let message = ParseError::OperationCode(0x28).to_string();
    assert_eq!(message, "operation code 0x28 is neither PERSISTENT RESERVE IN nor OUT");
}

#[test]
fn the_upper_bits_of_the_service_action_byte_are_not_part_of_it() {
    let mut bytes = [0; 16];
    (bytes[0], bytes[1]) = (0x5e, 0xe3);
    let cdb = Cdb::new(bytes).expect("a PERSISTENT RESERVE IN");
    assert_eq!(cdb.command(), Command::In(PersistentReserveIn::new(InAction::ReadFullStatus, 0)));
    // A device gets them all the same.
    assert_eq!(cdb.as_bytes()[1], 0xe3);
}

#[test]
fn service_actions_that_spc_does_not_name_have_no_name() {
    assert!((4..=0xff).all(|code| InAction::from_code(code).is_none()));
    assert!((9..=0xff).all(|code| OutAction::from_code(code).is_none()));
}

#[test]
fn service_actions_have_the_names_of_spc() {
    let names: Vec<_> = InAction::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["READ KEYS", "READ RESERVATION", "REPORT CAPABILITIES", "READ FULL STATUS"]);
    let names: Vec<_> = OutAction::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(
        names,
        [
            "REGISTER",
            "RESERVE",
            "RELEASE",
            "CLEAR",
            "PREEMPT",
            "PREEMPT AND ABORT",
            "REGISTER AND IGNORE EXISTING KEY",
            "REGISTER AND MOVE",
            "REPLACE LOST RESERVATION",
        ]
    );
    // In a table they keep their column.
    assert_eq!(format!("[{:<10}]", OutAction::Clear), "[CLEAR     ]");
}

#[test]
fn the_kinds_of_service_actions() {
    let which = |says: fn(OutAction) -> bool| OutAction::ALL.iter().filter(|a| says(**a)).map(|a| a.code()).collect();
    let (registers, preempts, scoped): (Vec<_>, Vec<_>, Vec<_>) =
        (which(OutAction::is_register), which(OutAction::is_preempt), which(OutAction::uses_scope_and_type));
    assert_eq!((registers, preempts, scoped), (vec![0, 6], vec![4, 5], vec![1, 2, 4, 5, 8]));
}

#[test]
fn a_command_is_called_by_its_action_and_one_that_spc_does_not_name_by_its_number() {
    let named = |command: PersistentReserveOut| Command::Out(command).to_string();
    assert_eq!(named(PersistentReserveOut::new(OutAction::Clear, None, 24)), "CLEAR");
    let unknown = PersistentReserveOut { service_action: 0x1f, scope_type: 0, parameter_list_length: 24 };
    assert_eq!(named(unknown), "PERSISTENT RESERVE OUT 0x1f");
    let named = |command: PersistentReserveIn| Command::In(command).to_string();
    assert_eq!(named(PersistentReserveIn::new(InAction::ReadKeys, 8)), "READ KEYS");
    assert_eq!(named(PersistentReserveIn { service_action: 0x1f, allocation_length: 8 }), "PERSISTENT RESERVE IN 0x1f");
}
