//! Every parser of `scsi-persistent-reservations`: nothing panics, nothing is longer than what it was read from, and what is read, written
//! and read again says the same.

use qemu_pr_protocol::{HEADER_LENGTH, ReplyHeader};
use scsi_persistent_reservations::{
    BasicParameters, Capabilities, Cdb, Command, DataIn, FullStatus, MoveParameters, PersistentReserveIn,
    PersistentReserveOut, ReadKeys, ReadReservation, ReservationType, SENSE_LENGTH, Sense, TransportId, TransportIds,
};

/// One run. The first byte says what the others are meant to be, so that one kind's inputs stay that kind's.
pub fn run(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 8 {
        0 => cdb(data),
        1 => basic(data),
        2 => relocation(data),
        3 => transport_ids(data),
        4 => keys(data),
        5 => full_status(data),
        6 => capabilities(data),
        _ => sense(data),
    }
}

/// What a writer writes, with room for `room` bytes.
fn written(room: usize, write: impl FnOnce(&mut DataIn<'_>)) -> Vec<u8> {
    let mut buffer = vec![0xee; room];
    let mut out = DataIn::new(&mut buffer);
    write(&mut out);
    out.finish().to_vec()
}

/// What a writer writes in all; with less room it is the beginning of that.
fn write_all(length: usize, write: impl Fn(&mut DataIn<'_>)) -> Vec<u8> {
    let whole = written(length + 16, &write);
    assert_eq!(whole.len(), length, "what is written is as long as announced");
    for room in [0, 1, length / 2, length.saturating_sub(1), length] {
        assert_eq!(written(room, &write), whole[..room.min(length)], "cut to {room}");
    }
    whole
}

fn cdb(data: &[u8]) {
    let Some(bytes) = data.first_chunk::<16>() else { return };
    let Ok(cdb) = Cdb::new(*bytes) else {
        assert!(!matches!(bytes[0], 0x5e | 0x5f));
        return;
    };
    assert_eq!((cdb.as_bytes(), cdb.command_bytes()), (bytes, &bytes[..10]));
    let command = cdb.command();
    assert!(!command.to_string().is_empty());
    let again = match command {
        Command::In(PersistentReserveIn { service_action, allocation_length }) => {
            assert!(service_action < 32);
            PersistentReserveIn { service_action, allocation_length }.cdb()
        }
        Command::Out(out) => {
            let PersistentReserveOut { service_action, scope_type, parameter_list_length } = out;
            let kind = out.reservation_type().map_or(scope_type & 15, ReservationType::code);
            assert_eq!(out.scope().code() << 4 | kind, scope_type);
            PersistentReserveOut { service_action, scope_type, parameter_list_length }.cdb()
        }
    };
    assert_eq!(again.command(), command);
}

fn basic(data: &[u8]) {
    let Ok(list) = BasicParameters::parse(data) else { return };
    assert!(list.length() <= data.len());
    let bytes = write_all(list.length(), |out| list.write(out));
    assert_eq!(BasicParameters::parse(&bytes), Ok(list));
    assert_eq!(list.to_bytes()[..16], bytes[..16]);
    if let Some(ports) = list.initiator_ports {
        transport_ids(ports.as_bytes());
    }
}

fn relocation(data: &[u8]) {
    let Ok(list) = MoveParameters::parse(data) else { return };
    let bytes = write_all(list.length(), |out| list.write(out));
    assert_eq!(MoveParameters::parse(&bytes), Ok(list));
    transport_id(&list.transport_id);
}

fn transport_ids(data: &[u8]) {
    let ids: Vec<_> = TransportIds::new(data).iter().collect();
    assert!(ids.len() <= data.len() / 24 + 1, "each takes at least 24 bytes");
    let (good, bad) = ids.split_at(ids.iter().position(Result::is_err).unwrap_or(ids.len()));
    assert!(bad.len() <= 1, "an error is the last");
    let mut rest = data;
    for id in good.iter().flatten() {
        let (same, after) = TransportId::parse(rest).expect("it was read before");
        assert_eq!((&same, TransportId::from_field(&rest[..rest.len() - after.len()])), (id, same));
        rest = after;
        transport_id(id);
    }
    assert_eq!(rest.is_empty(), bad.is_empty());
}

fn transport_id(id: &TransportId<'_>) {
    let bytes = write_all(id.length(), |out| id.write(out));
    if let TransportId::Other(raw) = id {
        assert_eq!(*raw, bytes);
    } else {
        assert_eq!(TransportId::parse(&bytes), Ok((*id, &[][..])));
        assert!(bytes.len() >= 24 && bytes.len().is_multiple_of(4));
    }
    let words = id.to_string();
    assert!(words.is_ascii() && !words.contains(|c: char| c.is_ascii_control()), "{words:?}");
}

fn keys(data: &[u8]) {
    let Ok(all) = ReadKeys::parse(data) else { return assert!(data.len() < 8) };
    let keys: Vec<_> = all.keys().collect();
    assert!(keys.len() * 8 <= data.len() - 8 && keys.len() == all.keys().len());
    let bytes = write_all(8 + 8 * keys.len(), |out| ReadKeys::write(all.generation, keys.iter().copied(), out));
    let again = ReadKeys::parse(&bytes).expect("it has a header");
    assert_eq!((again.generation, again.keys().collect::<Vec<_>>()), (all.generation, keys.clone()));
    assert!(!again.is_truncated());
    // Less data is a prefix, not another answer.
    for length in (8..data.len()).rev().take(64) {
        let some: Vec<_> = ReadKeys::parse(&data[..length]).expect("it has a header").keys().collect();
        assert!(keys.starts_with(&some));
    }
    let one = ReadReservation::parse(data).expect("the header is the same");
    let length = if one.reservation.is_some() { 24 } else { 8 };
    let bytes = write_all(length, |out| ReadReservation::write(one.generation, one.reservation, out));
    let again = ReadReservation::parse(&bytes).expect("it has a header");
    assert_eq!((again.generation, again.reservation), (one.generation, one.reservation));
}

fn full_status(data: &[u8]) {
    let Ok(all) = FullStatus::parse(data) else { return assert!(data.len() < 8) };
    let there: Vec<_> = all.descriptors().collect();
    assert!(there.len() * 24 <= data.len());
    let length = 8 + there.iter().map(|one| 24 + one.transport_id.length()).sum::<usize>();
    let bytes = write_all(length, |out| FullStatus::write(all.generation, there.iter().copied(), out));
    let again = FullStatus::parse(&bytes).expect("it has a header");
    assert!(!again.is_truncated());
    assert_eq!((again.generation, again.descriptors().collect::<Vec<_>>()), (all.generation, there.clone()));
    for one in &there {
        assert_eq!(one.reservation().map(|held| held.scope_type), one.holds);
        transport_id(&one.transport_id);
    }
    for length in (8..data.len()).rev().take(64) {
        let some: Vec<_> = FullStatus::parse(&data[..length]).expect("it has a header").descriptors().collect();
        assert!(there.starts_with(&some));
    }
}

fn capabilities(data: &[u8]) {
    let Ok(said) = Capabilities::parse(data) else { return assert!(data.len() < 2) };
    assert_eq!(Capabilities::parse(&said.to_bytes()), Ok(said));
    for kind in ReservationType::ALL {
        assert_eq!(said.supports(kind), said.types.map(|types| types >> kind.code() & 1 == 1));
    }
}

fn sense(data: &[u8]) {
    let sense = Sense::from_device(data);
    let kept = data.len().min(SENSE_LENGTH);
    assert_eq!(sense.as_bytes()[..kept], data[..kept]);
    assert!(sense.as_bytes()[kept..].iter().all(|byte| *byte == 0), "the rest is zero");
    if let Some(code) = sense.code() {
        assert!(code.key.0 < 16 && !code.to_string().is_empty());
        assert_eq!(Sense::fixed(code).code(), Some(code));
    }
    assert!(!sense.to_string().is_empty() && !format!("{sense:?}").is_empty());
    if let Some(header) = data.first_chunk::<HEADER_LENGTH>() {
        match ReplyHeader::parse(header) {
            Some(said) => assert_eq!(said.to_bytes(), *header),
            None => assert_ne!(header[..3], [0; 3]),
        }
    }
}
