//! What ours can do beyond the original: its own options, and its own answers where the original has none.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use pr_control::Control;
use pr_lab::prelude::*;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Resource, Signal};

use crate::ours;

#[test]
fn the_sockets_mode_may_be_given() {
    ours(|bed| {
        for (text, mode) in [("660", 0o660), ("0600", 0o600), ("777", 0o777)] {
            let helper = bed.launch().umask(0o077).args(["--socket-mode", text]).start();
            let found = fs::metadata(helper.socket()).unwrap().permissions().mode() & 0o7777;
            assert_eq!(found, mode, "{found:03o}");
            helper.end(Signal::TERM).expect_silent_success();
        }
        for text in ["8", "rw", "", "-1", "10000", "1777"] {
            bed.launch().arg(format!("--socket-mode={text}")).run().expect_refusal(&["--socket-mode", text]);
        }
    });
}

#[test]
fn the_sockets_group_may_be_given() {
    ours(|bed| {
        for name in ["nogroup", "65534"] {
            let helper = bed.launch().args(["--socket-group", name]).start();
            let file = fs::metadata(helper.socket()).unwrap();
            assert_eq!((file.uid(), file.gid()), (0, 65534));
            helper.end(Signal::TERM).expect_silent_success();
        }
        for name in ["no-such-group", "4294967295", ""] {
            let refused = bed.launch().arg(format!("--socket-group={name}")).run();
            refused.expect_refusal(&["group", name]);
        }
    });
}

#[test]
fn limits_must_make_sense() {
    ours(|bed| {
        for option in ["--max-connections", "--request-timeout", "--command-timeout", "--drain-timeout"] {
            for value in ["0", "-1", "many", ""] {
                bed.launch().arg(format!("{option}={value}")).run().expect_refusal(&[option, value]);
            }
            assert!(!bed.socket().exists());
        }
    });
}

#[test]
fn the_command_timeout_may_be_given_and_preempt_and_abort_gets_twice_that() {
    ours(|bed| {
        let helper = bed.launch().args(["--command-timeout", "7"]).device(|_| Answer::good(&[]).into()).start();
        let client = helper.connect();
        client.pr_in(null(), 0, 8);
        for action in 0..8 {
            client.pr_out(null(), action, &[0; 24]);
        }
        let times: Vec<_> = helper.device().seen().iter().map(|command| command.timeout_ms).collect();
        assert_eq!(times, [7000, 7000, 7000, 7000, 7000, 7000, 14000, 7000, 7000]);
    });
}

#[test]
fn too_few_descriptors_for_all_connections_lower_their_number_with_a_warning() {
    ours(|bed| {
        let file = bed.path("settings.toml");
        std::fs::write(&file, "[defaults]\nmax-connections = 14\n").expect("write the settings");
        let file = file.to_str().expect("a path of letters");
        for given in [["--max-connections", "14"], ["--config", file]] {
            let helper = bed.launch().limit(Resource::Nofile, 95).args(given).start();
            helper.await_stderr("--max-connections 14 needs 98 file descriptors");
            helper.await_stderr("serving 13 connections");
            // The connection that waited for the greeting has to be gone.
            helper.settled_descriptors();
            let clients: Vec<_> = (0..13).map(|_| helper.connect()).collect();
            for client in &clients {
                client.expect_served();
            }
        }
    });
}

#[test]
fn a_low_limit_of_descriptors_is_no_news_to_who_gave_no_number_of_connections() {
    ours(|bed| {
        // The second is what many a host has: a thousand clients find room there.
        for limit in [64, 4096] {
            let helper = bed.launch().limit(Resource::Nofile, limit).start();
            helper.connect().expect_served();
            assert_eq!(helper.stderr(), "", "with {limit} descriptors");
        }
        let socket = bed.path("control");
        let launch = bed.launch().limit(Resource::Nofile, 4096).args(["--control", &socket.to_string_lossy()]);
        let _helper = launch.start();
        assert_eq!(Control::new(&socket, PATIENCE).snapshot().expect("a state").max_connections, 1024);
    });
}

