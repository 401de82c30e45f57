//! The control socket: a client asks for the state, subscribes to the audit log, or changes settings and traces.
//!
//! No client delays another one. A conversation has a thread of its own and a deadline. A user has few conversations
//! at a time and others theirs, root's apart. No client has reason to send descriptors here: they are not received, and
//! the thread of the conversation in which they were sent closes them, however long that takes. A subscriber is passed on
//! to the audit log, with a socket on which nothing can arrive any more.

use std::{
    collections::HashMap,
    io::{self, IoSliceMut},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use pr_control::{Answer, Ask, MAX_ASK, Snapshot, deadline};
use pr_sys::socket;
use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    net::{RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendFlags, Shutdown, recv, recvmsg, send, shutdown},
};
use tracing::trace;

use crate::{
    audit::Audit,
    config::settings::ProvidedIds,
    limits::CONTROL_DESCRIPTORS,
    log::RateLimit,
    peer::{Origin, Peer},
};

/// How long a client may take to ask, and as long again to take the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Settings are read on it, and their reader is recursive to a depth of its own.
const STACK: usize = 1024 * 1024;

/// How many conversations there are at a time: one user's, those of all users but root, and root's.
const EACH: usize = 4;
const OTHERS: usize = 8;
const ROOTS: usize = 4;

// Those, and one that is rejected.
const _: () = assert!((OTHERS + ROOTS + 1) as u64 == CONTROL_DESCRIPTORS);

/// How many threads there may be, most of them closing what clients have sent.
const MAX_THREADS: usize = 256;

/// What the system lacks (descriptors, memory, threads) may be there again after this.
const PAUSE: Duration = Duration::from_secs(1);

/// What the control socket can look at and change.
pub trait Handler: Send + Sync + 'static {
    /// The state now.
    fn snapshot(&self) -> Snapshot;
    /// Takes these settings from now on; how many rules they have and what is odd about them, or why not.
    fn reload(&self, path: &str, text: &str, directory: &ProvidedIds) -> Result<(u64, Vec<String>), String>;
    /// Traces these events from now on, or does not any more; the warnings are about names that no event has.
    fn trace(&self, patterns: &[String]) -> Vec<String>;
}

/// What all conversations share.
pub struct Control<H> {
    subject: H,
    audit: Arc<Audit>,
    /// Besides root, the user who may change something.
    owner: u32,
    slots: Slots,
    /// Limits the records of those who may not change anything, and try.
    refused: RateLimit,
}

/// Serves a listening socket from a thread of its own.
///
/// # Errors
/// The system has no room for another thread.
pub fn start(listener: OwnedFd, subject: impl Handler, audit: Arc<Audit>) -> io::Result<()> {
    // Besides root, the user who made the socket may change something. The kernel knows who that was, before this process
    // became another user (unix(7), SO_PEERCRED: for a listening socket it is the one who called listen).
    let owner = socket::peer(listener.as_fd())?.uid;
    let listener = UnixListener::from(listener);
    // Not by an ioctl, which the sandbox keeps for disks.
    fcntl_setfl(&listener, fcntl_getfl(&listener)? - OFlags::NONBLOCK)?;
    let control = Arc::new(Control::new(subject, audit, owner));
    let serve = move || {
        loop {
            match listener.accept() {
                Ok((socket, _)) => take(&control, socket),
                // Out of descriptors, most likely: it passes.
                Err(_) => thread::sleep(PAUSE),
            }
        }
    };
    thread::Builder::new().name("control".into()).stack_size(64 * 1024).spawn(serve)?;
    Ok(())
}

