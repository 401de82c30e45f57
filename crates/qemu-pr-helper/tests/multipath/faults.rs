//! A system call fails while a guest uses a map: its key is on every path or on none, and GOOD is true.

use std::sync::{Arc, Mutex};

use pr_lab::{Call, Faults, Life, each_call_fails, prelude::*};
use pr_wire::{Client, ClientError};
use scsi_pr::{Cdb, SenseKey, Status};

use crate::disk::{keys, willing};
use crate::lab::{Lab, node};
use crate::one_disk::Mapped;

const KEY: u64 = 0xa1;

/// Registers, and takes the registration back.
fn live(helper: &Helper, lab: &Lab) -> Life {
    let mapped = Arc::new(Mutex::new(Mapped::new(lab.bed().path("journal"))));
    let answering = Arc::clone(&mapped);
    helper.device().behave(move |command| answering.lock().expect("the disk").answer(command));
    let now = || {
        let mut mapped = mapped.lock().expect("the disk");
        mapped.spread();
        mapped.keys()
    };
    let conversation = || -> Result<Option<String>, ClientError> {
        let stream = pr_lab::try_connect(helper.socket()).map_err(ClientError::Connect)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(ClientError::Io)?;
        let mut client = Client::over(stream)?;
        for (key, new, then) in [(0, KEY, Some(KEY)), (KEY, 0, None)] {
            let reply = settle(&mut client, &keys(key, new))?;
            if reply.status != Status::GOOD {
                return Ok(Some(format!("answered {} {}", reply.status, reply.sense)));
            }
            if now() != [then; 2] {
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
    if within(PATIENCE, || now()[0] == now()[1]) {
        life
    } else {
        Life::Wrong(format!("{life:?}, and the keys are {:?}", now()))
    }
}

fn settle(client: &mut Client, list: &[u8]) -> Result<pr_wire::Reply, ClientError> {
    let cdb = Cdb::new(Raw::cdb_out(0, list.len())).expect("a command");
    loop {
        let reply = client.execute(node(0), &cdb, list)?;
        if reply.sense.code().is_none_or(|code| code.key != SenseKey(6)) {
            return Ok(reply);
        }
    }
}

fn calls_fail(is_meant: impl Fn(&Call) -> bool) {
    let lab = Lab::new();
    let start = |faults: &Faults| lab.launch(willing).faults(faults).start();
    let (failed, whole) = each_call_fails(start, |helper| live(helper, &lab), is_meant);
    println!("{failed} calls failed, and {whole} clients did not notice");
    assert!(failed > 20 && whole < failed, "{failed} calls failed, and {whole} clients did not notice");
}

#[test]
fn a_call_of_the_daemon_or_its_broker_fails_while_a_map_is_used() {
    calls_fail(|call| ["", "0"].contains(&call.process.as_str()));
}

#[test]
fn a_call_of_a_brokers_child_fails_while_a_map_is_used() {
    calls_fail(|call| call.process.starts_with("0."));
}
