//! The access matrix: who may do what beside whose reservation.

use pr_sim::{
    CommandClass::{self, Always, PersistentReserveOut, Reads, Reserves, Writes},
    Medium,
};
use scsi_persistent_reservations::{OutAction, ReservationType, SenseCode, Status};

use crate::bench::*;

/// Every command that SPC-4 and SBC-3 name, by its first bytes.
#[rustfmt::skip]
const CLASSES: &[(&str, &[u8], CommandClass)] = &[
    ("TEST UNIT READY", &[0x00], Always),
    ("REQUEST SENSE", &[0x03], Always),
    ("FORMAT UNIT", &[0x04], Writes),
    ("REASSIGN BLOCKS", &[0x07], Writes),
    ("READ(6)", &[0x08], Reads),
    ("WRITE(6)", &[0x0a], Writes),
    ("INQUIRY", &[0x12], Always),
    ("MODE SELECT(6)", &[0x15], Writes),
    ("RESERVE(6)", &[0x16], Reserves),
    ("RELEASE(6)", &[0x17], Reserves),
    ("MODE SENSE(6)", &[0x1a], Reads),
    ("START STOP UNIT, start", &[0x1b, 0, 0, 0, 0x01], Always),
    ("START STOP UNIT, immediate start", &[0x1b, 1, 0, 0, 0x01], Always),
    ("START STOP UNIT, stop", &[0x1b, 0, 0, 0, 0x00], Writes),
    ("START STOP UNIT, standby", &[0x1b, 0, 0, 0, 0x31], Writes),
    ("START STOP UNIT, idle", &[0x1b, 0, 0, 0, 0x20], Writes),
    ("RECEIVE DIAGNOSTIC RESULTS", &[0x1c], Reads),
    ("SEND DIAGNOSTIC", &[0x1d], Writes),
    ("ALLOW MEDIUM REMOVAL", &[0x1e, 0, 0, 0, 0x00], Always),
    ("PREVENT MEDIUM REMOVAL", &[0x1e, 0, 0, 0, 0x01], Writes),
    ("PREVENT MEDIUM REMOVAL, obsolete bit", &[0x1e, 0, 0, 0, 0x02], Writes),
    ("READ CAPACITY(10)", &[0x25], Always),
    ("READ(10)", &[0x28], Reads),
    ("WRITE(10)", &[0x2a], Writes),
    ("WRITE AND VERIFY(10)", &[0x2e], Writes),
    ("VERIFY(10)", &[0x2f], Reads),
    ("PRE-FETCH(10)", &[0x34], Reads),
    ("SYNCHRONIZE CACHE(10)", &[0x35], Writes),
    ("READ DEFECT DATA(10)", &[0x37], Reads),
    ("WRITE BUFFER", &[0x3b], Writes),
    ("READ BUFFER(10)", &[0x3c], Reads),
    ("READ LONG(10)", &[0x3e], Writes),
    ("WRITE LONG(10)", &[0x3f], Writes),
    ("WRITE SAME(10)", &[0x41], Writes),
    ("UNMAP", &[0x42], Writes),
    ("SANITIZE", &[0x48], Writes),
    ("LOG SELECT", &[0x4c], Writes),
    ("LOG SENSE", &[0x4d], Always),
    ("XDWRITEREAD(10)", &[0x53], Writes),
    ("MODE SELECT(10)", &[0x55], Writes),
    ("RESERVE(10)", &[0x56], Reserves),
    ("RELEASE(10)", &[0x57], Reserves),
    ("MODE SENSE(10)", &[0x5a], Reads),
    ("PERSISTENT RESERVE IN", &[0x5e, 0x03], Always),
    ("READ(32)", &[0x7f, 0, 0, 0, 0, 0, 0, 24, 0x00, 0x09], Reads),
    ("VERIFY(32)", &[0x7f, 0, 0, 0, 0, 0, 0, 24, 0x00, 0x0a], Reads),
    ("WRITE(32)", &[0x7f, 0, 0, 0, 0, 0, 0, 24, 0x00, 0x0b], Writes),
    ("WRITE AND VERIFY(32)", &[0x7f, 0, 0, 0, 0, 0, 0, 24, 0x00, 0x0c], Writes),
    ("WRITE SAME(32)", &[0x7f, 0, 0, 0, 0, 0, 0, 24, 0x00, 0x0d], Writes),
    ("EXTENDED COPY", &[0x83, 0x00], Writes),
    ("ACCESS CONTROL IN", &[0x86], Always),
    ("ACCESS CONTROL OUT", &[0x87], Always),
    ("READ(16)", &[0x88], Reads),
    ("COMPARE AND WRITE", &[0x89], Writes),
    ("WRITE(16)", &[0x8a], Writes),
    ("ORWRITE", &[0x8b], Writes),
    ("READ ATTRIBUTE", &[0x8c], Reads),
    ("WRITE ATTRIBUTE", &[0x8d], Writes),
    ("WRITE AND VERIFY(16)", &[0x8e], Writes),
    ("VERIFY(16)", &[0x8f], Reads),
    ("PRE-FETCH(16)", &[0x90], Reads),
    ("SYNCHRONIZE CACHE(16)", &[0x91], Writes),
    ("WRITE SAME(16)", &[0x93], Writes),
    ("READ BUFFER(16)", &[0x9b], Reads),
    ("READ CAPACITY(16)", &[0x9e, 0x10], Always),
    ("READ LONG(16)", &[0x9e, 0x11], Writes),
    ("GET LBA STATUS", &[0x9e, 0x12], Reads),
    ("REPORT REFERRALS", &[0x9e, 0x13], Always),
    ("WRITE LONG(16)", &[0x9f, 0x11], Writes),
    ("REPORT LUNS", &[0xa0], Always),
    ("SECURITY PROTOCOL IN", &[0xa2], Reads),
    ("REPORT IDENTIFYING INFORMATION", &[0xa3, 0x05], Always),
    ("REPORT TARGET PORT GROUPS", &[0xa3, 0x0a], Always),
    ("REPORT TARGET PORT GROUPS, extended header", &[0xa3, 0x2a], Always),
    ("REPORT ALIASES", &[0xa3, 0x0b], Always),
    ("REPORT SUPPORTED OPERATION CODES", &[0xa3, 0x0c], Reads),
    ("REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", &[0xa3, 0x0d], Reads),
    ("REPORT PRIORITY", &[0xa3, 0x0e], Always),
    ("REPORT TIMESTAMP", &[0xa3, 0x0f], Always),
    ("MANAGEMENT PROTOCOL IN", &[0xa3, 0x10], Reads),
    ("a MAINTENANCE IN that is not named", &[0xa3, 0x1f], Writes),
    ("SET TARGET PORT GROUPS", &[0xa4, 0x0a], Writes),
    ("SET TIMESTAMP", &[0xa4, 0x0f], Writes),
    ("READ(12)", &[0xa8], Reads),
    ("WRITE(12)", &[0xaa], Writes),
    ("READ MEDIA SERIAL NUMBER", &[0xab, 0x01], Always),
    ("WRITE AND VERIFY(12)", &[0xae], Writes),
    ("VERIFY(12)", &[0xaf], Reads),
    ("SECURITY PROTOCOL OUT", &[0xb5], Writes),
    ("READ DEFECT DATA(12)", &[0xb7], Reads),
    ("a vendor's own command", &[0xc0], Writes),
];

