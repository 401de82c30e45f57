//! Subscribers of the audit log: clients of the control socket. Each gets every record, or is told how many it missed;
//! nothing waits for them, and one that does not read for long is dropped.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use pr_control::{Answer, Record};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{self, SendFlags},
};

/// How many there may be at a time. Descriptors are budgeted, and these are the program's own.
const MAX_SUBSCRIBERS: usize = 4;

/// How many of them may be one user's, and how many may be others' than root.
const EACH: usize = 2;
const OTHERS: usize = MAX_SUBSCRIBERS - 1;

/// How long a subscriber may leave something unread.
const PATIENCE: Duration = Duration::from_secs(30);

/// All of them.
#[derive(Default)]
pub struct Subscribers(Mutex<Vec<Subscriber>>);

struct Subscriber {
    socket: OwnedFd,
    user: u32,
    /// The rest of a line that was sent in part.
    rest: Vec<u8>,
    /// How many records it missed and has not been told about.
    lost: u64,
    /// Since when it has had a backlog without a break.
    behind: Option<Instant>,
}

impl Subscribers {
    /// There is no quicker look at whether there are any: a client that has been told that it is subscribed gets the next
    /// record, and it is told so under this lock.
    fn lock(&self) -> MutexGuard<'_, Vec<Subscriber>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more, which is told so; or its socket again, where there is no room for it.
    pub fn add(&self, socket: OwnedFd, user: u32) -> Result<(), OwnedFd> {
        let mut subscribers = self.lock();
        subscribers.retain(|subscriber| !subscriber.is_gone());
        if !has_room(&subscribers, user) {
            return Err(socket);
        }
        let mut subscriber = Subscriber::new(socket, user);
        // Under the lock: nothing comes before this line.
        if subscriber.begin(&line(&Answer::Following)) {
            subscribers.push(subscriber);
        }
        Ok(())
    }

    /// Sends a record to all of them.
    pub fn send(&self, record: &Record) {
        let mut subscribers = self.lock();
        if !subscribers.is_empty() {
            let answer = line(&Answer::Record(Box::new(record.clone())));
            subscribers.retain_mut(|subscriber| subscriber.send(&answer));
        }
    }

    /// Tries again what was not sent.
    pub fn flush(&self) {
        let mut subscribers = self.lock();
        if !subscribers.is_empty() {
            let now = Instant::now();
            subscribers.retain_mut(|subscriber| subscriber.flush() && subscriber.is_patient(now));
        }
    }

    /// Whether something could not be sent.
    pub fn has_backlog(&self) -> bool {
        self.lock().iter().any(Subscriber::has_backlog)
    }
}

fn has_room(subscribers: &[Subscriber], user: u32) -> bool {
    let count = |is_it: &dyn Fn(u32) -> bool| subscribers.iter().filter(|subscriber| is_it(subscriber.user)).count();
    subscribers.len() < MAX_SUBSCRIBERS
        && (user == 0 || (count(&|other| other == user) < EACH && count(&|other| other != 0) < OTHERS))
}

fn line(answer: &Answer) -> Vec<u8> {
    // These types have a JSON form for every value.
    let mut line = serde_json::to_vec(answer).unwrap_or_default();
    line.push(b'\n');
    line
}

impl Subscriber {
    const fn new(socket: OwnedFd, user: u32) -> Self {
        Self { socket, user, rest: Vec::new(), lost: 0, behind: None }
    }

    /// Whether it has not had a backlog for too long.
    fn is_patient(&mut self, now: Instant) -> bool {
        if !self.has_backlog() {
            self.behind = None;
            return true;
        }
        now.saturating_duration_since(*self.behind.get_or_insert(now)) < PATIENCE
    }

    fn has_backlog(&self) -> bool {
        !self.rest.is_empty() || self.lost > 0
    }

    /// Sends a record's line, or counts it as lost; false when the subscriber is gone.
    fn send(&mut self, line: &[u8]) -> bool {
        if !self.flush() {
            return false;
        }
        if self.has_backlog() {
            self.lost += 1;
            return true;
        }
        self.begin(line)
    }

    /// Sends the backlog.
    fn flush(&mut self) -> bool {
        let rest = std::mem::take(&mut self.rest);
        match self.try_send(&rest) {
            Ok(sent) => self.rest = rest[sent..].to_vec(),
            Err(_) => return false,
        }
        if self.rest.is_empty() && self.lost > 0 {
            let count = std::mem::take(&mut self.lost);
            let is_there = self.begin(&line(&Answer::Lost { count }));
            if self.lost > 0 {
                // No room for this either.
                self.lost = count;
            }
            return is_there;
        }
        true
    }

