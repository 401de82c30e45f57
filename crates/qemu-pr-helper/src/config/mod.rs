//! What the command line and the settings file ask for: one value that never changes once the program serves.

pub mod cli;
pub mod settings;
pub mod values;

use std::path::{Path, PathBuf};

use self::{
    cli::{Options, Switch},
    settings::{ProvidedIds, Settings, SettingsError, StartupOptions},
};
use crate::audit::Keys;

/// The default of `-k`.
pub const DEFAULT_SOCKET: &str = "/var/run/qemu-pr-helper.sock";

/// The default of `-f` with `-d`.
const DEFAULT_PIDFILE: &str = "/var/run/qemu-pr-helper.pid";

/// Everything that is settled before the program starts to work.
#[derive(Debug)]
pub struct Config {
    /// The options of the command line, or the settings file's where the command line has none.
    pub options: Options,
    /// The settings file and what it says.
    pub settings: Option<(PathBuf, Settings)>,
    /// `--max-connections`, or fewer where there are not enough descriptors.
    pub max_connections: usize,
}

impl Config {
    /// The configuration that these ask for. Nothing is opened or changed.
    pub fn new(options: Options, settings: Option<(PathBuf, Settings)>) -> Self {
        let max_connections = usize::try_from(options.max_connections).unwrap_or(usize::MAX);
        Self { options, settings, max_connections }
    }

    /// `-f`, or the default with `-d`.
    pub fn pidfile(&self) -> Option<&Path> {
        let default = self.options.daemon.then_some(Path::new(DEFAULT_PIDFILE));
        self.options.pidfile.as_deref().or(default)
    }

    /// Whether there is an audit log, and how it shows keys: `--audit` and `--audit-keys`.
    pub fn audit(&self) -> Option<Keys> {
        (self.options.audit == Switch::On).then_some(self.options.audit_keys)
    }

    /// Whether an option was given, on the command line or in the settings file.
    pub fn is_given(&self, option: &str) -> bool {
        let in_file = self.settings.as_ref().is_some_and(|(_, settings)| settings.defaults.has(option));
        in_file || self.options.given.contains(option)
    }

    /// The options that the program was started with, to be compared with those of new settings.
    pub fn at_start(&self) -> StartupOptions {
        let defaults = self.settings.as_ref().map(|(_, settings)| settings.defaults.clone()).unwrap_or_default();
        StartupOptions { defaults, given: self.options.given.clone() }
    }
}

/// Reads the settings file at `path`; without one the default file, which need not be there. With the path that it was.
///
/// # Errors
/// The file cannot be read, or what is in it cannot be used.
pub fn load_settings(path: Option<&Path>) -> Result<Option<(PathBuf, Settings)>, SettingsError> {
    Settings::load(path, cli::check)
}

/// Reads the text of a settings file that another program has opened. `path` is for the text of an error.
///
/// # Errors
/// The first thing that is wrong with them.
pub fn parse_settings(path: &Path, text: &str, ids: &ProvidedIds) -> Result<Settings, SettingsError> {
    Settings::parse(path, text, ids, cli::check)
}
