use scsi_persistent_reservations::{DataIn, Reservation as HeldBy, TransportId};
use serde_json::{Value, json};

use super::*;

fn written(write: impl FnOnce(&mut DataIn<'_>)) -> Vec<u8> {
    let mut buffer = [0; 1024];
    let mut out = DataIn::new(&mut buffer);
    write(&mut out);
    out.finish().to_vec()
}

fn value(shape: Option<impl Serialize>) -> Value {
    serde_json::to_value(shape.expect("enough data")).expect("JSON")
}

#[test]
fn keys_have_their_shape() {
    let data = written(|out| ReadKeys::write(7, [0xa, u64::MAX, 0xa].into_iter().map(ReservationKey), out));
    assert_eq!(
        value(keys(&data)),
        json!({"generation": 7, "keys": ["0xa", "0xffffffffffffffff", "0xa"], "truncated": false})
    );
    assert_eq!(value(keys(&data[..16])), json!({"generation": 7, "keys": ["0xa"], "truncated": true}));
}

#[test]
fn a_reservation_has_its_shape() {
    let shape = |held| value(reservation(&written(|out| ReadReservation::write(3, held, out))));
    assert_eq!(shape(None), json!({"generation": 3, "reservation": null}));
    let held = HeldBy::new(ReservationKey(0xb), ReservationType::WriteExclusiveRegistrantsOnly);
    assert_eq!(
        shape(Some(held)),
        json!({"generation": 3, "reservation":
            {"key": "0xb", "type": 5, "type_name": "write-exclusive-registrants-only", "scope": 0}})
    );
    let everyone = HeldBy::new(ReservationKey::ZERO, ReservationType::ExclusiveAccessAllRegistrants);
    assert_eq!(
        shape(Some(everyone)),
        json!({"generation": 3, "reservation":
            {"key": null, "type": 8, "type_name": "exclusive-access-all-registrants", "scope": 0}})
    );
    let strange = HeldBy { key: ReservationKey(1), scope_type: 0x22 };
    assert_eq!(
        shape(Some(strange)),
        json!({"generation": 3, "reservation": {"key": "0x1", "type": 2, "type_name": null, "scope": 2}})
    );
}

#[test]
fn the_full_status_has_its_shape() {
    let holder = FullStatusDescriptor {
        key: ReservationKey(0xa),
        all_target_ports: false,
        holds: Some(1),
        relative_target_port: 2,
        transport_id: TransportId::Sas { address: [0x50, 0, 0, 0, 0, 0, 0, 1] },
    };
    let other = FullStatusDescriptor { all_target_ports: true, holds: None, ..holder };
    let data = written(|out| FullStatus::write(9, [holder, other].into_iter(), out));
    assert_eq!(
        value(status(&data)),
        json!({"generation": 9, "truncated": false, "registrations": [
            {"key": "0xa", "initiator": "sas:0x5000000000000001", "all_target_ports": false, "target_port": 2,
             "holds": {"key": "0xa", "type": 1, "type_name": "write-exclusive", "scope": 0}},
            {"key": "0xa", "initiator": "sas:0x5000000000000001", "all_target_ports": true, "target_port": null,
             "holds": null}]})
    );
}

#[test]
fn capabilities_have_their_shape() {
    let shape =
        |types| value(capabilities(&Capabilities { types, allow_commands: 1, ..Default::default() }.to_bytes()));
    let expected = |types: Value| {
        json!({
            "persist_through_power_loss": false, "persist_through_power_loss_active": false, "all_target_ports": false,
            "specify_initiator_ports": false, "compatible_reservation_handling": false, "replace_lost": false,
            "allow_commands": 1, "types": types
        })
    };
    assert_eq!(shape(None), expected(Value::Null));
    assert_eq!(shape(Some(0)), expected(json!([])));
    assert_eq!(shape(Some(0b10)), expected(json!([{"type": 1, "type_name": "write-exclusive"}])));
}

#[test]
fn data_that_are_too_short_have_no_shape() {
    for length in 0..8 {
        let data = &[0; 8][..length];
        assert!(keys(data).is_none() && reservation(data).is_none() && status(data).is_none());
    }
    assert!(capabilities(&[0]).is_none());
    let held = HeldBy::new(ReservationKey(1), ReservationType::WriteExclusive);
    let data = written(|out| ReadReservation::write(3, Some(held), out));
    assert!(reservation(&data[..12]).is_none());
}