#[test]
fn idle_connections_are_never_given_up() {
    ours(|bed| {
        let helper = bed.launch().args(["--request-timeout", "0.5"]).start();
        let fresh = helper.connect();
        let used = helper.connect();
        used.expect_served();
        std::thread::sleep(Duration::from_millis(2500));
        fresh.expect_served();
        used.expect_served();
    });
}

#[test]
fn what_was_finished_in_time_leaves_no_clock_running() {
    ours(|bed| {
        let helper = bed.launch().args(["--request-timeout", "0.6"]).start();
        let in_two_parts = |client: &Raw, bytes: &[u8]| {
            let device = null();
            let fds = if bytes.len() > 4 { vec![device.as_fd()] } else { vec![] };
            client.send_with(&bytes[..2], &fds);
            std::thread::sleep(Duration::from_millis(200));
            client.send(&bytes[2..]);
        };
        let features = Raw::connect(helper.socket());
        features.read(4);
        in_two_parts(&features, &[0; 4]);
        let request = helper.connect();
        in_two_parts(&request, &Raw::cdb_in(0, 8));
        request.reply().expect_check(0xb, 0, 6);
        std::thread::sleep(Duration::from_secs(2));
        request.expect_served();
        features.expect_served();
    });
}

#[test]
fn a_failed_start_leaves_nothing_in_the_directory() {
    ours(|bed| {
        let missing = bed.path("missing/pid");
        let poor = ["/usr/bin/setpriv", "--bounding-set", "-sys_rawio", "--"];
        for daemon in [&[][..], &["-d"]] {
            bed.launch().args(daemon).arg("-f").arg(&missing).run().expect_refusal(&[]);
            bed.launch().args(daemon).args(["-f", "/dev/full"]).run().expect_refusal(&[]);
            bed.launch().args(daemon).by(&poor).arg("-f").arg(bed.path("pid")).run().expect_refusal(&[]);
            let left: Vec<_> = fs::read_dir(bed.dir()).unwrap().flatten().map(|entry| entry.file_name()).collect();
            assert!(left.is_empty(), "{left:?}");
        }
    });
}

#[test]
fn the_last_that_a_watcher_hears_is_that_the_socket_has_come() {
    use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
    ours(|bed| {
        for stale in [false, true] {
            if stale {
                drop(std::os::unix::net::UnixListener::bind(bed.socket()).unwrap());
            }
            let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
            let changes = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE;
            inotify::add_watch(&watch, bed.dir(), changes).unwrap();
            let helper = bed.start();
            let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
            let mut events = Reader::new(&watch, &mut buffer);
            let mut last = ReadFlags::empty();
            while let Ok(event) = events.next() {
                let name = event.file_name().map(std::ffi::CStr::to_bytes);
                if name == bed.socket().file_name().map(std::os::unix::ffi::OsStrExt::as_bytes) {
                    last = event.events();
                }
            }
            assert_eq!(last, ReadFlags::MOVED_TO, "over a stale socket: {stale}");
            helper.end(Signal::TERM).expect_silent_success();
        }
    });
}

#[test]
fn of_many_that_start_at_once_over_a_stale_socket_one_serves() {
    ours(|bed| {
        for _ in 0..10 {
            drop(std::os::unix::net::UnixListener::bind(bed.socket()).unwrap());
            let helpers: Vec<_> = (0..6).map(|_| bed.launch().spawn()).collect();
            eventually("all but one have given up", || {
                helpers.iter().filter(|helper| helper.process().is_alive()).count() <= 1
            });
            let (alive, dead): (Vec<_>, Vec<_>) = helpers.into_iter().partition(|helper| helper.process().is_alive());
            assert_eq!(alive.len(), 1, "one serves");
            for helper in dead {
                helper.finish().expect_refusal(&[bed.socket().to_str().unwrap()]);
            }
            alive[0].await_greeting();
            alive.into_iter().next().unwrap().end(Signal::TERM).expect_silent_success();
            assert_eq!(fs::read_dir(bed.dir()).unwrap().count(), 0, "nothing is left");
        }
    });
}

