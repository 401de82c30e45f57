//! What clients and askers do to what they share: the audit log, the control socket, threads and connections.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{fs::PermissionsExt, net::UnixStream},
    },
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use pr_control::{Ask, Control, Told};
use pr_lab::{as_user, keys, prelude::*};
use rustix::process::{Resource, Signal};

use crate::ours;

/// A user without rights, and the group that may look at the control socket.
const NOBODY: u32 = 65534;
pub const MONITOR: u32 = 12345;

/// Records that a process may have at once, and each second after that.
const BURST: f64 = 100.0;
const REFILL: f64 = 10.0;

/// A helper whose control socket the group may use.
fn launch(bed: &Bed) -> Launch {
    fs::set_permissions(bed.dir(), fs::Permissions::from_mode(0o755)).expect("a directory that others may look into");
    let launch = bed.launch().arg("--control").arg(bed.control_path()).args(["--socket-mode", "666"]);
    launch.args(["--control-group", &MONITOR.to_string()])
}

fn monitor<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    as_user(NOBODY, MONITOR, act)
}

/// Sockets whose closing takes minutes: what they have to send goes nowhere.
struct Lingering {
    sockets: Vec<TcpStream>,
    _peers: Vec<TcpStream>,
}

/// A TCP socket whose closing takes so long, and its peer: what it has to send goes nowhere.
pub fn lingering(time: Duration) -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let socket = TcpStream::connect(listener.local_addr()?)?;
    let (peer, _) = listener.accept()?;
    socket.set_nonblocking(true)?;
    let chunk = vec![0; 65536];
    while within(Duration::from_millis(50), || (&socket).write(&chunk).is_ok()) {}
    socket.set_nonblocking(false)?;
    rustix::net::sockopt::set_socket_linger(&socket, Some(time))?;
    Ok((socket, peer))
}

impl Lingering {
    fn new(count: usize) -> Self {
        let pair = |_| lingering(Duration::from_secs(600)).expect("two sockets");
        let (sockets, peers) = (0..count).map(pair).unzip();
        Self { sockets, _peers: peers }
    }

    /// Has each of them sent by `send` while the helper is stopped, so that it is the helper that closes them. One that
    /// could not be sent is closed here.
    fn plant(&mut self, helper: &Helper, mut send: impl FnMut(usize, &TcpStream) -> io::Result<()>) {
        helper.signal(Signal::STOP);
        let stopped = || helper.process().status().get("State").is_some_and(|state| state.starts_with('T'));
        eventually("the helper stops", stopped);
        for (number, socket) in self.sockets.drain(..).enumerate() {
            if send(number, &socket).is_err() {
                let _ = rustix::net::sockopt::set_socket_linger(&socket, None);
            }
        }
        helper.signal(Signal::CONT);
    }
}

impl Drop for Lingering {
    /// Those that were never sent are closed here.
    fn drop(&mut self) {
        for socket in &self.sockets {
            let _ = rustix::net::sockopt::set_socket_linger(socket, None);
        }
    }
}

fn raw_control(bed: &Bed) -> Raw {
    Raw::connect(&bed.control_path())
}

fn reload(text: &str) -> Ask {
    let (users, groups) = Default::default();
    Ask::Reload { path: "test".into(), text: text.into(), users, groups }
}

/// A command that would change something and is recorded: its answer is the device's.
fn change(client: &Raw) {
    client.pr_out(null(), 3, &keys(1, 0));
}

#[test]
fn an_asker_that_sends_byte_after_byte_keeps_nobody_from_an_answer() {
    ours(|bed| {
        let _helper = launch(bed).start();
        let stop = AtomicBool::new(false);
        let slow: Vec<_> = (0..8).map(|_| monitor(|| UnixStream::connect(bed.control_path()).expect("room"))).collect();
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    // Those whose time is over have been hung up on.
                    for mut socket in &slow {
                        let _ = socket.write_all(b" ");
                    }
                    thread::sleep(Duration::from_millis(200));
                }
            });
            let answers: Vec<_> = (0..3).map(|_| bed.control().snapshot().is_ok()).collect();
            // Their time is over even though they go on.
            let ended = within(PATIENCE, || slow.iter().all(|mut socket| socket.write_all(b" ").is_err()));
            stop.store(true, Ordering::Relaxed);
            assert_eq!(answers, [true; 3]);
            assert!(ended, "who sends a byte now and then has a conversation without an end");
        });
    });
}

