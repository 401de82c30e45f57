//! On which processors this program runs, and with it what it starts.

use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The processors that this program may use, from the first on.
pub fn usable() -> Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|number| set.is_set(*number)).collect())
}

/// Puts this thread on these processors, and with it every thread and process that it starts from now on.
pub fn stay_on(processors: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for processor in processors {
        set.set(*processor);
    }
    sched_setaffinity(None, &set).with_context(|| format!("cannot stay on the processors {processors:?}"))
}
