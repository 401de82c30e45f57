use pr_sim::{LogicalUnit, Nexus};
use proptest::prelude::*;
use scsi_persistent_reservations::{
    Cdb, FullStatus, InAction, PersistentReserveIn, ReadKeys, ReadReservation, SenseCode,
};

use crate::bench::{Answer, bytes_of};
use crate::model::{Entry, Model, Sense, Verdict, Who};
use crate::script::{Pair, Scripted, Step, script, unit};

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn status_sense_data_and_state_are_the_models_after_every_command(size in unit(), script in script(80)) {
        let mut pair = Pair::new(size);
        for (number, step) in script.iter().enumerate() {
            perform(&mut pair, step).map_err(|error| TestCaseError::fail(format!("step {number}: {error}")))?;
        }
    }
}

fn perform(pair: &mut Pair, (port, target_port, step): &Scripted) -> Result<(), TestCaseError> {
    let (me, nexus) = pair.nexus(*port, *target_port);
    let (cdb, list) = match step {
        Step::Out(out) => pair.bytes(&me, out),
        Step::In { action, allocation_length } => {
            let command = PersistentReserveIn { service_action: *action, allocation_length: *allocation_length };
            (*command.cdb().as_bytes(), Vec::new())
        }
        Step::Reset => {
            pair.unit.reset();
            pair.model.reset();
            return same_state(pair);
        }
        Step::PowerCycle => {
            pair.unit.power_cycle();
            pair.model.power_cycle();
            return same_state(pair);
        }
        Step::Forget => {
            pair.unit.forget(nexus);
            pair.model.forget(&me);
            return same_state(pair);
        }
    };
    let cdb = Cdb::new(cdb).expect("one of the two commands");
    let mut buffer = vec![0; 0x1_0000];
    let answer: Answer = pair.unit.execute(nexus, &cdb, &list, &mut buffer).into();
    let verdict = pair.model.command(&me, cdb.as_bytes(), &list);
    let expected = match verdict {
        Verdict::Good => Answer { data: answer.data.clone(), ..Answer::GOOD },
        Verdict::Conflict => Answer::CONFLICT,
        Verdict::Check((key, code, qualifier)) => Answer::check(SenseCode::new(key, code, qualifier)),
    };
    prop_assert_eq!(&answer, &expected, "{:02x?} {:02x?}", cdb.command_bytes(), &list);
    if verdict == Verdict::Good
        && let Step::In { action, allocation_length } = step
    {
        let action = InAction::from_code(*action).expect("it succeeded");
        let whole = whole_data(&pair.unit, nexus, action);
        prop_assert_eq!(&answer.data, &whole[..whole.len().min(usize::from(*allocation_length))]);
        same_data(&pair.model, action, &whole)?;
    }
    same_state(pair)
}

/// All of the data, asked of a copy: the answer must not depend on who asks or how often.
fn whole_data(unit: &LogicalUnit, nexus: Nexus, action: InAction) -> Vec<u8> {
    let mut buffer = vec![0; 0x1_0000];
    unit.clone().execute(nexus, &PersistentReserveIn::new(action, 0xffff).cdb(), &[], &mut buffer).data.to_vec()
}

/// The data is what the model knows. The order of registrations is the unit's own affair.
fn same_data(model: &Model, action: InAction, data: &[u8]) -> Result<(), TestCaseError> {
    match action {
        InAction::ReadKeys => {
            let told = ReadKeys::parse(data).expect("a header");
            let mut keys: Vec<_> = told.keys().map(|key| key.0).collect();
            let mut expected: Vec<_> = model.entries.iter().map(|entry| entry.key).collect();
            keys.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!((told.generation, keys), (model.generation, expected));
            prop_assert_eq!(data.len(), 8 + 8 * model.entries.len());
        }
        InAction::ReadReservation => {
            let told = ReadReservation::parse(data).expect("a header");
            let expected = model.reservation.as_ref().map(|(kind, holder)| match kind {
                7 | 8 => (0, *kind),
                _ => (model.key_of(holder).expect("a holder is registered"), *kind),
            });
            prop_assert_eq!(told.generation, model.generation);
            prop_assert_eq!(told.reservation.map(|held| (held.key.0, held.scope_type)), expected);
        }
        InAction::ReportCapabilities => {
            prop_assert_eq!(data, [0, 8, 0x1d, 0x90 | u8::from(model.aptpl), 0xea, 0x01, 0, 0]);
        }
        InAction::ReadFullStatus => {
            let told = FullStatus::parse(data).expect("a header");
            let mut descriptors: Vec<_> = told
                .descriptors()
                .map(|d| {
                    let who = (bytes_of(&d.transport_id), d.relative_target_port);
                    (Entry { who, key: d.key.0, all: d.all_target_ports }, d.holds)
                })
                .collect();
            let held = |who: &Who| model.reservation.as_ref().filter(|_| model.is_holder(who)).map(|(kind, _)| *kind);
            let mut expected: Vec<_> = model.entries.iter().map(|entry| (entry.clone(), held(&entry.who))).collect();
            descriptors.sort();
            expected.sort();
            prop_assert_eq!((told.generation, descriptors), (model.generation, expected));
        }
    }
    Ok(())
}

/// What the unit lets one see of its state is the state of the model.
fn same_state(pair: &mut Pair) -> Result<(), TestCaseError> {
    let Pair { unit, model } = pair;
    let who = |nexus: Nexus| -> Who { (bytes_of(&unit.transport_id(nexus.initiator)), nexus.target_port) };
    let mut entries: Vec<_> =
        unit.registrations().map(|(n, r)| Entry { who: who(n), key: r.key.0, all: r.all_target_ports }).collect();
    let mut expected = model.entries.clone();
    entries.sort();
    expected.sort();
    prop_assert_eq!(entries, expected);
    prop_assert_eq!(unit.generation(), model.generation);
    prop_assert_eq!(unit.persists_through_power_loss(), model.aptpl);

    let held = unit.reservation().map(|held| (held.kind.code(), held.holder.map(who)));
    let single = |(kind, holder): &(u8, Who)| (*kind, (*kind < 7).then(|| holder.clone()));
    prop_assert_eq!(held, model.reservation.as_ref().map(single));

    let mut aborted: Vec<_> = unit.aborted().iter().map(|nexus| who(*nexus)).collect();
    aborted.sort();
    let mut expected = model.aborted.clone();
    expected.sort();
    prop_assert_eq!(aborted, expected);

    for (nexus, queue) in model.logged_in.clone() {
        let nexus = pair
            .unit
            .log_in(&scsi_persistent_reservations::TransportId::from_field(&nexus.0), nexus.1)
            .expect("it is there");
        let numbers = |code: &SenseCode| -> Sense { (code.key.0, code.additional.code, code.additional.qualifier) };
        let told: Vec<_> = pair.unit.unit_attentions(nexus).iter().map(numbers).collect();
        prop_assert_eq!(told, queue);
    }
    Ok(())
}
