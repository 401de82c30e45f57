//! What others do to the directories, sockets and files of the daemon, and to its start and its end.

use std::{
    fs,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            fs::{MetadataExt, PermissionsExt, chown, lchown, symlink},
            net::UnixListener,
        },
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use pr_control::Control;
use pr_lab::{Fault, Faults, prelude::*};
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with},
    process::Signal,
};

use crate::ours;

/// A user with a directory of its own, as libvirt gives QEMU's user one for each machine.
const TENANT: u32 = 54321;

/// The tenant's directory.
fn theirs(bed: &Bed) -> PathBuf {
    let there = bed.path("theirs");
    fs::create_dir(&there).unwrap();
    chown(&there, Some(TENANT), Some(TENANT)).unwrap();
    fs::set_permissions(&there, fs::Permissions::from_mode(0o750)).unwrap();
    there
}

/// A file of root's that nobody else may read.
fn secret(bed: &Bed) -> PathBuf {
    let secret = bed.path("secret");
    fs::write(&secret, "root's own\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    secret
}

#[track_caller]
fn expect_untouched(secret: &Path) {
    let metadata = fs::metadata(secret).unwrap();
    let rights = (metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
    assert_eq!((rights, fs::read_to_string(secret).unwrap().as_str()), ((0o600, 0, 0), "root's own\n"));
}

/// What is said of a symbolic link of the tenant.
const LINK: &str = "a symbolic link on the path belongs to another user";

/// A symbolic link that the tenant has made.
fn link(target: &Path, at: &Path) {
    symlink(target, at).unwrap();
    lchown(at, Some(TENANT), Some(TENANT)).unwrap();
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Puts a link to the secret in the place of whatever comes into the directory under a temporary name, as its owner may,
/// until it is told to stop.
fn exchange(directory: &Path, link: &Path, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        for name in names(directory) {
            if name.starts_with(".pr.sock") || name.starts_with(".control") {
                let _ = renameat_with(CWD, directory.join(name), CWD, link, RenameFlags::EXCHANGE);
            }
        }
    }
}

/// Starts a helper again and again while the owner of the directory exchanges its temporary names for a link to the secret.
fn raced(bed: &Bed, launch: impl Fn(&Path) -> Launch) {
    let (there, secret) = (theirs(bed), secret(bed));
    for round in 0..6 {
        let (prepared, stop) = (bed.path(&format!("link-{round}")), AtomicBool::new(false));
        link(&secret, &prepared);
        thread::scope(|scope| {
            scope.spawn(|| exchange(&there, &prepared, &stop));
            // Each of its calls takes a while then.
            let slowly = Faults::recorded();
            let helper = launch(&there).faults(&slowly).spawn();
            let is_over = || helper.ends_within(Duration::ZERO) || !names(&there).is_empty();
            assert!(within(PATIENCE, is_over), "neither a socket nor an end: {}", helper.stderr());
            // Until it has done all that it does with its rights.
            let is_served =
                || fs::read_dir(format!("/proc/{}/task", helper.process().id())).is_ok_and(|all| all.count() > 2);
            assert!(within(PATIENCE, || helper.ends_within(Duration::ZERO) || is_served()));
            stop.store(true, Ordering::Relaxed);
            slowly.end();
            drop(helper);
        });
        expect_untouched(&secret);
        for name in names(&there) {
            fs::remove_file(there.join(name)).unwrap();
        }
    }
}

#[test]
fn the_owner_of_the_directory_cannot_lead_the_mode_of_a_socket_to_another_file() {
    ours(|bed| raced(bed, |there| bed.launch().at(there.join("pr.sock")).args(["--socket-mode", "666"])));
}

#[test]
fn the_owner_of_the_directory_cannot_lead_the_group_of_a_socket_to_another_file() {
    ours(|bed| {
        raced(bed, |there| {
            bed.launch().at(there.join("pr.sock")).args(["--socket-group", "54321", "--socket-mode", "666"])
        });
    });
}

#[test]
fn the_owner_of_the_directory_cannot_lead_a_control_sockets_rights_to_another_file() {
    ours(|bed| {
        raced(bed, |there| bed.launch().arg("--control").arg(there.join("control")).args(["--control-group", "54321"]));
    });
}

#[test]
fn a_control_socket_or_a_sockets_group_in_a_directory_of_somebody_else_is_refused() {
    ours(|bed| {
        let there = theirs(bed);
        let open = bed.path("open");
        fs::create_dir(&open).unwrap();
        for (mode, directory) in [(0o777, &open), (0o770, &open), (0o750, &there), (0o1777, &there)] {
            fs::set_permissions(directory, fs::Permissions::from_mode(mode)).unwrap();
            let name = directory.to_str().unwrap();
            let control = bed.launch().arg("--control").arg(directory.join("control")).run();
            control.expect_refusal(&["--control", name, "users other than root can write"]);
            let group = bed.launch().at(directory.join("pr.sock")).args(["--socket-group", "54321"]).run();
            group.expect_refusal(&["--socket-group", name, "users other than root can write"]);
            assert_eq!(names(directory), [""; 0], "{mode:o}");
        }
        // Who may make files in these cannot move others'.
        for mode in [0o1777, 0o755] {
            fs::set_permissions(&open, fs::Permissions::from_mode(mode)).unwrap();
            let launch = bed.launch().at(open.join("pr.sock")).args(["--socket-group", "54321"]);
            let helper = launch.arg("--control").arg(open.join("control")).start();
            assert!(Control::new(open.join("control"), PATIENCE).snapshot().is_ok());
            assert_eq!(fs::metadata(open.join("pr.sock")).unwrap().gid(), 54321);
            helper.end(Signal::TERM).expect_silent_success();
            assert_eq!(names(&open), [""; 0], "{mode:o}");
        }
    });
}

#[test]
fn a_directory_that_libvirt_has_given_to_qemus_user_is_served_in() {
    ours(|bed| {
        let there = theirs(bed);
        let helper = bed.launch().at(there.join("pr-helper0.sock")).args(["--socket-mode", "660"]).umask(0o077).start();
        let metadata = fs::metadata(helper.socket()).unwrap();
        assert_eq!((metadata.mode() & 0o7777, metadata.uid()), (0o660, 0));
        helper.connect().expect_served();
        helper.end(Signal::TERM).expect_silent_success();
    });
}

#[test]
fn a_link_of_somebody_else_leads_no_pidfile_and_no_trace_elsewhere() {
    ours(|bed| {
        let (there, secret) = (theirs(bed), secret(bed));
        link(&secret, &there.join("file"));
        link(bed.dir(), &there.join("directory"));
        for path in [there.join("file"), there.join("directory/secret")] {
            let name = path.to_str().unwrap();
            bed.launch().arg("-f").arg(&path).run().expect_refusal(&[name, LINK]);
            let trace = format!("file={name}");
            bed.launch().args(["-T", &trace]).run().expect_refusal(&[name, LINK]);
            expect_untouched(&secret);
        }
        fs::hard_link(&secret, there.join("hard")).unwrap();
        bed.launch().arg("-f").arg(there.join("hard")).run().expect_refusal(&["hard", "another hard link"]);
        expect_untouched(&secret);
        assert!(!bed.socket().exists());
    });
}

#[test]
fn a_link_of_somebody_else_on_the_way_to_the_socket_is_not_followed() {
    ours(|bed| {
        let (there, mine) = (theirs(bed), bed.path("mine"));
        fs::create_dir(&mine).unwrap();
        link(&mine, &there.join("run"));
        let socket = there.join("run/pr.sock");
        bed.launch().at(&socket).run().expect_refusal(&[socket.to_str().unwrap(), LINK]);
        let control = bed.launch().arg("--control").arg(there.join("run/control")).run();
        control.expect_refusal(&["--control", LINK]);
        assert_eq!(names(&mine), [""; 0]);
        // One of root's is: /var/run is one.
        symlink(&mine, bed.path("run")).unwrap();
        let helper = bed.launch().at(bed.path("run/pr.sock")).start();
        helper.connect().expect_served();
        helper.end(Signal::TERM).expect_silent_success();
        assert_eq!(names(&mine), [""; 0]);
    });
}

#[test]
fn what_a_killed_start_has_left_goes_with_the_next_one() {
    ours(|bed| {
        // The numbers of processes end before that.
        let dead = 99_999_999;
        let control = bed.path("control");
        let stale = [format!(".pr.sock.{dead}-1a2b"), format!(".control.{dead}-3c"), format!(".pr-helper.{dead}-4d")];
        for name in &stale {
            drop(UnixListener::bind(bed.path(name)).unwrap());
        }
        let living = bed.path(&format!(".pr.sock.{dead}-f"));
        let _listener = UnixListener::bind(&living).unwrap();
        let of_another = bed.path(&format!(".pr.sock.{dead}-e"));
        drop(UnixListener::bind(&of_another).unwrap());
        lchown(&of_another, Some(TENANT), None).unwrap();
        let starting = bed.path(&format!(".pr.sock.{}-a", std::process::id()));
        drop(UnixListener::bind(&starting).unwrap());
        let file = bed.path(&format!(".pr.sock.{dead}-d"));
        fs::write(&file, "").unwrap();
        let others = bed.path(&format!(".other.sock.{dead}-9"));
        drop(UnixListener::bind(&others).unwrap());

        let helper = bed.launch().arg("--control").arg(&control).start();
        for name in &stale {
            assert!(!bed.path(name).exists(), "{name} is still there");
        }
        for path in [living, of_another, starting, file, others] {
            assert!(fs::symlink_metadata(&path).is_ok(), "{} is gone", path.display());
        }
        helper.end(Signal::TERM).expect_silent_success();
    });
}

/// A socket where a broker would be, with room for so many connections that nobody accepts.
fn silent_broker(bed: &Bed, room: i32) -> OwnedFd {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    bind(&socket, &SocketAddrUnix::new(bed.path("broker")).unwrap()).unwrap();
    listen(&socket, room).unwrap();
    socket
}

#[test]
fn a_signal_ends_a_start_that_waits_for_its_broker() {
    ours(|bed| {
        let _broker = silent_broker(bed, 64);
        let there = bed.path("there");
        fs::create_dir(&there).unwrap();
        for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
            let helper = bed.launch().at(there.join("pr.sock")).arg("--broker").arg(bed.path("broker")).spawn();
            eventually("it waits", || !names(&there).is_empty());
            helper.signal(signal);
            let ended = helper.finish();
            assert_eq!(ended.code(), 0, "{}", ended.stderr);
            assert!(ended.stderr.contains("waiting for the multipath broker"), "{}", ended.stderr);
            assert_eq!(names(&there), [""; 0]);
        }
    });
}

#[test]
fn a_signal_ends_a_start_that_its_broker_has_no_room_for() {
    ours(|bed| {
        let _broker = silent_broker(bed, 0);
        let start = || bed.launch().arg("--broker").arg(bed.path("broker")).spawn();
        let first = start();
        eventually("the only place is taken", || names(bed.dir()).iter().any(|name| name.starts_with(".pr.sock")));
        let second = start();
        let connecting = |process: Process| {
            let wait = fs::read_to_string(format!("/proc/{}/syscall", process.id())).unwrap_or_default();
            wait.starts_with(|digit: char| digit.is_ascii_digit())
        };
        eventually("it waits", || connecting(second.process()) && second.process().descriptors().len() > 3);
        second.signal(Signal::TERM);
        assert_eq!(second.finish().code(), 0);
        drop(first);
    });
}

#[test]
fn a_broker_that_says_nothing_is_not_waited_for_for_ever() {
    ours(|bed| {
        let _broker = silent_broker(bed, 64);
        let helper = bed.launch().arg("--broker").arg(bed.path("broker")).spawn();
        assert!(helper.ends_within(PATIENCE * 6), "it still waits");
        helper.finish().expect_refusal(&["multipath broker", "10s"]);
        assert_eq!(names(bed.dir()), ["broker"]);
    });
}

/// A helper that reads one request a second of a client.
fn limited(bed: &Bed) -> Launch {
    let path = bed.path("settings.toml");
    fs::write(&path, "[limits]\nrequests-per-second = 1\nburst = 2\n").unwrap();
    bed.launch().arg("--config").arg(path).device(|_| Answer::good(&[7; 8]).into())
}

#[test]
fn what_a_limited_client_has_sent_is_answered_at_the_end() {
    ours(|bed| {
        let helper = limited(bed).start();
        let client = helper.connect();
        // The greeting and this are what may come at once.
        assert_eq!(client.pr_in(null(), 0, 8).payload, [7; 8]);
        for _ in 0..6 {
            client.send_with(&Raw::cdb_in(0, 8), &[null().as_fd()]);
        }
        helper.signal(Signal::TERM);
        for _ in 0..6 {
            assert_eq!(client.reply().payload, [7; 8]);
        }
        client.expect_closed();
        helper.finish().expect_silent_success();
    });
}

#[test]
fn an_idle_client_over_its_rate_is_let_go_of_and_not_left_behind() {
    ours(|bed| {
        let helper = limited(bed).args(["-T", "pr_helper_close"]).start();
        let client = helper.connect();
        assert_eq!(client.pr_in(null(), 0, 8).payload, [7; 8]);
        let others: Vec<_> = (0..8).map(|_| helper.connect()).collect();
        let ended = helper.end(Signal::TERM);
        assert_eq!(ended.code(), 0);
        let closed = ended.stderr.lines().filter(|line| line.contains("pr_helper_close")).count();
        // The first one only looked whether the helper is up.
        assert_eq!(closed, 2 + others.len(), "{}", ended.stderr);
    });
}

#[test]
fn an_end_with_a_failure_has_a_word_about_it() {
    ours(|bed| {
        let helper = bed.launch().args(["--drain-timeout", "0.5", "-T", "pr_helper_policy"]).start();
        let client = helper.connect();
        // It is closed in the helper, and that takes as long as its sender likes.
        let (ours, theirs) = lingering();
        helper.signal(Signal::STOP);
        client.send_with(&Raw::cdb_in(0, 8), &[ours.as_fd()]);
        drop(ours);
        helper.signal(Signal::CONT);
        helper.await_stderr("pr_helper_policy");
        helper.signal(Signal::TERM);
        let ended = helper.finish();
        drop(theirs);
        assert!(ended.code() == 0 || ended.stderr.contains("giving up after"), "{}: {:?}", ended.code(), ended.stderr);
    });
}

/// A TCP connection that whoever closes it last waits for, and its other end, which reads nothing.
fn lingering() -> (OwnedFd, OwnedFd) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    rustix::net::sockopt::set_socket_linger(&ours, Some(Duration::from_secs(10))).unwrap();
    ours.set_nonblocking(true).unwrap();
    while std::io::Write::write(&mut &ours, &[0; 4096]).is_ok() {}
    ours.set_nonblocking(false).unwrap();
    (ours.into(), theirs.into())
}