/// Has a thread of its own serve a client, or reject it. This one must not close the socket: what has been sent to it
/// and not been read is closed with it.
fn take(control: &Arc<Control<impl Handler>>, socket: UnixStream) {
    // The peer of a connected socket can always be asked for; one that is not known has the fewest privileges.
    let user = socket::peer(socket.as_fd()).map_or(u32::MAX, |peer| peer.uid);
    let has_slot = control.slots.take(user);
    let socket = Arc::new(Mutex::new(Some(socket)));
    loop {
        let (socket, control) = (Arc::clone(&socket), Arc::clone(control));
        let talk = move || {
            let Some(socket) = lock(&socket).take() else { return };
            let rest = if has_slot {
                control.converse(socket)
            } else {
                reject(&socket, user);
                Some(socket)
            };
            control.slots.give_back(user, has_slot);
            // From here on it may take long, and is counted as a thread only.
            drop(rest);
            control.slots.end();
        };
        match thread::Builder::new().name("control".into()).stack_size(STACK).spawn(talk) {
            Ok(_) => return,
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The conversations.
#[derive(Default)]
struct Slots {
    taken: Mutex<Taken>,
    freed: Condvar,
}

#[derive(Default)]
struct Taken {
    by_user: HashMap<u32, usize>,
    /// Clients that are being rejected, and have their descriptors still.
    rejected: usize,
    threads: usize,
}

impl Taken {
    fn has_room_for(&self, user: u32) -> bool {
        let own = self.by_user.get(&user).copied().unwrap_or(0);
        let root = self.by_user.get(&0).copied().unwrap_or(0);
        let others = self.by_user.values().sum::<usize>() - root;
        if user == 0 { own < ROOTS } else { own < EACH && others < OTHERS }
    }
}

impl Slots {
    /// A thread for a client; whether it has a slot.
    fn take(&self, user: u32) -> bool {
        let taken = lock(&self.taken);
        let is_full = |taken: &mut Taken| taken.threads >= MAX_THREADS || taken.rejected > 0;
        let mut taken = self.freed.wait_while(taken, is_full).unwrap_or_else(PoisonError::into_inner);
        taken.threads += 1;
        let has_room = taken.has_room_for(user);
        if has_room {
            *taken.by_user.entry(user).or_default() += 1;
        } else {
            taken.rejected += 1;
        }
        has_room
    }

    /// The conversation is over.
    fn give_back(&self, user: u32, has_slot: bool) {
        let mut taken = lock(&self.taken);
        if !has_slot {
            taken.rejected -= 1;
        } else if let Some(count) = taken.by_user.get_mut(&user) {
            *count -= 1;
            if *count == 0 {
                taken.by_user.remove(&user);
            }
        }
        self.freed.notify_one();
    }

    /// And its socket is closed.
    fn end(&self) {
        lock(&self.taken).threads -= 1;
        self.freed.notify_one();
    }
}

fn reject(socket: &UnixStream, user: u32) {
    let reason = format!("user {user} has too many requests open already; try again in a moment");
    // It fits into an empty socket, or the client is gone.
    let _ = send(socket, &line(&Answer::Failed { reason }), SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
}

impl<H: Handler> Control<H> {
    /// No conversation has begun.
    pub fn new(subject: H, audit: Arc<Audit>, owner: u32) -> Self {
        Self { subject, audit, owner, slots: Slots::default(), refused: RateLimit::default() }
    }

    /// One conversation; the socket to be closed, unless it follows from here on.
    pub fn converse(&self, socket: UnixStream) -> Option<UnixStream> {
        let who = Origin::of(0, socket.as_fd());
        let Peer { pid, uid } = who.peer;
        let Ok(text) = question(&socket, Instant::now() + PATIENCE) else { return Some(socket) };
        let ask = serde_json::from_str(&text);
        trace!(target: "pr_helper_control", pid, uid, ask = shown(&text));
        // The socket's group may look. Only who could as well start and stop this program may change anything; that is not
        // the user that it has become (-u), who may be the clients' own.
        let may_change = [0, self.owner].contains(&uid);
        let answer = match ask {
            Ok(Ask::Snapshot) => Answer::Snapshot(Box::new(self.subject.snapshot())),
            Ok(Ask::Log) if !self.audit.is_on() => {
                Answer::Failed { reason: "there is no audit log: the helper was started with --audit off".to_owned() }
            }
            Ok(Ask::Log) => return self.follow(socket, uid),
            Ok(ask @ (Ask::Trace { .. } | Ask::Reload { .. })) if !may_change => {
                let reason = format!(
                    "user {uid} may only read; only root and the user who started the helper may change anything"
                );
                if let Ask::Reload { path, .. } = ask {
                    // Every user who may query may fill the audit log with this, but slowly.
                    if let Some(more) = self.refused.admit(who.peer.into()) {
                        self.audit.reload(who, &path, Err(&format!("{reason}{more}")));
                    }
                }
                Answer::Failed { reason }
            }
            Ok(Ask::Trace { patterns }) => Answer::Done { warnings: self.subject.trace(&patterns) },
            Ok(Ask::Reload { path, text, users, groups }) => {
                let result = self.subject.reload(&path, &text, &ProvidedIds { users, groups });
                self.audit.reload(who, &path, result.as_ref().map(|(rules, _)| *rules).map_err(String::as_str));
                match result {
                    Ok((_, warnings)) => Answer::Done { warnings },
                    Err(reason) => Answer::Failed { reason },
                }
            }
            Err(error) => Answer::Failed { reason: format!("unknown request: {error}") },
        };
        // A client that does not read its answer has had its time.
        let _ = deadline::write(&socket, &line(&answer), Instant::now() + PATIENCE);
        Some(socket)
    }

    /// Passes a socket on to the thread that writes the log. That one closes it when the follower has left, so nothing must
    /// be able to come on it any more.
    fn follow(&self, socket: UnixStream, user: u32) -> Option<UnixStream> {
        let is_silent = shutdown(&socket, Shutdown::Read).is_ok()
            && loop {
                match read(&socket) {
                    Ok(bytes) if bytes.is_empty() => break true,
                    Ok(_) => {}
                    Err(_) => break false,
                }
            };
        if !is_silent {
            return Some(socket);
        }
        let socket = UnixStream::from(self.audit.subscribe(socket.into(), user).err()?);
        let reason = "too many clients follow the audit log; stop one of them".to_owned();
        let _ = deadline::write(&socket, &line(&Answer::Failed { reason }), Instant::now() + PATIENCE);
        Some(socket)
    }
}

/// Reads a question, up to the end of its line.
fn question(socket: &UnixStream, until: Instant) -> io::Result<String> {
    let mut bytes = Vec::new();
    while !bytes.contains(&b'\n') && bytes.len() < MAX_ASK {
        socket.set_read_timeout(Some(deadline::left(until)?))?;
        let more = read(socket)?;
        if more.is_empty() {
            break;
        }
        bytes.extend_from_slice(&more);
    }
    bytes.truncate(bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1).min(MAX_ASK));
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Reads what has come, unless descriptors have come with it: looking does not close them, and reading would, however
/// long that takes.
fn read(socket: &UnixStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4096];
    let parts = &mut [IoSliceMut::new(&mut bytes)];
    let seen = recvmsg(socket, parts, &mut RecvAncillaryBuffer::default(), RecvFlags::PEEK)?;
    if seen.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "descriptors"));
    }
    bytes.truncate(seen.bytes);
    if !bytes.is_empty() {
        // These bytes and no others: what is behind them may be of the other kind.
        let (taken, _) = recv(socket, &mut bytes[..], RecvFlags::DONTWAIT)?;
        bytes.truncate(taken);
    }
    Ok(bytes)
}

