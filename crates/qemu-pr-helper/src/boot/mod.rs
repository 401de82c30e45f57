//! From a started process to one that may serve: one privileged step after the other.
//!
//! The order is the order of the functions that [`boot`] calls, and the types keep it: what has to happen while the
//! process is alone and privileged takes a [`Privileged`], [`privilege::drop`] consumes it, and only the
//! [`Unprivileged`] that comes out of that starts threads.

pub mod daemonize;
pub mod listen;
pub mod pidfile;
pub mod privilege;
pub mod systemd;

use std::{env, io, path::Path};

use thiserror::Error;
use tracing::trace;

use self::{
    daemonize::Starter,
    listen::{ListenError, Listener},
    pidfile::{Pidfile, PidfileError},
    privilege::{PrivilegeError, Unprivileged},
    systemd::{ActivationError, Notifier},
};
use crate::{
    config::{Config, DEFAULT_SOCKET},
    device::multipath::{Multipath, start_broker},
};

/// Proof that the process has one thread and whatever rights it was started with.
pub struct Privileged(());

/// What a booted process has.
pub struct Booted {
    /// The socket, listening.
    pub listener: Listener,
    /// The file with our number in it.
    pub pidfile: Option<Pidfile>,
    /// The line to systemd.
    pub notifier: Notifier,
    /// Whoever waits for the daemon to be up.
    pub starter: Starter,
    /// The line to the process that does what multipath needs.
    pub multipath: Multipath,
    /// Proof that nothing is left of the privileges but what the configuration keeps.
    pub unprivileged: Unprivileged,
}

/// Why the program cannot start.
#[derive(Debug, Error)]
pub enum BootError {
    /// The environment says something about activation that cannot be.
    #[error(transparent)]
    Activation(#[from] ActivationError),
    /// The process cannot go to the background.
    #[error("cannot go to the background: {0}")]
    Daemonize(#[source] io::Error),
    /// The process for multipath.
    #[error("cannot start the multipath broker: {0}")]
    Broker(#[source] io::Error),
    /// The working directory of a daemon.
    #[error("cannot change to the directory '/': {0}")]
    ChangeDirectory(#[source] io::Error),
    /// The socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The pidfile.
    #[error(transparent)]
    Pidfile(#[from] PidfileError),
    /// The privileges.
    #[error(transparent)]
    Privilege(#[from] PrivilegeError),
}

/// Takes every step; on failure the steps before are undone.
pub fn boot(config: &Config, before: &crate::sys::signal::Before) -> Result<Booted, BootError> {
    let privileged = Privileged(());
    // Who listens? Asked before the process number changes, because systemd names it.
    let activated = systemd::activation(config.socket.is_some(), |name| env::var(name).ok())?;
    let notifier = Notifier::from_environment(|name| env::var_os(name));

    // Into the background, if wanted. The parent stays until everything below is done.
    let starter = if config.daemon {
        daemonize::detach(&privileged, before).map_err(BootError::Daemonize)?
    } else {
        Starter::none()
    };
    if config.daemon {
        env::set_current_dir("/").map_err(BootError::ChangeDirectory)?;
    }

    // The one process that keeps more than SG_IO; forked before there is anything that it should not inherit.
    let multipath = start_broker(&privileged).map_err(BootError::Broker)?;

    // The socket listens, under a name that nobody knows yet.
    let listener = if let Some(socket) = activated {
        Listener::activated(socket)?
    } else {
        let path = config.socket.as_deref().unwrap_or(Path::new(DEFAULT_SOCKET));
        Listener::bind(&privileged, path, config.socket_mode, config.socket_group)?
    };

    // The pidfile: locked, so that a second helper with the same one stops here.
    let pidfile = match &config.pidfile {
        Some(path) => Some(Pidfile::create(path)?),
        None => None,
    };

    // The socket gets its real name; needs the rights to its directory.
    let listener = listener.publish()?;
    trace!(target: "pr_helper_ready", socket = ?listener.path());

    // From here on there is nothing that a break-in could use beyond the commands themselves.
    let unprivileged = privilege::drop(privileged, config.user, config.group, config.simulate)?;
    Ok(Booted { listener, pidfile, notifier, starter, multipath, unprivileged })
}
