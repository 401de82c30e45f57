//! Registering: a key belongs on every path, and where multipathd finds it for paths that come back.

use anyhow::{Result, ensure};
use scsi_persistent_reservations::{OutAction, ReservationType, SenseCode};

use super::scene::State;
use super::stage::{Check, Stage};
use super::{KEY, NEW_KEY, THIRD_KEY};
use crate::request::Request;

pub const CHECKS: &[Check] = &[
    ("REGISTER puts the key on both paths and into prkeys", register),
    ("REGISTER changes the key on both paths and in prkeys", change),
    ("REGISTER AND IGNORE EXISTING KEY changes the key on both paths and in prkeys", change_anyhow),
    ("REGISTER with zero leaves neither key nor prkeys entry", unregister),
    ("REGISTER repairs a map that is registered on one path only", repair),
    ("CLEAR leaves neither keys nor reservation nor prkeys entry", clear),
    ("REGISTER AND MOVE and REPLACE LOST RESERVATION are invalid fields in the CDB", unsupported),
    ("forty TransportIDs of any kind get an answer, and so does the next command", transport_ids),
];

fn register(stage: &mut Stage<'_>) -> Result<()> {
    stage.good(&Request::register(0, KEY))?;
    stage.scene.expect(&State::registered(KEY))
}

fn change(stage: &mut Stage<'_>) -> Result<()> {
    stage.good(&Request::register(0, KEY))?;
    stage.good(&Request::register(KEY, NEW_KEY))?;
    stage.scene.expect(&State::registered(NEW_KEY))
}

fn change_anyhow(stage: &mut Stage<'_>) -> Result<()> {
    stage.good(&Request::register_anyhow(KEY))?;
    stage.scene.expect(&State::registered(KEY))?;
    stage.good(&Request::register_anyhow(NEW_KEY))?;
    stage.scene.expect(&State::registered(NEW_KEY))
}

fn unregister(stage: &mut Stage<'_>) -> Result<()> {
    stage.third(&Request::register(0, THIRD_KEY))?;
    stage.good(&Request::register(0, KEY))?;
    stage.good(&Request::register(KEY, 0))?;
    let alone = State { third: Some(THIRD_KEY), keys: vec![THIRD_KEY], ..State::default() };
    stage.scene.expect(&alone)?;
    stage.good(&Request::register(0, KEY))?;
    // The tool has no such command: whoever leaves says the key.
    stage.as_qemu(&Request::register_anyhow(0))?.good()?;
    stage.scene.expect(&alone)
}

/// What a helper without multipath, or a path that came back while multipathd was away, leaves behind.
fn repair(stage: &mut Stage<'_>) -> Result<()> {
    stage.scene.paths[0].directly(&Request::register(0, KEY))?.good()?;
    stage.good(&Request::register_anyhow(KEY))?;
    stage.scene.expect(&State::registered(KEY))
}

fn clear(stage: &mut Stage<'_>) -> Result<()> {
    stage.third(&Request::register(0, THIRD_KEY))?;
    stage.good(&Request::register(0, KEY))?;
    stage.good(&Request::reserve(KEY, ReservationType::WriteExclusiveRegistrantsOnly))?;
    stage.good(&Request::clear(KEY))?;
    stage.scene.expect(&State::default())
}

fn unsupported(stage: &mut Stage<'_>) -> Result<()> {
    stage.good(&Request::register(0, KEY))?;
    let list = |length: usize| [&KEY.to_be_bytes()[..], &NEW_KEY.to_be_bytes()[..], &vec![0; length - 16]].concat();
    for (action, length) in [(OutAction::RegisterAndMove, 48), (OutAction::ReplaceLostReservation, 24)] {
        let request = Request::odd_change(&action.to_string(), action.code(), 0, &list(length));
        stage.as_qemu(&request)?.check_condition(SenseCode::INVALID_FIELD_IN_CDB)?;
    }
    stage.scene.expect(&State::registered(KEY))
}

fn transport_ids(stage: &mut Stage<'_>) -> Result<()> {
    let fibre_channel = [0u8; 24];
    let mut sas = [0x50u8; 24];
    sas[0] = 0x06;
    let iscsi = |length: u8| {
        let name = "iqn.2024-01.test.bed:".bytes().chain(std::iter::repeat(b'x')).take(usize::from(length) - 1);
        [0x05, 0, 0, length].into_iter().chain(name).chain([0]).collect::<Vec<u8>>()
    };
    let of = |one: &dyn Fn(u8) -> Vec<u8>| (0..40).flat_map(one).collect::<Vec<u8>>();
    let lists = [
        of(&|_| fibre_channel.to_vec()),
        of(&|number| iscsi(24 + 4 * (number % 40))),
        of(&|number| [fibre_channel.to_vec(), sas.to_vec(), iscsi(40)][usize::from(number % 3)].clone()),
        of(&|number| vec![number.wrapping_mul(37); 25]),
        // A length that leads far out of the list.
        vec![0x05, 0, 0xff, 0xff],
        vec![0xff; 960],
    ];
    for list in lists {
        let length = u32::try_from(list.len())?.to_be_bytes();
        let spec_i_pt = [&[0; 8][..], &KEY.to_be_bytes(), &[0, 0, 0, 0, 0x08, 0, 0, 0], &length, &list].concat();
        let request = Request::odd_change("REGISTER with TransportIDs", OutAction::Register.code(), 0, &spec_i_pt);
        // Any answer will do.
        let answer = stage.as_qemu(&request)?;
        let keys = stage.scene.third.keys()?;
        ensure!(keys.iter().all(|key| *key == KEY), "after {answer} the keys are {keys:x?}");
        stage.good(&Request::register_anyhow(NEW_KEY))?;
        stage.scene.reset()?;
    }
    Ok(())
}
