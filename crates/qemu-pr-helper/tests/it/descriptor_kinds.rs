//! Every kind of file that a client may pass, device or not: the answers that both helpers share.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use pr_lab::prelude::*;
use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create, open};

use crate::OURS;

/// ABORTED COMMAND, I/O PROCESS TERMINATED.
const TERMINATED: (u8, u8, u8) = (0xb, 0x00, 0x06);
/// ILLEGAL REQUEST, INVALID FIELD IN CDB.
const INVALID_FIELD: (u8, u8, u8) = (5, 0x24, 0x00);
/// ILLEGAL REQUEST, INVALID COMMAND OPERATION CODE.
const INVALID_COMMAND: (u8, u8, u8) = (5, 0x20, 0x00);

/// Access mode 3: the Linux way to open a device for ioctls alone.
const NO_ACCESS: OFlags = OFlags::from_bits_retain(3);

fn opened(path: &str, flags: OFlags) -> OwnedFd {
    open(path, flags | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty()).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Asserts what PR IN and PR OUT answer on this descriptor, on one connection.
#[track_caller]
fn expect(client: &Raw, what: &str, fd: &OwnedFd, pr_in: (u8, u8, u8), pr_out: (u8, u8, u8)) {
    for (reply, expected) in [(client.pr_in(fd, 0, 8), pr_in), (client.pr_out(fd, 0, &[0; 24]), pr_out)] {
        assert_eq!((reply.status, reply.size), (2, 0), "{what}");
        assert_eq!((reply.sense[0], reply.sense[7]), (0x70, 10), "{what}");
        assert_eq!((reply.sense[2], reply.sense[12], reply.sense[13]), expected, "{what}");
    }
}

/// Paths that exist on this machine.
fn existing<'a>(paths: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    assert!(paths.iter().any(|path| std::path::Path::new(path).exists()), "none of {paths:?}");
    paths.iter().copied().filter(|path| std::path::Path::new(path).exists())
}

const CHARACTER_DEVICES: [&str; 7] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/kmsg", "/dev/net/tun", "/dev/fuse", "/dev/loop-control"];

#[test]
fn character_devices_that_are_not_scsi_terminate_the_process() {
    both(OURS, |bed| {
        let helper = bed.start();
        let client = helper.connect();
        for path in existing(&CHARACTER_DEVICES) {
            for flags in [OFlags::RDWR, OFlags::WRONLY, NO_ACCESS] {
                // Some devices refuse one of the modes.
                let Ok(fd) = open(path, flags | OFlags::CLOEXEC, Mode::empty()) else { continue };
                expect(&client, path, &fd, TERMINATED, TERMINATED);
            }
        }
    });
}

#[test]
fn pr_out_on_a_descriptor_without_write_access_is_an_invalid_command() {
    both(OURS, |bed| {
        let helper = bed.launch().device(|_| Outcome::Errno(libc::ENOTTY)).start();
        let client = helper.connect();
        for path in existing(&["/dev/null", "/dev/zero", "/dev/full"]) {
            let fd = opened(path, OFlags::RDONLY);
            expect(&client, path, &fd, TERMINATED, INVALID_COMMAND);
        }
        let commands = helper.device().seen();
        assert!(commands.iter().all(|command| !command.is_out()), "no ioctl is made for PR OUT");
        assert_eq!(commands.len(), 3);
    });
}

#[test]
fn paths_without_access_serve_nothing() {
    both(OURS, |bed| {
        let helper = bed.start();
        let client = helper.connect();
        for path in existing(&["/dev/null", "/dev/loop0", "/", "/proc/self/status"]) {
            expect(&client, path, &opened(path, OFlags::PATH), TERMINATED, INVALID_COMMAND);
        }
    });
}

#[test]
fn a_block_device_that_is_not_scsi_answers_invalid_field() {
    both(OURS, |bed| {
        let helper = bed.launch().device(|_| Outcome::Errno(libc::EINVAL)).start();
        let client = helper.connect();
        for path in existing(&["/dev/loop0"]) {
            for flags in [OFlags::RDWR, OFlags::WRONLY, NO_ACCESS] {
                let Ok(fd) = open(path, flags | OFlags::CLOEXEC, Mode::empty()) else { continue };
                expect(&client, path, &fd, INVALID_FIELD, INVALID_FIELD);
            }
            expect(&client, path, &opened(path, OFlags::RDONLY), INVALID_FIELD, INVALID_COMMAND);
        }
    });
}

#[test]
fn a_real_loop_device_answers_invalid_field() {
    both(OURS, |bed| {
        let helper = bed.start();
        let fd = opened("/dev/loop0", OFlags::RDONLY);
        expect(&helper.connect(), "/dev/loop0", &fd, INVALID_FIELD, INVALID_COMMAND);
    });
}

