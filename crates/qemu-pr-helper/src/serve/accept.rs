//! New clients.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use rustix::{
    event::epoll,
    io::Errno,
    net::{SocketFlags, accept_with},
};
use tracing::{debug, trace, warn};

use super::{
    closing::{Closing, Left, Then},
    connection::{self, Connection},
    crew::Place,
    hub::{Hub, Token},
    share,
};
use crate::{
    log::{RateLimit, Source},
    metrics::METRICS,
    peer::Origin,
};

/// Messages about clients that find no room.
static FULL: RateLimit = RateLimit::new();

/// Messages about clients that have enough connections.
static CROWDED: RateLimit = RateLimit::new();

/// Accepts one client, if there is a thread for whatever it does and room for what it may leave behind.
pub fn accept(hub: &Arc<Hub>, covered: bool) -> Place {
    if !covered || !hub.closing.has_room() {
        hub.pause_accepting();
        return hub.crew.rejoin();
    }
    let accepted = accept_with(&hub.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC);
    let again = match accepted {
        Ok(socket) => {
            welcome(hub, socket);
            true
        }
        Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
            // The listener stays readable; asking again at once would only burn the processor.
            if let Some(more) = FULL.admit(Source::Unknown) {
                warn!("cannot accept a client now: {error}; trying again shortly{more}");
            }
            hub.pause_accepting();
            false
        }
        // Whatever went wrong with one client, the next may come.
        Err(_) => true,
    };
    let place = hub.crew.rejoin();
    // It is registered; arming it takes nothing that could run out. Should it fail all the same, nobody would be accepted
    // any more.
    if again && !hub.is_draining() && hub.arm(&hub.listener, Token::LISTENER, epoll::EventFlags::IN).is_err() {
        hub.pause_accepting();
    }
    place
}

/// Greets a client and gives it a slot, or turns it away.
fn welcome(hub: &Arc<Hub>, socket: OwnedFd) {
    let client = hub.next_client();
    let origin = Origin::of(client, socket.as_fd());
    let peer = origin.peer;
    trace!(target: "pr_helper_accept", client, pid = peer.pid, uid = peer.uid);
    if let Some(why) = share::crowded(hub, peer) {
        METRICS.over_limit.count();
        if let Some(more) = CROWDED.admit(peer.into()) {
            warn!("turning a client away: {why}{more}");
        }
        return turn_away(hub, socket, origin);
    }
    let Some(place) = hub.slots.reserve() else {
        METRICS.turned_away.count();
        if let Some(more) = FULL.admit(peer.into()) {
            let limit = hub.slots.capacity();
            warn!("turning a client away: all {limit} connections are in use (--max-connections){more}");
        }
        return turn_away(hub, socket, origin);
    };
    let mut connection = Connection::new(socket, origin);
    connection.look_up(hub);
    // The greeting is four bytes into an empty socket: it fits, or the client is gone.
    if let Err(error) = settle(hub, Token::new(place, client), connection) {
        debug!("client {client} left before it was served: {error}");
    }
}

/// Hangs up on a client that was never served. It may have sent something all the same.
fn turn_away(hub: &Arc<Hub>, socket: OwnedFd, origin: Origin) {
    if !connection::is_empty(&socket) {
        Closing::take(hub, Left { origin, then: Then::Nothing, what: Box::new(socket) });
    }
}

/// Greets a client, gives its connection its place and waits for what the client says. It leaves again if that fails.
fn settle(hub: &Arc<Hub>, token: Token, connection: Connection) -> rustix::io::Result<()> {
    METRICS.accepted.count();
    let slot = hub.slots.get(token.place());
    connection.show(&slot.flight);
    let mut guard = slot.lock();
    let settled = connection.greet().and_then(|()| hub.add(connection.socket(), token));
    *guard = Some(connection);
    drop(guard);
    if settled.is_err() {
        connection::leave(hub, token);
    }
    settled
}