#[test]
fn every_command_has_its_class() {
    for (name, cdb, class) in CLASSES {
        assert_eq!(CommandClass::of(cdb), *class, "{name}");
    }
    assert_eq!(CommandClass::of(&[]), Always, "bytes that are not there are zero: TEST UNIT READY");
}

#[test]
fn persistent_reserve_out_is_classed_by_its_service_action() {
    for action in OutAction::ALL {
        assert_eq!(CommandClass::of(&[0x5f, action.code()]), PersistentReserveOut(Some(*action)));
        // The upper bits of the byte are reserved.
        assert_eq!(CommandClass::of(&[0x5f, 0xe0 | action.code()]), PersistentReserveOut(Some(*action)));
    }
    assert_eq!(CommandClass::of(&[0x5f, 0x1f]), PersistentReserveOut(None));
}

/// Who asks, beside a reservation of `A`: the holder, a registrant, or neither.
const HOLDER: pr_sim::Nexus = A;
const REGISTRANT: pr_sim::Nexus = B;
const STRANGER: pr_sim::Nexus = A2;

/// Whether one may do what reads, and whether what writes.
type May = (bool, bool);

/// For each type: what a registrant, and what a stranger may do.
const MATRIX: [(ReservationType, May, May); 6] = [
    (WriteExclusive, (true, false), (true, false)),
    (ExclusiveAccess, (false, false), (false, false)),
    (WriteExclusiveRegistrantsOnly, (true, true), (true, false)),
    (ExclusiveAccessRegistrantsOnly, (true, true), (false, false)),
    (WriteExclusiveAllRegistrants, (true, true), (true, false)),
    (ExclusiveAccessAllRegistrants, (true, true), (false, false)),
];

