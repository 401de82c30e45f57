//! Limits of descriptors, connections and queues: W1, W2, W12, W13.

use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use pr_lab::prelude::*;
use pr_lab::try_connect;
use rustix::process::{Resource, Signal};

use crate::better::{better, bound, expect_refusal};

/// Asserts that the helper hardly runs: a busy loop takes a hundred ticks a second, or its share of a busy machine.
#[track_caller]
fn expect_rest(bed: &Bed, helper: &Helper) {
    let span = Duration::from_secs(if bed.subject().is_ours() { 1 } else { 3 });
    let before = helper.process().cpu_ticks();
    let used = || helper.process().cpu_ticks() - before;
    assert!(!within(span, || used() > 15), "busy loop: {} ticks", used());
}

/// Whether the helper has this very socket open.
fn has_open(helper: &Helper, inode: u64) -> bool {
    let name = format!("socket:[{inode}]");
    helper.process().descriptors().values().any(|path| path.to_string_lossy() == name)
}

/// More clients than the helper has descriptors for, or as many as it lets in.
fn crowd(helper: &Helper) -> Vec<Raw> {
    (0..80).map_while(|_| Raw::connect_within(helper.socket(), Duration::from_millis(500))).collect()
}

#[test]
fn w1_more_clients_than_descriptors_are_no_busy_loop() {
    better("busy loop", |bed| {
        let helper = bed.launch().limit(Resource::Nofile, 64).start();
        let _crowd = crowd(&helper);
        expect_rest(bed, &helper);
    });
}

#[test]
fn w1_more_clients_than_descriptors_do_not_harm_those_who_are_served() {
    better("no 104 bytes", |bed| {
        let helper = bed.launch().limit(Resource::Nofile, 64).start();
        let early = helper.connect();
        early.expect_served();
        let _crowd = crowd(&helper);
        early.expect_served();
    });
}

#[test]
fn w1_descriptors_in_half_sent_requests_do_not_harm_those_who_are_served() {
    better("no 104 bytes", |bed| {
        let helper = bed.launch().limit(Resource::Nofile, 64).start();
        let early = helper.connect();
        early.expect_served();
        let device = null();
        let crowd = crowd(&helper);
        for client in &crowd {
            // Those who were turned away cannot send.
            _ = client.try_send_with(&[0; 4], &[]);
            _ = client.try_send_with(&Raw::cdb_in(0, 8)[..8], &[std::os::fd::AsFd::as_fd(&device)]);
        }
        helper.settled_descriptors();
        for _ in 0..3 {
            early.expect_served();
        }
    });
}

#[test]
fn w1_a_place_is_free_again_when_a_client_has_left() {
    better("busy loop", |bed| {
        let helper = bed.launch().limit(Resource::Nofile, 64).start();
        let crowd = crowd(&helper);
        expect_rest(bed, &helper);
        drop(crowd);
        eventually("a new client is served", || {
            let Some(client) = Raw::connect_within(helper.socket(), bound(bed)) else { return false };
            let greeted = std::io::Read::read_exact(&mut client.stream(), &mut [0; 4]).is_ok();
            greeted && client.try_send_with(&[0; 4], &[]).is_ok()
        });
        eventually("the crowd has gone", || helper.process().descriptors().len() < 32);
        helper.connect().expect_served();
    });
}

#[test]
fn w1_an_activated_socket_that_does_not_listen_is_refused() {
    better("starts instead of refusing", |bed| {
        let socket = rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, None);
        let launch = bed.launch().bare().activated("1", ListenPid::Own).fd(socket.unwrap(), 3);
        expect_refusal(bed, launch.spawn(), &["3", "listen"]);
    });
}

#[test]
fn w1_an_activated_socket_that_is_connected_is_refused() {
    better("starts instead of refusing", |bed| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        std::io::Write::write_all(&mut theirs, b"data").unwrap();
        let launch = bed.launch().bare().activated("1", ListenPid::Own).fd(ours, 3);
        expect_refusal(bed, launch.spawn(), &["3", "listen"]);
    });
}

