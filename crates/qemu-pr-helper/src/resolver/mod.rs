//! What rules need to know of processes and disks, asked of a process of its own that finds it out (`pr-resolver`).
//!
//! The daemon opens nothing once it serves, so a process without any privileges, forked before the daemon gave its own
//! up, reads it on request: the control group of a process that has connected, and the names of a disk. It is asked for
//! nothing but what rules need: the names in the audit log come from another process (`names`), and nothing here waits
//! for that one.
//!
//! What it does not answer is refused. If it is gone, or has not answered for a long time, the daemon ends: it cannot
//! start another one without the privileges that it has dropped, and the next daemon comes with another one.

pub mod names;

use std::{
    collections::HashMap,
    os::fd::OwnedFd,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use pr_device::Identity;
use pr_resolver::{
    Aliases, Answer, Question,
    facts::{About, Found, MAX_MESSAGE},
};
use pr_sandbox::{ChildError, await_ready, child};
use rustix::net::{SendFlags, Shutdown, send, shutdown};
use tracing::error;

/// How long a request waits for an answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// A resolver that owes an answer for so long will never give it.
const HUNG: Duration = Duration::from_secs(15);

/// The socket to the process.
pub struct Resolver {
    socket: OwnedFd,
    line: Mutex<Line>,
    heard: Condvar,
}

#[derive(Default)]
struct Line {
    /// The number of the last question, and of the last one that was answered: it answers them in order.
    asked: u64,
    answered: u64,
    /// Since when it owes an answer.
    owes_since: Option<Instant>,
    /// The questions whose answers are waited for.
    open: HashMap<u64, Option<Found>>,
    is_gone: bool,
}

/// There is no answer: the process is gone, or slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence;

/// A question that has been asked.
pub struct Lookup {
    resolver: Arc<Resolver>,
    number: u64,
}

impl Resolver {
    /// The daemon's end of a line with the process at the other.
    pub fn over(socket: OwnedFd) -> Self {
        Self { socket, line: Mutex::default(), heard: Condvar::new() }
    }

    /// Waits until the process is ready.
    ///
    /// # Errors
    /// It will never be.
    pub fn await_ready(&self) -> Result<(), ChildError> {
        await_ready(&self.socket)
    }

    /// The socket: its other end is closed when the process ends, or when it is given up.
    pub const fn line(&self) -> &OwnedFd {
        &self.socket
    }

    /// Reads answers, for the threads that wait for them, until the socket is closed: for a thread of its own.
    pub fn hear(&self) {
        let mut bytes = Vec::with_capacity(MAX_MESSAGE);
        while child::receive(&self.socket, &mut bytes) {
            if let Ok(answer) = serde_json::from_slice(&bytes) {
                self.lock().take(answer);
                self.heard.notify_all();
            }
        }
        self.give_up(&mut self.lock());
    }

    /// Asks for the control group of the process with this number, if it has had that since before `connected`
    /// ([`pr_sys::clock::ticks`]).
    ///
    /// # Errors
    /// The process cannot be asked.
    pub fn control_group(self: &Arc<Self>, pid: u32, connected: u64) -> Result<Lookup, Silence> {
        self.ask(About::ControlGroup { pid, connected })
    }

    /// All names of a disk; `None` if there is no such disk.
    ///
    /// # Errors
    /// No answer.
    pub fn aliases(self: &Arc<Self>, identity: Identity) -> Result<Option<Aliases>, Silence> {
        match self.ask(About::Aliases { kind: identity.kind as u8, device: identity.device })?.answer()? {
            Found::Aliases(aliases) => Ok(aliases),
            Found::ControlGroup(_) => Err(Silence),
        }
    }

    fn ask(self: &Arc<Self>, about: About) -> Result<Lookup, Silence> {
        let mut line = self.lock();
        let number = line.asked + 1;
        let question = serde_json::to_vec(&Question { number, about }).map_err(|_| Silence)?;
        if line.is_gone || send(&self.socket, &question, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).is_err() {
            self.blame(&mut line);
            return Err(Silence);
        }
        line.asked = number;
        line.owes_since.get_or_insert_with(Instant::now);
        line.open.insert(number, None);
        Ok(Lookup { resolver: Arc::clone(self), number })
    }

    /// An answer did not come: if that has been so for long enough, none will.
    fn blame(&self, line: &mut Line) {
        if !line.is_gone && line.owes_since.is_some_and(|since| since.elapsed() >= HUNG) {
            error!("the resolver has not answered for {HUNG:?}; giving it up");
            self.give_up(line);
        }
    }

    fn give_up(&self, line: &mut Line) {
        line.is_gone = true;
        // The main thread sees this, and so does the thread that reads from it.
        let _ = shutdown(&self.socket, Shutdown::Both);
        self.heard.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn take(&mut self, Answer { number, found }: Answer<Found>) {
        if number > self.asked {
            return;
        }
        self.answered = self.answered.max(number);
        self.owes_since = (self.answered < self.asked).then(Instant::now);
        // It may not be waited for any more.
        if let Some(open) = self.open.get_mut(&number) {
            *open = Some(found);
        }
    }
}

impl Lookup {
    /// The path of the control group; `None` if the process is gone, or its number is another's.
    ///
    /// # Errors
    /// No answer.
    pub fn control_group(self) -> Result<Option<String>, Silence> {
        match self.answer()? {
            Found::ControlGroup(path) => Ok(path),
            Found::Aliases(_) => Err(Silence),
        }
    }

    fn answer(self) -> Result<Found, Silence> {
        let Self { resolver, number } = &self;
        let is_awaited = |line: &mut Line| !line.is_gone && line.open.get(number).is_some_and(Option::is_none);
        let waited = resolver.heard.wait_timeout_while(resolver.lock(), PATIENCE, is_awaited);
        let mut line = waited.unwrap_or_else(PoisonError::into_inner).0;
        let found = line.open.get_mut(number).and_then(Option::take);
        if found.is_none() {
            resolver.blame(&mut line);
        }
        drop(line);
        found.ok_or(Silence)
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.resolver.lock().open.remove(&self.number);
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use std::thread;

    use pr_device::Kind;
    use pr_resolver::{facts::serve, unit};
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    const DISK: Identity = Identity { kind: Kind::Block, device: 0x810 };

    /// The daemon's end, with a thread that reads it, and the other end.
    fn line() -> (Arc<Resolver>, OwnedFd) {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let resolver = Arc::new(Resolver::over(ours));
        let heard = Arc::clone(&resolver);
        thread::spawn(move || heard.hear());
        (resolver, theirs)
    }

    fn answer(socket: &OwnedFd, number: u64, path: &str) {
        let found = Found::ControlGroup(Some(path.to_owned()));
        child::send_message(socket, &serde_json::to_vec(&Answer { number, found }).unwrap()).unwrap();
    }

    fn ask(resolver: &Arc<Resolver>) -> Lookup {
        resolver.control_group(7, 0).unwrap()
    }

    #[test]
    fn each_question_has_its_own_answer_in_any_order() {
        let (resolver, theirs) = line();
        let [one, other, dropped] = [(); 3].map(|()| ask(&resolver));
        let numbers = [one.number, other.number, dropped.number];
        drop(dropped);
        for (number, path) in numbers.into_iter().zip(["/one", "/other", "/dropped"]) {
            answer(&theirs, number, path);
        }
        assert_eq!(other.control_group(), Ok(Some("/other".to_owned())));
        assert_eq!(one.control_group(), Ok(Some("/one".to_owned())));
        let last = ask(&resolver);
        answer(&theirs, last.number, "/last");
        assert_eq!(last.control_group(), Ok(Some("/last".to_owned())));
        let line = resolver.lock();
        assert!(line.open.is_empty() && line.owes_since.is_none(), "nothing is kept of what is over");
    }

    #[test]
    fn a_resolver_that_an_attacker_controls_can_only_be_silent() {
        let (resolver, theirs) = line();
        let asked = ask(&resolver);
        for lie in ["", "{}", "not JSON", r#"{"number":99,"found":{"ControlGroup":"/x"}}"#].map(str::as_bytes) {
            // An empty message would be the end of the socket.
            if !lie.is_empty() {
                child::send_message(&theirs, lie).unwrap();
            }
        }
        let aliases = Found::Aliases(None);
        child::send_message(&theirs, &serde_json::to_vec(&Answer { number: asked.number, found: aliases }).unwrap())
            .unwrap();
        assert_eq!(asked.control_group(), Err(Silence), "what was not asked for is no answer");
        assert!(resolver.lock().open.is_empty());
    }

    #[test]
    fn one_that_is_gone_answers_at_once_and_one_that_is_slow_is_not_given_up_for_it() {
        let (resolver, theirs) = line();
        assert_eq!(ask(&resolver).control_group(), Err(Silence));
        assert!(!resolver.lock().is_gone, "it may still answer");
        drop(theirs);
        let asked = resolver.control_group(7, 0);
        assert_eq!(asked.and_then(Lookup::control_group), Err(Silence));
        while !resolver.lock().is_gone {
            thread::yield_now();
        }
        assert_eq!(resolver.aliases(DISK), Err(Silence));
    }

    #[test]
    fn one_that_owes_an_answer_for_too_long_is_given_up() {
        let (resolver, _theirs) = line();
        let asked = ask(&resolver);
        resolver.lock().owes_since = Instant::now().checked_sub(HUNG);
        assert_eq!(asked.control_group(), Err(Silence));
        assert!(resolver.lock().is_gone);
        assert_eq!(resolver.control_group(7, 0).err(), Some(Silence));
    }

    #[test]
    fn the_process_answers_what_it_is_asked() {
        let (resolver, theirs) = line();
        let process = thread::spawn(move || serve(&theirs));
        let now = pr_sys::clock::ticks();
        let own = resolver.control_group(std::process::id(), now).unwrap().control_group().unwrap();
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        assert_eq!(own.as_deref(), unit::path(&groups));
        assert_eq!(resolver.control_group(std::process::id(), 0).unwrap().control_group(), Ok(None));
        let null = Identity { kind: Kind::Character, device: rustix::fs::makedev(1, 3) };
        assert!(resolver.aliases(null).unwrap().unwrap().names.contains(&"null".to_owned()));
        resolver.give_up(&mut resolver.lock());
        process.join().unwrap();
    }
}