#[test]
fn devices_that_know_no_such_request_answer_invalid_field() {
    both(OURS, |bed| {
        let helper = bed.start();
        let client = helper.connect();
        expect(&client, "random", &opened("/dev/random", OFlags::RDWR), INVALID_FIELD, INVALID_FIELD);
        expect(&client, "random", &opened("/dev/random", OFlags::RDONLY), INVALID_FIELD, INVALID_COMMAND);
        let epoll = rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC).unwrap();
        // Newer kernels say of epoll that it knows no such request. Ours makes none on what cannot be a disk.
        let answer = if bed.subject().is_ours() { TERMINATED } else { INVALID_FIELD };
        expect(&client, "epoll", &epoll, answer, answer);
    });
}

#[test]
fn regular_files_terminate_the_process_and_stay_as_they_are() {
    both(OURS, |bed| {
        let helper = bed.start();
        let client = helper.connect();
        let path = bed.path("disk.img");
        std::fs::write(&path, "contents").unwrap();
        let path = path.to_str().unwrap();
        expect(&client, "rw", &opened(path, OFlags::RDWR), TERMINATED, TERMINATED);
        expect(&client, "wo", &opened(path, OFlags::WRONLY), TERMINATED, TERMINATED);
        expect(&client, "ro", &opened(path, OFlags::RDONLY), TERMINATED, INVALID_COMMAND);
        assert_eq!(std::fs::read_to_string(path).unwrap(), "contents");
        expect(&client, "memfd", &memfd_create("m", MemfdFlags::CLOEXEC).unwrap(), TERMINATED, TERMINATED);
        expect(&client, "mem", &opened("/proc/self/mem", OFlags::RDWR), TERMINATED, TERMINATED);
    });
}

#[test]
fn things_that_can_only_be_read_refuse_pr_out() {
    both(OURS, |bed| {
        let helper = bed.start();
        let client = helper.connect();
        let (reader, _writer) = std::io::pipe().unwrap();
        expect(&client, "pipe", &OwnedFd::from(reader), TERMINATED, INVALID_COMMAND);
        expect(&client, "directory", &opened("/", OFlags::RDONLY), TERMINATED, INVALID_COMMAND);
        expect(&client, "sysfs", &opened("/sys/kernel/mm", OFlags::RDONLY), TERMINATED, INVALID_COMMAND);
        let inotify = rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::CLOEXEC).unwrap();
        expect(&client, "inotify", &inotify, TERMINATED, INVALID_COMMAND);
    });
}

#[test]
fn sockets_pipes_and_kernel_objects_terminate_the_process() {
    both(OURS, |bed| {
        let helper = bed.start();
        let client = helper.connect();
        let (_reader, writer) = std::io::pipe().unwrap();
        let eventfd = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
        let own = rustix::process::getpid();
        let pidfd = rustix::process::pidfd_open(own, rustix::process::PidfdFlags::empty()).unwrap();
        let kinds: [(&str, OwnedFd); 7] = [
            ("pipe", writer.into()),
            ("unix", UnixStream::pair().unwrap().0.into()),
            ("tcp", TcpListener::bind("127.0.0.1:0").unwrap().into()),
            ("udp", UdpSocket::bind("127.0.0.1:0").unwrap().into()),
            ("eventfd", eventfd),
            ("pidfd", pidfd),
            ("pty", opened("/dev/ptmx", OFlags::RDWR | OFlags::NOCTTY)),
        ];
        for (what, fd) in &kinds {
            expect(&client, what, fd, TERMINATED, TERMINATED);
        }
    });
}

#[test]
fn a_connection_to_the_helper_itself_terminates_the_process() {
    both(OURS, |bed| {
        let helper = bed.start();
        let (client, other) = (helper.connect(), helper.connect());
        let own = OwnedFd::from(client.stream().try_clone().unwrap());
        let others = OwnedFd::from(other.stream().try_clone().unwrap());
        expect(&client, "own", &own, TERMINATED, TERMINATED);
        expect(&client, "another's", &others, TERMINATED, TERMINATED);
        client.expect_served();
        other.expect_served();
    });
}

#[test]
fn the_descriptor_is_closed_with_the_request() {
    both(OURS, |bed| {
        let helper = bed.start();
        let client = helper.connect();
        let idle = helper.settled_descriptors();
        for _ in 0..20 {
            let (kept, passed) = UnixStream::pair().unwrap();
            client.pr_in(passed, 0, 8);
            // The last copy of the other end goes with the request.
            Raw::from_stream(kept).expect_closed();
        }
        helper.await_descriptors(idle);
    });
}

#[test]
fn the_descriptor_is_closed_before_the_answer() {
    both(OURS, |bed| {
        let helper = bed.start();
        let client = helper.connect();
        for _ in 0..200 {
            // A pipe stands for the device: ours closes what may take long to close after the answer.
            let (kept, passed) = std::io::pipe().unwrap();
            client.pr_in(passed, 0, 8);
            // Whoever has the answer may remove the device: nobody holds it any more.
            rustix::io::ioctl_fionbio(&kept, true).unwrap();
            let read = std::io::Read::read(&mut &kept, &mut [0; 1]);
            assert!(matches!(read, Ok(0)), "the helper still holds the descriptor: {read:?}");
        }
    });
}
