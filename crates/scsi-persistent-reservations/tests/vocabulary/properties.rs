//! What holds for all values and all bytes.

use proptest::{collection::vec, prelude::*};
use scsi_persistent_reservations::{
    BasicParameters, Capabilities, Cdb, Command, DataIn, FullStatus, MoveParameters, PersistentReserveIn,
    PersistentReserveOut, ReadKeys, ReadReservation, Reservation, Sense, SenseCode, TransportId, TransportIds,
};

use crate::values::{
    any_descriptors, any_id, any_in_action, any_key, any_out_action, any_type, bytes, descriptor, id_bytes, keys_bytes,
    move_bytes, reservation_bytes, status_bytes,
};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn persistent_reserve_in_survives_the_wire(action in any_in_action(), length: u16) {
        let command = PersistentReserveIn::new(action, length);
        prop_assert_eq!(Cdb::new(*command.cdb().as_bytes()).map(|cdb| cdb.command()), Ok(Command::In(command)));
    }

    #[test]
    fn persistent_reserve_out_survives_the_wire(
        action in any_out_action(),
        kind in proptest::option::of(any_type()),
        length: u32,
        scope in 0..16u8,
    ) {
        let mut command = PersistentReserveOut::new(action, kind, length);
        command.scope_type |= scope << 4;
        prop_assert_eq!(Cdb::new(*command.cdb().as_bytes()).map(|cdb| cdb.command()), Ok(Command::Out(command)));
        prop_assert_eq!((command.reservation_type(), command.scope().code()), (kind, scope));
    }

    #[test]
    fn basic_parameters_survive_the_wire(
        key in any_key(),
        service_action_key in any_key(),
        activate_persist: bool,
        all_target_ports: bool,
        ids in proptest::option::of(vec(any::<u8>(), 0..100)),
    ) {
        let initiator_ports = ids.as_deref().map(TransportIds::new);
        let value =
            BasicParameters { key, service_action_key, activate_persist, all_target_ports, initiator_ports };
        let list = bytes(|out| value.write(out));
        prop_assert_eq!(list.len(), value.length());
        prop_assert_eq!(BasicParameters::parse(&list), Ok(value));
    }

    #[test]
    fn move_parameters_survive_the_wire(
        key in any_key(),
        service_action_key in any_key(),
        unregister: bool,
        activate_persist: bool,
        relative_target_port: u16,
        id in any_id(),
    ) {
        let transport_id = id.get();
        let value = MoveParameters {
            key, service_action_key, unregister, activate_persist, relative_target_port, transport_id,
        };
        let list = move_bytes(&value);
        prop_assert_eq!(list.len(), value.length());
        prop_assert_eq!(MoveParameters::parse(&list), Ok(value));
    }

    #[test]
    fn transport_ids_survive_the_wire(ids in vec(any_id(), 0..5)) {
        let wire: Vec<u8> = ids.iter().flat_map(|id| id_bytes(&id.get())).collect();
        let expected: Vec<_> = ids.iter().map(|id| Ok(id.get())).collect();
        prop_assert_eq!(TransportIds::new(&wire).iter().collect::<Vec<_>>(), expected);
        for id in &ids {
            let field = id_bytes(&id.get());
            prop_assert_eq!(field.len(), id.get().length());
            prop_assert_eq!(TransportId::from_field(&field), id.get());
        }
    }

    #[test]
    fn what_parses_as_a_transport_id_is_the_same_written_and_parsed_again(data in vec(any::<u8>(), 0..60)) {
        if let Ok((id, rest)) = TransportId::parse(&data) {
            prop_assert!(data.ends_with(rest));
            let wire = id_bytes(&id);
            prop_assert_eq!(TransportId::parse(&wire), Ok((id, &[][..])));
        }
    }

    #[test]
    fn iscsi_shaped_bytes_never_panic(format in 0..4u8, length in 0..48u16, text in "[iq,0x\\x00]{0,44}") {
        let [high, low] = length.to_be_bytes();
        let data = [&[format << 6 | 0x05, 0, high, low][..], text.as_bytes()].concat();
        if let Ok((id, _)) = TransportId::parse(&data) {
            let field = id_bytes(&id);
            prop_assert_eq!(TransportId::from_field(&field), id);
        }
    }

    #[test]
    fn read_keys_survive_the_wire_and_are_cut_to_a_prefix(
        generation: u32, keys in vec(any_key(), 0..20), cut in 0..180usize,
    ) {
        let data = keys_bytes(generation, &keys);
        let read = ReadKeys::parse(&data).expect("a header");
        prop_assert_eq!((read.generation, read.is_truncated()), (generation, false));
        prop_assert_eq!(read.keys().collect::<Vec<_>>(), &keys[..]);

        let short = &data[..data.len().min(cut)];
        let read = ReadKeys::parse(short);
        prop_assert_eq!(read.is_ok(), short.len() >= 8);
        if let Ok(read) = read {
            prop_assert_eq!(read.keys().collect::<Vec<_>>(), &keys[..(short.len() - 8) / 8]);
            prop_assert_eq!(read.additional_length as usize, 8 * keys.len());
            prop_assert_eq!(read.is_truncated(), short.len() < data.len());
        }
    }

    #[test]
    fn read_reservation_survives_the_wire_and_is_there_or_not(
        generation: u32, held in proptest::option::of((any_key(), any::<u8>())), cut in 0..30usize,
    ) {
        let held = held.map(|(key, scope_type)| Reservation { key, scope_type });
        let data = reservation_bytes(generation, held);
        let read = ReadReservation::parse(&data).expect("a header");
        prop_assert_eq!((read.generation, read.reservation), (generation, held));

        let short = &data[..data.len().min(cut)];
        let read = ReadReservation::parse(short);
        prop_assert_eq!(read.is_ok(), short.len() >= 8);
        if let Ok(read) = read {
            prop_assert!(read.reservation.is_none() || read.reservation == held);
        }
    }

    #[test]
    fn read_full_status_survives_the_wire_and_is_cut_to_a_prefix(
        generation: u32, owned in any_descriptors(), cut in 0..1500usize,
    ) {
        let descriptors: Vec<_> = owned.iter().map(descriptor).collect();
        let data = status_bytes(generation, &descriptors);
        let read = FullStatus::parse(&data).expect("a header");
        prop_assert_eq!((read.generation, read.is_truncated()), (generation, false));
        prop_assert_eq!(read.descriptors().collect::<Vec<_>>(), &descriptors[..]);

        let short = &data[..data.len().min(cut)];
        let read = FullStatus::parse(short);
        prop_assert_eq!(read.is_ok(), short.len() >= 8);
        if let Ok(read) = read {
            let found: Vec<_> = read.descriptors().collect();
            prop_assert_eq!(&found, &descriptors[..found.len()]);
            prop_assert_eq!(read.is_truncated(), short.len() < data.len());
            // As many as there is room for, no fewer.
            let room = 8 + descriptors[..found.len()].iter().map(|d| 24 + d.transport_id.length()).sum::<usize>();
            let next = descriptors.get(found.len()).map(|d| room + 24 + d.transport_id.length());
            prop_assert!(next.is_none_or(|next| short.len() < next));
        }
    }

    #[test]
    fn capabilities_survive_the_wire(flags: [bool; 6], allow_commands in 0..8u8, types: Option<u16>) {
        let [a, b, c, d, e, f] = flags;
        let value = Capabilities {
            replace_lost: a,
            compatible_reservation_handling: b,
            specify_initiator_ports: c,
            all_target_ports: d,
            persist_through_power_loss: e,
            persist_through_power_loss_active: f,
            allow_commands,
            types: types.map(|types| types & Capabilities::all_types()),
        };
        prop_assert_eq!(Capabilities::parse(&value.to_bytes()), Ok(value));
    }

    #[test]
    fn sense_codes_survive_the_wire(key in 0..16u8, code: u8, qualifier: u8) {
        let code = SenseCode::new(key, code, qualifier);
        prop_assert_eq!(Sense::fixed(code).code(), Some(code));
        prop_assert!(!code.to_string().is_empty());
    }

    #[test]
    fn no_bytes_make_a_parser_panic(data in vec(any::<u8>(), 0..200), cdb: [u8; 16]) {
        read_everything(&data);
        if let Ok(cdb) = Cdb::new(cdb) {
            prop_assert_eq!(cdb.as_bytes()[0] & 0xfe, 0x5e);
            let _ = cdb.command();
        }
    }

    #[test]
    fn no_small_numbers_make_a_parser_panic(
        data in vec(prop_oneof![3 => Just(0), 2 => 0..48u8, 1 => any::<u8>()], 0..200),
    ) {
        read_everything(&data);
    }

    #[test]
    fn what_is_written_is_a_prefix_of_the_whole(pieces in vec(vec(any::<u8>(), 0..9), 0..9), room in 0..80usize) {
        let whole = pieces.concat();
        let mut buffer = vec![0; room];
        let mut out = DataIn::new(&mut buffer);
        for piece in &pieces {
            out.put(piece);
        }
        prop_assert_eq!(out.length(), whole.len());
        prop_assert_eq!(out.finish(), &whole[..whole.len().min(room)]);
    }
}

/// Gives the bytes to every parser and looks at all that comes out.
fn read_everything(data: &[u8]) {
    if let Ok(read) = ReadKeys::parse(data) {
        assert!(read.keys().count() <= data.len() / 8);
        let _ = read.is_truncated();
    }
    if let Ok(read) = FullStatus::parse(data) {
        assert!(read.descriptors().count() <= data.len() / 24);
        for found in read.descriptors() {
            let _ = (found.reservation(), found.transport_id.to_string(), id_bytes(&found.transport_id));
        }
    }
    let _ = (ReadReservation::parse(data), Capabilities::parse(data).map(|found| found.to_bytes()));
    if let Ok(found) = BasicParameters::parse(data) {
        let ids = found.initiator_ports.map_or(0, |ports| ports.iter().count());
        assert!(ids <= data.len());
    }
    if let Ok(found) = MoveParameters::parse(data) {
        let _ = found.transport_id.to_string();
    }
    for id in TransportIds::new(data).iter().flatten() {
        let _ = (id.to_string(), id_bytes(&id));
    }
    let sense = Sense::from_device(data);
    let _ = (sense.code(), sense.to_string(), format!("{sense:?}"));
}
