use std::{
    io::{BufRead, BufReader},
    os::unix::net::UnixStream,
};

use pr_control::Answer;
use pr_device::Kind;
use scsi_persistent_reservations::{OutAction, PersistentReserveOut};

use super::*;
use crate::log::Backlog as _;

const ORIGIN: Origin = Origin { client: 1, peer: Peer { pid: 7, uid: 107 }, connected: 0 };

/// More commands than a process may have records of at once.
const FLOOD: usize = 200;

fn event() -> Event {
    Event {
        origin: ORIGIN,
        device: Identity { kind: Kind::Block, device: 0x810 },
        cdb: cdb(),
        keys: None,
        status: Status::GOOD,
        sense: Sense::NONE,
        took: Duration::from_micros(5),
        refusal: None,
        note: None,
        time_us: 1,
    }
}

fn cdb() -> Cdb {
    PersistentReserveOut::new(OutAction::Clear, None, 24).cdb()
}

/// An audit log, and what a subscriber reads of it.
fn followed() -> (Arc<Audit>, BufReader<UnixStream>) {
    let audit = Arc::new(Audit::new(Arc::default(), Arc::default(), None, Some(Keys::Show)));
    let (ours, theirs) = UnixStream::pair().expect("two sockets");
    assert!(audit.subscribe(ours.into(), 0).is_ok());
    theirs.set_nonblocking(true).expect("a flag");
    let mut reader = BufReader::new(theirs);
    assert_eq!(told(&mut reader), Some(Answer::Following));
    (audit, reader)
}

/// The next thing that a subscriber is told, if there is one by now.
fn told(reader: &mut BufReader<UnixStream>) -> Option<Answer> {
    let mut text = String::new();
    reader.read_line(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// How many records there are by now.
fn records(reader: &mut BufReader<UnixStream>) -> usize {
    std::iter::from_fn(|| told(reader)).filter(|answer| matches!(answer, Answer::Record(_))).count()
}

/// A client sends so many commands.
fn send(audit: &Arc<Audit>, commands: usize) {
    let quota = Quota::new(audit, ORIGIN.peer);
    (0..commands).for_each(|_| quota.record(audit, ORIGIN, event, &cdb(), Status::GOOD));
}

#[test]
fn two_audit_logs_have_subscribers_of_their_own() {
    let ((one, mut reader), (_other, mut elsewhere)) = (followed(), followed());
    send(&one, 3);
    assert_eq!((records(&mut reader), records(&mut elsewhere)), (3, 0));
}

#[test]
fn a_quota_that_is_used_up_in_one_audit_log_is_whole_in_another() {
    let ((one, mut reader), (other, mut elsewhere)) = (followed(), followed());
    send(&one, FLOOD);
    assert!(records(&mut reader) < FLOOD);
    assert!(Backlog(Arc::clone(&one)).is_pending() && !Backlog(Arc::clone(&other)).is_pending());
    send(&other, 50);
    assert_eq!(records(&mut elsewhere), 50);
    // What is left of one is recorded there.
    Backlog(Arc::clone(&other)).finish();
    assert_eq!((records(&mut reader), records(&mut elsewhere)), (0, 0));
    Backlog(one).finish();
    assert_eq!((records(&mut reader), records(&mut elsewhere)), (1, 0));
}

#[test]
fn an_audit_log_that_is_off_has_no_records_and_another_one_has() {
    let off = Arc::new(Audit::new(Arc::default(), Arc::default(), None, None));
    let (on, mut reader) = followed();
    let (ours, theirs) = UnixStream::pair().expect("two sockets");
    assert!(!off.is_on() && on.is_on());
    assert!(off.subscribe(ours.into(), 0).is_ok());
    theirs.set_nonblocking(true).expect("a flag");
    let mut silent = BufReader::new(theirs);
    assert_eq!(told(&mut silent), Some(Answer::Following));
    send(&off, 1);
    off.reload(ORIGIN, "/p", Ok(1));
    send(&on, 1);
    on.reload(ORIGIN, "/p", Ok(1));
    assert_eq!((records(&mut silent), records(&mut reader)), (0, 2));
}
