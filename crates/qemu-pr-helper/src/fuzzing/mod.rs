//! Doors for the fuzzers in `fuzz/`: what they feed is no interface of this crate. There with `--cfg fuzzing` alone,
//! which cargo-fuzz and `cargo xtask fuzz` set; no program that is installed is built so.

mod inside;
mod patterns;
mod records;
mod server;

use std::{
    path::Path,
    sync::{Arc, LazyLock},
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

pub use inside::{
    Answer, MAX_VERDICT, Report, Request, ToBroker, ToNames, ToResolver, Verdict, Word, answered, control, look_up,
    receive, resolve,
};
pub use patterns::{events, matches, switched, take_apart};
pub use records::{offer, recorded};
pub use server::Server;

pub use crate::config::settings::Glob;
use crate::{
    audit::{Audit, Keys},
    config::{
        self,
        settings::{ProvidedIds, Settings},
    },
    log::Log,
    metrics::Metrics,
    resolver::names::Names,
};
pub use pr_resolver::unit::{path as control_group, unit, vm};

/// The log, the counters and the audit log of all that is behind the doors: what a door is given has no place for a handle.
static LOG: LazyLock<Arc<Log>> = LazyLock::new(Arc::default);
static METRICS: LazyLock<Arc<Metrics>> = LazyLock::new(Arc::default);
static AUDIT: LazyLock<Arc<Audit>> = LazyLock::new(|| {
    // Nobody is at the other end.
    let names = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let names = names.ok().map(|(names, _)| Arc::new(Names::over(names)));
    Arc::new(Audit::new(Arc::clone(&LOG), Arc::clone(&METRICS), names, Some(Keys::Show)))
});

/// The users and groups that there are.
pub fn directory() -> ProvidedIds {
    let users = [("root", 0), ("qemu", 107), ("tenant-a", 1001), ("tenant-b", 1002)];
    let map = || users.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect();
    ProvidedIds { users: map(), groups: map() }
}

/// A settings file that was read.
pub struct Read {
    pub(crate) settings: Settings,
}

impl Read {
    /// Reads a settings file that is called `p`.
    ///
    /// # Errors
    /// What is wrong with it, as the program says it.
    pub fn new(text: &str) -> Result<Self, String> {
        config::parse_settings(Path::new("p"), text, &directory())
            .map(|settings| Self { settings })
            .map_err(|error| error.to_string())
    }

    /// All that it says, to be compared.
    pub fn in_words(&self) -> String {
        format!("{:?}", self.settings)
    }

    /// What is odd about it.
    pub fn warnings(&self) -> &[String] {
        &self.settings.warnings
    }

    /// Its patterns.
    pub fn patterns(&self) -> impl Iterator<Item = &Glob> {
        let lists = self.settings.rules.iter().flat_map(|rule| [&rule.units, &rule.contexts, &rule.devices]);
        lists.flatten().flatten()
    }
}