/// The call by which a start asks for Landlock, as it fails in a container whose profile does not know it.
fn landlock_forbidden(bed: &Bed) -> Faults {
    let recorded = Faults::recorded();
    let helper = bed.launch().faults(&recorded).start();
    recorded.end();
    drop(helper);
    let calls = recorded.calls();
    let call = calls.iter().find(|call| call.process.is_empty() && call.name() == "landlock_create_ruleset");
    Faults::from_start(Fault { call: call.expect("a question").clone(), errno: libc::EPERM })
}

#[test]
fn without_a_word_about_landlock_a_start_is_refused_and_names_the_way_out() {
    ours(|bed| {
        let refused = bed.launch().faults(&landlock_forbidden(bed)).run();
        refused.expect_refusal(&["landlock_create_ruleset", "--sandbox seccomp"]);
    });
}

#[test]
fn system_calls_alone_are_confined_where_that_is_asked_for() {
    ours(|bed| {
        let recorded = Faults::recorded();
        let launch = || bed.launch().args(["--sandbox", "seccomp"]);
        let helper = launch().faults(&recorded).start();
        recorded.end();
        let asked: Vec<_> = recorded.calls().into_iter().filter(|call| call.name().starts_with("landlock")).collect();
        assert_eq!(asked, []);
        drop(helper);
        let helper = launch().start();
        helper.connect().expect_served();
        for process in [helper.process(), helper.child("qemu-pr-names"), helper.child("qemu-pr-broker")] {
            assert_eq!(process.status()["Seccomp"], "2");
        }
        helper.end(Signal::TERM).expect_silent_success();
    });
}
