//! A client's life, with a system call that fails.

use std::fs::File;

use pr_lab::{Faults, Life, each_call_fails, prelude::*};
use qemu_pr_protocol::{Client, ClientError};
use scsi_persistent_reservations::{Cdb, Status};

use crate::faults::stage::{KEYS, Stage};

fn cdb(bytes: [u8; 16]) -> Cdb {
    Cdb::new(bytes).expect("a command")
}

/// PERSISTENT RESERVE IN and OUT on a disk; what is said of them has to be true.
fn live(helper: &Helper, device: &File) -> Life {
    let outs = || helper.device().seen().iter().filter(|command| command.is_out()).count();
    let before = outs();
    let conversation = || -> Result<Option<String>, ClientError> {
        let mut client = Client::over(connected(helper)?)?;
        client.set_timeout(Some(PATIENCE)).map_err(ClientError::Io)?;
        let read = client.execute(device, &cdb(Raw::cdb_in(0, 8)), &[])?;
        if read.status == Status::GOOD && read.data != KEYS {
            return Ok(Some(format!("wrong data: {:?}", read.data)));
        }
        let list = [0; 24];
        let written = client.execute(device, &cdb(Raw::cdb_out(6, list.len())), &list)?;
        if written.status == Status::GOOD && outs() != before + 1 {
            return Ok(Some("a GOOD that the disk knows nothing of".to_owned()));
        }
        // Again on the same connection, after whatever happened.
        let again = client.execute(device, &cdb(Raw::cdb_in(0, 8)), &[])?;
        Ok([read, written, again]
            .iter()
            .find(|reply| reply.status != Status::GOOD)
            .map(|reply| format!("answered {} {}", reply.status, reply.sense)))
    };
    match conversation() {
        Ok(None) => Life::Whole,
        Ok(Some(text)) if text.starts_with("answered") => Life::Failed(text),
        Ok(Some(wrong)) => Life::Wrong(wrong),
        Err(ClientError::HungUp | ClientError::Connect(_)) => Life::Failed("hung up".to_owned()),
        Err(error) => Life::Wrong(format!("{error:?}")),
    }
}

fn connected(helper: &Helper) -> Result<std::os::unix::net::UnixStream, ClientError> {
    let stream = pr_lab::try_connect(helper.socket()).map_err(ClientError::Connect)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(ClientError::Io)?;
    Ok(stream)
}

#[test]
fn a_call_while_a_client_is_served_fails() {
    let stage = Stage::new(false);
    let start = |faults: &Faults| stage.launch(faults).start();
    let (failed, whole) = each_call_fails(start, |helper| live(helper, &null()), |_| true);
    println!("{failed} calls failed, and {whole} clients did not notice");
    assert!(failed > 20 && whole < failed, "{failed} calls failed, and {whole} clients did not notice");
}
