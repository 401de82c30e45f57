use std::{
    fs::File,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    thread,
};

use pr_sys::{clock, peer};
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair};
use scsi_persistent_reservations::{BASIC_LENGTH, InAction, PersistentReserveIn, PersistentReserveOut};

use super::{facts::Memory, rules::Facts as _, *};
use crate::config::settings::SystemUsers;

const PEER: Peer = Peer { pid: 0, uid: 107 };

fn policy(text: &str) -> Policy {
    let policy = Policy::new(None, None);
    policy.replace(PathBuf::from("test"), settings(text));
    policy
}

fn settings(text: &str) -> Settings {
    Settings::parse(Path::new("test"), text, &SystemUsers, crate::config::cli::check).unwrap()
}

fn reset() -> Cdb {
    PersistentReserveOut::new(OutAction::Clear, None, 24).cdb()
}

fn read_keys() -> Cdb {
    PersistentReserveIn::new(InAction::ReadKeys, 8).cdb()
}

fn disk(minor: u32) -> Identity {
    Identity { kind: Kind::Block, device: rustix::fs::makedev(8, minor) }
}

fn null(write: bool) -> File {
    File::options().read(true).write(write).open("/dev/null").unwrap()
}

/// What a policy says to a command on a disk.
fn ask<'a>(policy: &'a Policy, cdb: &Cdb, device: Identity) -> Result<Option<DeviceSlot<'a>>, Refused> {
    ask_about(policy, cdb, &[0; BASIC_LENGTH], device, &null(true))
}

fn ask_about<'a>(
    policy: &'a Policy,
    cdb: &Cdb,
    parameters: &[u8],
    device: Identity,
    descriptor: &File,
) -> Result<Option<DeviceSlot<'a>>, Refused> {
    let (socket, _other) = UnixStream::pair().unwrap();
    let (descriptor, socket) = (descriptor.as_fd(), socket.as_fd());
    let state = &mut None;
    let origin = Origin { client: 1, peer: PEER, connected: clock::ticks() };
    policy.admit(Request { cdb, parameters, descriptor, device, origin, socket, state })
}

#[track_caller]
fn expect_refused(said: Result<Option<DeviceSlot<'_>>, Refused>, kind: Refusal, reason: &str) {
    let refused = said.err().expect("a refusal");
    assert_eq!((refused.kind, &*refused.reason), (kind, reason));
}

#[test]
fn without_settings_everything_may_be_done() {
    let policy = Policy::new(None, None);
    assert!(policy.current().is_none());
    assert!(matches!(ask(&policy, &reset(), disk(16)), Ok(None)));
}

#[test]
fn settings_count_from_the_moment_that_they_replace_others() {
    let policy = Policy::new(Some((PathBuf::from("first"), settings("default = \"deny\""))), None);
    assert_eq!(policy.current().unwrap().path, Path::new("first"));
    assert!(ask(&policy, &reset(), disk(16)).is_err());
    policy.replace(PathBuf::from("second"), settings(""));
    assert_eq!(policy.current().unwrap().path, Path::new("second"));
    assert!(ask(&policy, &reset(), disk(16)).is_ok());
}

#[test]
fn parts_of_disks_may_be_changed_as_long_as_the_settings_say_so() {
    let policy = Policy::new(None, None);
    assert!(!policy.allows_parts());
    policy.replace(PathBuf::from("first"), settings("[devices]\nparts = \"allow\""));
    assert!(policy.allows_parts());
    policy.replace(PathBuf::from("second"), settings("default = \"allow\""));
    assert!(!policy.allows_parts());
}

#[test]
fn who_may_only_read_a_disk_may_ask_and_change_nothing() {
    let policy = Policy::new(None, None);
    let on = |cdb: &Cdb, file: &File| ask_about(&policy, cdb, &[], disk(16), file).map(drop);
    assert_eq!(on(&reset(), &null(false)).unwrap_err().kind, Refusal::ReadOnly);
    assert_eq!(on(&read_keys(), &null(false)), Ok(()));
    assert_eq!(on(&reset(), &null(true)), Ok(()));
    assert_eq!(on(&reset(), &File::options().write(true).open("/dev/null").unwrap()), Ok(()));
}

#[test]
fn each_refusal_has_its_answer() {
    assert_eq!(Refusal::BusyDevice.answer().status, Status::BUSY);
    let sense = |kind: Refusal| kind.answer().sense.code();
    for kind in [Refusal::ReadOnly, Refusal::Part] {
        assert_eq!(sense(kind), Some(SenseCode::INVALID_OPERATION_CODE));
    }
    for kind in [Refusal::Policy, Refusal::Keys, Refusal::NoNames] {
        assert_eq!(sense(kind), Some(SenseCode::NO_ACCESS_RIGHTS));
        assert_eq!(kind.answer().status, Status::CHECK_CONDITION);
    }
}

