//! What always holds, said without a model.

use pr_sim::{CommandClass, InitiatorPort, LogicalUnit, Nexus};
use proptest::{collection::vec, prelude::*};
use scsi_persistent_reservations::{Cdb, Command, InAction, OutAction, PersistentReserveIn, Status};

use crate::bench::{A, A2, B, C, Clear, Preempt, PreemptAndAbort, bytes_of};
use crate::script::{Out, Pair, Scripted, Step, script, unit};

fn config() -> ProptestConfig {
    ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() }
}

/// A PERSISTENT RESERVE OUT that was carried out or refused, with the unit before and after it.
struct Seen<'a> {
    before: &'a LogicalUnit,
    after: &'a LogicalUnit,
    nexus: Nexus,
    cdb: Cdb,
    list: &'a [u8],
    status: Status,
}

impl Seen<'_> {
    fn action(&self) -> Option<OutAction> {
        match self.cdb.command() {
            Command::Out(command) => command.action(),
            Command::In(_) => None,
        }
    }

    fn succeeded(&self, action: OutAction) -> bool {
        self.status == Status::GOOD && self.action() == Some(action)
    }
}

/// Runs a script and shows every command of it, except that one which would only fetch a unit attention is sent
/// again before it is shown.
fn watch(
    size: (u16, usize),
    steps: &[Scripted],
    mut show: impl FnMut(Seen<'_>) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let mut pair = Pair::new(size);
    for (port, target_port, step) in steps {
        let (me, nexus) = pair.nexus(*port, *target_port);
        match step {
            Step::Out(out) => {
                let (cdb, list) = bytes(&pair, &me, out);
                while !pair.unit.unit_attentions(nexus).is_empty() {
                    let _ = pair.unit.execute(nexus, &cdb, &list, &mut []);
                    pair.model.command(&me, cdb.as_bytes(), &list);
                }
                let before = pair.unit.clone();
                let status = pair.unit.execute(nexus, &cdb, &list, &mut []).status;
                // The model only keeps the script going: it knows the keys.
                pair.model.command(&me, cdb.as_bytes(), &list);
                show(Seen { before: &before, after: &pair.unit, nexus, cdb, list: &list, status })?;
            }
            Step::PowerCycle => {
                pair.unit.power_cycle();
                pair.model.power_cycle();
            }
            _ => {}
        }
    }
    Ok(())
}

fn bytes(pair: &Pair, me: &crate::model::Who, out: &Out) -> (Cdb, Vec<u8>) {
    let (cdb, list) = pair.bytes(me, out);
    (Cdb::new(cdb).expect("a PERSISTENT RESERVE OUT"), list)
}

fn ask(unit: &LogicalUnit, action: InAction, allocation_length: u16) -> Vec<u8> {
    let mut unit = unit.clone();
    let nobody = Nexus { initiator: InitiatorPort(0x77), target_port: 1 };
    let mut buffer = vec![0; usize::from(allocation_length)];
    unit.execute(nobody, &PersistentReserveIn::new(action, allocation_length).cdb(), &[], &mut buffer).data.to_vec()
}

fn additional_length(data: &[u8]) -> u32 {
    u32::from_be_bytes([data[4], data[5], data[6], data[7]])
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_state_is_always_one_that_can_be(size in unit(), steps in script(60)) {
        watch(size, &steps, |Seen { after: unit, .. }| {
            prop_assert!(unit.registrations().all(|(_, registration)| !registration.key.is_zero()));
            prop_assert!(unit.registrations().len() <= size.1);
            if let Some(held) = unit.reservation() {
                prop_assert_eq!(held.holder.is_none(), held.kind.is_all_registrants());
                let registered = |holder| unit.registrations().any(|(nexus, _)| nexus == holder);
                prop_assert!(held.holder.is_none_or(registered), "the holder is registered");
                prop_assert!(unit.registrations().len() > 0);
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_command_that_fails_changes_nothing(size in unit(), steps in script(60)) {
        watch(size, &steps, |Seen { before, after, status, .. }| {
            if status != Status::GOOD {
                let mut before = before.clone();
                // That the last PREEMPT AND ABORT aborted something is forgotten with the next command.
                let _ = before.execute(A, &PersistentReserveIn::new(InAction::ReadKeys, 0).cdb(), &[], &mut []);
                let mut after = after.clone();
                let _ = after.execute(A, &PersistentReserveIn::new(InAction::ReadKeys, 0).cdb(), &[], &mut []);
                prop_assert_eq!(before, after);
            }
            Ok(())
        })?;
    }

    #[test]
    fn every_success_counts_once_but_reserve_and_release(size in unit(), steps in script(60)) {
        watch(size, &steps, |seen| {
            let quiet = matches!(seen.action(), Some(OutAction::Reserve | OutAction::Release));
            let counts = u32::from(seen.status == Status::GOOD && !quiet);
            prop_assert_eq!(seen.after.generation(), seen.before.generation() + counts);
            Ok(())
        })?;
    }

    #[test]
    fn what_is_reported_agrees_with_itself(size in unit(), steps in script(40)) {
        watch(size, &steps, |Seen { after: unit, .. }| {
            let keys = ask(unit, InAction::ReadKeys, 0xffff);
            let data = ask(unit, InAction::ReadFullStatus, 0xffff);
            let status = scsi_persistent_reservations::FullStatus::parse(&data).expect("a header");
            let registrations = unit.registrations().len();
            prop_assert_eq!(additional_length(&keys) as usize, 8 * registrations);
            prop_assert_eq!(status.descriptors().count(), registrations);
            prop_assert!(!status.is_truncated());
            let holders = status.descriptors().filter(|d| d.holds.is_some()).count();
            let expected = match unit.reservation() {
                None => 0,
                Some(held) if held.holder.is_some() => 1,
                Some(_) => registrations,
            };
            prop_assert_eq!(holders, expected);
            Ok(())
        })?;
    }

    #[test]
    fn the_allocation_length_cuts_and_nothing_else(size in unit(), steps in script(20), room in 0..200u16) {
        watch(size, &steps, |Seen { after: unit, .. }| {
            for action in InAction::ALL {
                let whole = ask(unit, *action, 0xffff);
                let cut = ask(unit, *action, room);
                prop_assert_eq!(&cut, &whole[..whole.len().min(usize::from(room))]);
            }
            Ok(())
        })?;
    }

    #[test]
    fn to_ask_changes_nothing(size in unit(), steps in script(30)) {
        watch(size, &steps, |Seen { after: unit, nexus, .. }| {
            let mut asked = unit.clone();
            for service_action in 0..32 {
                let cdb = PersistentReserveIn { service_action, allocation_length: 64 }.cdb();
                let _ = asked.execute(nexus, &cdb, &[], &mut [0; 64]);
            }
            prop_assert_eq!(asked.registrations().collect::<Vec<_>>(), unit.registrations().collect::<Vec<_>>());
            prop_assert_eq!((asked.reservation(), asked.generation()), (unit.reservation(), unit.generation()));
            Ok(())
        })?;
    }

    #[test]
    fn after_a_clear_nobody_is_registered(size in unit(), steps in script(60)) {
        watch(size, &steps, |seen| {
            if seen.succeeded(Clear) {
                prop_assert_eq!((seen.after.registrations().len(), seen.after.reservation()), (0, None));
            }
            Ok(())
        })?;
    }

    #[test]
    fn after_a_preempt_nobody_else_has_the_key(size in unit(), steps in script(60)) {
        watch(size, &steps, |seen| {
            let Seen { before, after: unit, nexus, list, .. } = seen;
            if seen.succeeded(Preempt) || seen.succeeded(PreemptAndAbort) {
                let key = u64::from_be_bytes(list[8..16].try_into().expect("eight bytes"));
                prop_assert!(unit.registrations().all(|(other, r)| other == nexus || r.key.0 != key));
                // Only a PREEMPT AND ABORT aborts, and exactly those whose registrations ended.
                let ended: Vec<_> = before
                    .registrations()
                    .map(|(other, _)| other)
                    .filter(|other| unit.registrations().all(|(n, _)| n != *other))
                    .collect();
                prop_assert_eq!(unit.aborted(), if seen.succeeded(PreemptAndAbort) { &ended[..] } else { &[] });
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_reserve_that_succeeded_succeeds_again_and_changes_nothing(size in unit(), steps in script(60)) {
        watch(size, &steps, |seen| {
            if seen.succeeded(OutAction::Reserve) {
                let mut again = seen.after.clone();
                prop_assert_eq!(again.execute(seen.nexus, &seen.cdb, seen.list, &mut []).status, Status::GOOD);
                prop_assert_eq!(&again, seen.after);
            }
            Ok(())
        })?;
    }

    #[test]
    fn who_does_not_hold_the_reservation_cannot_release_it(size in unit(), steps in script(60)) {
        watch(size, &steps, |seen| {
            let Seen { before, after, nexus, .. } = seen;
            let holds = before.reservation().is_some_and(|held| {
                held.holder.map_or(before.registrations().any(|(n, _)| n == nexus), |holder| holder == nexus)
            });
            if !holds && seen.action() == Some(OutAction::Release) {
                prop_assert_eq!(before.reservation(), after.reservation());
                prop_assert_eq!(before.generation(), after.generation());
            }
            Ok(())
        })?;
    }

    #[test]
    fn when_all_have_left_the_unit_is_as_it_was(size in unit(), steps in script(60)) {
        let mut unit = None;
        watch(size, &steps, |Seen { after, .. }| { unit = Some(after.clone()); Ok(()) })?;
        let Some(mut unit) = unit else { return Ok(()) };
        let leave = crate::bench::keys(0, 0).to_bytes();
        let cdb = scsi_persistent_reservations::PersistentReserveOut::new(OutAction::RegisterAndIgnoreExistingKey, None, 24).cdb();
        // Someone has to leave, to take the most recent APTPL back. It may have unit attentions to fetch first.
        let join = crate::bench::keys(0, 1).to_bytes();
        for _ in 0..5 {
            let _ = unit.execute(A, &cdb, &join, &mut []);
        }
        let registrants: Vec<_> = unit.registrations().map(|(nexus, _)| nexus).collect();
        for nexus in registrants {
            while unit.execute(nexus, &cdb, &leave, &mut []).status != Status::GOOD {}
        }
        prop_assert_eq!((unit.registrations().len(), unit.reservation()), (0, None));
        // What is left is who is logged in, and the counter; both end here.
        for port in 0..crate::script::PORTS {
            for target_port in 1..=size.0 {
                let id = crate::script::transport_id(port);
                let nexus = unit.log_in(&scsi_persistent_reservations::TransportId::from_field(&id), target_port).expect("it is there");
                unit.forget(nexus);
            }
        }
        unit.power_cycle();
        prop_assert_eq!(unit, LogicalUnit::new(size.0).with_max_registrations(size.1));
    }

    #[test]
    fn whatever_bytes_come_the_unit_answers(
        commands in vec((0..4usize, any::<[u8; 15]>(), any::<bool>(), vec(any::<u8>(), 0..120)), 1..40),
        buffer in 0..100usize,
    ) {
        let mut unit = LogicalUnit::new(2).with_max_registrations(8);
        for (port, rest, asks, list) in commands {
            let mut bytes = [if asks { 0x5e } else { 0x5f }; 16];
            bytes[1..].copy_from_slice(&rest);
            if rest[14] & 1 != 0 {
                bytes[5..9].copy_from_slice(&u32::try_from(list.len()).expect("a short list").to_be_bytes());
            }
            let cdb = Cdb::new(bytes).expect("one of the two commands");
            let mut buffer = vec![0; buffer];
            let completion = unit.execute([A, B, C, A2][port], &cdb, &list, &mut buffer);
            let has_sense = !completion.sense.is_none();
            prop_assert_eq!(has_sense, completion.status == Status::CHECK_CONDITION);
            prop_assert!(completion.data.is_empty() || completion.status == Status::GOOD);
        }
    }

    #[test]
    fn every_command_descriptor_block_has_a_class(cdb in vec(any::<u8>(), 0..40)) {
        let unit = LogicalUnit::default();
        prop_assert!(unit.admits(A, CommandClass::of(&cdb)));
    }

    #[test]
    fn every_sas_port_is_found_by_its_transport_id(number in 0..0xf000_0000_0000_0000u64) {
        let mut unit = LogicalUnit::default();
        let port = InitiatorPort(number);
        let id = bytes_of(&unit.transport_id(port));
        let nexus = unit.log_in(&scsi_persistent_reservations::TransportId::from_field(&id), 1);
        prop_assert_eq!(nexus, Some(Nexus { initiator: port, target_port: 1 }));
    }
}
