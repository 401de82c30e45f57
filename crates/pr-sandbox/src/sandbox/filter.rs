//! Lists of system calls as a seccomp filter.

use std::{collections::BTreeMap, io};

use pr_sys::seccomp;
use rustix::thread::{secure_computing_mode, set_no_new_privs};
use thiserror::Error;

use super::{
    Sandbox,
    bpf::{self, Machine, Rule},
    syscalls::{Process, calls},
};

/// Why there is no filter.
#[derive(Debug, Error)]
pub enum FilterError {
    /// The kernel does not take it.
    #[error("the kernel refuses the filter: {0}")]
    Apply(#[from] io::Error),
}

/// What becomes of a call that is not made: as on a kernel that does not have it.
const NO_SUCH_CALL: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();

/// How many system calls a process may make.
#[cfg(test)]
pub fn count(process: Process) -> usize {
    calls(process).map(|(number, _)| number).collect::<std::collections::BTreeSet<_>>().len()
}

/// Puts the filter of a process into force, for this thread and those that it starts; false where there are no filters.
pub fn apply(process: Process, sandbox: Sandbox) -> Result<bool, FilterError> {
    let Some(machine) = Machine::here() else { return Ok(false) };
    let (rules, otherwise) = rules(process, sandbox);
    set_no_new_privs(true).map_err(io::Error::from)?;
    match seccomp::apply(&bpf::program(machine, &rules, otherwise)) {
        Ok(()) => Ok(true),
        // A kernel without filters does not know the question either.
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS))
                && secure_computing_mode().is_err() =>
        {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// What becomes of which system call, and of all others.
fn rules(process: Process, sandbox: Sandbox) -> (BTreeMap<u32, Rule<'static>>, u32) {
    let otherwise = match (sandbox, process) {
        (Sandbox::Log, _) => libc::SECCOMP_RET_LOG,
        (_, Process::Daemon | Process::Simulator | Process::Resolver | Process::Cleanup | Process::Broker) => {
            libc::SECCOMP_RET_TRAP
        }
    };
    let allow = |tests| Rule { tests, action: libc::SECCOMP_RET_ALLOW };
    let always = |action| Rule { tests: &[], action };
    let mut rules: BTreeMap<_, _> = calls(process).map(|(number, tests)| (number, allow(tests))).collect();
    // ENOSYS makes the C library use clone, whose arguments can be looked at.
    rules.insert(libc::SYS_clone3, always(NO_SUCH_CALL));
    // There are no negative numbers; one that were would be on no list.
    let rules = rules.into_iter().filter_map(|(number, rule)| Some((u32::try_from(number).ok()?, rule)));
    (rules.collect(), otherwise)
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
#[path = "filter_tests.rs"]
mod tests;
