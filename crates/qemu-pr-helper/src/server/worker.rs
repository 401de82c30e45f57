//! The worker threads. All that are free wait on one epoll set; the one that is woken carries one event to its end itself.
//!
//! Anything may block: a command on a dead disk for minutes, a full pipe. So before a thread does anything, it makes sure
//! that another one is on standby (`worker_pool`). A hung command then holds up its own connection and no other, and there
//! are never more threads than connections, give or take two. If the system has no room for another thread, the last one
//! reads from no client until one is free. What clients leave to be closed is closed elsewhere (`closer`).

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use pr_sandbox::Sandboxed;
use rustix::event::epoll::EventFlags;
use tracing::error;

use super::{
    accept::accept,
    closer::{Closer, Discarded, Then},
    connection::{Next, Scratch},
    context::Server,
    token::Token,
    worker_pool::{WAITING, WorkerState},
};
use crate::log::Source;

/// The scratch buffers are on the heap; what is left is shallow.
const STACK: usize = 128 * 1024;

/// How soon it is looked again whether there is a thread for a connection.
const NO_THREAD: Duration = Duration::from_millis(100);

/// Starts the first threads.
pub fn start(server: &Arc<Server>, _: &Sandboxed) -> io::Result<()> {
    (0..WAITING).try_for_each(|_| server.workers.begin(|| spawn(server)))
}

/// Starts a thread that counts as waiting already.
fn spawn(server: &Arc<Server>) -> io::Result<()> {
    let server = Arc::clone(server);
    thread::Builder::new().name("worker".into()).stack_size(STACK).spawn(move || work(&server))?;
    Ok(())
}

fn work(server: &Arc<Server>) {
    let mut scratch = Scratch::default();
    loop {
        let token = server.shared.next_event();
        let has_standby = server.workers.leave(|| start_another(server));
        // Nothing here is meant to panic. Should it, that ends one connection and not all of them.
        let state = panic::catch_unwind(AssertUnwindSafe(|| match token {
            Some(Token::LISTENER) => accept(server, has_standby),
            Some(token) => serve(server, token, has_standby, &mut scratch),
            None => server.workers.resume(),
        }));
        let state = state.unwrap_or_else(|_| {
            error!("an internal error ended a connection; please report the message above");
            match token {
                Some(Token::LISTENER) | None => server.pause_accepting(),
                Some(token) => server.remove(token),
            }
            server.workers.resume()
        });
        if !server.workers.park(state) {
            return;
        }
    }
}

/// Starts a thread to wait in place of this one, if the system has room for it.
fn start_another(server: &Arc<Server>) -> bool {
    let Err(error) = spawn(server) else { return true };
    if let Some(more) = server.messages.no_thread.admit(Source::Unknown) {
        error!(
            "cannot start another thread: {error}; no client is read until one is free \
             (raise TasksMax= in the unit, or ulimit -u){more}"
        );
    }
    false
}

/// Carries one event of a connection to its end. A thread without a standby does not begin with it.
fn serve(server: &Arc<Server>, token: Token, has_standby: bool, scratch: &mut Scratch) -> WorkerState {
    let slot = server.connections.get(token.slot());
    if !has_standby {
        let state = server.workers.resume();
        server.delay(Instant::now() + NO_THREAD, token);
        return state;
    }
    let mut guard = slot.lock();
    let Some(connection) = guard.as_mut().filter(|connection| connection.is(token)) else {
        return server.workers.resume();
    };
    let reason = match connection.handle(&server.shared, &slot.status, scratch) {
        Next::Wait(flags) => {
            let (origin, socket) = (connection.origin(), Arc::clone(connection.socket()));
            if let Some(device) = connection.take_device() {
                slot.status.closing_started();
                drop(guard);
                // Of its client nothing is heard until then but that it has closed the connection.
                server.arm(socket, token, origin.client, EventFlags::empty());
                Closer::close(server, Discarded { origin, then: Then::Resume(token), what: Box::new(device) });
                return server.workers.resume();
            }
            let state = server.workers.resume();
            // Its next event may wake another thread at once: unlock the slot first.
            drop(guard);
            server.arm(socket, token, origin.client, flags);
            return state;
        }
        Next::Delay(due) => {
            let state = server.workers.resume();
            server.delay(due, token);
            return state;
        }
        Next::Close(reason) => reason,
    };
    connection.log_close(&server.shared, &reason);
    server.shared.router.forget(connection.origin().client);
    drop(guard);
    server.remove(token);
    server.workers.resume()
}
