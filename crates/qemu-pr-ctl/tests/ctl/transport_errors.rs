//! Helpers that close the connection, hang, or are other programs.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    thread,
    time::Duration,
};

use crate::{run::run, stand_in::StandIn};

#[test]
fn a_helper_that_takes_no_more_clients_is_said_to_hang_up_without_a_greeting() {
    let helper = StandIn::serving(drop);
    for words in [&["ping"][..], &["keys", "/dev/null"]] {
        run(&helper.socket(), words).expect_error(
            99,
            &[
                "pr.sock closed the connection before the handshake",
                "--max-connections",
                "journalctl -u qemu-pr-helper",
            ],
        );
    }
}

#[test]
fn a_helper_that_hangs_up_on_a_command_leaves_it_open_what_became_of_that() {
    let helper = StandIn::answering(|_| None);
    let disk = helper.disk();
    run(&helper.socket(), &["clear", &disk, "--key", "1", "--yes"]).expect_error(
        99,
        &[
            "pr.sock closed the connection before it answered",
            "protocol violation",
            "may have been carried out",
            "qemu-pr-ctl status",
        ],
    );
}

#[test]
fn a_helper_that_does_not_greet_is_not_waited_for_for_ever() {
    let helper = StandIn::serving(|mut stream| _ = stream.read(&mut [0; 1]));
    run(&helper.socket(), &["ping", "--timeout", "1"])
        .expect_error(33, &["did not start the handshake within 1s", "check that qemu-pr-helper listens"]);
}

#[test]
fn a_helper_that_does_not_answer_is_not_waited_for_for_ever() {
    let helper = StandIn::answering(|_| {
        thread::sleep(Duration::from_millis(1300));
        None
    });
    let disk = helper.disk();
    run(&helper.socket(), &["keys", &disk, "--timeout", "1"])
        .expect_error(33, &["did not answer within 1s", "may hang", "--timeout"]);
}

#[test]
fn what_does_not_speak_the_protocol_is_no_helper() {
    let helper = StandIn::serving(|mut stream: UnixStream| {
        _ = stream.write_all(&[0xff; 200]);
        _ = stream.read_to_end(&mut Vec::new());
    });
    let disk = helper.disk();
    run(&helper.socket(), &["keys", &disk]).expect_error(97, &["invalid answer", "check that qemu-pr-helper listens"]);
}
