//! The example of `qemu-pr-protocol` for virtual machine monitors, with this helper.

use std::{
    fs::File,
    io,
    os::unix::net::{UnixDatagram, UnixStream},
    thread,
};

use pr_lab::prelude::*;
use scsi_persistent_reservations::{InAction, PersistentReserveIn, PrOut, ReadKeys, ReservationKey};

use crate::ours;

#[expect(dead_code, reason = "the example's main function is for a reader's own helper and disk")]
#[path = "../../../qemu-pr-protocol/examples/vmm.rs"]
mod example;

/// Where the parameter data of an answer begins: behind the status and the sense data.
const DATA: usize = 1 + scsi_persistent_reservations::SENSE_LENGTH;

/// The answer to a guest's command.
fn answer(guest: &UnixDatagram, cdb: &[u8; 16], parameters: &[u8]) -> Vec<u8> {
    guest.send(&[&cdb[..], parameters].concat()).expect("a living monitor");
    let mut answer = vec![0; DATA + 8192];
    let length = guest.recv(&mut answer).expect("an answer");
    answer.truncate(length);
    answer
}

/// A guest of the example, on a simulated disk of this helper, and how it ended for the monitor. What `act` keeps of the
/// helper lives as long as the guest.
fn with_guest(act: impl Fn(&UnixDatagram, Helper) -> Option<Helper>, ended: impl Fn(Result<(), String>)) {
    ours(|bed| {
        let helper = bed.launch().arg("--simulate").start();
        let disk = bed.path("disk");
        File::create_new(&disk).expect("a file");
        let disk = File::options().read(true).write(true).open(disk).expect("a file");
        let connection = UnixStream::connect(helper.socket()).expect("a helper");
        let (monitor, guest) = UnixDatagram::pair().expect("two sockets");
        guest.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let serving =
            thread::spawn(move || example::serve(&connection, &disk, &monitor).map_err(|error| error.to_string()));
        let kept = act(&guest, helper);
        // The guest's end, unless the monitor has ended before.
        let _: io::Result<usize> = guest.send(&[]);
        ended(serving.join().expect("the monitor does not panic"));
        drop(kept);
    });
}

#[test]
fn a_monitor_serves_its_guest_in_its_own_event_loop() {
    let key = ReservationKey(0xabc);
    let register = PrOut::register(ReservationKey::ZERO, key);
    let (register, list) = (*register.cdb().as_bytes(), register.list());
    let read_keys = *PersistentReserveIn::new(InAction::ReadKeys, 8192).cdb().as_bytes();
    let act = |guest: &UnixDatagram, helper| {
        assert_eq!(answer(guest, &register, &list), [0; DATA], "GOOD");
        // Neither of these reaches the helper, which would end the connection.
        assert_eq!(answer(guest, &register, &list[..23])[..4], [2, 0x70, 0, 5]);
        assert_eq!(answer(guest, &[0x12; 16], &[])[..4], [2, 0x70, 0, 5]);
        let keys = answer(guest, &read_keys, &[]);
        assert_eq!(keys[0], 0, "GOOD");
        let keys = ReadKeys::parse(&keys[DATA..]).expect("keys");
        assert_eq!(keys.keys().collect::<Vec<_>>(), [key]);
        Some(helper)
    };
    with_guest(act, |served| assert_eq!(served, Ok(())));
}

#[test]
fn a_monitor_notices_that_the_helper_ended() {
    let act = |guest: &UnixDatagram, helper| {
        let read_keys = *PersistentReserveIn::new(InAction::ReadKeys, 8).cdb().as_bytes();
        assert_eq!(answer(guest, &read_keys, &[])[0], 0, "GOOD");
        drop(helper);
        None
    };
    with_guest(act, |served| {
        let reason = served.expect_err("the connection ended");
        assert_eq!(reason, "the helper closed the connection; connect again");
    });
}