#[test]
fn a_command_may_take_longer_than_a_request_may_be_underway() {
    ours(|bed| {
        let helper = bed.launch().args(["--request-timeout", "0.5"]).device(|_| Outcome::Hang).start();
        let client = helper.connect();
        client.send_with(&Raw::cdb_in(0, 8), &[null().as_fd()]);
        helper.device().await_count(1);
        client.expect_silence(Duration::from_secs(2));
        helper.device().release(Answer::good(&[4; 8]));
        assert_eq!(client.reply().payload, [4; 8]);
    });
}

#[test]
fn a_negative_residual_means_that_all_was_transferred() {
    ours(|bed| {
        for resid in [-1, -8000, i32::MIN] {
            let answer = Answer { resid: Some(resid), ..Answer::good(&[6; 16]) };
            let helper = bed.launch().device(move |_| answer.clone().into()).start();
            assert_eq!(helper.connect().pr_in(null(), 0, 16).payload, [6; 16]);
        }
    });
}

#[test]
fn descriptor_format_sense_with_a_short_length_is_cut_there() {
    ours(|bed| {
        for length in [0_u8, 1, 8, 17, 95, 96, 97, 255] {
            let answer = Answer { sense_len: Some(length), ..Answer::check(&[0x72; 96]) };
            let helper = bed.launch().device(move |_| answer.clone().into()).start();
            let reply = helper.connect().pr_in(null(), 0, 16);
            let valid = usize::from(length).min(96);
            assert_eq!(reply.status, 2);
            assert!(reply.sense[..valid].iter().all(|byte| *byte == 0x72), "{length}: {:02x?}", reply.sense);
            assert!(reply.sense[valid..].iter().all(|byte| *byte == 0), "{length}: {:02x?}", reply.sense);
        }
    });
}

/// A block device that is no SCSI disk, good enough to be recognised as a block device.
fn block_device() -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    open("/dev/loop0", flags, Mode::empty()).expect("a block device: modprobe loop")
}

#[test]
fn a_suspended_block_device_is_asked_again() {
    ours(|bed| {
        let mut left = 3;
        let device = move |_: &Command| {
            left -= 1;
            if left < 0 { Answer::good(&[1; 8]).into() } else { Outcome::Errno(libc::EAGAIN) }
        };
        let helper = bed.launch().device(device).start();
        assert_eq!(helper.connect().pr_in(block_device(), 0, 8).payload, [1; 8]);
        assert_eq!(helper.device().count(), 4);
    });
}

#[test]
fn a_block_device_that_stays_suspended_is_given_up() {
    ours(|bed| {
        let helper = bed.launch().device(|_| Outcome::Errno(libc::EAGAIN)).start();
        helper.connect().pr_in(block_device(), 0, 8).expect_check(0xb, 0, 6);
        assert!((2..100).contains(&helper.device().count()), "{}", helper.device().count());
    });
}

#[test]
fn a_character_device_is_asked_once() {
    ours(|bed| {
        let helper = bed.launch().device(|_| Outcome::Errno(libc::EAGAIN)).start();
        helper.connect().pr_in(null(), 0, 8).expect_check(0xb, 0, 6);
        assert_eq!(helper.device().count(), 1);
    });
}

