//! Many clients at once: the behaviour that both helpers share.

use std::io::Read;
use std::os::fd::AsFd;
use std::thread;

use pr_lab::prelude::*;
use rustix::process::Signal;

use crate::OURS;

/// A device whose data names the request.
fn echo(command: &Command) -> Outcome {
    Answer::good(&[command.cdb[2]; 8]).into()
}

/// A PR IN that `echo` answers with this mark.
fn marked(mark: u8) -> [u8; 16] {
    let mut cdb = Raw::cdb_in(0, 8);
    cdb[2] = mark;
    cdb
}

#[test]
fn every_client_gets_its_own_answers() {
    both(OURS, |bed| {
        let helper = bed.launch().device(echo).start();
        thread::scope(|scope| {
            for mark in 0..16 {
                let helper = &helper;
                scope.spawn(move || {
                    let (client, device) = (helper.connect(), null());
                    for _ in 0..200 {
                        client.send_with(&marked(mark), &[device.as_fd()]);
                        assert_eq!(client.reply().payload, [mark; 8]);
                    }
                });
            }
        });
        assert_eq!(helper.device().count(), 16 * 200);
    });
}

#[test]
fn clients_that_come_and_go_at_any_moment_leave_nothing_behind() {
    both(OURS, |bed| {
        let helper = bed.launch().arg("-q").device(echo).start();
        let faithful = helper.connect();
        let before = helper.settled_descriptors();
        let mut stream = vec![0; 4];
        for mark in 0..3 {
            stream.extend(marked(mark));
        }
        thread::scope(|scope| {
            for worker in 0..6 {
                let (helper, stream) = (&helper, &stream);
                scope.spawn(move || {
                    let device = null();
                    for round in 0..150 {
                        let client = Raw::connect(helper.socket());
                        let end = (worker * 31 + round * 7) % (stream.len() + 1);
                        let (first, rest) = stream[..end].split_at(end.min(4));
                        _ = client.try_send_with(first, &[]);
                        for cdb in rest.chunks(16) {
                            _ = client.try_send_with(cdb, &[device.as_fd()]);
                        }
                        if round % 3 == 0 {
                            _ = client.stream().read(&mut [0; 64]);
                        }
                    }
                });
            }
        });
        helper.await_descriptors(before);
        faithful.send_with(&marked(9), &[null().as_fd()]);
        assert_eq!(faithful.reply().payload, [9; 8]);
    });
}

#[test]
fn a_signal_under_load_cuts_no_reply_short() {
    both(OURS, |bed| {
        for _ in 0..5 {
            let helper = bed.launch().device(echo).start();
            let device = helper.device().clone();
            let clients: Vec<_> = (0..8).map(|_| helper.connect()).collect();
            let workers: Vec<_> =
                clients.into_iter().map(|client| thread::spawn(move || whole_replies(&client))).collect();
            device.await_count(200);
            helper.end(Signal::TERM).expect_silent_success();
            let answered: usize = workers.into_iter().map(|worker| worker.join().expect("whole replies")).sum();
            assert_eq!(answered, device.count(), "every command that reached the device was answered");
        }
    });
}

/// Asks until the helper hangs up; how many whole replies came.
fn whole_replies(client: &Raw) -> usize {
    let device = null();
    for count in 0.. {
        if client.try_send_with(&marked(1), &[device.as_fd()]).is_err() {
            return count;
        }
        let mut reply = Vec::new();
        _ = client.stream().take(112).read_to_end(&mut reply);
        match reply.len() {
            0 => return count,
            112 => {}
            cut => panic!("{cut} bytes of a reply"),
        }
    }
    unreachable!("the numbers do not end")
}
