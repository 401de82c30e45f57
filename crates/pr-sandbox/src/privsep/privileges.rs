//! Dropping all privileges but those that commands need.
//!
//! These calls are about the calling thread alone, and threads inherit what their creator has: so they come before
//! the first other thread is started, and the types keep it that way.

use std::os::fd::BorrowedFd;

use pr_sys::users::{Group, User};
use rustix::{
    process::{Gid, Uid, getegid, getgroups},
    thread::{
        CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
        remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities, set_no_new_privs,
        set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    },
};
use thiserror::Error;
use tracing::{trace, warn};

use crate::sandbox::{self, Sandbox, SandboxError};

/// Proof that the process has one thread and all the privileges that it was started with.
pub struct Privileged {
    /// What a child process does first, to let go of what is this process' own.
    pub(super) in_child: Box<dyn Fn()>,
}

/// Proof that the privileges are dropped.
pub struct Unprivileged(());

/// Proof that the process is in its sandbox, as far as that was asked for. Threads are started with it.
pub struct Sandboxed(());

impl Privileged {
    /// For the first line of a start. Each child process begins with `in_child`: the log is not its own.
    pub fn at_start(in_child: impl Fn() + 'static) -> Self {
        Self { in_child: Box::new(in_child) }
    }
}

/// Enters the daemon's sandbox, see [`sandbox::daemon`].
pub fn enter_sandbox(
    _: &Unprivileged,
    sandbox: Sandbox,
    simulates: bool,
    descriptors: u64,
    removable: &[BorrowedFd<'_>],
) -> Result<Sandboxed, SandboxError> {
    sandbox::daemon(sandbox, simulates, descriptors, removable).map(|()| Sandboxed(()))
}

#[cfg(fuzzing)]
impl Sandboxed {
    /// A fuzzer has no sandbox: it measures and reports in ways that one denies.
    pub const fn pretend() -> Self {
        Self(())
    }
}

/// A step that failed.
#[derive(Debug, Error)]
#[error(
    "Failed to drop privileges: cannot {step}: {error}; start the program as root, or with the capabilities \
     CAP_SYS_RAWIO, CAP_SETPCAP and, for -u and -g, CAP_SETUID and CAP_SETGID"
)]
pub struct PrivilegeError {
    step: &'static str,
    error: rustix::io::Errno,
}

/// The one capability that stays: the kernel asks for it at every `SG_IO` with a persistent reservation command.
const KEPT: CapabilitySet = CapabilitySet::SYS_RAWIO;

/// What the multipath broker keeps: device-mapper's control node asks for the second.
const KEPT_FOR_MULTIPATH: CapabilitySet = KEPT.union(CapabilitySet::SYS_ADMIN);

/// Becomes the user and group, gives up all groups and all capabilities but `CAP_SYS_RAWIO`, for good.
///
/// With `may_lack` (`--simulate`) what was not there at the start need not be there at the end either.
pub fn drop(
    _: Privileged,
    user: Option<User>,
    group: Option<Group>,
    may_lack: bool,
) -> Result<Unprivileged, PrivilegeError> {
    let kept = reduce(KEPT, user, group, may_lack)?;
    if kept.is_empty() {
        warn!("started without CAP_SYS_RAWIO: simulated disks work, commands to real ones will fail");
    }
    trace!(
        target: "pr_helper_privileges",
        uid = rustix::process::getuid().as_raw(),
        gid = rustix::process::getgid().as_raw(),
        capabilities = ?kept,
    );
    Ok(Unprivileged(()))
}

/// The same for the multipath broker: it stays root, because multipathd only accepts commands from root, and keeps
/// `CAP_SYS_RAWIO` and `CAP_SYS_ADMIN` as far as they were there.
pub fn keep_for_multipath() -> Result<(), PrivilegeError> {
    reduce(KEPT_FOR_MULTIPATH, None, None, true).map(|_| ())
}

/// For the process that removes files: the user that it is, without any capability.
pub fn keep_user() -> Result<(), PrivilegeError> {
    reduce(CapabilitySet::empty(), None, None, true).map(|_| ())
}

/// For the resolvers: the user nobody, without any privilege.
pub fn keep_nothing() -> Result<(), PrivilegeError> {
    let may_change = CapabilitySet::SETUID | CapabilitySet::SETGID;
    let have = capabilities(None).map_err(|error| PrivilegeError { step: "read the capabilities", error })?.permitted;
    let becomes_nobody = have.contains(may_change);
    let (user, group) = (becomes_nobody.then_some(User(NOBODY)), becomes_nobody.then_some(Group(NOBODY)));
    reduce(CapabilitySet::empty(), user, group, true).map(|_| ())
}

/// The overflow user and group of the kernel, by every distribution's agreement `nobody`.
const NOBODY: u32 = 65534;

/// Gives up all but `keep`; what is left of that.
fn reduce(
    keep: CapabilitySet,
    user: Option<User>,
    group: Option<Group>,
    may_lack: bool,
) -> Result<CapabilitySet, PrivilegeError> {
    let step = |step| move |error| PrivilegeError { step, error };
    let have = capabilities(None).map_err(step("read the capabilities"))?.permitted;
    let keep = if may_lack { keep & have } else { keep };

    // Ids change without losing the capability.
    set_keep_capabilities(true).map_err(step("keep capabilities across a change of user"))?;

    // The groups of the process that started us. Without the privilege to do that, there must be nothing to give up.
    if have.contains(CapabilitySet::SETGID) || !(may_lack || has_no_other_group().map_err(step("read the groups"))?) {
        set_thread_groups(&[]).map_err(step("give up the supplementary groups"))?;
    }

    // What no program started from here could ever get back.
    if have.contains(CapabilitySet::SETPCAP) || !(may_lack || bounding_set_is_within(keep)) {
        drop_bounding_set().map_err(step("empty the capability bounding set"))?;
    }
    match clear_ambient_capability_set() {
        // Kernels without ambient capabilities have none to clear.
        Ok(()) | Err(rustix::io::Errno::INVAL) => {}
        Err(error) => return Err(step("clear the ambient capabilities")(error)),
    }

    // The group first: the user may not be allowed to change it.
    if let Some(Group(gid)) = group {
        let gid = Gid::from_raw(gid);
        set_thread_res_gid(gid, gid, gid).map_err(step("change the group"))?;
    }
    if let Some(User(uid)) = user {
        let uid = Uid::from_raw(uid);
        set_thread_res_uid(uid, uid, uid).map_err(step("change the user"))?;
    }

    // Now the capabilities themselves, and no way to gain one by running another program.
    let sets = CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(step("keep CAP_SYS_RAWIO and nothing else"))?;
    set_no_new_privs(true).map_err(step("rule out new privileges"))?;
    Ok(keep)
}

/// Whether the process is in its own group alone. systemd puts it in that one twice.
fn has_no_other_group() -> rustix::io::Result<bool> {
    let own = getegid();
    Ok(getgroups()?.iter().all(|group| *group == own))
}

/// Whether a program started from here could get back no more than `keep`; with `no_new_privs` not even that.
fn bounding_set_is_within(keep: CapabilitySet) -> bool {
    let mut all = (0..64).map(|number| CapabilitySet::from_bits_retain(1 << number));
    all.all(|one| keep.contains(one) || !capability_is_in_bounding_set(one).unwrap_or(false))
}

/// Every capability that this kernel knows; it says where they end.
fn drop_bounding_set() -> rustix::io::Result<()> {
    for number in 0..64 {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            Err(rustix::io::Errno::INVAL) => break,
            result => result?,
        }
    }
    Ok(())
}