#[test]
fn a_descriptor_whose_closing_takes_long_does_not_stop_the_control_socket() {
    ours(|bed| {
        let helper = launch(bed).start();
        let mut lingering = Lingering::new(6);
        let askers: Vec<_> = (0..6).map(|_| monitor(|| raw_control(bed))).collect();
        lingering.plant(&helper, |number, socket| {
            let text: &[u8] = if number % 2 == 0 { b"{\"ask\":\"snapshot\"}\n" } else { b" " };
            // Some have been turned away already.
            askers[number].try_send_with(text, &[socket.as_fd()])
        });
        drop(askers);
        for _ in 0..3 {
            assert!(bed.control().snapshot().is_ok(), "root has an answer");
            // As soon as the others' conversations are over.
            eventually("and so has another of the group", || monitor(|| bed.control().snapshot()).is_ok());
        }
    });
}

#[test]
fn a_descriptor_sent_by_a_follower_does_not_stop_the_audit_log() {
    ours(|bed| {
        let helper = launch(bed).start();
        let mut trail = bed.control().follow().expect("an audit log");
        let mut lingering = Lingering::new(2);
        let follower = monitor(|| raw_control(bed));
        let other = monitor(|| raw_control(bed));
        lingering.plant(&helper, |number, socket| {
            let (follower, first) = if number == 0 { (&follower, 1) } else { (&other, 0) };
            // Behind the question, and in the middle of it.
            let parts: [&[u8]; 3] = [b"{\"ask\":", b"\"log\"}\n", b"more"];
            for (at, part) in parts.iter().enumerate() {
                let fds = [socket.as_fd()];
                follower.try_send_with(part, if at == first + 1 { &fds } else { &[] })?;
            }
            Ok(())
        });
        drop((follower, other));
        let client = helper.connect();
        for _ in 0..20 {
            change(&client);
        }
        let told = trail.by_ref().take(20).filter(|told| matches!(told, Ok(Told::Record(_)))).count();
        assert_eq!(told, 20);
        assert!(bed.control().snapshot().is_ok());
    });
}

#[test]
fn followers_who_never_read_keep_nobody_else_from_following() {
    ours(|bed| {
        let helper = launch(bed).start();
        let lazy: Vec<_> = (0..8)
            .map(|_| {
                let follower = monitor(|| raw_control(bed));
                follower.send(b"{\"ask\":\"log\"}\n");
                follower
            })
            .collect();
        let mut answers = lazy.iter().map(|follower| String::from_utf8(follower.read(14)).expect("text"));
        assert!(answers.by_ref().any(|answer| answer.contains("fol")), "some of them follow");
        let mut root = bed.control().follow().expect("a place for root");
        let mut other = as_user(NOBODY - 1, MONITOR, || bed.control().follow()).expect("a place for another user");
        change(&helper.connect());
        assert!(matches!(root.next(), Some(Ok(Told::Record(_)))));
        assert!(matches!(other.next(), Some(Ok(Told::Record(_)))));
    });
}

#[test]
fn clients_that_run_as_the_user_of_the_helper_may_not_change_its_rules() {
    ours(|bed| {
        let user = NOBODY.to_string();
        let helper = launch(bed).args(["-u", &user]).start();
        let refused = monitor(|| bed.control().order(&reload("default = \"deny\"")));
        let words = refused.expect_err("new rules from a client").to_string();
        assert!(words.contains("user 65534 may only read"), "{words}");
        assert!(monitor(|| bed.control().order(&Ask::Trace { patterns: vec!["*".into()] })).is_err());
        assert!(bed.control().order(&reload("default = \"deny\"")).is_ok(), "root may");
        helper.end(Signal::TERM);
    });
}

#[test]
fn who_made_the_control_socket_may_change_the_rules() {
    ours(|bed| {
        let dir = bed.path("own");
        fs::create_dir(&dir).expect("a directory");
        fs::set_permissions(bed.dir(), fs::Permissions::from_mode(0o755)).expect("a mode");
        std::os::unix::fs::chown(&dir, Some(NOBODY), Some(MONITOR)).expect("an owner");
        let capabilities = ["--inh-caps", "+sys_rawio,+setpcap", "--ambient-caps", "+sys_rawio,+setpcap"];
        let user = ["setpriv", "--reuid", "65534", "--regid", "12345", "--clear-groups"];
        let wrapper = [&user[..], &capabilities[..]].concat();
        let launch = bed.launch().at(dir.join("pr.sock")).by(&wrapper).arg("--control").arg(dir.join("control"));
        let helper = launch.start();
        let order = || Control::new(dir.join("control"), PATIENCE).order(&reload("default = \"deny\""));
        assert!(monitor(order).is_ok(), "its own user may");
        helper.end(Signal::TERM);
    });
}

