//! Two tenants on one helper, of which one makes all the attacks of this program at once, for minutes.
//!
//! What the other one notices is compared with what it notices while the very same attacks are made on another helper: then
//! the machine has as much to do, and the machine is all that they share. Both take turns, because the machine may do other
//! things as well.

use std::{
    collections::HashSet,
    env,
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use pr_control::{Control, Follow, Told, What};
use pr_lab::{Subject, as_user, keys, prelude::*, try_connect};
use rustix::process::Signal;

use crate::OURS;
use crate::attacks::shares::{MONITOR, lingering};

/// The hostile tenant, who is in the group that may look at the control socket, and the other one.
const HOSTILE: u32 = 2001;
const OTHER: u32 = 2002;

/// How many processes the hostile tenant has.
const PROCESSES: usize = 3;

/// How long the closing of its descriptors takes.
const LINGER: Duration = Duration::from_secs(5);

/// For how many seconds the helper of both is attacked.
const SECONDS: &str = "PR_SOAK_SECONDS";

/// Where a hostile process is to look for its orders.
const ORDERS: &str = "PR_SOAK_ORDERS";

/// Which helper is attacked, and for how long at a time.
const TURNS: [(&str, u64); 3] = [("none", 5), ("another", 10), ("theirs", 10)];

/// So long after the beginning of a turn nothing is measured: something of the turn before may be left.
const SETTLE: Duration = Duration::from_secs(1);

/// How often the other tenant asks, and how often it changes something: less often than there may be records.
const PAUSE: Duration = Duration::from_millis(3);
const CHANGE: Duration = Duration::from_millis(200);

#[test]
#[ignore = "takes minutes, and its figures are to be read: cargo xtask soak"]
fn a_tenant_hardly_notices_a_hostile_one() {
    if let Ok(bed) = env::var(ORDERS) {
        return hostile(Path::new(&bed));
    }
    let seconds = env::var(SECONDS).ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let bed = Bed::new(&Subject::ours(OURS));
    let helpers = ["another", "theirs"].map(|name| launch(&bed, name).start());
    order(&bed, "none");
    let tenant: Vec<_> = (0..PROCESSES).map(|_| Attacker(start(&bed))).collect();
    let trail = Control::new(bed.path("theirs.control"), PATIENCE).follow().expect("an audit log");
    let recorded = Mutex::new(HashSet::new());
    thread::scope(|scope| {
        scope.spawn(|| listen(trail, &recorded));
        let (times, sent) = live(&bed, seconds);
        let missing = || {
            let recorded = recorded.lock().unwrap_or_else(PoisonError::into_inner);
            (1..=sent).filter(|key| !recorded.contains(key)).collect::<Vec<_>>()
        };
        let is_complete = within(PATIENCE, || missing().is_empty());
        drop(tenant);
        for helper in helpers {
            assert_eq!(helper.end(Signal::TERM).code(), 0);
        }
        println!("{}{sent} changes, of which the audit log lacks {}", tell(times), missing().len());
        assert!(is_complete, "no records of changes {:?}", missing());
    });
}

fn launch(bed: &Bed, name: &str) -> Launch {
    let launch = bed.launch().at(socket(bed.dir(), name)).args(["--socket-mode", "666"]);
    launch.arg("--control").arg(control(bed.dir(), name)).args(["--control-group", &MONITOR.to_string()])
}

fn socket(bed: &Path, name: &str) -> PathBuf {
    bed.join(name)
}

fn control(bed: &Path, name: &str) -> PathBuf {
    bed.join(format!("{name}.control"))
}

fn order(bed: &Bed, target: &str) {
    fs::write(bed.path("orders"), target).expect("write the orders");
}

/// A process of the hostile tenant.
struct Attacker(Child);

impl Drop for Attacker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// This program again, as the hostile tenant.
fn start(bed: &Bed) -> Child {
    let test = "soak::a_tenant_hardly_notices_a_hostile_one";
    let mut command = Command::new(env::current_exe().expect("a path"));
    command.args(["--exact", test, "--ignored"]).env(ORDERS, bed.dir());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start a process")
}

/// Takes down the keys of the other tenant's changes.
fn listen(trail: Follow, recorded: &Mutex<HashSet<u64>>) {
    for told in trail {
        let Ok(Told::Record(record)) = told else { panic!("the audit log has a gap: {told:?}") };
        if let What::Command { command, .. } = record.what
            && record.client.uid == Some(OTHER)
        {
            let key = command.service_action_key.expect("a key");
            let key = u64::from_str_radix(key.trim_start_matches("0x"), 16).expect("a number");
            recorded.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        }
    }
}

/// The other tenant: how long its requests took, by turn, and how many of them were changes. All have to be answered, and
/// as the kernel answers for a device without SCSI commands: that takes no time of its own. It connects anew in each turn.
fn live(bed: &Bed, seconds: u64) -> ([Vec<Duration>; 3], u64) {
    let disk = null();
    let mut times = [const { Vec::new() }; 3];
    let (mut sent, mut changed) = (0, Instant::now());
    let rounds = seconds.div_ceil(TURNS[2].1);
    for turn in (0..rounds).flat_map(|_| 0..TURNS.len()) {
        order(bed, TURNS[turn].0);
        let start = Instant::now();
        let client = as_user(OTHER, OTHER, || Raw::greeted(&socket(bed.dir(), "theirs")));
        while start.elapsed() < Duration::from_secs(TURNS[turn].1) {
            let asked = Instant::now();
            if changed.elapsed() >= CHANGE {
                sent += 1;
                changed = asked;
                client.pr_out(&disk, 6, &keys(0, sent)).expect_check(0xb, 0, 6);
            } else {
                client.pr_in(&disk, 0, 16).expect_check(0xb, 0, 6);
            }
            if start.elapsed() > SETTLE {
                times[turn].push(asked.elapsed());
            }
            thread::sleep(PAUSE);
        }
    }
    order(bed, "none");
    (times, sent)
}

fn tell(times: [Vec<Duration>; 3]) -> String {
    let mut text = String::new();
    for ((target, _), mut times) in TURNS.into_iter().zip(times) {
        times.sort_unstable();
        let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
        let (half, most) = (at(50), at(99));
        let _ = writeln!(text, "attacked: {target:8} {} requests, median {half:.0?}, p99 {most:.0?}", times.len());
    }
    text
}

/// One of the helpers, to be attacked.
struct Target {
    socket: PathBuf,
    control: PathBuf,
    disk: File,
}

/// A process of the hostile tenant: makes all attacks side by side, on whom the orders name, until it is killed.
fn hostile(bed: &Path) {
    const ATTACKS: [fn(&Target) -> io::Result<()>; 11] = [
        flood_the_audit_log,
        ask_without_pause,
        ask_without_pause,
        read_no_answer,
        take_all_places,
        break_the_protocol,
        linger,
        linger_twice,
        dawdle_at_the_control_socket,
        follow_without_reading,
        linger_at_the_control_socket,
    ];
    let work = |attack: fn(&Target) -> io::Result<()>| {
        let mut target = Target { socket: PathBuf::new(), control: PathBuf::new(), disk: null() };
        loop {
            match fs::read_to_string(bed.join("orders")) {
                Ok(name) if name == "another" || name == "theirs" => {
                    (target.socket, target.control) = (socket(bed, &name), control(bed, &name));
                    // It may be turned away, and tries again.
                    let _ = attack(&target);
                }
                Ok(_) => thread::sleep(Duration::from_millis(20)),
                Err(_) => return,
            }
            thread::sleep(Duration::from_millis(1));
        }
    };
    thread::scope(|scope| {
        for attack in ATTACKS {
            scope.spawn(move || as_user(HOSTILE, MONITOR, || work(attack)));
        }
    });
}

impl Target {
    fn connect(&self) -> io::Result<Raw> {
        let stream = try_connect(&self.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        (&stream).read_exact(&mut [0; 4])?;
        (&stream).write_all(&[0; 4])?;
        Ok(Raw::from_stream(stream))
    }

    fn ask(&self, client: &Raw) -> io::Result<()> {
        client.try_send_with(&Raw::cdb_in(0, 16), &[self.disk.as_fd()])
    }
}

/// Reads what has come and what comes next; an error at the end.
fn drain(client: &Raw) -> io::Result<()> {
    match client.stream().read(&mut [0; 4096])? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn flood_the_audit_log(target: &Target) -> io::Result<()> {
    let client = target.connect()?;
    for key in 0..10 {
        client.try_send_with(&Raw::cdb_out(6, 24), &[target.disk.as_fd()])?;
        client.try_send_with(&keys(0, key), &[])?;
        drain(&client)?;
    }
    Ok(())
}

fn ask_without_pause(target: &Target) -> io::Result<()> {
    let client = target.connect()?;
    (0..200).try_for_each(|_| target.ask(&client).and_then(|()| drain(&client)))
}

fn read_no_answer(target: &Target) -> io::Result<()> {
    let client = target.connect()?;
    client.stream().set_write_timeout(Some(Duration::from_millis(100)))?;
    (0..500).try_for_each(|_| target.ask(&client))
}

fn take_all_places(target: &Target) -> io::Result<()> {
    let first = target.connect()?;
    let crowd: Vec<_> = (0..200).map_while(|_| try_connect(&target.socket).ok()).collect();
    thread::sleep(Duration::from_millis(500));
    drop((first, crowd));
    Ok(())
}

fn break_the_protocol(target: &Target) -> io::Result<()> {
    let disk = target.disk.as_fd();
    let half = target.connect()?;
    half.try_send_with(&Raw::cdb_in(0, 16)[..7], &[disk])?;
    target.connect()?.try_send_with(&[0x12; 16], &[disk])?;
    target.connect()?.try_send_with(&Raw::cdb_in(0, 16), &[disk; 100])?;
    target.connect()?.try_send_with(&Raw::cdb_out(0, 8192), &[disk])?;
    let (reader, _writer) = io::pipe()?;
    target.connect()?.try_send_with(&Raw::cdb_in(0, 16), &[reader.as_fd()])?;
    thread::sleep(Duration::from_millis(50));
    drop(half);
    Ok(())
}

/// What takes long to be closed comes with the first half of a request, so that the helper is the last to have it.
fn linger(target: &Target) -> io::Result<()> {
    let client = target.connect()?;
    let (socket, _peer) = lingering(LINGER)?;
    client.try_send_with(&Raw::cdb_in(0, 16)[..7], &[socket.as_fd()])?;
    thread::sleep(Duration::from_millis(10));
    drop(socket);
    client.try_send_with(&Raw::cdb_in(0, 16)[7..], &[])?;
    thread::sleep(Duration::from_millis(100));
    Ok(())
}

fn linger_twice(target: &Target) -> io::Result<()> {
    let client = target.connect()?;
    let (one, _peer) = lingering(LINGER)?;
    let (other, _peer) = lingering(LINGER)?;
    client.try_send_with(&Raw::cdb_in(0, 16), &[one.as_fd(), other.as_fd()])
}

fn dawdle_at_the_control_socket(target: &Target) -> io::Result<()> {
    let askers: Vec<_> = (0..4).map_while(|_| UnixStream::connect(&target.control).ok()).collect();
    for _ in 0..20 {
        for mut asker in &askers {
            asker.write_all(b" ")?;
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn follow_without_reading(target: &Target) -> io::Result<()> {
    let followers: Vec<_> = (0..4).map_while(|_| UnixStream::connect(&target.control).ok()).collect();
    for mut follower in &followers {
        follower.write_all(b"{\"ask\":\"log\"}\n")?;
    }
    thread::sleep(Duration::from_secs(2));
    Ok(())
}

fn linger_at_the_control_socket(target: &Target) -> io::Result<()> {
    let asker = Raw::from_stream(UnixStream::connect(&target.control)?);
    let (socket, _peer) = lingering(LINGER)?;
    asker.try_send_with(b"{\"ask\":", &[socket.as_fd()])?;
    drop(socket);
    asker.try_send_with(b"\"snapshot\"}\n", &[])?;
    thread::sleep(Duration::from_millis(200));
    Ok(())
}
