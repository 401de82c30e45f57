//! What reaches the device: the behaviour that both helpers share.

use std::path::Path;

use pr_lab::prelude::*;

use crate::OURS;

#[test]
fn pr_in_reaches_the_device_and_returns_its_data() {
    both(OURS, |bed| {
        let keys: Vec<u8> = (0..64).collect();
        let helper = bed.launch().device(move |_| Answer::good(&keys).into()).start();
        let reply = helper.connect().pr_in(null(), 1, 48);
        let command = helper.device().last();
        assert!(command.carries(&Raw::cdb_in(1, 48)), "{:02x?}", command.cdb);
        assert_eq!(command.interface, i32::from(b'S'));
        assert_eq!(command.direction, Direction::FromDevice);
        assert_eq!((command.max_sense_len, command.iovec_count, command.flags), (96, 0, 0));
        assert!(command.dxfer_len >= 48, "room for the allocation length");
        assert_eq!((reply.status, reply.size), (0, 48));
        assert_eq!(reply.payload, (0..48).collect::<Vec<u8>>());
        assert_eq!(reply.sense, [0; 96]);
    });
}

#[test]
fn pr_out_reaches_the_device_with_its_parameter_list() {
    both(OURS, |bed| {
        let helper = bed.launch().device(|_| Answer::good(&[]).into()).start();
        let parameters: Vec<u8> = (100..124).collect();
        let reply = helper.connect().pr_out(null(), 0, &parameters);
        let command = helper.device().last();
        assert!(command.carries(&Raw::cdb_out(0, 24)), "{:02x?}", command.cdb);
        assert_eq!(command.interface, i32::from(b'S'));
        assert_eq!(command.direction, Direction::ToDevice);
        assert_eq!((command.max_sense_len, command.iovec_count, command.flags), (96, 0, 0));
        assert_eq!(command.dxfer_len, 24);
        assert_eq!(command.data_out, parameters);
        reply.expect_bare(0);
    });
}

#[test]
fn every_service_action_and_the_reserved_bits_reach_the_device_as_sent() {
    both(OURS, |bed| {
        let helper = bed.launch().device(|_| Answer::good(&[]).into()).start();
        let client = helper.connect();
        for action in 0..=0x1f {
            for opcode in [PR_IN, PR_OUT] {
                let mut cdb = [opcode, action | 0xe0, 0xff, 0xf3, 0xf4, 0, 0, 0, 24, 0xf9, 0, 0, 0, 0, 0, 0];
                if opcode == PR_IN {
                    (cdb[5], cdb[6]) = (0xf5, 0xf6);
                }
                let device = null();
                client.send_with(&cdb, &[std::os::fd::AsFd::as_fd(&device)]);
                if opcode == PR_OUT {
                    client.send(&[action; 24]);
                }
                assert_eq!(client.reply().status, 0);
                assert!(helper.device().last().carries(&cdb), "{cdb:02x?} became {:02x?}", helper.device().last().cdb);
            }
        }
        assert_eq!(helper.device().count(), 64, "one ioctl per request");
    });
}

#[test]
fn pr_in_with_allocation_length_zero_is_executed() {
    both(OURS, |bed| {
        let helper = bed.launch().device(|_| Answer::good(&[9; 32]).into()).start();
        helper.connect().pr_in(null(), 0, 0).expect_bare(0);
        assert!(helper.device().last().carries(&Raw::cdb_in(0, 0)));
    });
}

#[test]
fn pr_out_with_parameter_list_length_zero_is_executed() {
    both(OURS, |bed| {
        let helper = bed.launch().device(|_| Answer::check_fixed(5, 0x1a, 0).into()).start();
        helper.connect().pr_out(null(), 0, &[]).expect_check(5, 0x1a, 0);
        let command = helper.device().last();
        assert!(command.carries(&Raw::cdb_out(0, 0)));
        assert_eq!(command.dxfer_len, 0);
    });
}

#[test]
fn the_largest_lengths_pass_whole() {
    both(OURS, |bed| {
        let pattern = || (0..8192_u32).map(|index| (index % 251) as u8).collect::<Vec<u8>>();
        let helper = bed.launch().device(move |_| Answer::good(&pattern()).into()).start();
        let client = helper.connect();
        assert_eq!(client.pr_in(null(), 3, 8192).payload, pattern());
        client.pr_out(null(), 0, &pattern()).expect_bare(0);
        assert_eq!(helper.device().last().data_out, pattern());
    });
}

#[test]
fn a_short_transfer_shortens_the_payload() {
    both(OURS, |bed| {
        let helper = bed.launch().device(|_| Answer::good(&[0]).into()).start();
        let client = helper.connect();
        for length in [0_u16, 1, 7, 8, 24, 63] {
            helper.device().behave(move |_| Answer::good(&vec![7; length.into()]).into());
            let reply = client.pr_in(null(), 0, 64);
            assert_eq!((reply.status, reply.payload), (0, vec![7; length.into()]));
        }
    });
}

#[test]
fn a_residual_on_pr_out_leaves_the_status_alone() {
    both(OURS, |bed| {
        let helper = bed.launch().device(|_| Answer { resid: Some(24), ..Answer::good(&[]) }.into()).start();
        helper.connect().pr_out(null(), 0, &[0; 24]).expect_bare(0);
    });
}

#[test]
fn the_ioctl_is_made_on_the_descriptor_that_came_with_the_request() {
    both(OURS, |bed| {
        let helper = bed.launch().device(|_| Outcome::Hang).start();
        let files: Vec<_> = ["/dev/zero", "/dev/full"].map(|path| (path, std::fs::File::open(path).unwrap())).into();
        let clients: Vec<_> = files.iter().map(|_| helper.connect()).collect();
        for (index, (client, (path, file))) in clients.iter().zip(&files).enumerate() {
            client.send_with(&Raw::cdb_in(0, 8), &[std::os::fd::AsFd::as_fd(file)]);
            helper.device().await_count(index + 1);
            let used = helper.device().last().fd;
            assert_eq!(helper.process().descriptors()[&used], Path::new(path));
        }
        helper.device().release(Answer::good(&[]));
        for client in &clients {
            assert_eq!(client.reply().status, 0);
        }
    });
}

#[test]
fn requests_of_different_clients_run_at_the_same_time() {
    both(OURS, |bed| {
        let helper = bed.launch().device(|_| Outcome::Hang).start();
        let clients: Vec<_> = (0..16).map(|_| helper.connect()).collect();
        let device = null();
        for client in &clients {
            client.send_with(&Raw::cdb_in(0, 8), &[std::os::fd::AsFd::as_fd(&device)]);
        }
        helper.device().await_count(16);
        helper.device().release(Answer::good(&[3; 8]));
        for client in &clients {
            assert_eq!(client.reply().payload, [3; 8]);
        }
    });
}