#[test]
fn connecting_again_gives_no_fresh_share_of_the_audit_log() {
    ours(|bed| {
        let helper = launch(bed).device(|_| Answer::good(&[]).into()).start();
        let mut trail = bed.control().follow().expect("an audit log");
        let start = Instant::now();
        for _ in 0..60 {
            let client = helper.connect();
            for _ in 0..10 {
                change(&client);
            }
        }
        // One more, which is told of when there is room again: nothing is missing from the sum.
        let (mut own, mut left_out, mut records) = (0_u64, 0, 0.0);
        while own + left_out < 600 {
            let Some(Ok(Told::Record(record))) = trail.next() else { panic!("records were lost") };
            records += 1.0;
            match record.what {
                pr_control::What::Command { .. } => own += 1,
                pr_control::What::LeftOut { counts } => {
                    left_out += counts.iter().map(|count| count.count).sum::<u64>();
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(own + left_out, 600);
        let allowed = BURST + REFILL * start.elapsed().as_secs_f64() + 1.0;
        assert!(records <= allowed, "{records} records, {allowed} are allowed");
    });
}

#[test]
fn clients_whose_processes_have_no_numbers_share_by_user() {
    ours(|bed| {
        // In a process name space of its own the helper sees no number of ours.
        let wrapper = ["unshare", "--pid", "--fork", "--kill-child"];
        let helper = launch(bed).by(&wrapper).start();
        let start = Instant::now();
        for _ in 0..30 {
            let client = helper.connect();
            for _ in 0..10 {
                change(&client);
            }
        }
        let records = bed.control().snapshot().expect("a state").totals.audit_records;
        #[expect(clippy::cast_precision_loss, reason = "there are not that many")]
        let records = records as f64;
        let allowed = BURST + REFILL * start.elapsed().as_secs_f64() + 1.0;
        assert!(records <= allowed, "{records} records, {allowed} are allowed");
    });
}

#[test]
fn a_flood_by_several_processes_loses_no_record_of_another() {
    ours(|bed| {
        // Standard error is a pipe that is full, so that nothing is written before the test reads.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let filler = File::from(OwnedFd::from(writer.try_clone().expect("a descriptor")));
        let launch = launch(bed).stream(2, Stream::Fd(writer.into())).device(|_| Answer::good(&[]).into());
        let helper = launch.start();
        rustix::io::ioctl_fionbio(&filler, true).expect("a flag");
        while (&filler).write(&[b'.'; 4096]).is_ok() {}
        while (&filler).write(b".").is_ok() {}
        rustix::io::ioctl_fionbio(&filler, false).expect("a flag");
        drop(filler);
        let flood: Vec<_> = (0..16).map(|_| Stranger::greeted(helper.socket(), 2001, 2001)).collect();
        for _ in 0..95 {
            for stranger in &flood {
                change(stranger.client());
            }
        }
        let victim = Stranger::greeted(helper.socket(), 2002, 2002);
        for number in 0..20 {
            victim.client().pr_out(null(), 0, &keys(0x77, 0x7700 + number)).expect_bare(0);
        }
        drop(flood);
        let mut text = String::new();
        let collected = thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let _ = File::from(OwnedFd::from(reader)).read_to_string(&mut text);
                text
            });
            helper.end(Signal::TERM);
            reader.join().expect("what was written")
        });
        let found = (0..20).filter(|number| collected.contains(&format!("{:#x}", 0x7700 + number))).count();
        assert_eq!(found, 20, "records of another user");
    });
}

#[test]
fn clients_that_are_gone_hold_no_place() {
    ours(|bed| {
        let helper = launch(bed).args(["--max-connections", "4"]).start();
        helper.settled_descriptors();
        let clients: Vec<_> = (0..4).map(|_| helper.connect()).collect();
        let mut lingering = Lingering::new(4);
        lingering.plant(&helper, |number, socket| clients[number].try_send_with(&Raw::cdb_in(0, 8), &[socket.as_fd()]));
        // The answer does not wait for the closing.
        assert!(clients.iter().all(|client| client.reply().status == 2));
        eventually("what is being closed is seen", || {
            let snapshot = bed.control().snapshot().expect("a state");
            serde_json::to_string(&snapshot).expect("JSON").matches("closing_us").count() == 4
        });
        drop(clients);
        let is_served = || {
            let client = Raw::connect(helper.socket());
            let greeted = client.stream().read_exact(&mut [0; 4]).is_ok();
            greeted && client.try_send_with(&[0; 4], &[]).is_ok() && client.pr_in(null(), 0, 8).status == 2
        };
        eventually("a new client is served", is_served);
        let snapshot = bed.control().snapshot().expect("a state");
        let text = serde_json::to_string(&snapshot).expect("JSON");
        assert!(text.matches("closing_us").count() >= 4, "{text}");
        assert_eq!(helper.end(Signal::TERM).code(), 0);
    });
}

