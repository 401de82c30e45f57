use pr_device::Kind;
use scsi_persistent_reservations::{
    Cdb, InAction, PersistentReserveIn, PersistentReserveOut, ReservationType, Sense, SenseCode, Status,
};

use pr_control::request_result;

use super::*;
use crate::{metrics::ACTIONS, peer::Peer};

fn formatter(keys: Keys) -> Formatter {
    Formatter::new(None, keys)
}

fn event(cdb: Cdb, keys: [u64; 2]) -> Event {
    Event {
        origin: Origin { client: 3, peer: Peer { pid: 12, uid: 107 }, connected: 0 },
        device: Identity { kind: Kind::Block, device: 0x810 },
        cdb,
        keys: Some(keys.map(ReservationKey)),
        status: Status::GOOD,
        sense: Sense::NONE,
        took: Duration::from_micros(5),
        refusal: None,
        note: None,
        time_us: 1,
    }
}

fn command(keys: Keys, cdb: Cdb, values: [u64; 2]) -> pr_control::Command {
    formatter(keys).command(&event(cdb, values))
}

#[test]
fn each_action_is_told_with_what_it_uses_and_nothing_else() {
    let kind = Some(ReservationType::WriteExclusiveRegistrantsOnly);
    let told = |action, kind| {
        let command = command(Keys::Show, PersistentReserveOut::new(action, kind, 24).cdb(), [1, 2]);
        (command.key.is_some(), command.service_action_key.is_some(), command.reservation_type.is_some())
    };
    assert_eq!(told(OutAction::Register, None), (true, true, false));
    assert_eq!(told(OutAction::RegisterAndIgnoreExistingKey, None), (false, true, false));
    assert_eq!(told(OutAction::Reserve, kind), (true, false, true));
    assert_eq!(told(OutAction::Release, kind), (true, false, true));
    assert_eq!(told(OutAction::Clear, None), (true, false, false));
    assert_eq!(told(OutAction::Preempt, kind), (true, true, true));
    assert_eq!(told(OutAction::PreemptAndAbort, kind), (true, true, true));
    assert_eq!(told(OutAction::RegisterAndMove, None), (true, true, false));
    assert_eq!(told(OutAction::ReplaceLostReservation, kind), (true, true, true));
    let odd = PersistentReserveOut { service_action: 0x1f, scope_type: 0x14, parameter_list_length: 24 }.cdb();
    let odd = command(Keys::Show, odd, [1, 2]);
    assert_eq!(odd.action, "PERSISTENT RESERVE OUT 0x1f");
    assert_eq!((odd.reservation_type.as_deref(), odd.scope.as_deref()), (Some("0x4"), Some("0x1")));
}

#[test]
fn keys_can_be_told_apart_without_being_told() {
    let cdb = PersistentReserveOut::new(OutAction::Register, None, 24).cdb();
    let formatter = formatter(Keys::Hash);
    let told = |keys| {
        let command = formatter.command(&event(cdb, keys));
        (command.key.unwrap(), command.service_action_key.unwrap())
    };
    let (first, second) = told([0xabcd, 0xef01]);
    assert!(first.starts_with('#') && first != second && !first.contains("abcd"), "{first} {second}");
    assert_eq!(told([0xef01, 0xabcd]), (second, first));
    // No key is no secret: it is how an unregistration is known.
    assert_eq!(told([0xabcd, 0]).1, "0x0");
    assert_eq!(command(Keys::Hide, cdb, [1, 2]).key, None);
    assert_eq!(command(Keys::Show, cdb, [0x1a, 2]).key.as_deref(), Some("0x1a"));
}

#[test]
fn a_refusal_says_why_and_a_command_what_the_device_said() {
    let cdb = PersistentReserveIn::new(InAction::ReadKeys, 8).cdb();
    let refused = Event { refusal: Some("because".into()), ..event(cdb, [0, 0]) };
    let record = formatter(Keys::Show).event(refused);
    assert!(matches!(&record.what, What::Refusal { reason, .. } if reason == "because"), "{record}");

    let cdb = PersistentReserveOut::new(OutAction::Clear, None, 24).cdb();
    let noted = Event { note: Some("path sdb is away".to_owned()), ..event(cdb, [7, 0]) };
    let record = formatter(Keys::Show).event(noted);
    let text = record.to_string();
    assert!(text.ends_with("; disk block 8:16; note: path sdb is away; client 3, process 12, user 107"), "{text}");

    let sense = Sense::fixed(SenseCode::RESERVATIONS_PREEMPTED);
    let failed = Event { status: Status::CHECK_CONDITION, sense, ..event(cdb, [7, 0]) };
    let record = formatter(Keys::Show).event(failed);
    assert_eq!(
        record.to_string(),
        "CLEAR: CHECK CONDITION, UNIT ATTENTION: RESERVATIONS PREEMPTED (6/2a/03) in 5 us; key 0x7; \
         disk block 8:16; client 3, process 12, user 107"
    );
}

#[test]
fn what_was_left_out_is_told_by_action_and_result() {
    let cdb = PersistentReserveOut::new(OutAction::Reserve, None, 24).cdb();
    let mut counts: Counts = [[0; REQUEST_RESULTS.len()]; ACTIONS];
    counts[metrics::action(&cdb)][request_result(0x18)] = 900;
    let record = formatter(Keys::Show).suppressed(Suppressed {
        origin: Origin::default(),
        time_us: 1,
        counts: Box::new(counts),
    });
    let What::LeftOut { counts } = record.what else { panic!("{record}") };
    assert_eq!(counts, [Count { action: "RESERVE".into(), result: "conflict".into(), count: 900 }]);
}
