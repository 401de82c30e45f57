//! Socket activation as systemd does it: the behaviour that both helpers share.

use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use pr_lab::prelude::*;
use rustix::process::Signal;

use crate::OURS;

/// A helper that serves a listener at the bed's socket path.
fn activated(bed: &Bed, shape: impl Fn(Launch) -> Launch) -> Helper {
    let listener = UnixListener::bind(bed.socket()).unwrap();
    shape(bed.launch().bare().activated("1", ListenPid::Own).fd(listener, 3)).spawn()
}

#[test]
fn the_listener_is_served_and_its_file_is_never_removed() {
    both(OURS, |bed| {
        let helper = activated(bed, |launch| launch);
        Raw::greeted(&bed.socket()).expect_served();
        helper.end(Signal::TERM).expect_silent_success();
        assert!(bed.socket().exists());
    });
}

#[test]
fn names_of_descriptors_do_not_matter() {
    both(OURS, |bed| {
        let helper = activated(bed, |launch| launch.env("LISTEN_FDNAMES", "some:names"));
        Raw::greeted(&bed.socket()).expect_served();
        helper.end(Signal::TERM).expect_silent_success();
    });
}

#[test]
fn it_works_with_a_pidfile_and_another_user() {
    both(OURS, |bed| {
        let pidfile = bed.path("pid");
        let helper = activated(bed, |launch| launch.args(["-u", "nobody", "-g", "nogroup", "-f"]).arg(bed.path("pid")));
        Raw::greeted(&bed.socket()).expect_served();
        assert_eq!(bed.daemon(&pidfile), helper.process());
        assert_eq!(helper.process().status()["Uid"], "65534 65534 65534 65534");
    });
}

#[test]
fn it_works_with_a_daemon() {
    both(OURS, |bed| {
        let parent = activated(bed, |launch| launch.args(["-d", "-f"]).arg(bed.path("pid")));
        parent.finish().expect_silent_success();
        Raw::greeted(&bed.socket()).expect_served();
        let daemon = bed.daemon(&bed.path("pid"));
        daemon.signal(Signal::TERM);
        assert!(daemon.ends_within(PATIENCE));
        assert!(bed.socket().exists());
    });
}

#[test]
fn a_non_blocking_listener_is_served() {
    both(OURS, |bed| {
        let listener = UnixListener::bind(bed.socket()).unwrap();
        listener.set_nonblocking(true).unwrap();
        let _helper = bed.launch().bare().activated("1", ListenPid::Own).fd(listener, 3).spawn();
        for _ in 0..3 {
            Raw::greeted(&bed.socket()).expect_served();
        }
    });
}

#[test]
fn an_abstract_listener_is_served() {
    both(OURS, |bed| {
        let address = SocketAddr::from_abstract_name(bed.socket().to_str().unwrap()).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        let _helper = bed.launch().bare().activated("1", ListenPid::Own).fd(listener, 3).spawn();
        let client = Raw::from_stream(UnixStream::connect_addr(&address).unwrap());
        client.hello();
        client.expect_served();
    });
}

#[test]
fn even_a_tcp_listener_greets() {
    both(OURS, |bed| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _helper = bed.launch().bare().activated("1", ListenPid::Own).fd(listener, 3).spawn();
        let client = Raw::from_stream(OwnedFd::from(TcpStream::connect(address).unwrap()).into());
        client.hello();
        // Without descriptors there is nothing to ask for.
        client.send(&Raw::cdb_in(0, 8));
        client.expect_closed();
    });
}

#[test]
fn a_socket_path_beside_it_is_refused() {
    both(OURS, |bed| {
        let listener = UnixListener::bind(bed.path("other.sock")).unwrap();
        let finished = bed.launch().activated("1", ListenPid::Own).fd(listener, 3).run();
        finished.expect_refusal(&["socket", "activation"]);
        assert!(!bed.socket().exists());
    });
}

#[test]
fn more_than_one_listener_is_refused() {
    both(OURS, |bed| {
        let listeners = ["a", "b"].map(|name| UnixListener::bind(bed.path(name)).unwrap());
        let [first, second] = listeners;
        let launch = bed.launch().bare().activated("2", ListenPid::Own).fd(first, 3).fd(second, 4);
        launch.run().expect_refusal(&["activation", "LISTEN_FDS"]);
    });
}

#[test]
fn a_missing_listener_is_refused() {
    both(OURS, |bed| {
        bed.launch().bare().activated("1", ListenPid::Own).run().expect_refusal(&["activation", "3"]);
    });
}

#[test]
fn something_that_is_no_socket_is_refused() {
    both(OURS, |bed| {
        let file = std::fs::File::open("/dev/null").unwrap();
        bed.launch().bare().activated("1", ListenPid::Own).fd(file, 3).run().expect_refusal(&["activation"]);
    });
}

#[test]
fn another_process_activation_is_ignored() {
    both(OURS, |bed| {
        for pid in ["1", "", "junk", "-1", "99999999999999999999"] {
            let launch = bed.launch().activated("1", ListenPid::Is(pid.to_owned()));
            launch.start().connect().expect_served();
        }
    });
}

#[test]
fn an_activation_without_a_process_number_is_ignored() {
    both(OURS, |bed| {
        bed.launch().env("LISTEN_FDS", "1").start().connect().expect_served();
    });
}

#[test]
fn an_activation_without_listeners_is_ignored() {
    both(OURS, |bed| {
        for fds in ["0", "", "junk"] {
            bed.launch().activated(fds, ListenPid::Own).start().connect().expect_served();
        }
    });
}
