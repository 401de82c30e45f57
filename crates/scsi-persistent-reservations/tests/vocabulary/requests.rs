//! What is to be sent, made from what is wanted.

use scsi_persistent_reservations::{
    BasicParameters, Command, DataIn, MoveParameters, OutAction, PrOut, ReservationKey, ReservationType, TransportId,
    TransportIds,
};

const KEY: ReservationKey = ReservationKey(0x0102_0304_0506_0708);
const OTHER: ReservationKey = ReservationKey(0x1112_1314_1516_1718);
const ZERO: ReservationKey = ReservationKey::ZERO;
const WERO: ReservationType = ReservationType::WriteExclusiveRegistrantsOnly;

/// Each service action with the type and the keys that it is to have.
fn requests() -> Vec<(PrOut<'static>, OutAction, Option<ReservationType>, [ReservationKey; 2])> {
    let destination = MoveParameters {
        key: KEY,
        service_action_key: OTHER,
        unregister: false,
        activate_persist: false,
        relative_target_port: 1,
        transport_id: TransportId::Sas { address: [0x50, 0, 0, 0, 0, 0, 0, 1] },
    };
    vec![
        (PrOut::register(KEY, OTHER), OutAction::Register, None, [KEY, OTHER]),
        (PrOut::reserve(KEY, WERO), OutAction::Reserve, Some(WERO), [KEY, ZERO]),
        (PrOut::release(KEY, WERO), OutAction::Release, Some(WERO), [KEY, ZERO]),
        (PrOut::clear(KEY), OutAction::Clear, None, [KEY, ZERO]),
        (PrOut::preempt(KEY, OTHER, WERO), OutAction::Preempt, Some(WERO), [KEY, OTHER]),
        (PrOut::preempt_and_abort(KEY, OTHER, WERO), OutAction::PreemptAndAbort, Some(WERO), [KEY, OTHER]),
        (PrOut::register_and_ignore_existing_key(OTHER), OutAction::RegisterAndIgnoreExistingKey, None, [ZERO, OTHER]),
        (PrOut::register_and_move(destination), OutAction::RegisterAndMove, None, [KEY, OTHER]),
        (PrOut::replace_lost_reservation(OTHER, WERO), OutAction::ReplaceLostReservation, Some(WERO), [ZERO, OTHER]),
    ]
}

#[test]
fn every_service_action_can_be_made_and_says_what_was_wanted() {
    let made: Vec<OutAction> = requests().iter().map(|(_, action, ..)| *action).collect();
    assert_eq!(made, OutAction::ALL);
    for (request, action, kind, [key, other]) in requests() {
        let Command::Out(command) = request.cdb().command() else { panic!("{action}") };
        assert_eq!(command.action(), Some(action));
        assert_eq!(command.scope_type, kind.map_or(0, ReservationType::code), "{action}");
        assert_eq!(command.parameter_list_length as usize, request.list().len(), "{action}");
        assert_eq!(request.list()[..8], key.to_bytes(), "{action}");
        assert_eq!(request.list()[8..16], other.to_bytes(), "{action}");
        assert_eq!((request.action(), request.reservation_type()), (action, kind));
        assert_eq!([request.key(), request.service_action_key()], [key, other], "{action}");
    }
}

#[test]
fn options_are_in_the_list_and_its_length_in_the_cdb() {
    let mut port = [0; 24];
    TransportId::Sas { address: [7; 8] }.write(&mut DataIn::new(&mut port));
    let register = PrOut::register(ZERO, KEY).aptpl(true).all_target_ports(true);
    let register = register.initiator_ports(TransportIds::new(&port));
    let list = register.list();
    let parameters = BasicParameters::parse(&list).expect("a list");
    assert!(parameters.activate_persist && parameters.all_target_ports);
    assert_eq!(parameters.initiator_ports, Some(TransportIds::new(&port)));
    assert_eq!(register.cdb().command_bytes(), [0x5f, 0, 0, 0, 0, 0, 0, 0, 52, 0]);
    let without = register.aptpl(false).all_target_ports(false).list();
    assert_eq!((list[20], without[20]), (0x0d, 0x08));
}

#[test]
fn aptpl_of_register_and_move_is_in_its_own_place() {
    let (request, ..) = requests().swap_remove(7);
    let changed: Vec<usize> = (0..48).filter(|at| request.aptpl(true).list()[*at] != request.list()[*at]).collect();
    assert_eq!(changed, [17]);
}
