use scsi_persistent_reservations::{DataIn, Reservation, TransportId};

use super::*;

fn disk() -> &'static Path {
    Path::new("/dev/sdb")
}

fn written(write: impl FnOnce(&mut DataIn<'_>)) -> Vec<u8> {
    let mut buffer = [0; 1024];
    let mut out = DataIn::new(&mut buffer);
    write(&mut out);
    out.finish().to_vec()
}

fn key_data(keys: &[u64]) -> Vec<u8> {
    written(|out| ReadKeys::write(7, keys.iter().copied().map(ReservationKey), out))
}

fn reservation_data(held: Option<Reservation>) -> Vec<u8> {
    written(|out| ReadReservation::write(3, held, out))
}

fn status_data(descriptors: &[FullStatusDescriptor<'_>]) -> Vec<u8> {
    written(|out| FullStatus::write(9, descriptors.iter().copied(), out))
}

#[test]
fn keys_are_listed_once_with_the_number_of_their_registrations() {
    assert_eq!(keys(disk(), &key_data(&[])).as_deref(), Some("/dev/sdb: no registrations (generation 7)\n"));
    assert_eq!(keys(disk(), &key_data(&[1])).as_deref(), Some("/dev/sdb: 1 registration (generation 7)\n  0x1\n"));
    assert_eq!(
        keys(disk(), &key_data(&[0xabc, 1, 0xabc])).as_deref(),
        Some("/dev/sdb: 3 registrations (generation 7)\n  0xabc  (2 registrations)\n  0x1\n")
    );
}

#[test]
fn keys_that_did_not_fit_are_mentioned() {
    let data = key_data(&[1, 2, 3]);
    let text = keys(disk(), &data[..24]).expect("two keys");
    assert!(text.ends_with("  0x2\n  ... and more: the device has 24 bytes of keys\n"), "{text}");
}

#[test]
fn a_reservation_says_who_and_which() {
    let show = |held| reservation(disk(), &reservation_data(held)).expect("an answer");
    assert_eq!(show(None), "/dev/sdb: not reserved (generation 3)\n");
    assert_eq!(
        show(Some(Reservation::new(ReservationKey(0xabc), ReservationType::WriteExclusiveRegistrantsOnly))),
        "/dev/sdb: reserved (generation 3)\n  holder  the registrant with key 0xabc\n  \
         type    Write Exclusive, registrants only (type 5)\n"
    );
    assert_eq!(
        show(Some(Reservation::new(ReservationKey::ZERO, ReservationType::ExclusiveAccessAllRegistrants))),
        "/dev/sdb: reserved (generation 3)\n  holder  every registrant\n  \
         type    Exclusive Access, all registrants (type 8)\n"
    );
    let strange = show(Some(Reservation { key: ReservationKey(1), scope_type: 0x22 }));
    assert!(strange.contains("type    unknown type 2, obsolete scope 0x2\n"), "{strange}");
}

#[test]
fn the_full_status_names_initiators_and_the_holder() {
    let iscsi = TransportId::Iscsi { name: b"iqn.2001-04.example:a", session: Some(b"00023d000001") };
    let sas = TransportId::Sas { address: [0x50, 0, 0, 0, 0, 0, 0, 1] };
    let holder = FullStatusDescriptor {
        key: ReservationKey(0xa),
        all_target_ports: false,
        holds: Some(5),
        relative_target_port: 2,
        transport_id: iscsi,
    };
    let other = FullStatusDescriptor {
        key: ReservationKey(0xb),
        all_target_ports: true,
        holds: None,
        relative_target_port: 0,
        transport_id: sas,
    };
    assert_eq!(
        full_status(disk(), &status_data(&[holder, other])).as_deref(),
        Some(
            "/dev/sdb: 2 registrations (generation 9)\n  \
             key 0xa\n    \
             initiator    iqn.2001-04.example:a,i,0x00023d000001\n    \
             target port  2\n    \
             holds        Write Exclusive, registrants only (type 5)\n  \
             key 0xb\n    \
             initiator    sas:0x5000000000000001\n    \
             target port  all\n"
        )
    );
}

#[test]
fn nothing_is_wider_than_a_terminal() {
    let name = format!("iqn.2001-04.com.example:{}", "a".repeat(199));
    let longest = FullStatusDescriptor {
        key: ReservationKey(u64::MAX),
        all_target_ports: false,
        holds: Some(6),
        relative_target_port: u16::MAX,
        transport_id: TransportId::Iscsi { name: name.as_bytes(), session: Some(b"00023d000001") },
    };
    let text = full_status(disk(), &status_data(&[longest])).expect("an answer");
    let capabilities = Capabilities { types: Some(Capabilities::all_types()), ..Capabilities::default() };
    let text = text + &super::capabilities(disk(), &capabilities.to_bytes()).expect("an answer");
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    let joined: String = text.lines().map(str::trim).collect();
    assert!(joined.contains(&format!("{name},i,0x00023d000001")), "{text}");
}

#[test]
fn registrations_that_did_not_fit_are_mentioned() {
    let one = FullStatusDescriptor {
        key: ReservationKey(1),
        all_target_ports: false,
        holds: None,
        relative_target_port: 1,
        transport_id: TransportId::Sas { address: [1; 8] },
    };
    let data = status_data(&[one, one]);
    let text = full_status(disk(), &data[..data.len() - 1]).expect("an answer");
    assert!(text.contains("1 registration ") && text.contains("more: the device has 96 bytes"), "{text}");
}

#[test]
fn capabilities_are_listed_in_words() {
    let all = Capabilities {
        persist_through_power_loss: true,
        persist_through_power_loss_active: true,
        all_target_ports: true,
        types: Some(0b10_0010),
        ..Capabilities::default()
    };
    let text = capabilities(disk(), &all.to_bytes()).expect("an answer");
    let value = |name: &str| {
        let line = text.lines().find(|line| line.contains(name)).expect(name);
        line.rsplit("  ").next().map(str::to_owned).expect("a value")
    };
    assert_eq!(value("--aptpl"), "yes, active now");
    assert_eq!(value("--all-target-ports"), "yes");
    assert_eq!(value("--spec-i-pt"), "no");
    assert_eq!(value("reservation types"), "Write Exclusive (type 1)");
    assert!(text.ends_with("  Write Exclusive, registrants only (type 5)\n"), "{text}");
}

#[test]
fn a_device_may_keep_its_types_to_itself_or_have_none() {
    for (types, words) in [(None, "not reported"), (Some(0), "none")] {
        let text = capabilities(disk(), &Capabilities { types, ..Capabilities::default() }.to_bytes());
        assert!(text.is_some_and(|text| text.ends_with(&format!("  {words}\n"))));
    }
}

#[test]
fn data_that_are_too_short_show_nothing() {
    for length in 0..8 {
        let data = &[0; 8][..length];
        assert_eq!((keys(disk(), data), reservation(disk(), data), full_status(disk(), data)), (None, None, None));
    }
    assert_eq!(capabilities(disk(), &[0]), None);
    // A reservation that was announced and cut off is not "no reservation".
    let held = Reservation::new(ReservationKey(1), ReservationType::WriteExclusive);
    let data = reservation_data(Some(held));
    assert_eq!(reservation(disk(), &data[..12]), None);
}
