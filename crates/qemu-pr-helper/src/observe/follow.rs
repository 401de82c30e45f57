//! Those who follow the audit trail through the control socket. They get every record, or are told how many they
//! missed; nobody waits for them, and one that does not read for long loses its place to others.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use pr_control::{Answer, Record};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{SendFlags, send},
};

/// How many may follow at a time. Descriptors are budgeted, and these are the program's own.
const MAX_FOLLOWERS: usize = 4;

/// How many of them may be one user's, and how many may be others' than root.
const EACH: usize = 2;
const OTHERS: usize = MAX_FOLLOWERS - 1;

/// How long a follower may owe the reading of something.
const PATIENCE: Duration = Duration::from_secs(30);

static FOLLOWERS: Mutex<Vec<Follower>> = Mutex::new(Vec::new());

struct Follower {
    socket: OwnedFd,
    user: u32,
    /// The rest of a line that was taken in part.
    rest: Vec<u8>,
    /// How many records it missed and has not been told of.
    lost: u64,
    /// Since when it has been owed something without a break.
    behind: Option<Instant>,
}

/// Those who follow. There is no quicker look at whether anybody does: whoever has been told that it follows is to have the
/// next record, and is told so under this lock.
fn followers() -> MutexGuard<'static, Vec<Follower>> {
    FOLLOWERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes on a user's follower on a stream socket, on which nothing comes any more, and tells it that it follows; gives it
/// back where there are enough already. The last place is root's.
pub fn add(socket: OwnedFd, user: u32) -> Result<(), OwnedFd> {
    let mut followers = followers();
    followers.retain(|follower| !follower.is_gone());
    if !has_room(&followers, user) {
        return Err(socket);
    }
    let mut follower = Follower::new(socket, user);
    // Under the lock: nothing comes before this line.
    if follower.begin(&line(&Answer::Following)) {
        followers.push(follower);
    }
    Ok(())
}

fn has_room(followers: &[Follower], user: u32) -> bool {
    let count = |is_it: &dyn Fn(u32) -> bool| followers.iter().filter(|follower| is_it(follower.user)).count();
    followers.len() < MAX_FOLLOWERS
        && (user == 0 || (count(&|other| other == user) < EACH && count(&|other| other != 0) < OTHERS))
}

/// Offers a record to everybody.
pub fn offer(record: &Record) {
    let mut followers = followers();
    if !followers.is_empty() {
        let answer = line(&Answer::Record(Box::new(record.clone())));
        followers.retain_mut(|follower| follower.offer(&answer));
    }
}

/// Tries again what was not taken.
pub fn settle() {
    let mut followers = followers();
    if !followers.is_empty() {
        let now = Instant::now();
        followers.retain_mut(|follower| follower.settle() && follower.is_patient(now));
    }
}

/// Whether anybody is owed something.
pub fn owing() -> bool {
    followers().iter().any(Follower::owes)
}

fn line(answer: &Answer) -> Vec<u8> {
    // These types have a JSON form for every value.
    let mut line = serde_json::to_vec(answer).unwrap_or_default();
    line.push(b'\n');
    line
}

impl Follower {
    const fn new(socket: OwnedFd, user: u32) -> Self {
        Self { socket, user, rest: Vec::new(), lost: 0, behind: None }
    }

    /// Whether it has not been owed something for too long.
    fn is_patient(&mut self, now: Instant) -> bool {
        if !self.owes() {
            self.behind = None;
            return true;
        }
        now.saturating_duration_since(*self.behind.get_or_insert(now)) < PATIENCE
    }

    fn owes(&self) -> bool {
        !self.rest.is_empty() || self.lost > 0
    }

    /// Sends a record's line, or counts it as lost; false when the follower is gone.
    fn offer(&mut self, line: &[u8]) -> bool {
        if !self.settle() {
            return false;
        }
        if self.owes() {
            self.lost += 1;
            return true;
        }
        self.begin(line)
    }

    /// Sends what is owed.
    fn settle(&mut self) -> bool {
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

    /// Sends a line to a follower that is owed nothing.
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
            match send(&self.socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
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

    fn follower() -> (Follower, BufReader<UnixStream>) {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        (Follower::new(ours.into(), 7), BufReader::new(theirs))
    }

    fn offered(follower: &mut Follower, time_us: u64) -> bool {
        follower.offer(&line(&Answer::Record(Box::new(record(time_us)))))
    }

    fn told(reader: &mut BufReader<UnixStream>) -> Answer {
        let mut text = String::new();
        reader.read_line(&mut text).expect("a line");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
    }

    #[test]
    fn a_slow_follower_is_told_in_whole_lines_what_it_missed() {
        let (mut follower, mut reader) = follower();
        let mut sent = 0;
        while !follower.owes() || follower.lost < 100 {
            assert!(offered(&mut follower, sent));
            sent += 1;
        }
        let mut came = 0;
        while came < sent {
            // What fits goes on as soon as there is room.
            assert!(follower.settle());
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
        assert!(offered(&mut follower, 4711));
        assert_eq!(told(&mut reader), Answer::Record(Box::new(record(4711))));
    }

    #[test]
    fn whoever_has_been_told_that_it_follows_gets_the_next_record() {
        let (mut follower, mut reader) = follower();
        // As it is in `add`, with all the time in the world between two of its steps.
        let mut followers = FOLLOWERS.lock().expect("no panic");
        assert!(follower.begin(&line(&Answer::Following)));
        assert_eq!(told(&mut reader), Answer::Following);
        let offering = thread::spawn(|| offer(&record(7)));
        followers.push(follower);
        drop(followers);
        offering.join().expect("no panic");
        reader.get_ref().set_nonblocking(true).expect("a flag");
        assert_eq!(told(&mut reader), Answer::Record(Box::new(record(7))));
    }

    #[test]
    fn a_follower_that_hung_up_is_dropped() {
        let (mut follower, reader) = follower();
        assert!(!follower.is_gone());
        drop(reader);
        assert!(follower.is_gone());
        assert!(!offered(&mut follower, 1));
    }

    #[test]
    fn a_follower_that_reads_nothing_for_long_is_dropped() {
        let (mut follower, mut reader) = follower();
        let start = Instant::now();
        assert!(follower.is_patient(start) && follower.is_patient(start + 2 * PATIENCE));
        while !follower.owes() {
            assert!(offered(&mut follower, 1));
        }
        assert!(follower.is_patient(start) && follower.is_patient(start + PATIENCE / 2));
        assert!(!follower.is_patient(start + PATIENCE));
        // Whoever catches up in time has as long again.
        while follower.owes() {
            told(&mut reader);
            assert!(follower.settle());
        }
        assert!(follower.is_patient(start + PATIENCE) && follower.behind.is_none());
    }

    #[test]
    fn one_place_is_roots_and_nobody_else_has_more_than_two() {
        let with = |users: &[u32]| -> Vec<Follower> {
            let new = |user: &u32| Follower::new(UnixStream::pair().expect("a pair").0.into(), *user);
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
