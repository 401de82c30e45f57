//! The sockets of the helpers: does something listen, is it a helper, and may the guests connect?

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{super::ping::Answers, finding::Finding, guests::Guest, host::Host};
use crate::{
    error::{Error, Phase},
    target::{DEFAULT_SOCKET, Helper, Transport},
};

/// Where the helper's socket is by default: what a guest's definition says, and what the command line does.
const SAME: [&str; 2] = ["/var/run", "/run"];

/// A helper that answers, and what is wrong with the one at `named` and with those that guests were started with.
pub fn look(host: &Host, named: &Path, guests: &[Guest], timeout: Duration) -> (Option<PathBuf>, Vec<Finding>) {
    let first = Socket { name: plain(named).display().to_string(), path: host.path(plain(named)) };
    let mut sockets = vec![first];
    for socket in guests.iter().flat_map(|guest| of_guest(host, guest)) {
        if sockets.iter().all(|other| other.path != socket.path) {
            sockets.push(socket);
        }
    }
    let (mut usable, mut findings) = (None, Vec::new());
    for (index, socket) in sockets.iter().enumerate() {
        let finding = examine(socket, timeout);
        if matches!(finding, None | Some(Finding::OtherHelper { .. })) {
            usable = usable.or_else(|| Some(socket.path.clone()));
        }
        // Where libvirt starts a helper for each guest there is none for all, unless somebody asks for it.
        let is_expected = index == 0
            && named == Path::new(DEFAULT_SOCKET)
            && sockets.len() > 1
            && matches!(finding, Some(Finding::NoSocket { .. }));
        findings.extend(finding.filter(|_| !is_expected));
    }
    findings.extend(guests.iter().flat_map(|guest| denied(host, guest)));
    (usable, findings)
}

/// A helper's socket.
struct Socket {
    /// The path that people know.
    name: String,
    /// Where it is for this process.
    path: PathBuf,
}

/// The sockets that a guest was started with. In a container they are where its root directory is.
fn of_guest(host: &Host, guest: &Guest) -> Vec<Socket> {
    let found = |name: &String| {
        let path = plain(Path::new(name));
        let inside = host.path(format!("/proc/{}/root{}", guest.pid, path.display()));
        let path = Some(host.path(path)).filter(|path| path.exists() || !inside.exists()).unwrap_or(inside);
        Socket { name: name.clone(), path }
    };
    guest.sockets.iter().map(found).collect()
}

/// A path without the link that `/var/run` is. In another root it would lead out of that.
fn plain(socket: &Path) -> PathBuf {
    let [link, directory] = SAME;
    socket.strip_prefix(link).map_or_else(|_| socket.to_owned(), |rest| Path::new(directory).join(rest))
}

/// What is wrong with one.
fn examine(socket: &Socket, timeout: Duration) -> Option<Finding> {
    let helper = Helper::at(socket.path.clone(), timeout);
    let socket = socket.name.clone();
    let mut transport = match Transport::open(&helper) {
        Ok(transport) => transport,
        Err(error) => {
            return Some(match error {
                Error::NoSocket(_) => Finding::NoSocket { socket },
                Error::NotASocket(_) => Finding::NotASocket { socket },
                Error::ConnectionRefused(_) => Finding::NoListener { socket },
                Error::NoPermission { owner, .. } => Finding::SocketDenied { socket, owner },
                Error::TimedOut { .. } => Finding::NoGreeting { socket, seconds: timeout.as_secs() },
                Error::Closed { phase: Phase::Handshake, .. } => Finding::ClosesConnections { socket },
                error => Finding::NotAHelper { socket, reason: error.to_string() },
            });
        }
    };
    match Answers::probe(&mut transport) {
        Ok(answers) if answers.refuses_naca || answers.simulates => None,
        Ok(_) => Some(Finding::OtherHelper { socket }),
        Err(error) => Some(Finding::NotAHelper { socket, reason: error.to_string() }),
    }
}

/// The sockets that a guest was started with and may not connect to.
fn denied(host: &Host, guest: &Guest) -> Vec<Finding> {
    let finding = |socket: Socket| {
        let file = fs::metadata(&socket.path).ok()?;
        let shift = match (file.uid() == guest.user, guest.groups.contains(&file.gid())) {
            (true, _) => 6,
            (false, true) => 3,
            (false, false) => 0,
        };
        // To connect takes the right to write.
        if guest.user == 0 || file.mode() >> shift & 0o2 != 0 {
            return None;
        }
        let owner = format!("mode {:04o}, user {}, group {}", file.mode() & 0o7777, file.uid(), file.gid());
        Some(Finding::GuestDenied { guest: guest.name.clone(), user: guest.user, socket: socket.name, owner })
    };
    of_guest(host, guest).into_iter().filter_map(finding).collect()
}