#[test]
fn w2_a_residual_larger_than_the_transfer_takes_nobody_down() {
    better("no 104 bytes", |bed| {
        let helper = bed.launch().device(|_| Answer::good(&[]).into()).start();
        let other = helper.connect();
        for resid in [9000, i32::MAX] {
            helper.device().behave(move |_| Answer { resid: Some(resid), ..Answer::default() }.into());
            helper.connect().pr_in(null(), 0, 8).expect_bare(0);
            helper.connect().pr_out(null(), 0, &[0; 24]).expect_bare(0);
        }
        other.expect_served();
    });
}

#[test]
fn w2_an_absurd_number_of_activated_sockets_is_refused() {
    for fds in ["-1", "4294967296", "18446744073709551615"] {
        better("left: -6", |bed| {
            let listener = UnixListener::bind(bed.socket()).unwrap();
            let launch = bed.launch().bare().activated(fds, ListenPid::Own).fd(listener, 3);
            expect_refusal(bed, launch.spawn(), &["LISTEN_FDS"]);
        });
    }
}

#[test]
fn w2_too_few_descriptors_to_start_with_are_reported() {
    for limit in [5, 6] {
        better("left: -", |bed| {
            let helper = bed.launch().limit(Resource::Nofile, limit).spawn();
            expect_refusal(bed, helper, &["qemu-pr-helper: "]);
        });
    }
}

#[test]
fn w12_128_clients_may_connect_at_once() {
    better("queue is full", |bed| {
        let helper = bed.start();
        helper.signal(Signal::STOP);
        let stopped = || helper.process().status().get("State").is_some_and(|state| state.starts_with('T'));
        eventually("the helper stops", stopped);
        let clients: Vec<_> = (0..128).map_while(|_| try_connect(helper.socket()).ok()).collect();
        helper.signal(Signal::CONT);
        assert_eq!(clients.len(), 128, "the queue is full");
        for client in clients {
            Raw::from_stream(client).hello();
        }
    });
}

#[test]
fn w13_connections_are_limited() {
    better("answered instead of hanging up", |bed| {
        let helper = bed.launch().ours(["--max-connections", "4"]).start();
        // The connection that waited for the greeting has to be gone.
        helper.settled_descriptors();
        let clients: Vec<_> = (0..4).map(|_| helper.connect()).collect();
        for _ in 0..3 {
            Raw::connect(helper.socket()).expect_closed();
        }
        for client in &clients {
            client.expect_served();
        }
        drop(clients);
        eventually("there is room again", || {
            let client = Raw::connect(helper.socket());
            std::io::Read::read_exact(&mut client.stream(), &mut [0; 4]).is_ok()
        });
    });
}

#[test]
fn w10_closing_a_descriptor_that_lingers_holds_up_nobody_else() {
    better("no 104 bytes", |bed| {
        let helper = bed.launch().device(|_| Answer::good(&[]).into()).start();
        let other = helper.connect().patience(bound(bed));
        let client = helper.connect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let lingering = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _peer = listener.accept().unwrap();
        // A full send buffer that nobody empties, and a close that waits for it.
        lingering.set_nonblocking(true).unwrap();
        let chunk = vec![0; 65536];
        while within(Duration::from_millis(150), || std::io::Write::write(&mut &lingering, &chunk).is_ok()) {}
        lingering.set_nonblocking(false).unwrap();
        rustix::net::sockopt::set_socket_linger(&lingering, Some(Duration::from_secs(12))).unwrap();
        let inode = rustix::fs::fstat(&lingering).unwrap().st_ino;
        client.send_with(&Raw::cdb_in(0, 8), &[std::os::fd::AsFd::as_fd(&lingering)]);
        drop(lingering);
        // It is no disk: ours answers without asking it, the original asks.
        if bed.subject().is_ours() {
            client.reply();
        } else {
            helper.device().await_count(1);
        }
        // The number is free as soon as the closing begins.
        eventually("the helper closes the descriptor", || !has_open(&helper, inode));
        for _ in 0..3 {
            other.expect_served();
        }
    });
}