#[test]
fn descriptors_that_take_long_to_close_leave_the_last_thread_free() {
    ours(|bed| {
        // Threads count by user, on the whole host: some are there for the program itself, and a few for clients.
        let user = (100_000 + std::process::id() % 1_000_000).to_string();
        let helper = launch(bed).args(["-u", &user]).limit(Resource::Nproc, 10).start();
        let clients: Vec<_> = (0..12).map(|_| helper.connect()).collect();
        let mut lingering = Lingering::new(12);
        lingering.plant(&helper, |number, socket| {
            // Some hang up in the middle of a request.
            let length = if number % 3 == 2 { 8 } else { 16 };
            clients[number].try_send_with(&Raw::cdb_in(0, 8)[..length], &[socket.as_fd()])
        });
        drop(clients);
        for _ in 0..5 {
            assert_eq!(helper.connect().pr_in(null(), 0, 8).status, 2);
        }
        helper.signal(Signal::TERM);
        assert_eq!(helper.finish().code(), 0);
    });
}

#[test]
fn a_process_that_takes_every_place_leaves_some_to_others() {
    ours(|bed| {
        let helper = launch(bed).args(["--max-connections", "300"]).start();
        let greedy = Stranger::new(helper.socket(), 2001, 2001, 300);
        let used = || bed.control().snapshot().expect("a state").connections.len();
        eventually("they are accepted or turned away", || {
            let snapshot = bed.control().snapshot().expect("a state");
            snapshot.totals.accepted + snapshot.totals.over_limit + snapshot.totals.turned_away >= 300
        });
        assert!((64..=150).contains(&used()), "{} connections", used());
        let other = Stranger::greeted(helper.socket(), 2002, 2002);
        assert_eq!(other.client().pr_in(null(), 0, 8).status, 2);
        drop(greedy);
    });
}

#[test]
fn many_machines_of_one_user_find_room() {
    ours(|bed| {
        let helper = launch(bed).args(["--max-connections", "1024"]).start();
        let machines: Vec<_> = (0..300).map(|_| Stranger::new(helper.socket(), 2001, 2001, 1)).collect();
        for machine in &machines {
            machine.client().hello();
        }
        assert_eq!(bed.control().snapshot().expect("a state").totals.over_limit, 0);
    });
}

#[test]
fn what_is_no_device_is_refused_without_an_ioctl() {
    ours(|bed| {
        let helper = launch(bed).device(|_| Answer::good(&[0; 8]).into()).start();
        let client = helper.connect();
        let (reader, _writer) = std::io::pipe().expect("a pipe");
        let (socket, _other) = UnixStream::pair().expect("two sockets");
        let path = bed.path("file");
        fs::write(&path, "no disk").expect("a file");
        let file = File::options().read(true).write(true).open(&path).expect("a file");
        for descriptor in [reader.as_fd(), socket.as_fd(), file.as_fd()] {
            assert_eq!(client.pr_in(descriptor, 0, 8).fixed_sense(), (0xb, 0, 6));
        }
        assert_eq!(helper.device().count(), 0, "no ioctl");
        assert_eq!(client.pr_in(null(), 0, 8).status, 0);
        assert_eq!(helper.device().count(), 1);
    });
}

#[test]
fn a_command_whose_failure_would_block_every_guest_of_the_host_is_not_sent() {
    ours(|bed| {
        let helper = launch(bed).device(|_| Answer::good(&[0; 8]).into()).start();
        let client = helper.connect();
        let mut cdb = Raw::cdb_in(0, 8);
        // NACA.
        cdb[9] = 4;
        client.send_with(&cdb, &[null().as_fd()]);
        client.reply().expect_check(5, 0x24, 0);
        assert_eq!(helper.device().count(), 0);
        // The other bits of that byte are the disk's business.
        cdb[9] = 0xc0;
        client.send_with(&cdb, &[null().as_fd()]);
        assert_eq!(client.reply().status, 0);
        assert_eq!(helper.device().seen()[0].cdb[9], 0xc0);
    });
}
