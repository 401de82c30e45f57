//! A restart under systemd that no client notices: who is between two requests is kept by systemd and served by the next
//! process, over the same connection.

#![expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use pr_lab::prelude::*;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::Signal;

const OURS: &str = env!("CARGO_BIN_EXE_qemu-pr-helper");

/// What systemd keeps for a unit: descriptors with their names.
type Store = Vec<(String, OwnedFd)>;

/// As much of systemd as a helper sees: a listening socket, notifications, and a store.
struct Systemd<'a> {
    bed: &'a Bed,
    listener: UnixListener,
    store: Arc<Mutex<Store>>,
}

impl<'a> Systemd<'a> {
    fn new(bed: &'a Bed) -> Self {
        let notify = UnixDatagram::bind(bed.path("notify")).unwrap();
        let store: Arc<Mutex<Store>> = Arc::default();
        let keeper = Arc::clone(&store);
        // It ends with the test.
        thread::spawn(move || while keep(&notify, &keeper) {});
        Self { bed, listener: UnixListener::bind(bed.socket()).unwrap(), store }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    /// A helper of the unit, with what is in the store.
    fn launch(&self) -> Launch {
        let store = self.store();
        let names = ["helper.socket".to_owned()].into_iter().chain(store.iter().map(|(name, _)| name.clone()));
        let names: Vec<String> = names.collect();
        let mut launch = self
            .bed
            .launch()
            .bare()
            .arg("--hand-over")
            .activated(&names.len().to_string(), ListenPid::Own)
            .env("LISTEN_FDNAMES", names.join(":"))
            .env("NOTIFY_SOCKET", self.bed.path("notify"))
            .fd(self.listener.try_clone().unwrap(), 3);
        for (number, (_, fd)) in (4..).zip(store.iter()) {
            launch = launch.fd(fd.try_clone().unwrap(), number);
        }
        launch.device(|_| Answer::good(&[7; 8]).into())
    }

    fn start(&self) -> Helper {
        let helper = self.launch().spawn();
        Raw::greeted(&self.bed.socket()).expect_served();
        helper
    }

    /// Ends the helper as a restart does, and starts the next one.
    fn restart(&self, helper: &mut Helper) {
        helper.signal(Signal::TERM);
        assert!(helper.process().ends_within(PATIENCE), "the helper does not end");
        *helper = self.start();
    }
}

/// Does what one notification asks for.
fn keep(notify: &UnixDatagram, store: &Mutex<Store>) -> bool {
    let mut bytes = [0; 512];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let Ok(message) = recvmsg(notify, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC) else {
        return false;
    };
    let fds = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => fds.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    let text = String::from_utf8_lossy(&bytes[..message.bytes]).into_owned();
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let mut store = store.lock().unwrap();
    // A barrier's descriptor is closed when what came before it is done: that is now.
    let fds: Vec<OwnedFd> = fds.collect();
    if value("FDSTORE").is_some() {
        store.extend(fds.into_iter().map(|fd| (value("FDNAME").unwrap().to_owned(), fd)));
    } else if value("FDSTOREREMOVE").is_some() {
        store.retain(|(name, _)| Some(name.as_str()) != value("FDNAME"));
    }
    true
}

#[test]
fn a_client_between_two_requests_is_served_on_over_the_same_connection() {
    pr_lab::ours(OURS, |bed| {
        let systemd = Systemd::new(bed);
        let mut helper = systemd.start();
        let clients: Vec<Raw> = (0..150).map(|_| Raw::greeted(&bed.socket())).collect();
        let silent = Raw::connect(&bed.socket());
        let greeting = silent.read(4);
        for round in 0..3 {
            for client in &clients {
                assert_eq!(client.pr_in(null(), 0, 8).payload, [7; 8], "round {round}");
            }
            systemd.restart(&mut helper);
            eventually("systemd has let go of them", || systemd.store().is_empty());
        }
        // One that had not said anything yet goes on where it was.
        silent.send(&greeting);
        assert_eq!(silent.pr_in(null(), 0, 8).payload, [7; 8]);
        // Nobody else holds the connection open: a client that breaks the protocol is hung up on.
        clients[0].send(&[0xff; 16]);
        clients[0].expect_closed();
        drop(clients);
        drop(silent);
        assert_eq!(helper.end(Signal::TERM).code(), 0);
    });
}

#[test]
fn what_a_client_sends_while_nobody_serves_it_waits() {
    pr_lab::ours(OURS, |bed| {
        let systemd = Systemd::new(bed);
        let helper = systemd.start();
        let client = Raw::greeted(&bed.socket());
        assert_eq!(client.pr_in(null(), 0, 8).payload, [7; 8]);
        helper.signal(Signal::TERM);
        assert_eq!(helper.finish().code(), 0);
        assert_eq!(systemd.store().len(), 1);
        client.send_with(&Raw::cdb_in(0, 8), &[null().as_fd()]);
        let _helper = systemd.start();
        assert_eq!(client.reply().payload, [7; 8]);
    });
}

#[test]
fn a_command_that_is_under_way_is_answered_first() {
    pr_lab::ours(OURS, |bed| {
        let systemd = Systemd::new(bed);
        let (begun, told) = std::sync::mpsc::channel();
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let device = move |_: &pr_lab::Command| {
            begun.send(()).unwrap();
            wait.recv().unwrap();
            Answer::good(&[9; 8]).into()
        };
        let helper = systemd.launch().device(device).spawn();
        let client = Raw::greeted(&bed.socket());
        client.send_with(&Raw::cdb_in(0, 8), &[null().as_fd()]);
        told.recv().unwrap();
        helper.signal(Signal::TERM);
        go_on.send(()).unwrap();
        assert_eq!(client.reply().payload, [9; 8]);
        assert_eq!(helper.finish().code(), 0);
        let _helper = systemd.start();
        assert_eq!(client.pr_in(null(), 0, 8).payload, [7; 8]);
    });
}

#[test]
fn a_command_that_outlasts_the_others_patience_keeps_its_client() {
    pr_lab::ours(OURS, |bed| {
        let systemd = Systemd::new(bed);
        let device = |_: &pr_lab::Command| {
            // Longer than half a request is waited for at the end.
            thread::sleep(std::time::Duration::from_millis(3500));
            Answer::good(&[9; 8]).into()
        };
        let helper = systemd.launch().device(device).spawn();
        let client = Raw::greeted(&bed.socket());
        client.send_with(&Raw::cdb_in(0, 8), &[null().as_fd()]);
        helper.device().await_count(1);
        helper.signal(Signal::TERM);
        assert_eq!(client.reply().payload, [9; 8]);
        assert_eq!(helper.finish().code(), 0);
        assert_eq!(systemd.store().len(), 1);
        let _helper = systemd.start();
        assert_eq!(client.pr_in(null(), 0, 8).payload, [7; 8]);
    });
}

#[test]
fn clients_that_never_pause_lose_nothing_and_never_connect_again() {
    pr_lab::ours(OURS, |bed| {
        let systemd = Systemd::new(bed);
        let mut helper = systemd.start();
        let clients: Vec<Raw> = (0..8).map(|_| Raw::greeted(&bed.socket())).collect();
        let stop = std::sync::atomic::AtomicBool::new(false);
        thread::scope(|scope| {
            for client in &clients {
                scope.spawn(|| {
                    let device = null();
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        client.try_send_with(&Raw::cdb_in(0, 8), &[device.as_fd()]).expect("the connection stays");
                        assert_eq!(client.reply().payload, [7; 8]);
                    }
                });
            }
            for _ in 0..20 {
                systemd.restart(&mut helper);
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    });
}

#[test]
fn without_systemd_clients_are_let_go_of_as_ever() {
    pr_lab::ours(OURS, |bed| {
        let helper = bed.launch().arg("--hand-over").device(|_| Answer::good(&[7; 8]).into()).start();
        helper.await_stderr("--hand-over: there is no systemd to keep clients (NOTIFY_SOCKET)");
        let client = helper.connect();
        assert_eq!(client.pr_in(null(), 0, 8).payload, [7; 8]);
        assert_eq!(helper.end(Signal::TERM).code(), 0);
        client.expect_closed();
    });
}