#[test]
fn each_type_excludes_whom_it_excludes() {
    for (kind, registrant, stranger) in MATRIX {
        let mut unit = Bench::reserved(kind);
        for (nexus, (reads, writes)) in [(HOLDER, (true, true)), (REGISTRANT, registrant), (STRANGER, stranger)] {
            assert_eq!(
                [Always, Reads, Writes].map(|class| unit.admits(nexus, class)),
                [true, reads, writes],
                "{kind}, {nexus:?}"
            );
            let answer = |admitted| if admitted { Answer::GOOD } else { Answer::CONFLICT };
            for (medium, admitted) in [(Medium::Read, reads), (Medium::Write, writes)] {
                assert_eq!(Answer::from(unit.access(nexus, medium)), answer(admitted), "{kind}, {nexus:?}, {medium:?}");
            }
        }
    }
}

#[test]
fn an_access_to_the_medium_is_told_of_a_unit_attention_first() {
    let mut unit = Bench::reserved(ExclusiveAccess);
    unit.reset();
    assert_eq!(Answer::from(unit.access(REGISTRANT, Medium::Read)), Answer::check(SenseCode::RESET_OCCURRED));
    assert_eq!(Answer::from(unit.access(REGISTRANT, Medium::Read)), Answer::CONFLICT);
    let elsewhere = pr_sim::Nexus { target_port: 9, ..A };
    assert_eq!(Answer::from(unit.access(elsewhere, Medium::Read)).status, Status::CHECK_CONDITION);
}

#[test]
fn without_a_reservation_everything_passes() {
    let unit = Bench::registered(&[(A, KA)]);
    for (name, cdb, class) in CLASSES.iter().filter(|row| row.2 != Reserves) {
        assert!(unit.admits(STRANGER, *class), "{name} {cdb:02x?}");
    }
    for action in OutAction::ALL {
        assert!(unit.admits(STRANGER, PersistentReserveOut(Some(*action))), "{action}");
    }
}

#[test]
fn persistent_reserve_out_beside_the_reservation_of_another() {
    for (action, registrant, stranger) in [
        (Register, true, true),
        (RegisterAndIgnoreExistingKey, true, true),
        (Reserve, false, false),
        (Release, true, false),
        (Clear, true, false),
        (Preempt, true, false),
        (PreemptAndAbort, true, false),
        (RegisterAndMove, false, false),
        (ReplaceLostReservation, true, false),
    ] {
        for kind in HOLDER_ONLY.into_iter().chain(REGISTRANTS_ONLY) {
            let unit = Bench::reserved(kind);
            let class = PersistentReserveOut(Some(action));
            assert_eq!(
                [HOLDER, REGISTRANT, STRANGER].map(|nexus| unit.admits(nexus, class)),
                [true, registrant, stranger],
                "{action}, {kind}"
            );
        }
        for kind in ALL_REGISTRANTS {
            let unit = Bench::reserved(kind);
            let class = PersistentReserveOut(Some(action));
            assert_eq!([A, B, STRANGER].map(|nexus| unit.admits(nexus, class)), [true, true, stranger], "{action}");
        }
    }
}

#[test]
fn a_service_action_that_is_not_named_passes_to_be_refused_for_that() {
    let mut unit = Bench::reserved(ExclusiveAccess);
    assert!(unit.admits(STRANGER, PersistentReserveOut(None)));
    let mut cdb = [0; 16];
    cdb[..9].copy_from_slice(&[0x5f, 0x1f, 0, 0, 0, 0, 0, 0, 24]);
    assert_eq!(unit.raw(STRANGER, cdb, &[0; 24]), INVALID_CDB);
}

#[test]
fn reserve_of_spc_2_conflicts_with_registrations_of_others() {
    let unit = Bench::new();
    assert!(unit.admits(A, Reserves));
    let unit = Bench::registered(&[(A, KA)]);
    assert_eq!([A, STRANGER].map(|nexus| unit.admits(nexus, Reserves)), [false, false]);
    for (kind, registrant) in MATRIX.map(|(kind, registrant, _)| (kind, registrant.1)) {
        let unit = Bench::reserved(kind);
        let admitted = [HOLDER, REGISTRANT, STRANGER].map(|nexus| unit.admits(nexus, Reserves));
        assert_eq!(admitted, [true, registrant, false], "{kind}");
    }
}
