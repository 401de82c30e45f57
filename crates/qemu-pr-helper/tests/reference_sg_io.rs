//! What reaches the device, and what becomes of its answers: the behaviour that both helpers share.

mod common;

use common::*;

#[test]
fn pr_in_carries_the_cdb_and_returns_the_data() {
    both(|bed| {
        let keys: Vec<u8> = (0..64).collect();
        let helper = bed.launch().device(move |_| Answer::good(&keys).into()).start();
        let cdb = Raw::cdb_in(1, 48);
        let reply = helper.connect().pr_in(null(), 1, 48);
        let command = helper.device().last();
        assert!(command.carries(&cdb), "{:02x?}", command.cdb);
        assert_eq!(command.interface, i32::from(b'S'));
        assert_eq!(command.direction, Direction::FromDevice);
        assert_eq!((command.max_sense_len, command.iovec_count, command.flags), (96, 0, 0));
        assert!(command.dxfer_len >= 48, "room for the allocation length");
        assert_eq!((reply.status, reply.size), (0, 48));
        assert_eq!(reply.payload, (0..48).collect::<Vec<u8>>());
        assert_eq!(reply.sense, [0; 96]);
    });
}
