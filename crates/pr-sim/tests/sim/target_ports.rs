//! `ALL_TG_PT`: as if the command had come through each of the target ports.

use scsi_persistent_reservations::{BasicParameters, SenseCode};

use crate::bench::*;
use crate::register::specify;

fn everywhere(parameters: BasicParameters<'_>) -> BasicParameters<'_> {
    BasicParameters { all_target_ports: true, ..parameters }
}

#[test]
fn registrations_of_two_target_ports_are_two() {
    let mut unit = Bench::registered(&[(A, KA)]);
    unit.refuses(&Answer::CONFLICT, A2, Reserve, Some(WriteExclusive), keys(KA, 0));
    unit.good(A2, Register, None, keys(0, KB));
    assert_eq!(unit.registrants(), [(A, KA), (A2, KB)]);
}

#[test]
fn all_target_ports_registers_on_each() {
    let mut unit = Bench::new();
    unit.good(A, Register, None, everywhere(keys(0, KA)));
    assert_eq!(unit.registrants(), [(A, KA), (A2, KA)]);
    assert!(unit.registrations().all(|(_, registration)| registration.all_target_ports));
    assert_eq!(unit.generation(), 1);
}

#[test]
fn all_target_ports_leaves_a_port_alone_where_it_would_conflict() {
    let mut unit = Bench::registered(&[(A2, KB)]);
    unit.good(A, Register, None, everywhere(keys(0, KA)));
    assert_eq!(unit.registrants(), [(A, KA), (A2, KB)]);
    unit.good(A, Register, None, everywhere(keys(KA, KC)));
    assert_eq!(unit.registrants(), [(A, KC), (A2, KB)]);
}

#[test]
fn all_target_ports_changes_and_ends_what_it_registered() {
    let mut unit = Bench::new();
    unit.good(A, Register, None, everywhere(keys(0, KA)));
    unit.good(A2, Register, None, everywhere(keys(KA, KB)));
    assert_eq!(unit.registrants(), [(A, KB), (A2, KB)]);
    unit.good(A, Register, None, everywhere(keys(KB, 0)));
    assert_eq!(unit.registrants(), []);
}

#[test]
fn ignoring_the_existing_key_on_all_target_ports_changes_every_one() {
    let mut unit = Bench::registered(&[(A2, KB)]);
    unit.good(A, RegisterAndIgnoreExistingKey, None, everywhere(keys(0, KA)));
    assert_eq!(unit.registrants(), [(A, KA), (A2, KA)]);
    unit.good(A, RegisterAndIgnoreExistingKey, None, everywhere(keys(0, 0)));
    assert_eq!(unit.registrants(), []);
}

#[test]
fn without_the_bit_only_the_senders_port_is_concerned() {
    let mut unit = Bench::new();
    unit.good(A, Register, None, everywhere(keys(0, KA)));
    unit.good(A, Register, None, keys(KA, KB));
    let all: Vec<_> = unit.registrations().map(|(_, registration)| registration.all_target_ports).collect();
    assert_eq!((unit.registrants(), all), (vec![(A, KB), (A2, KA)], vec![false, true]));
    unit.good(A, Register, None, keys(KB, 0));
    assert_eq!(unit.registrants(), [(A2, KA)]);
}

#[test]
fn a_holder_that_leaves_through_another_target_port_releases() {
    let mut unit = Bench::registered(&[(B, KB)]);
    unit.good(A, Register, None, everywhere(keys(0, KA)));
    unit.good(A, Reserve, Some(WriteExclusiveRegistrantsOnly), keys(KA, 0));
    unit.good(A2, Register, None, everywhere(keys(KA, 0)));
    assert_eq!(unit.held(), None);
    assert_eq!(unit.told(), [vec![], vec![4], vec![]]);
    assert_eq!(unit.unit_attentions(A2), []);
}

#[test]
fn specified_initiator_ports_are_registered_on_all_target_ports() {
    let mut unit = Bench::new();
    let ports = listed(&[B]);
    unit.good(A, Register, None, specify(&ports, everywhere(keys(0, KA))));
    let b2 = pr_sim::Nexus { target_port: 2, ..B };
    assert_eq!(unit.registrants(), [(A, KA), (A2, KA), (B, KA), (b2, KA)]);
}

#[test]
fn room_is_wanted_for_the_registrations_of_all_target_ports() {
    let mut unit = Bench::with(pr_sim::LogicalUnit::new(u16::MAX).with_max_registrations(3));
    unit.refuses(&NO_ROOM, A, Register, None, everywhere(keys(0, KA)));
    let ports = listed(&[B, C]);
    unit.refuses(&NO_ROOM, A, Register, None, specify(&ports, everywhere(keys(0, KA))));
}

#[test]
fn a_target_port_that_is_not_there_has_no_logical_unit() {
    let mut unit = Bench::new();
    for target_port in [0, 3, u16::MAX] {
        let nexus = pr_sim::Nexus { target_port, ..A };
        unit.refuses(&Answer::check(SenseCode::new(5, 0x25, 0)), nexus, Register, None, keys(0, KA));
        assert_eq!(unit.log_in(&A.initiator.sas(), target_port), None);
    }
}
