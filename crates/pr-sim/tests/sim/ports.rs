//! Initiator ports by their TransportIDs.

use pr_sim::{InitiatorPort, LogicalUnit, Nexus};
use scsi_persistent_reservations::{MoveParameters, ReservationKey, TransportId};

use crate::bench::*;
use crate::register::specify;

const SESSION: TransportId<'_> =
    TransportId::Iscsi { name: b"iqn.2026-01.com.example:node", session: Some(b"00023d000001") };
const OTHER_SESSION: TransportId<'_> =
    TransportId::Iscsi { name: b"iqn.2026-01.com.example:node", session: Some(b"00023d000002") };

#[test]
fn the_number_of_a_port_is_its_sas_address() {
    let mut unit = LogicalUnit::default();
    let id = TransportId::Sas { address: [0x50, 0, 0, 0, 0, 0, 0, 0x0a] };
    assert_eq!(unit.log_in(&id, 1), Some(A));
    assert_eq!(unit.transport_id(A.initiator), id);
}

#[test]
fn a_port_of_another_protocol_gets_a_number_of_its_own() {
    let mut unit = LogicalUnit::default();
    let ids = [
        SESSION,
        OTHER_SESSION,
        TransportId::Iscsi { name: b"iqn.2026-01.com.example:node", session: None },
        TransportId::FibreChannel { n_port_name: [0x50, 0, 0, 0, 0, 0, 0, 0x0a] },
        TransportId::Srp { initiator_port: [0x11; 16] },
        TransportId::Sop { routing_id: 0x0100 },
    ];
    let nexuses = ids.map(|id| unit.log_in(&id, 1).expect("a port with a name"));
    for (id, nexus) in ids.iter().zip(nexuses) {
        assert_eq!(unit.transport_id(nexus.initiator), *id);
        assert_eq!(unit.log_in(id, 1), Some(nexus));
    }
    let mut distinct = nexuses.to_vec();
    distinct.dedup();
    assert_eq!(distinct.len(), ids.len());
}

#[test]
fn padding_and_reserved_bits_do_not_make_another_port() {
    let mut unit = LogicalUnit::default();
    let known = unit.log_in(&SESSION, 1);
    let mut bytes = bytes_of(&SESSION);
    bytes[0] |= 0x30; // reserved
    bytes[3] += 4; // ADDITIONAL LENGTH
    bytes.extend([0; 4]);
    assert_eq!(unit.log_in(&TransportId::from_field(&bytes), 1), known);
}

#[test]
fn what_names_no_port_is_refused() {
    let mut unit = LogicalUnit::default();
    let long = [b'x'; 300];
    for id in [
        TransportId::Other(&[0x0f; 24]),
        TransportId::Iscsi { name: &long, session: None },
        // The address format Fh is not assigned.
        TransportId::Sas { address: [0xff; 8] },
    ] {
        assert_eq!(unit.log_in(&id, 1), None);
    }
}

#[test]
fn a_port_registered_by_name_is_registered_when_it_comes() {
    let mut unit = Bench::new();
    unit.good(A, Register, None, specify(&bytes_of(&SESSION), keys(0, KA)));
    let nexus = unit.log_in(&SESSION, 1).expect("a port with a name");
    assert_eq!(unit.registrants(), [(A, KA), (nexus, KA)]);
    unit.good(nexus, Register, None, keys(KA, KB));
}

#[test]
fn a_reservation_moves_to_a_port_by_name() {
    let mut unit = Bench::reserved(WriteExclusive);
    let parameters = MoveParameters {
        key: ReservationKey(KA),
        service_action_key: ReservationKey(0x77),
        unregister: true,
        activate_persist: false,
        relative_target_port: 2,
        transport_id: SESSION,
    };
    assert_eq!(unit.move_to(A, parameters), Answer::GOOD);
    let nexus = unit.log_in(&SESSION, 2).expect("a port with a name");
    assert_eq!(unit.held(), Some((WriteExclusive, Some(nexus))));
}

#[test]
fn a_name_is_forgotten_with_its_last_use() {
    let mut unit = Bench::new();
    let before = unit.0.clone();
    let nexus = unit.log_in(&SESSION, 1).expect("a port with a name");
    unit.good(A, Register, None, specify(&bytes_of(&SESSION), keys(0, KA)));
    unit.forget(nexus);
    assert_eq!(unit.transport_id(nexus.initiator), SESSION);
    unit.good(A, Clear, None, keys(KA, 0));
    assert_ne!(unit.transport_id(nexus.initiator), SESSION);
    unit.power_cycle();
    let mut expected = before;
    expected.power_cycle();
    assert_eq!(unit.0, expected);
}

#[test]
fn who_was_aborted_has_its_name_until_the_next_command() {
    let mut unit = Bench::new();
    unit.good(A, Register, None, specify(&bytes_of(&SESSION), keys(0, KA)));
    unit.good(A, Register, None, keys(KA, KB));
    unit.good(A, PreemptAndAbort, Some(WriteExclusive), keys(KB, KA));
    let [nexus] = unit.aborted() else { panic!("one nexus was preempted") };
    let initiator = nexus.initiator;
    assert_eq!(unit.transport_id(initiator), SESSION);
    unit.good(A, Register, None, keys(KB, KB));
    assert_ne!(unit.transport_id(initiator), SESSION);
}

#[test]
fn registrations_by_name_are_bounded_like_all_others() {
    let mut unit = Bench::with(LogicalUnit::new(1).with_max_registrations(10));
    let names: Vec<u8> = (0..10u8).flat_map(|n| bytes_of(&TransportId::Srp { initiator_port: [n; 16] })).collect();
    unit.refuses(&NO_ROOM, A, Register, None, specify(&names, keys(0, KA)));
    unit.good(A, Register, None, specify(&names[24..], keys(0, KA)));
    assert_eq!(unit.registrants().len(), 10);
}

#[test]
fn every_number_has_a_transport_id() {
    let unit = LogicalUnit::default();
    for number in [0, 1, u64::MAX] {
        let nexus = Nexus { initiator: InitiatorPort(number), target_port: 1 };
        assert_eq!(unit.transport_id(nexus.initiator), TransportId::Sas { address: number.to_be_bytes() });
    }
}
