//! The control socket: whoever may connect asks for the state, follows the audit trail or changes what is traced.
//!
//! One thread, one conversation at a time, each with a deadline; a client that dawdles delays other askers for a second
//! and clients of the helper not at all. Following is passed on to the thread that writes the log.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    thread,
    time::Duration,
};

use pr_control::{Answer, Ask, MAX_ASK, Snapshot};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use tracing::trace;

use super::{
    audit::{self, Peer},
    limit::Limit,
    sink, trace as events,
};
use crate::{settings::Given, sys::socket};

/// How long a client may take to ask, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Settings are read on it, and their reader is recursive to a depth of its own.
const STACK: usize = 1024 * 1024;

/// What the control socket can look at and change.
pub trait Subject: Send + Sync + 'static {
    /// The state now.
    fn snapshot(&self) -> Snapshot;
    /// Takes these settings from now on; how many rules they have and what is odd about them, or why not.
    fn reload(&self, path: &str, text: &str, directory: &Given) -> Result<(u64, Vec<String>), String>;
}

/// Serves a listening socket from a thread of its own.
///
/// # Errors
/// The system has no room for another thread.
pub fn start(listener: OwnedFd, subject: impl Subject) -> io::Result<()> {
    let listener = UnixListener::from(listener);
    // Not by an ioctl, which the sandbox keeps for disks.
    fcntl_setfl(&listener, fcntl_getfl(&listener)? - OFlags::NONBLOCK)?;
    let serve = move || {
        loop {
            match listener.accept() {
                // What goes wrong with one asker is that asker's.
                Ok((socket, _)) => {
                    let _ = converse(socket, &subject);
                }
                // Out of descriptors, most likely: it passes.
                Err(_) => thread::sleep(PATIENCE),
            }
        }
    };
    thread::Builder::new().name("control".into()).stack_size(STACK).spawn(serve)?;
    Ok(())
}

/// Records of those who may not change anything, and try.
static REFUSED: Limit = Limit::new();

/// One conversation.
///
/// # Errors
/// The connection breaks, or it takes too long.
pub fn converse(socket: UnixStream, subject: &impl Subject) -> io::Result<()> {
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let peer = socket::peer(socket.as_fd())?;
    let who = Peer { pid: peer.pid.unwrap_or(0), uid: peer.uid };
    let mut line = String::new();
    let limit = u64::try_from(MAX_ASK).unwrap_or(u64::MAX);
    BufReader::new(&socket).take(limit).read_line(&mut line)?;
    let ask = serde_json::from_str(&line);
    trace!(target: "pr_helper_control", pid = peer.pid, uid = peer.uid, ask = shown(&line));
    // The socket's group may look. Only who could as well start and stop this program may change anything.
    let may_change = peer.uid == 0 || peer.uid == rustix::process::getuid().as_raw();
    let answer = match ask {
        Ok(Ask::Snapshot) => Answer::Snapshot(Box::new(subject.snapshot())),
        Ok(Ask::Log) if !audit::is_on() => {
            Answer::Failed { reason: "there is no audit trail: the helper was started with --audit off".to_owned() }
        }
        Ok(Ask::Log) => {
            return match sink::follow(socket.into()) {
                Ok(()) => Ok(()),
                Err(socket) => {
                    let reason = "enough clients follow the audit trail already; end one of them".to_owned();
                    say(&socket.into(), &Answer::Failed { reason })
                }
            };
        }
        Ok(ask @ (Ask::Trace { .. } | Ask::Reload { .. })) if !may_change => {
            let reason = format!("user {} may look, and root alone may change something", peer.uid);
            if let Ask::Reload { path, .. } = ask {
                // Whoever may look may fill the trail with this, but slowly.
                if let Some(more) = REFUSED.admit(who.into()) {
                    audit::reload(who, &path, Err(&format!("{reason}{more}")));
                }
            }
            Answer::Failed { reason }
        }
        Ok(Ask::Trace { patterns }) => Answer::Done { warnings: events::set(&patterns) },
        Ok(Ask::Reload { path, text, users, groups }) => {
            let result = subject.reload(&path, &text, &Given { users, groups });
            audit::reload(who, &path, result.as_ref().map(|(rules, _)| *rules).map_err(String::as_str));
            match result {
                Ok((_, warnings)) => Answer::Done { warnings },
                Err(reason) => Answer::Failed { reason },
            }
        }
        Err(error) => Answer::Failed { reason: format!("this is no question that this helper knows: {error}") },
    };
    say(&socket, &answer)
}

/// As much of a question as fits into a trace.
fn shown(line: &str) -> &str {
    let line = line.trim_end();
    line.char_indices().nth(SHOWN).map_or(line, |(end, _)| &line[..end])
}

/// In characters; a settings file is longer.
const SHOWN: usize = 1000;

fn say(mut socket: &UnixStream, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    socket.write_all(&line)
}
