//! The lower bound speaks the protocol: what is measured against it does the same work.
#![expect(clippy::missing_panics_doc, reason = "a test is there to panic")]

use std::os::fd::AsFd as _;

use pr_lab::{Answer, Bed, Helper, Outcome, Raw, Subject, null};
use qemu_pr_protocol::Client;
use scsi_persistent_reservations::Cdb;

fn bed() -> Bed {
    Bed::new(&Subject::ours(env!("CARGO_BIN_EXE_bench-bound")))
}

fn on_a_disk(bed: &Bed, device: impl FnMut(&pr_lab::Command) -> Outcome + Send + 'static) -> Helper {
    bed.launch().device(device).start()
}

#[test]
fn an_ioctl_that_fails_is_answered_as_the_helpers_do() {
    let bed = bed();
    let helper = bed.start();
    let client = helper.connect();
    for _ in 0..3 {
        client.pr_in(null(), 0, 8).expect_check(0x0b, 0, 6);
        client.pr_out(null(), 1, &[0; 24]).expect_check(0x0b, 0, 6);
    }
}

#[test]
fn the_data_of_a_disk_reaches_the_client_and_the_parameters_reach_the_disk() {
    let bed = bed();
    let keys = [0, 0, 0, 1, 0, 0, 0, 0];
    let helper = on_a_disk(&bed, move |_| Answer::good(&keys).into());
    let client = helper.connect();
    client.expect_served_with(&keys);
    let parameters: Vec<u8> = (0..24).collect();
    client.pr_out(null(), 1, &parameters).expect_bare(0);
    let seen = helper.device().last();
    assert!(seen.carries(&Raw::cdb_out(1, 24)), "{seen:?}");
    assert_eq!(seen.data_out, parameters);
}

#[test]
fn a_reservation_conflict_is_passed_on() {
    let bed = bed();
    let helper = on_a_disk(&bed, |_| Answer::status(0x18).into());
    helper.connect().pr_out(null(), 1, &[0; 24]).expect_bare(0x18);
}

#[test]
fn the_client_of_qemu_pr_protocol_understands_it() {
    let bed = bed();
    let helper = bed.start();
    let mut client = Client::connect(helper.socket()).expect("a greeting");
    let reply = client.execute(null(), &Cdb::new(Raw::cdb_in(0, 8)).expect("a command"), &[]).expect("an answer");
    assert_eq!((reply.status.0, reply.data.len()), (2, 0));
}

#[test]
fn a_request_without_a_descriptor_ends_its_connection_and_no_other() {
    bed().closed(|client| {
        client.hello();
        client.send(&Raw::cdb_in(0, 8));
    });
}

#[test]
fn a_foreign_command_ends_its_connection_and_no_other() {
    bed().closed(|client| {
        client.hello();
        client.send_with(&[0; 16], &[null().as_fd()]);
    });
}

#[test]
fn many_clients_are_served_side_by_side_and_none_leaves_a_descriptor() {
    let bed = bed();
    let helper = bed.start();
    let before = helper.settled_descriptors();
    let clients: Vec<Raw> = (0..100).map(|_| helper.connect()).collect();
    clients.iter().for_each(Raw::expect_served);
    drop(clients);
    helper.await_descriptors(before);
}
