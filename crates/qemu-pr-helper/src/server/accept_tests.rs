use std::{
    io::Read,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
};

use qemu_pr_protocol::GREETING;

use super::*;
use crate::{
    config::{
        cli,
        settings::{Settings, SystemUsers},
    },
    server::for_tests,
};

/// A server of so many connections, and where it listens. What the pool of workers is made of runs in a scheduler's world
/// in tests (`worker_pool`).
fn with_server(max_connections: usize, test: impl Fn(&Arc<Server>, &Path) + Send + Sync + 'static) {
    let world = move || {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).expect("a socket");
        listener.set_nonblocking(true).expect("a flag");
        let server = Server::new(listener.into(), for_tests::shared(true), max_connections).expect("a server");
        test(&Arc::new(server), &path);
    };
    shuttle::check_random(world, 1);
}

/// What the client finds: the first message, or the end of the connection.
fn first_message(client: &mut UnixStream) -> Vec<u8> {
    let mut message = Vec::new();
    Read::by_ref(client).take(4).read_to_end(&mut message).expect("something to read");
    message
}

#[test]
fn a_client_is_greeted_has_a_slot_and_its_first_request_is_an_event() {
    with_server(2, |server, path| {
        let mut client = UnixStream::connect(path).unwrap();
        assert!(matches!(accept(server, true), WorkerState::Waiting));
        assert_eq!(first_message(&mut client), GREETING);
        assert_eq!(server.connections.in_use(), 1);
        assert_eq!(server.connections.get(0).status.snapshot().unwrap().origin.client, 1);
        rustix::net::send(&client, &GREETING, rustix::net::SendFlags::empty()).unwrap();
        assert_eq!(server.shared.next_event(), Some(Token::new(0, 1)));
    });
}

#[test]
fn the_listener_reports_the_next_client_as_well() {
    with_server(2, |server, path| {
        let mut clients = Vec::new();
        for count in 1..=2 {
            clients.push(UnixStream::connect(path).unwrap());
            assert_eq!(server.shared.next_event(), Some(Token::LISTENER));
            let _ = accept(server, true);
            assert_eq!(server.connections.in_use(), count);
        }
    });
}

#[test]
fn without_a_slot_a_client_is_rejected_and_the_others_stay() {
    with_server(1, |server, path| {
        let mut clients = [(); 2].map(|()| UnixStream::connect(path).unwrap());
        let _ = (accept(server, true), accept(server, true));
        let messages: Vec<_> = clients.iter_mut().map(first_message).collect();
        assert_eq!(messages, [GREETING.to_vec(), Vec::new()]);
        assert_eq!(server.connections.in_use(), 1);
    });
}

#[test]
fn a_client_over_the_limit_of_the_settings_is_rejected_although_there_are_slots() {
    with_server(8, |server, path| {
        let text = "[limits]\nconnections-per-user = 1";
        let settings = Settings::parse(Path::new("test"), text, &SystemUsers, cli::check).unwrap();
        server.shared.policy.replace("test".into(), settings);
        let mut clients = [(); 2].map(|()| UnixStream::connect(path).unwrap());
        let _ = (accept(server, true), accept(server, true));
        let messages: Vec<_> = clients.iter_mut().map(first_message).collect();
        assert_eq!(messages, [GREETING.to_vec(), Vec::new()]);
        assert_eq!(server.connections.in_use(), 1);
    });
}

#[test]
fn a_thread_without_a_standby_accepts_no_client_and_the_next_look_does() {
    with_server(2, |server, path| {
        let mut client = UnixStream::connect(path).unwrap();
        assert_eq!(server.shared.next_event(), Some(Token::LISTENER));
        let _ = accept(server, false);
        assert_eq!(server.connections.in_use(), 0);
        assert!(server.shared.is_timer_armed(), "the main thread tries again");
        server.expire();
        assert_eq!(server.shared.next_event(), Some(Token::LISTENER));
        let _ = accept(server, true);
        assert_eq!(first_message(&mut client), GREETING);
    });
}

#[test]
fn a_client_that_is_gone_already_keeps_no_slot() {
    with_server(1, |server, path| {
        drop(UnixStream::connect(path).unwrap());
        let _ = accept(server, true);
        assert!(server.connections.is_empty());
        assert!(server.connections.reserve().is_some());
    });
}