    /// Sends a line to a subscriber without a backlog.
    fn begin(&mut self, line: &[u8]) -> bool {
        match self.try_send(line) {
            Ok(0) => self.lost += 1,
            Ok(sent) => self.rest = line[sent..].to_vec(),
            Err(_) => return false,
        }
        true
    }

    /// How many bytes went; none when there is no room now.
    fn try_send(&self, bytes: &[u8]) -> Result<usize, Errno> {
        if bytes.is_empty() {
            return Ok(0);
        }
        loop {
            match net::send(&self.socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(0),
                result => return result,
            }
        }
    }

    fn is_gone(&self) -> bool {
        let mut set = [PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::empty())];
        poll(&mut set, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        os::unix::net::UnixStream,
        thread,
    };

    use pr_control::{Client, What};

    use super::*;

    fn record(time_us: u64) -> Record {
        Record { time_us, client: Client::default(), what: What::LeftOut { counts: Vec::new() } }
    }

    fn subscriber() -> (Subscriber, BufReader<UnixStream>) {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        (Subscriber::new(ours.into(), 7), BufReader::new(theirs))
    }

    fn try_record(subscriber: &mut Subscriber, time_us: u64) -> bool {
        subscriber.send(&line(&Answer::Record(Box::new(record(time_us)))))
    }

    fn told(reader: &mut BufReader<UnixStream>) -> Answer {
        let mut text = String::new();
        reader.read_line(&mut text).expect("a line");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
    }

    #[test]
    fn a_slow_subscriber_is_told_in_whole_lines_what_it_missed() {
        let (mut subscriber, mut reader) = subscriber();
        let mut sent = 0;
        while !subscriber.has_backlog() || subscriber.lost < 100 {
            assert!(try_record(&mut subscriber, sent));
            sent += 1;
        }
        let mut came = 0;
        while came < sent {
            // What fits goes on as soon as there is room.
            assert!(subscriber.flush());
            match told(&mut reader) {
                Answer::Record(answer) => {
                    assert_eq!(answer.time_us, came, "in order");
                    came += 1;
                }
                Answer::Lost { count } => came += count,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(came, sent, "every record came or was counted");
        assert!(try_record(&mut subscriber, 4711));
        assert_eq!(told(&mut reader), Answer::Record(Box::new(record(4711))));
    }

    #[test]
    fn a_client_that_was_told_that_it_is_subscribed_gets_the_next_record() {
        let (mut subscriber, mut reader) = subscriber();
        // As it is in `add`, with all the time in the world between two of its steps.
        let all = Subscribers::default();
        let mut subscribers = all.lock();
        thread::scope(|scope| {
            assert!(subscriber.begin(&line(&Answer::Following)));
            assert_eq!(told(&mut reader), Answer::Following);
            scope.spawn(|| all.send(&record(7)));
            subscribers.push(subscriber);
            drop(subscribers);
        });
        reader.get_ref().set_nonblocking(true).expect("a flag");
        assert_eq!(told(&mut reader), Answer::Record(Box::new(record(7))));
    }

    #[test]
    fn a_subscriber_that_hung_up_is_dropped() {
        let (mut subscriber, reader) = subscriber();
        assert!(!subscriber.is_gone());
        drop(reader);
        assert!(subscriber.is_gone());
        assert!(!try_record(&mut subscriber, 1));
    }

    #[test]
    fn a_subscriber_that_reads_nothing_for_long_is_dropped() {
        let (mut subscriber, mut reader) = subscriber();
        let start = Instant::now();
        assert!(subscriber.is_patient(start) && subscriber.is_patient(start + 2 * PATIENCE));
        while !subscriber.has_backlog() {
            assert!(try_record(&mut subscriber, 1));
        }
        assert!(subscriber.is_patient(start) && subscriber.is_patient(start + PATIENCE / 2));
        assert!(!subscriber.is_patient(start + PATIENCE));
        // One that catches up in time has as long again.
        while subscriber.has_backlog() {
            told(&mut reader);
            assert!(subscriber.flush());
        }
        assert!(subscriber.is_patient(start + PATIENCE) && subscriber.behind.is_none());
    }

    #[test]
    fn one_place_is_roots_and_no_other_user_has_more_than_two() {
        let with = |users: &[u32]| -> Vec<Subscriber> {
            let new = |user: &u32| Subscriber::new(UnixStream::pair().expect("a pair").0.into(), *user);
            users.iter().map(new).collect()
        };
        for (users, user, expected) in [
            (&[][..], 5, true),
            (&[5, 5], 5, false),
            (&[5, 5], 6, true),
            (&[5, 5, 6], 7, false),
            (&[5, 5, 6], 0, true),
            (&[0, 0, 0], 5, true),
            (&[0, 0, 0, 5], 0, false),
        ] {
            assert_eq!(has_room(&with(users), user), expected, "{users:?} {user}");
        }
    }
}
