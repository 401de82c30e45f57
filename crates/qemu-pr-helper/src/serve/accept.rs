//! New clients.

use rustix::{
    event::epoll,
    io::Errno,
    net::{SocketFlags, accept_with, sockopt},
};
use tracing::{debug, trace, warn};

use super::{
    connection::Connection,
    hub::{Hub, LISTENER, once},
};
use crate::observe::limit::Limit;

/// Accepts one client.
pub fn accept(hub: &Hub) {
    static FULL: Limit = Limit::new();
    if hub.is_draining() {
        return;
    }
    let accepted = accept_with(&hub.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC);
    match &accepted {
        Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
            // The listener stays readable; asking again at once would only burn the processor.
            if let Some(more) = FULL.admit() {
                warn!("cannot accept a client now: {error}; trying again shortly{more}");
            }
            return hub.pause_accepting();
        }
        // Whatever went wrong with one client, the next may come.
        _ => drop(hub.arm(&hub.listener, LISTENER, epoll::EventFlags::IN)),
    }
    let Ok(socket) = accepted else { return };

    let client = hub.next_client();
    if tracing::enabled!(target: "pr_helper_accept", tracing::Level::TRACE) {
        let peer = sockopt::socket_peercred(&socket).ok();
        let (pid, uid) = (peer.map(|peer| peer.pid.as_raw_nonzero()), peer.map(|peer| peer.uid.as_raw()));
        trace!(target: "pr_helper_accept", client, pid = ?pid, uid = ?uid);
    }
    let Some(token) = hub.slots.reserve() else {
        if let Some(more) = FULL.admit() {
            let limit = hub.slots.capacity();
            warn!("turning a client away: all {limit} connections are in use (--max-connections){more}");
        }
        return;
    };
    let connection = Connection::new(socket, client);
    let slot = hub.slots.get(token);
    let mut place = slot.lock();
    // The greeting is four bytes into an empty socket: it fits, or the client is gone.
    if let Err(error) = connection.greet() {
        debug!("client {client} left before it was greeted: {error}");
        drop(place);
        return hub.slots.release(token);
    }
    let data = epoll::EventData::new_u64(u64::from(token));
    match epoll::add(&hub.epoll, connection.socket(), data, once(epoll::EventFlags::IN)) {
        Ok(()) => *place = Some(connection),
        Err(error) => {
            warn!("cannot serve a client: {error}");
            drop(place);
            hub.slots.release(token);
        }
    }
}