fn line(answer: &Answer) -> Vec<u8> {
    // These types have a JSON form for every value.
    let mut line = serde_json::to_vec(answer).unwrap_or_default();
    line.push(b'\n');
    line
}

/// As much of a question as fits into a trace.
fn shown(line: &str) -> &str {
    let line = line.trim_end();
    line.char_indices().nth(SHOWN).map_or(line, |(end, _)| &line[..end])
}

/// In characters; a settings file is longer.
const SHOWN: usize = 1000;

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_few_conversations_and_root_has_its_own() {
        let slots = Slots::default();
        assert_eq!([5; 4].map(|user| slots.take(user)), [true; 4]);
        assert_eq!([6; 4].map(|user| slots.take(user)), [true; 4]);
        // Only one at a time is rejected: it has a descriptor, and those are counted.
        for user in [5, 7] {
            assert!(!slots.take(user));
            slots.give_back(user, false);
        }
        assert_eq!([0; 4].map(|user| slots.take(user)), [true; 4]);
        assert!(!slots.take(0));
        slots.give_back(0, false);
        slots.give_back(6, true);
        assert!(slots.take(7));
        let threads = lock(&slots.taken).threads;
        assert_eq!(threads, 16, "they count until their sockets are closed");
        (0..threads).for_each(|_| slots.end());
        assert_eq!(lock(&slots.taken).threads, 0);
    }

    #[test]
    fn an_answer_that_is_read_byte_by_byte_has_an_end() {
        let (ours, theirs) = UnixStream::pair().expect("two sockets");
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let reader = thread::spawn(move || {
            while stopped.recv_timeout(Duration::from_millis(5)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                let _ = io::Read::read(&mut &theirs, &mut [0; 1]);
            }
        });
        let result = deadline::write(&ours, &vec![b' '; 4 << 20], Instant::now() + Duration::from_millis(300));
        let kind = result.map_err(|error| error.kind());
        assert!(matches!(kind, Err(io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)), "{kind:?}");
        drop(stop);
        reader.join().expect("no panic");
    }

    #[test]
    fn what_comes_with_descriptors_is_not_read() {
        let (ours, theirs) = UnixStream::pair().expect("two sockets");
        io::Write::write_all(&mut &theirs, b"{\"ask\":").expect("room");
        qemu_pr_protocol::channel::send_with_descriptor(&theirs, b"\"log\"}\n", b"", theirs.as_fd()).expect("room");
        let result = question(&ours, Instant::now() + PATIENCE);
        assert_eq!(result.map_err(|error| error.kind()), Err(io::ErrorKind::InvalidData));
    }
}