#[test]
fn a_refusal_names_the_rule() {
    let deny = policy("[[rule]]\nname = \"no\"\ndecision = \"deny\"\naction = [\"clear\"]");
    expect_refused(ask(&deny, &reset(), disk(16)), Refusal::Policy, "the rule \"no\" denies it");
    assert!(ask(&deny, &read_keys(), disk(16)).is_ok());

    expect_refused(ask(&policy("default = \"deny\""), &reset(), disk(16)), Refusal::Policy, "no rule allows it");

    let keys = policy("[[rule]]\nname = \"own\"\ndecision = \"allow\"\nkeys = { prefix = \"0xa1\", bits = 8 }");
    assert_eq!(ask(&keys, &reset(), disk(16)).err().unwrap().kind, Refusal::Keys);
    assert!(ask(&keys, &read_keys(), disk(16)).is_ok(), "there are no keys in it");

    // There is no resolver.
    let names = policy("[[rule]]\nname = \"disk\"\ndecision = \"deny\"\ndevice = [\"wwn-*\"]");
    let reason = "the rule \"disk\" needs the names of the disk, and that cannot be found out now";
    expect_refused(ask(&names, &reset(), disk(16)), Refusal::NoNames, reason);
}

#[test]
fn rules_are_about_the_client_the_command_and_the_device_of_the_request() {
    let is_denied = |condition: &str| {
        ask(&policy(&format!("[[rule]]\ndecision = \"deny\"\n{condition}")), &reset(), disk(16)).is_err()
    };
    assert!(is_denied("user = [107]") && !is_denied("user = [0, 1]"));
    assert!(is_denied("action = [\"clear\"]") && !is_denied("action = [\"reserve\", \"read\"]"));
    assert!(is_denied("device = [\"8:16\"]"));
}

#[test]
fn as_many_commands_as_allowed_are_under_way_on_a_device_and_each_end_makes_room_for_one() {
    let policy = policy("[limits]\ncommands-per-device = 2");
    let enter = |minor| ask(&policy, &read_keys(), disk(minor));
    let reason = "2 commands are under way on the device already (commands-per-device)";
    let (first, second) = (enter(16).unwrap(), enter(16).unwrap());
    assert!(first.is_some() && second.is_some());
    expect_refused(enter(16), Refusal::BusyDevice, reason);
    let _elsewhere = enter(32).unwrap();
    drop(first);
    let third = enter(16).unwrap();
    expect_refused(enter(16), Refusal::BusyDevice, reason);
    drop((second, third));
    // What is idle takes no memory.
    assert_eq!(policy.under_way.lock().unwrap().keys().copied().collect::<Vec<_>>(), [disk(32)]);
    let _both = (enter(16).unwrap(), enter(16).unwrap());
}

#[test]
fn only_a_harmless_command_to_a_pipe_is_a_probe() {
    let pipe = Identity { kind: Kind::Pipe, device: 1 };
    let zero = Some([ReservationKey::ZERO; 2]);
    let register = PersistentReserveOut::new(OutAction::Register, None, 24).cdb();
    assert!(is_probe(&read_keys(), pipe, None) && is_probe(&register, pipe, zero));
    for (cdb, device, keys) in [
        (read_keys(), disk(16), None),
        (register, disk(16), zero),
        (register, pipe, None),
        (register, pipe, Some([ReservationKey::ZERO, ReservationKey(1)])),
        (reset(), pipe, zero),
    ] {
        assert!(!is_probe(&cdb, device, keys), "{cdb:?} {device} {keys:?}");
    }
}

/// A resolver, until this is called.
fn resolver() -> (Arc<Resolver>, impl FnOnce()) {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let theirs: Arc<OwnedFd> = Arc::new(theirs);
    let end = Arc::clone(&theirs);
    let resolver = Arc::new(Resolver::over(ours));
    let heard = Arc::clone(&resolver);
    let threads = [thread::spawn(move || pr_resolver::facts::serve(&theirs)), thread::spawn(move || heard.hear())];
    let stop = move || {
        shutdown(&*end, Shutdown::Both).unwrap();
        for thread in threads {
            thread.join().unwrap();
        }
    };
    (resolver, stop)
}

#[test]
fn names_of_disks_are_remembered() {
    let (names, stop) = resolver();
    let memory = Memory::new(Some(names));
    let (socket, _other) = UnixStream::pair().unwrap();
    let known = facts::Known::default();
    let names_of = |minor| {
        let device = Identity { kind: Kind::Character, device: rustix::fs::makedev(1, minor) };
        let command = read_keys().command();
        let (origin, socket) = (Origin { client: 1, peer: PEER, connected: clock::ticks() }, socket.as_fd());
        Live { origin, socket, device, command, known: &known, memory: &memory }.names()
    };
    // /dev/null and /dev/zero, which every machine has.
    let [null, zero] = [3, 5].map(|minor| names_of(minor).expect("names"));
    assert!(null.names.contains(&"null".to_owned()) && zero.names.contains(&"zero".to_owned()));
    stop();
    assert_eq!([3, 5].map(names_of), [Some(null), Some(zero)], "the resolver need not be asked");
    assert_eq!(names_of(7), None, "the resolver cannot be asked");
}

