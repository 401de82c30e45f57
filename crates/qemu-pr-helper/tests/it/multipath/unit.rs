//! The broker as a service of its own: started by somebody else for each daemon that connects, as systemd does.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use pr_lab::prelude::*;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept, bind, listen, socket_with};
use rustix::process::Signal;

use crate::multipath::disk::{keys, willing};
use crate::multipath::lab::Lab;
use crate::multipath::mapped::{Guest, Mapped};

const RAWIO_AND_ADMIN: &str = "0000000000220000";

/// Where the daemon looks for a broker.
fn place(lab: &Lab) -> PathBuf {
    lab.bed().path("broker")
}

/// A socket of the broker's kind.
fn listening(path: &Path) -> OwnedFd {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    listen(&socket, 4).unwrap();
    socket
}

/// A daemon and its broker, neither of them the other's child, and the disk of the latter.
fn started(lab: &Lab) -> (Helper, Helper, Mapped) {
    let socket = listening(&place(lab));
    let mapped = Mapped::default();
    let daemon = lab.launch(willing).arg("--broker").arg(place(lab)).spawn();
    let disk = mapped.clone();
    let broker = lab.broker_on(accept(&socket).unwrap()).device(move |command| disk.answer(command)).spawn();
    daemon.await_greeting();
    (daemon, broker, mapped)
}

#[test]
fn it_puts_a_key_on_every_path_like_one_of_the_daemons_own() {
    let lab = Lab::new();
    let (daemon, broker, mapped) = started(&lab);
    Guest::of(&daemon).change(6, 0, &keys(0, 0xa1)).expect_good();
    assert_eq!(mapped.keys(), [Some(0xa1); 2]);

    let status = broker.process().status();
    assert_eq!((status["Name"].as_str(), status["CapEff"].as_str()), ("qemu-pr-broker", RAWIO_AND_ADMIN));
    assert_eq!((status["NoNewPrivs"].as_str(), status["Seccomp"].as_str()), ("1", "2"));
    let below = Process::all().into_iter().filter(|process| {
        process.status().get("PPid").is_some_and(|parent| *parent == daemon.process().id().to_string())
    });
    let names: Vec<_> = below.map(|process| process.status()["Name"].clone()).collect();
    assert_eq!(names, ["qemu-pr-names"], "the daemon starts no broker of its own");
}

#[test]
fn it_ends_with_the_daemon_and_not_for_a_signal_before() {
    let lab = Lab::new();
    let (daemon, broker, _mapped) = started(&lab);
    broker.process().signal(Signal::TERM);
    Guest::of(&daemon).change(6, 0, &keys(0, 0xa1)).expect_good();
    assert_eq!(daemon.end(Signal::TERM).code(), 0);
    assert_eq!(broker.finish().code(), 0);
}

#[test]
fn a_daemon_without_it_does_not_start_and_says_where_it_looked() {
    let lab = Lab::new();
    let missing = lab.launch(willing).arg("--broker").arg(place(&lab)).run();
    assert_eq!(missing.code(), 1);
    let path = place(&lab).display().to_string();
    for part in [path.as_str(), "No such file", "start qemu-pr-broker.socket"] {
        assert!(missing.stderr.contains(part), "{part} is not in {}", missing.stderr);
    }
    assert!(!lab.bed().socket().exists(), "a failed start leaves nothing behind");

    // systemd hangs up on a daemon too many, and on one whose broker cannot be started.
    let socket = listening(&place(&lab));
    let daemon = lab.launch(willing).arg("--broker").arg(place(&lab)).spawn();
    drop(accept(&socket).unwrap());
    let ended = daemon.finish();
    assert_eq!(ended.code(), 1);
    assert!(ended.stderr.contains("it ended before it was ready"), "{}", ended.stderr);
    assert!(!lab.bed().socket().exists());
}

#[test]
fn without_the_connection_that_it_is_for_it_says_what_it_is_for() {
    let lab = Lab::new();
    let launch = || lab.bed().launch().bare().arg("--serve-broker");
    let listener = |name| UnixListener::bind(lab.bed().path(name)).unwrap();
    let alone = launch().run();
    let stream = launch().activated("1", ListenPid::Own).fd(listener("stream"), 3).run();
    let unconnected = launch().activated("1", ListenPid::Own).fd(listening(&place(&lab)), 3).run();
    for (ended, reason) in [
        (alone, "systemd passed no connection to a helper"),
        (stream, "the socket that systemd passed is not a connection to a helper"),
        (unconnected, "the socket that systemd passed is not a connection to a helper"),
    ] {
        assert_eq!(ended.code(), 1);
        let due = format!("--serve-broker is for qemu-pr-broker@.service: {reason}");
        assert!(ended.stderr.contains(&due), "{}", ended.stderr);
    }
}
