//! New clients.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use rustix::{
    io::Errno,
    net::{SocketFlags, accept_with},
};
use tracing::{debug, trace, warn};

use super::{
    closer::{Closer, Discarded, Then},
    connection::{self, Connection},
    context::Server,
    token::Token,
    worker_pool::WorkerState,
};
use crate::{log::Source, peer::Origin};

/// Accepts one client, if there is a thread for whatever it does and room for what it may leave to be closed.
pub fn accept(server: &Arc<Server>, has_standby: bool) -> WorkerState {
    if !has_standby || !server.closer.has_room() {
        server.pause_accepting();
        return server.workers.resume();
    }
    let accepted = accept_with(&server.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC);
    let mut state = None;
    let again = match accepted {
        Ok(socket) => {
            state = admit(server, socket);
            true
        }
        Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
            // The listener stays readable; asking again at once would only burn the processor.
            if let Some(more) = server.messages.full.admit(Source::Unknown) {
                warn!("cannot accept a client now: {error}; trying again shortly{more}");
            }
            server.pause_accepting();
            false
        }
        // Whatever went wrong with one client, the next may connect.
        Err(_) => true,
    };
    let state = state.unwrap_or_else(|| server.workers.resume());
    // It is registered; arming it takes nothing that could run out. Should it fail all the same, no client would be accepted
    // any more.
    if again && !server.shared.is_draining() && server.arm_listener().is_err() {
        server.pause_accepting();
    }
    state
}

/// Gives a client a slot, or rejects it. This thread's state, where it has resumed on the way.
fn admit(server: &Arc<Server>, socket: OwnedFd) -> Option<WorkerState> {
    let client = server.next_client();
    let origin = Origin::of(client, socket.as_fd());
    let peer = origin.peer;
    trace!(target: "pr_helper_accept", client, pid = peer.pid, uid = peer.uid);
    let (connected, capacity) = (server.connections.peers(), server.connections.capacity());
    if let Err(why) = server.shared.policy.check_connections(peer, connected, capacity) {
        server.shared.metrics.over_limit.count();
        if let Some(more) = server.messages.over_limit.admit(peer.into()) {
            warn!("rejecting a client: {why}{more}");
        }
        reject(server, socket, origin);
        return None;
    }
    let Some(slot) = server.connections.reserve() else {
        server.shared.metrics.turned_away.count();
        if let Some(more) = server.messages.full.admit(peer.into()) {
            warn!("rejecting a client: all {capacity} connections are in use (--max-connections){more}");
        }
        reject(server, socket, origin);
        return None;
    };
    let mut connection = Connection::new(socket, origin, &server.shared.audit);
    connection.look_up(&server.shared.policy);
    open(server, Token::new(slot, client), connection)
}

/// Closes the connection of a client that was never served. It may have sent something all the same.
fn reject(server: &Arc<Server>, socket: OwnedFd, origin: Origin) {
    if !connection::is_empty(&socket) {
        Closer::close(server, Discarded { origin, then: Then::Nothing, what: Box::new(socket) });
    }
}

/// Puts a connection into its slot, speaks first and waits for the client. It is closed again if that fails.
fn open(server: &Arc<Server>, token: Token, connection: Connection) -> Option<WorkerState> {
    server.shared.metrics.accepted.count();
    let slot = server.connections.get(token.slot());
    let client = connection.origin().client;
    let failed = |error: Errno| {
        debug!("client {client} left before it was served: {error}");
        server.remove(token);
    };
    slot.status.accepted(connection.origin());
    let socket = Arc::clone(connection.socket());
    *slot.lock() = Some(connection);
    // Four bytes into an empty socket: they fit, or the client is gone.
    if let Err(error) = connection::handshake(&socket) {
        drop(socket);
        failed(error);
        return None;
    }
    // The client's first event may wake another thread at once, which is to find that a thread waits and that the slot is
    // not locked.
    let state = server.workers.resume();
    let added = server.shared.add(&socket, token);
    drop(socket);
    if let Err(error) = added {
        failed(error);
    }
    Some(state)
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
#[path = "accept_tests.rs"]
mod tests;