#[test]
fn what_the_kernel_knows_of_a_client_is_what_a_rule_goes_by() {
    let (names, stop) = resolver();
    let memory = Memory::new(Some(names));
    let (socket, _other) = UnixStream::pair().unwrap();
    let socket = socket.as_fd();
    let command = read_keys().command();
    let live = |known, pid| {
        let origin = Origin { client: 1, peer: Peer { pid, ..PEER }, connected: clock::ticks() };
        Live { origin, socket, device: disk(16), command, known, memory: &memory }
    };
    let known = facts::Known::default();
    let own = live(&known, std::process::id());
    assert_eq!(own.groups(), peer::groups(socket).ok());
    assert_eq!(own.context(), peer::context(socket).ok());
    let unknown = facts::Known::default();
    let path = own.control_group().expect("a control group");
    let all = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    assert!(all.lines().any(|line| line.ends_with(&format!(":{path}"))), "{path:?} in {all}");
    // Asked for when it connected, it is what it was then.
    let early = facts::Known::default();
    early.expect(memory.ask(live(&unknown, std::process::id()).origin).expect("a question"));
    assert_eq!(live(&early, std::process::id()).control_group(), Some(path.clone()));
    let origin = Origin { connected: 0, ..live(&unknown, std::process::id()).origin };
    let late = Live { origin, ..live(&unknown, std::process::id()) };
    assert_eq!(late.control_group(), None, "of a process that has the number since the client connected");
    assert_eq!(live(&unknown, 0).control_group(), None, "of a client that has no number here");
    stop();
    assert_eq!(own.control_group(), Some(path), "it is known by now");
}

#[test]
fn a_process_and_a_user_have_as_many_connections_as_the_settings_say() {
    let policy = policy("[limits]\nconnections-per-user = 3\nconnections-per-process = 2");
    let peer = |pid| Peer { pid, uid: 107 };
    let check = |connected: &[Peer]| policy.check_connections(peer(7), connected.iter().copied(), 1000);
    assert_eq!(check(&[peer(7)]), Ok(()));
    let reason = "process 7 has 2 connections already (connections-per-process)";
    assert_eq!(check(&[peer(7), peer(7)]), Err(reason.to_owned()));
    let reason = "user 107 has 3 connections already (connections-per-user)";
    assert_eq!(check(&[peer(7), peer(8), peer(9)]), Err(reason.to_owned()));
    // Of other users there may be any number, and a PID that is not known here is no process' that could be counted.
    assert_eq!(check(&[Peer { pid: 7, uid: 1 }; 10]), Ok(()));
    let nameless = Peer { pid: 0, uid: 107 };
    assert_eq!(policy.check_connections(nameless, [nameless; 2].into_iter(), 1000), Ok(()));
}

#[test]
fn without_limits_a_process_leaves_half_of_the_connections_to_others_and_a_user_a_sixteenth() {
    let policy = Policy::new(None, None);
    let is_ok = |count: u32, is_one_process: bool, capacity| {
        let peer = |pid| Peer { pid, uid: 107 };
        let connected = (1..=count).map(|number| peer(if is_one_process { 1 } else { number }));
        policy.check_connections(peer(1), connected, capacity).is_ok()
    };
    assert!(is_ok(511, true, 1024) && !is_ok(512, true, 1024));
    assert!(is_ok(63, true, 64) && !is_ok(64, true, 64), "sixty-four in any case");
    assert!(is_ok(959, false, 1024) && !is_ok(960, false, 1024));
    assert!(is_ok(255, false, 256) && !is_ok(256, false, 256), "two hundred and fifty-six in any case");
}

#[test]
fn requests_over_the_rate_of_a_process_are_delayed_each_once() {
    let policy = policy("[limits]\nrequests-per-second = 1\nburst = 5");
    let peer = |pid| Peer { pid, uid: 107 };
    let (mut one, mut other, mut elsewhere) = (None, None, None);
    for _ in 0..5 {
        assert_eq!(policy.delay(&mut one, peer(7)), None);
    }
    // One a second: some of a thousand come too soon, however slow this machine is.
    let due = (0..1000).find_map(|_| policy.delay(&mut one, peer(7)));
    assert!(due.is_some());
    assert_eq!(policy.delay(&mut one, peer(7)), None, "it has waited");
    assert!(
        (0..1000).any(|_| policy.delay(&mut other, peer(7)).is_some()),
        "its other connections have no burst of their own"
    );
    assert_eq!(policy.delay(&mut elsewhere, peer(8)), None, "another process has");
    assert!(one.is_some_and(|state| state.is_limited()));
    assert_eq!(Policy::new(None, None).delay(&mut None, peer(7)), None);
}