#[test]
fn at_the_end_what_hangs_is_named() {
    ours(|bed| {
        let helper = bed.launch().args(["--drain-timeout", "0.3"]).device(|_| Outcome::Hang).start();
        let client = helper.connect();
        let device = open("/dev/full", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap();
        client.send_with(&Raw::cdb_in(0, 8), &[device.as_fd()]);
        helper.device().await_count(1);
        helper.end(Signal::TERM).expect_refusal(&["qemu-pr-helper: ", "1:7"]);
    });
}

/// A helper that becomes nobody, with everything that it makes in a directory of root's.
fn in_a_folder_of_roots(bed: &Bed) -> (Helper, [std::path::PathBuf; 3]) {
    let [pidfile, control] = ["pid", "control"].map(|name| bed.path(name));
    let launch =
        bed.launch().args(["-u", "nobody", "-g", "nogroup", "-f"]).arg(&pidfile).arg("--control").arg(&control);
    (launch.start(), [bed.socket(), pidfile, control])
}

#[test]
fn what_the_new_user_may_not_remove_is_removed_at_the_end_however_that_comes() {
    ours(|bed| {
        let (helper, files) = in_a_folder_of_roots(bed);
        assert!(files.iter().all(|file| file.exists()));
        helper.end(Signal::TERM).expect_silent_success();
        assert!(!files.iter().any(|file| file.exists()), "{files:?}");

        let (helper, files) = in_a_folder_of_roots(bed);
        helper.end(Signal::KILL);
        eventually("all is removed", || !files.iter().any(|file| file.exists()));
    });
}

#[test]
fn what_is_another_ones_by_now_is_not_removed_for_the_new_user() {
    ours(|bed| {
        let (helper, files) = in_a_folder_of_roots(bed);
        let cleanup = helper.child("qemu-pr-cleanup");
        for file in &files {
            fs::remove_file(file).unwrap();
            fs::write(file, "another one's").unwrap();
        }
        assert_eq!(helper.end(Signal::TERM).code(), 0);
        eventually("the process has ended", || !cleanup.is_alive());
        for file in &files {
            assert_eq!(fs::read_to_string(file).unwrap(), "another one's");
        }
    });
}

#[test]
fn without_need_there_is_no_process_that_removes_files() {
    ours(|bed| {
        let names = |helper: &Helper| -> Vec<String> {
            helper.children().iter().filter_map(|child| child.status().get("Name").cloned()).collect()
        };
        let there = bed.path("there");
        fs::create_dir(&there).unwrap();
        std::os::unix::fs::chown(&there, Some(65534), Some(65534)).unwrap();
        let theirs = bed.launch().at(there.join("pr.sock")).args(["-u", "nobody", "-g", "nogroup"]);
        for launch in [bed.launch(), bed.launch().args(["-u", "root"]), bed.launch().args(["-g", "nogroup"]), theirs] {
            let helper = launch.start();
            let names = names(&helper);
            assert!(!names.is_empty() && !names.iter().any(|name| name == "qemu-pr-cleanup"), "{names:?}");
        }
    });
}

#[test]
fn a_pidfile_that_may_not_be_removed_names_no_dead_helper() {
    ours(|bed| {
        let there = bed.path("there");
        fs::create_dir(&there).unwrap();
        std::os::unix::fs::chown(&there, Some(65534), Some(65534)).unwrap();
        let pidfile = there.join("pid");
        let helper = bed.launch().args(["-u", "nobody", "-g", "nogroup", "-f"]).arg(&pidfile).start();
        // It was nobody's when the helper started.
        std::os::unix::fs::chown(&there, Some(0), Some(0)).unwrap();
        assert_eq!(helper.end(Signal::TERM).code(), 0);
        assert_eq!(fs::read_to_string(&pidfile).unwrap(), "");
    });
}

#[test]
fn a_pidfile_that_is_another_ones_by_now_stays() {
    ours(|bed| {
        let pidfile = bed.path("pid");
        let helper = bed.launch().arg("-f").arg(&pidfile).start();
        fs::remove_file(&pidfile).unwrap();
        fs::write(&pidfile, "1\n").unwrap();
        assert_eq!(helper.end(Signal::TERM).code(), 0);
        assert_eq!(fs::read_to_string(&pidfile).unwrap(), "1\n");
    });
}

#[test]
fn every_event_of_the_list_occurs_in_the_log_of_one_life() {
    ours(|bed| {
        let log = bed.path("trace");
        let control = bed.path("control");
        let helper = bed.launch().args(["-q", "-T"]).arg(format!("*,file={}", log.display()));
        let helper = helper.arg("--control").arg(&control).start();
        let client = helper.connect();
        client.expect_served();
        Control::new(control, PATIENCE).snapshot().expect("an answer");
        // What could be a map goes to the multipath broker.
        client.pr_in(block_device(), 0, 8);
        let read_only = open("/dev/null", OFlags::RDONLY, Mode::empty()).unwrap();
        client.pr_out(read_only, 0, &[0; 24]).expect_check(5, 0x20, 0);
        // A CDB without a descriptor.
        client.send(&[0; 16]);
        client.expect_closed();
        let id = helper.process().id();
        assert_eq!(helper.end(Signal::TERM).code(), 0);
        let trace = fs::read_to_string(log).unwrap();
        for line in trace.lines() {
            let time = line.strip_prefix(&format!("{id}@")).and_then(|rest| rest.split(':').next());
            assert!(time.is_some_and(|time| time.parse::<f64>().is_ok_and(|seconds| seconds > 1e9)), "{line}");
        }
        let list = bed.launch().bare().args(["-T", "help"]).run();
        for line in list.stdout.lines() {
            let name = line.split_whitespace().next().expect("a name");
            assert!(trace.contains(&format!(":{name} ")), "no {name} in {trace}");
        }
    });
}

#[test]
fn a_simulated_disk_keeps_registrations_and_enforces_them() {
    ours(|bed| {
        let helper = bed.launch().arg("--simulate").start();
        let path = bed.path("disk");
        fs::write(&path, "").unwrap();
        let disk = || fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let parameters = |key: u64, service_key: u64| {
            let mut list = [0; 24];
            list[..8].copy_from_slice(&key.to_be_bytes());
            list[8..16].copy_from_slice(&service_key.to_be_bytes());
            list
        };
        let (first, second) = (helper.connect(), helper.connect());
        first.pr_out(disk(), 0, &parameters(0, 0x1234)).expect_bare(0);
        second.pr_out(disk(), 0, &parameters(0, 0x5678)).expect_bare(0);
        let keys = first.pr_in(disk(), 0, 64).payload;
        assert_eq!(keys[4..8], 16_u32.to_be_bytes(), "two keys");
        first.pr_out(disk(), 1, &parameters(0x1234, 0)).expect_bare(0);
        second.pr_out(disk(), 1, &parameters(0x5678, 0)).expect_bare(0x18);
        let reservation = second.pr_in(disk(), 1, 64).payload;
        assert_eq!(reservation[8..16], 0x1234_u64.to_be_bytes(), "the holder's key");
    });
}

#[test]
fn whoever_has_the_one_capability_and_nothing_else_may_start_it() {
    const POOR: &[&str] = &[
        "/usr/bin/setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--inh-caps=-all,+sys_rawio",
        "--ambient-caps=-all,+sys_rawio",
        "--bounding-set=-all,+sys_rawio",
        "--",
    ];
    ours(|bed| {
        fs::create_dir(bed.path("theirs")).unwrap();
        std::os::unix::fs::chown(bed.path("theirs"), Some(65534), Some(65534)).unwrap();
        let helper = bed.launch().at(bed.path("theirs/pr.sock")).by(POOR).start();
        let status = helper.process().status();
        assert_eq!((&*status["CapPrm"], &*status["CapAmb"]), ("0000000000020000", "0000000000000000"));
        helper.end(Signal::TERM).expect_silent_success();

        let groups: Vec<&str> =
            POOR.iter().map(|word| if *word == "--clear-groups" { "--groups=6" } else { word }).collect();
        bed.launch().at(bed.path("theirs/pr.sock")).by(&groups).run().expect_refusal(&["supplementary groups"]);
    });
}
