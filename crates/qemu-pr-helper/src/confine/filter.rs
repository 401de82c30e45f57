//! Lists of system calls as seccomp filters.

use std::collections::BTreeMap;

use libc::c_int;
use rustix::thread::secure_computing_mode;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use thiserror::Error;

use super::{
    Sandbox,
    lists::{
        Argument::{self, Bits, Has, Is, Lacks},
        Process, calls,
    },
};

/// Why there is no filter.
#[derive(Debug, Error)]
pub enum FilterError {
    /// The list is no program.
    #[error("the list of system calls cannot be compiled: {0}")]
    Compile(#[from] seccompiler::BackendError),
    /// The kernel does not take it.
    #[error("the kernel refuses the filter: {0}")]
    Apply(#[from] seccompiler::Error),
}

/// How many system calls a process may make.
#[cfg(test)]
pub fn count(process: Process) -> usize {
    calls(process).map(|(number, _)| number).collect::<std::collections::BTreeSet<_>>().len()
}

/// Puts the filter of a process into force, for all of its threads; false where there are no filters.
pub fn apply(process: Process, sandbox: Sandbox) -> Result<bool, FilterError> {
    let Ok(architecture) = TargetArch::try_from(std::env::consts::ARCH) else { return Ok(false) };
    let enosys = SeccompAction::Errno(u32::try_from(libc::ENOSYS).unwrap_or(u32::MAX));
    let otherwise = match (sandbox, process) {
        (Sandbox::Log, _) => SeccompAction::Log,
        (_, Process::Daemon | Process::Names | Process::Broker) => SeccompAction::Trap,
    };
    let rules = calls(process).map(|(number, forms)| Ok((number, rules(forms)?)));
    let rules: BTreeMap<_, _> = rules.collect::<Result<_, seccompiler::BackendError>>()?;
    // ENOSYS makes the C library use clone, whose arguments can be looked at.
    let no_clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let filters = [
        SeccompFilter::new(no_clone3, SeccompAction::Allow, enosys, architecture)?,
        SeccompFilter::new(rules, otherwise, SeccompAction::Allow, architecture)?,
    ];
    // The strictest word counts. Those that allow everything else come first: the last one allows no further filter.
    for filter in filters {
        let program = BpfProgram::try_from(filter)?;
        match seccompiler::apply_filter(&program) {
            Ok(()) => {}
            // A kernel without filters does not know the question either.
            Err(seccompiler::Error::Seccomp(error))
                if error.raw_os_error() == Some(libc::EINVAL) && secure_computing_mode().is_err() =>
            {
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

fn rules(forms: &[&[Argument]]) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let rule = |form: &&[Argument]| {
        let conditions = form.iter().map(|argument| argument.condition()).collect::<Result<_, _>>()?;
        SeccompRule::new(conditions)
    };
    forms.iter().map(rule).collect()
}

impl Argument {
    fn condition(self) -> Result<SeccompCondition, seccompiler::BackendError> {
        let (index, operator, value) = match self {
            Is(index, value) => (index, SeccompCmpOp::Eq, value),
            Has(index, bits) => (index, SeccompCmpOp::MaskedEq(bits), bits),
            Lacks(index, bits) => (index, SeccompCmpOp::MaskedEq(bits), 0),
            Bits(index, mask, value) => (index, SeccompCmpOp::MaskedEq(mask), value),
        };
        // The kernel looks at 32 bits of each of these arguments.
        SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value)
    }
}

const _: () = assert!(size_of::<c_int>() == 4, "arguments are compared as 32 bits");
