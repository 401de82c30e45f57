//! From a started process to one that may serve: one privileged step after the other.
//!
//! The order is the order of the functions that [`start`] calls, and types keep it, see [`pr_sandbox`].

mod broker;
mod cleanup;
mod daemonize;
mod listener;
mod pidfile;
mod systemd;

use std::{
    convert::Infallible,
    env, io,
    os::fd::{BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use pr_resolver::{facts, names};
use pr_sandbox::{
    ChildError, Privileged, Sandbox, Unprivileged, WaitError, await_ready,
    privileges::{self, PrivilegeError},
};
use thiserror::Error;
use tracing::trace;

use self::{
    broker::BrokerSocketError,
    daemonize::ParentNotifier,
    listener::{ListenError, Permissions},
    pidfile::{Pidfile, PidfileError},
    systemd::ActivationError,
};
pub use self::{listener::Listener, systemd::Notifier};
use crate::{
    config::{Config, DEFAULT_SOCKET, values},
    limits::FOR_BROKER,
    log::Log,
    paths::{self, Entry},
    resolver::{Resolver, names::Names},
};

/// What a process has that may serve.
pub struct Started {
    /// The socket, listening.
    pub listener: Listener,
    /// The control socket, if there is to be one.
    pub control: Option<Listener>,
    /// The file with the PID in it.
    pub pidfile: Option<Pidfile>,
    /// The socket to systemd.
    pub notifier: Notifier,
    /// The process that waits for the daemon to be up.
    pub parent: ParentNotifier,
    /// The socket to the multipath broker.
    pub broker: OwnedFd,
    /// The process that looks names up for the audit log, if there can be readers of that.
    pub names: Option<Arc<Names>>,
    /// The process that finds out what rules need to know, if there can be rules.
    pub resolver: Option<Arc<Resolver>>,
    /// Proof that nothing is left of the privileges but what the configuration keeps.
    pub unprivileged: Unprivileged,
}

impl Started {
    /// The directories of the files that go with the program and that this process removes itself.
    pub fn directories(&self) -> Vec<BorrowedFd<'_>> {
        let sockets = [Some(&self.listener), self.control.as_ref()].into_iter().flatten();
        let files = sockets.filter_map(Listener::removable).chain(self.pidfile.as_ref().and_then(Pidfile::removable));
        files.map(Entry::directory).collect()
    }
}

/// Why the program cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The environment says something about activation that cannot be.
    #[error(transparent)]
    Activation(#[from] ActivationError),
    /// The connection to a broker that another unit starts.
    #[error(transparent)]
    BrokerSocket(#[from] BrokerSocketError),
    /// The process cannot go to the background.
    #[error("cannot go to the background: {0}")]
    Daemonize(#[source] io::Error),
    /// The process for multipath.
    #[error("cannot start the multipath broker: {0}")]
    Broker(#[source] ChildError),
    /// The working directory of a daemon.
    #[error("cannot change to the directory '/': {0}")]
    ChangeDirectory(#[source] io::Error),
    /// The socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The names of processes and disks.
    #[error("cannot start the name lookup process: {0}")]
    Names(#[source] ChildError),
    /// The group of the socket, where other users may put another one in its place.
    #[error("--socket-group: {0}")]
    SocketGroup(#[source] ListenError),
    /// What rules need to know.
    #[error("cannot start the resolver: {0}")]
    Resolver(#[source] ChildError),
    /// The control socket.
    #[error("--control: {0}")]
    Control(#[source] ListenError),
    /// Another helper's control socket.
    #[error(
        "--control: {} is in use: another program{who} accepts connections there; stop it, or put a %s into the path, \
         which gives each helper one of its own", .path.display()
    )]
    ControlInUse {
        /// The path.
        path: PathBuf,
        /// Whose it is.
        who: String,
    },
    /// The directory of control sockets.
    #[error("--control: cannot create the directory {}: {error}; create it, or name another", .path.display())]
    ControlDirectory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The process that removes what this one may not.
    #[error("cannot start the cleanup process: {0}")]
    Cleanup(#[source] ChildError),
    /// The pidfile.
    #[error(transparent)]
    Pidfile(#[from] PidfileError),
    /// The privileges.
    #[error(transparent)]
    Privilege(#[from] PrivilegeError),
}

impl StartError {
    /// Which signal has ended the start, and for whom it was waiting.
    pub const fn interruption(&self) -> Option<(&'static str, &'static str)> {
        let (error, whom) = match self {
            Self::Broker(error) => (error, "the multipath broker"),
            Self::Names(error) => (error, "the name lookup process"),
            Self::Resolver(error) => (error, "the resolver"),
            Self::Cleanup(error) => (error, "the cleanup process"),
            Self::BrokerSocket(BrokerSocketError::Full { wait: WaitError::Signal(name), .. }) => {
                return Some((*name, "the multipath broker"));
            }
            // No process is waited for there.
            Self::Activation(_)
            | Self::BrokerSocket(_)
            | Self::Daemonize(_)
            | Self::ChangeDirectory(_)
            | Self::Listen(_)
            | Self::SocketGroup(_)
            | Self::Control(_)
            | Self::ControlInUse { .. }
            | Self::ControlDirectory { .. }
            | Self::Pidfile(_)
            | Self::Privilege(_) => return None,
        };
        match error {
            ChildError::Wait(WaitError::Signal(name)) => Some((*name, whom)),
            _ => None,
        }
    }
}

/// Takes every step; on failure the steps before are undone.
pub fn start(config: &Config, before: &pr_sys::signal::Before, log: &Arc<Log>) -> Result<Started, StartError> {
    let privileged = Privileged::at_start(silencing(log));
    // Does systemd pass a socket? Asked before the PID changes, because systemd names it.
    let activated = systemd::activation(config.options.socket.is_some(), |name| env::var(name).ok())?;
    let notifier = Notifier::from_environment(|name| env::var_os(name));

    // Into the background, if wanted. The parent stays until everything below is done.
    let parent = if config.options.daemon {
        daemonize::detach(&privileged, before).map_err(StartError::Daemonize)?
    } else {
        ParentNotifier::none()
    };
    if config.options.daemon {
        env::set_current_dir("/").map_err(StartError::ChangeDirectory)?;
    }

    // The one process that keeps more than SG_IO: another unit's, or forked before there is anything that it should not
    // inherit.
    let broker = match &config.options.broker {
        Some(path) => broker::connect(path)?,
        None => pr_broker::start(&privileged, config.options.sandbox, FOR_BROKER).map_err(StartError::Broker)?,
    };

    // Readers of the audit log want names; a process without privileges looks them up.
    let names = if config.audit().is_some() || config.options.control.is_some() {
        let names = names::start(&privileged, config.options.sandbox).map_err(StartError::Names)?;
        Some(Arc::new(Names::over(names)))
    } else {
        None
    };

    // Rules are about units and disks, and may come later by the control socket. Another process finds out what they need,
    // so that what decides does not wait for what is only told.
    let resolver = if config.settings.is_some() || config.options.control.is_some() {
        let resolver = facts::start(&privileged, config.options.sandbox).map_err(StartError::Resolver)?;
        Some(Arc::new(Resolver::over(resolver)))
    } else {
        None
    };

    // The socket listens, under a name that no client knows yet.
    let listener = if let Some(socket) = activated {
        Listener::activated(socket)?
    } else {
        let path = config.options.socket.as_deref().unwrap_or(Path::new(DEFAULT_SOCKET));
        let (mode, group) = (config.options.socket_mode, config.options.socket_group);
        // Without a group it may be in a directory of QEMU's user, where libvirt has it. A group is for what stays in its
        // place.
        Listener::bind(&privileged, path, Permissions { mode, group, alone: group.is_some() }).map_err(|error| {
            match error {
                error @ ListenError::Directory { .. } => StartError::SocketGroup(error),
                error => error.into(),
            }
        })?
    };

    let control = match &config.options.control {
        Some(path) => Some(control_socket(&privileged, path, &listener.address(), config)?),
        None => None,
    };

    // No client is served before they are in their sandboxes. They have had time to enter them.
    await_ready(&broker).map_err(StartError::Broker)?;
    if let Some(names) = &names {
        names.await_ready().map_err(StartError::Names)?;
    }
    if let Some(resolver) = &resolver {
        resolver.await_ready().map_err(StartError::Resolver)?;
    }

    // The pidfile: locked, so that a second helper with the same one stops here.
    let mut pidfile = match config.pidfile() {
        Some(path) => Some(Pidfile::create(path)?),
        None => None,
    };

    // The socket gets its real name; needs write access to its directory.
    let mut control = control.map(Listener::publish).transpose().map_err(control_error)?;
    let mut listener = listener.publish()?;
    trace!(target: "pr_helper_ready", socket = ?listener.path());

    // What the user that this process becomes may not remove, another process will.
    let files = [listener.file(), control.as_ref().and_then(Listener::file), pidfile.as_ref().map(Pidfile::file)];
    let files: Vec<_> = files.into_iter().flatten().collect();
    let cleanup =
        cleanup::start(&privileged, &files, config.options.user, config.options.group, config.options.sandbox);
    if let Some(cleanup) = cleanup.map_err(StartError::Cleanup)? {
        listener.leave_to(&cleanup);
        if let Some(control) = &mut control {
            control.leave_to(&cleanup);
        }
        if let Some(pidfile) = &mut pidfile {
            pidfile.leave_to(&cleanup);
        }
    }

    // From here on an attacker could use nothing beyond the commands themselves.
    let unprivileged =
        privileges::drop(privileged, config.options.user, config.options.group, config.options.simulate)?;
    Ok(Started { listener, control, pidfile, notifier, parent, broker, names, resolver, unprivileged })
}

/// The life of a process that a unit starts to be the broker of one daemon.
pub fn serve_broker(sandbox: Sandbox, log: &Arc<Log>) -> Result<Infallible, StartError> {
    let socket = broker::passed()?;
    pr_broker::become_broker(&Privileged::at_start(silencing(log)), &socket, sandbox, FOR_BROKER)
}

/// What a child process does first: where the log is written belongs to this process.
fn silencing(log: &Arc<Log>) -> impl Fn() + use<> {
    let log = Arc::clone(log);
    move || log.silence()
}

/// The control socket: root's, and a group's if it is given.
fn control_socket(
    privileged: &Privileged,
    path: &Path,
    socket: &Path,
    config: &Config,
) -> Result<Listener, StartError> {
    let (path, is_shared) = values::control_of(path, socket);
    if is_shared && let Some(directory) = path.parent() {
        paths::shared_directory(directory)
            .map_err(|error| StartError::ControlDirectory { path: directory.to_owned(), error })?;
    }
    let mode = Some(if config.options.control_group.is_some() { 0o660 } else { 0o600 });
    let permissions = Permissions { mode, group: config.options.control_group, alone: true };
    Listener::bind(privileged, &path, permissions).map_err(control_error)
}

fn control_error(error: ListenError) -> StartError {
    match error {
        ListenError::InUse { path, who } => StartError::ControlInUse { path, who },
        error => StartError::Control(error),
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    #[test]
    fn a_signal_ends_a_start_whichever_process_it_waits_for() {
        let signal = || ChildError::Wait(WaitError::Signal("SIGTERM"));
        let rows = [
            (StartError::Broker(signal()), "the multipath broker"),
            (StartError::Names(signal()), "the name lookup process"),
            (StartError::Resolver(signal()), "the resolver"),
            (StartError::Cleanup(signal()), "the cleanup process"),
            (
                BrokerSocketError::Full { path: "/run/broker".into(), wait: WaitError::Signal("SIGTERM") }.into(),
                "the multipath broker",
            ),
        ];
        for (error, whom) in rows {
            assert_eq!(error.interruption(), Some(("SIGTERM", whom)), "{error}");
        }
        for overdue in [
            StartError::Resolver(ChildError::Wait(WaitError::Timeout)),
            BrokerSocketError::Full { path: "/run/broker".into(), wait: WaitError::Timeout }.into(),
        ] {
            assert_eq!(overdue.interruption(), None, "{overdue}");
        }
    }
}
