//! How many file descriptors the program needs, and getting them: running out of descriptors in the middle would break
//! clients that did nothing wrong, so no more connections are accepted than there are descriptors for.

use std::io;

use pr_broker::Descriptors;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Descriptors that are no connection's: standard ones, listener, epoll, signals, pidfile, log, subscribers of the audit log,
/// and some room; conversations on the control socket; and what clients that are gone have left to be closed.
pub const OWN_DESCRIPTORS: u64 = 27 + CONTROL_DESCRIPTORS + LEFT_BEHIND;

/// What conversations on the control socket need at the most.
pub const CONTROL_DESCRIPTORS: u64 = 13;

/// How many things that are no connection's any more may wait to be closed.
pub const LEFT_BEHIND: u64 = 16;

/// What a connection needs at the most: its socket, the disk of its command, and during a command for the multipath
/// broker the pipe that its reply comes back on. (Of the pipes' other ends one is open at a time, see
/// [`crate::device::multipath`]. A client that breaks the protocol with a second descriptor has it instead of the pipe.)
pub const DESCRIPTORS_EACH: u64 = 3;

/// The same for the broker, which lives under the same limit.
pub const FOR_BROKER: Descriptors = Descriptors { own: OWN_DESCRIPTORS, each: DESCRIPTORS_EACH };

/// How many descriptors so many connections need.
pub const fn descriptors_for(connections: u64) -> u64 {
    OWN_DESCRIPTORS + DESCRIPTORS_EACH * connections
}

/// How many of these connections there are descriptors for. Raises the limit if it has to, and warns where that does not
/// suffice for a number that was asked for (`is_given`): the default is no promise.
pub fn connections(wanted: u32, is_given: bool) -> usize {
    let wanted = u64::from(wanted);
    let possible = connections_within(wanted, getrlimit(Resource::Nofile), |limit| {
        setrlimit(Resource::Nofile, limit).map_err(Into::into)
    });
    if possible < wanted && is_given {
        warn!(
            "--max-connections {wanted} needs {} file descriptors, more than may be had; serving {possible} \
             connections (raise the limit: ulimit -n, or LimitNOFILE= in the unit)",
            descriptors_for(wanted)
        );
    }
    usize::try_from(possible).unwrap_or(usize::MAX)
}

/// How many connections can be served below a limit. Raises the soft limit if it has to; the broker, which is yet to be
/// forked, lives under the same one and makes do with it, see [`Descriptors::most_workers`].
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
    fn a_command_of_every_connection_and_all_workers_fit_below_the_limit() {
        for limit in [80, 128, 1024, 4096, 8192] {
            let commands = (limit - OWN_DESCRIPTORS) / DESCRIPTORS_EACH;
            let workers = u64::try_from(FOR_BROKER.most_workers(Some(limit))).unwrap();
            let needed = FOR_BROKER.needed(commands, workers);
            assert!(workers >= commands && needed <= limit, "{workers} workers need {needed} of {limit}");
        }
        assert_eq!(FOR_BROKER.most_workers(Some(3128)), 1024);
        assert_eq!(FOR_BROKER.most_workers(Some(0)), 1);
    }

    #[test]
    fn a_limit_that_cannot_be_raised_is_kept_to() {
        let refuse = |_| Err(io::Error::from_raw_os_error(libc::EPERM));
        assert_eq!(connections_within(1024, limit(224, 4096), refuse), 56);
    }
}
