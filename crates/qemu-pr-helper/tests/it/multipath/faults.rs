//! A system call fails while a guest uses a map: its key is on every path or on none, and GOOD is true.

use pr_lab::{Call, Faults, Life, each_call_fails, prelude::*};
use qemu_pr_protocol::{Client, ClientError};
use scsi_persistent_reservations::{Cdb, SenseKey, Status};

use crate::multipath::disk::keys;
use crate::multipath::lab::{Lab, device, node};
use crate::multipath::mapped::Mapped;

const KEY: u64 = 0xa1;

/// Registers, whatever was there before, and takes the registration back. A path that could not be given the key or could not
/// lose it must have been failed.
fn live(helper: &Helper, lab: &Lab, mapped: &Mapped) -> Life {
    for path in [1, 2] {
        lab.mapper().set_active(device(path), true);
    }
    let now = || -> Vec<Option<u64>> {
        let used = mapped.keys().into_iter().zip(1..).filter(|(_, path)| lab.mapper().is_active(device(*path)));
        used.map(|(key, _)| key).collect()
    };
    let conversation = || -> Result<Option<String>, ClientError> {
        let stream = pr_lab::try_connect(helper.socket()).map_err(ClientError::Connect)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(ClientError::Io)?;
        let mut client = Client::over(stream)?;
        for (action, key, new, then) in [(6, 0, KEY, Some(KEY)), (0, KEY, 0, None)] {
            let reply = settle(&mut client, action, &keys(key, new))?;
            if reply.status != Status::GOOD {
                return Ok(Some(format!("answered {} {}", reply.status, reply.sense)));
            }
            if now().iter().any(|key| *key != then) || now().is_empty() {
                return Ok(Some(format!("GOOD, and the keys are {:?}", now())));
            }
        }
        Ok(None)
    };
    let life = match conversation() {
        Ok(None) => Life::Whole,
        Ok(Some(text)) if text.starts_with("answered") => Life::Failed(text),
        Ok(Some(wrong)) => Life::Wrong(wrong),
        Err(ClientError::HungUp | ClientError::Connect(_)) => Life::Failed("hung up".to_owned()),
        Err(error) => Life::Wrong(format!("{error:?}")),
    };
    // Without its daemon's client the broker may still be at it.
    if within(PATIENCE, || now().windows(2).all(|pair| pair[0] == pair[1])) {
        life
    } else {
        Life::Wrong(format!("{life:?}, and the keys are {:?}", now()))
    }
}

fn settle(client: &mut Client, action: u8, list: &[u8]) -> Result<qemu_pr_protocol::Reply, ClientError> {
    let cdb = Cdb::new(Raw::cdb_out(action, list.len())).expect("a command");
    loop {
        let reply = client.execute(node(0), &cdb, list)?;
        if reply.sense.code().is_none_or(|code| code.key != SenseKey(6)) {
            return Ok(reply);
        }
    }
}

fn calls_fail(is_meant: impl Fn(&Call) -> bool) {
    let lab = Lab::new();
    let mapped = Mapped::default();
    let start = |faults: &Faults| mapped.launch(&lab).faults(faults).start();
    let (failed, whole) = each_call_fails(start, |helper| live(helper, &lab, &mapped), is_meant);
    println!("{failed} calls failed, and {whole} clients did not notice");
    assert!(failed > 20 && whole < failed, "{failed} calls failed, and {whole} clients did not notice");
}

#[test]
fn a_call_of_the_daemon_or_of_the_brokers_guard_and_keeper_fails_while_a_map_is_used() {
    calls_fail(|call| ["", "0", "0.0"].contains(&call.process.as_str()));
}

#[test]
fn a_call_of_a_worker_fails_while_a_map_is_used() {
    calls_fail(|call| call.process.starts_with("0.0."));
}
