//! Who is at the other end of a connection.

use std::os::fd::BorrowedFd;

use pr_sys::{clock, peer, socket};

/// The process at the other end of a connection, as it was when it connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Its PID; zero if unknown, or in another PID namespace.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
}

/// A client, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The connection; zero at the control socket.
    pub client: u64,
    /// The process behind it.
    pub peer: Peer,
    /// The process with this PID is the client if it already existed then ([`clock::ticks`]).
    pub connected: u64,
}

impl Origin {
    /// The other end of a connection that has just been accepted. The peer of a connected socket can always be asked for; one
    /// that is not known has the fewest privileges.
    pub fn of(client: u64, connection: BorrowedFd<'_>) -> Self {
        let peer = socket::peer(connection)
            .map_or(Peer { pid: 0, uid: u32::MAX }, |peer| Peer { pid: peer.pid.unwrap_or(0), uid: peer.uid });
        let now = clock::ticks();
        // It may have ended already, and its PID be another process'. Before Linux 6.5 the kernel does not say.
        let is_there = peer::process(connection).is_ok_and(|process| process.is_none_or(|it| peer::is_alive(&it)));
        Self { client, peer, connected: if is_there { now } else { 0 } }
    }
}
