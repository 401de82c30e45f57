//! What the command line asks for, checked against what the machine gives: one value that never changes afterwards.

use std::{io, path::PathBuf, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

use crate::{
    cli::{Options, Switch},
    confine::Sandbox,
    observe::{
        audit::Keys,
        control,
        trace::{self, TraceError},
    },
    settings::{AtStart, Settings},
    values::{Group, User},
};

/// Where the socket is if nobody says.
pub const DEFAULT_SOCKET: &str = "/var/run/qemu-pr-helper.sock";

/// Where the pidfile of a daemon is if nobody says.
const DEFAULT_PIDFILE: &str = "/var/run/qemu-pr-helper.pid";

/// Descriptors that are no connection's: standard ones, listener, epoll, signals, pidfile, log, those who follow the audit
/// log, and some room; conversations on the control socket; and what clients that are gone have left behind.
pub const OWN_DESCRIPTORS: u64 = 27 + control::DESCRIPTORS + LEFT_BEHIND;

/// How many things that are no connection's any more may wait to be closed.
pub const LEFT_BEHIND: u64 = 16;

/// The option's name.
const MAX_CONNECTIONS: &str = "max-connections";

/// Everything that is settled before the program starts to work.
#[derive(Clone, Debug)]
pub struct Config {
    /// `-k`, if given.
    pub socket: Option<PathBuf>,
    /// `--socket-mode`.
    pub socket_mode: Option<u32>,
    /// `--socket-group`.
    pub socket_group: Option<Group>,
    /// `-f`, or the default with `-d`.
    pub pidfile: Option<PathBuf>,
    /// `-d`.
    pub daemon: bool,
    /// `-u`.
    pub user: Option<User>,
    /// `-g`.
    pub group: Option<Group>,
    /// `-q`.
    pub quiet: bool,
    /// `--max-connections`, or fewer where there are not enough descriptors.
    pub max_connections: usize,
    /// `--request-timeout`.
    pub request_timeout: Duration,
    /// `--command-timeout`.
    pub command_timeout: Duration,
    /// `--drain-timeout`.
    pub drain_timeout: Duration,
    /// `--simulate`.
    pub simulate: bool,
    /// `--sandbox`.
    pub sandbox: Sandbox,
    /// `--broker`.
    pub broker: Option<PathBuf>,
    /// `--control`, with `%s` in it still if that is there.
    pub control: Option<PathBuf>,
    /// `--control-group`.
    pub control_group: Option<Group>,
    /// Whether there is an audit trail, and how it tells keys: `--audit` and `--audit-keys`.
    pub audit: Option<Keys>,
    /// The settings file and what it says.
    pub settings: Option<(PathBuf, Settings)>,
    /// Where the options come from.
    pub at_start: AtStart,
}

impl Config {
    /// Checks the options, opens what they name, and takes the descriptors that they need.
    pub fn new(options: Options, settings: Option<(PathBuf, Settings)>) -> Result<Self, TraceError> {
        for warning in trace::apply(&options.trace, options.trace_backend)? {
            warn!("{warning}");
        }
        let defaults = settings.as_ref().map(|(_, settings)| settings.defaults.clone()).unwrap_or_default();
        let wanted = u64::from(options.max_connections);
        let possible = connections_within(wanted, getrlimit(Resource::Nofile), |limit| {
            setrlimit(Resource::Nofile, limit).map_err(Into::into)
        });
        // Who gave no number never asked for more than there is room for.
        let is_given = options.given.contains(MAX_CONNECTIONS) || defaults.has(MAX_CONNECTIONS);
        if possible < wanted && is_given {
            warn!(
                "--max-connections {wanted} needs {} file descriptors, more than may be had; serving {possible} \
                 connections (raise the limit: ulimit -n, or LimitNOFILE= in the unit)",
                descriptors_for(wanted)
            );
        }
        let pidfile = options.pidfile.or_else(|| options.daemon.then(|| DEFAULT_PIDFILE.into()));
        Ok(Self {
            socket: options.socket,
            socket_mode: options.socket_mode,
            socket_group: options.socket_group,
            pidfile,
            daemon: options.daemon,
            user: options.user,
            group: options.group,
            quiet: options.quiet,
            max_connections: usize::try_from(possible).unwrap_or(usize::MAX),
            request_timeout: options.request_timeout,
            command_timeout: options.command_timeout,
            drain_timeout: options.drain_timeout,
            simulate: options.simulate,
            sandbox: options.sandbox,
            broker: options.broker,
            control: options.control,
            control_group: options.control_group,
            audit: (options.audit == Switch::On).then_some(options.audit_keys),
            settings,
            at_start: AtStart { defaults, given: options.given },
        })
    }
}

/// What a connection needs at the most: its socket, the disk of its command, and during a command for the multipath
/// broker the pipe that its verdict comes back on. (Of the pipes' other ends one is open at a time, see
/// [`crate::device::multipath`]. A client that breaks the protocol with a second descriptor has it instead of the pipe.)
pub const DESCRIPTORS_EACH: u64 = 3;

/// How many descriptors so many connections need.
pub const fn descriptors_for(connections: u64) -> u64 {
    OWN_DESCRIPTORS + DESCRIPTORS_EACH * connections
}

/// How many connections can be served: running out of descriptors in the middle would break clients that did nothing
/// wrong, so no more are accepted than there are descriptors for. Raises the soft limit if it has to; the broker, which is
/// yet to be forked, lives under the same one and makes do with it, see [`crate::device::multipath::keeper`].
fn connections_within(wanted: u64, limit: Rlimit, raise: impl Fn(Rlimit) -> io::Result<()>) -> u64 {
    let needed = descriptors_for(wanted);
    let within = |limit: u64| (limit.saturating_sub(OWN_DESCRIPTORS) / DESCRIPTORS_EACH).clamp(1, wanted);
    match limit.current {
        None => wanted,
        Some(current) => {
            let goal = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
            let raised = goal > current && raise(Rlimit { current: Some(goal), ..limit }).is_ok();
            within(if raised { goal } else { current })
        }
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    fn limit(current: u64, maximum: u64) -> Rlimit {
        Rlimit { current: Some(current), maximum: Some(maximum) }
    }

    #[test]
    fn the_soft_limit_is_raised_as_far_as_needed_and_connections_fit_below_it() {
        let raised = std::cell::Cell::new(None);
        let raise = |limit: Rlimit| {
            raised.set(limit.current);
            Ok(())
        };
        assert_eq!(connections_within(100, limit(1000, 1000), raise), 100);
        assert_eq!(raised.get(), None);
        assert_eq!(connections_within(1024, limit(1024, 1 << 19), raise), 1024);
        assert_eq!(raised.get(), Some(3128));
        assert_eq!(connections_within(1024, limit(1024, 2048), raise), 664);
        assert_eq!(raised.get(), Some(2048));
        assert_eq!(connections_within(1024, limit(64, 64), raise), 2);
        assert_eq!(connections_within(1024, limit(5, 5), raise), 1);
    }

    #[test]
    fn a_limit_that_cannot_be_raised_is_kept_to() {
        let refuse = |_| Err(io::Error::from_raw_os_error(libc::EPERM));
        assert_eq!(connections_within(1024, limit(224, 4096), refuse), 56);
    }
}
