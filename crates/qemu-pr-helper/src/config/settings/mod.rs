//! The settings file: which client may do what, and how much of it.
//!
//! It is read once while the program starts, with whatever privileges that has; later `qemu-pr-ctl reload` brings the text
//! of a new one, because a running helper opens no file. Either way it becomes one immutable [`Settings`], or an error
//! that says where and what to do; there is no third thing.

mod defaults;
mod error;
mod glob;
mod resolve;
mod schema;
mod types;
mod users;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

pub use self::{
    defaults::{CheckOption, Defaults, StartupOptions},
    error::{MAX_LENGTH, SettingsError},
    glob::Glob,
    types::{Decision, KeyLimit, Rule, Settings},
    users::{ProvidedIds, SystemUsers, UserDb},
};

/// The default of `--config`.
pub const DEFAULT_PATH: &str = "/etc/qemu-pr-helper.toml";

impl Settings {
    /// Reads settings. `path` is for the text of an error; `check` says whether an option may have a value.
    ///
    /// # Errors
    /// The first thing that is wrong with them.
    pub fn parse(path: &Path, text: &str, users: &impl UserDb, check: CheckOption) -> Result<Self, SettingsError> {
        let place = |span| error::Place::of(text, span);
        if text.len() > MAX_LENGTH {
            return Err(SettingsError::TooLong { path: path.to_owned(), length: text.len() });
        }
        let file: schema::File = toml::from_str(text).map_err(|error| {
            let problem = error::problem_of(error.message());
            SettingsError::Wrong { path: path.to_owned(), place: place(error.span().unwrap_or_default()), problem }
        })?;
        resolve::settings(file, users, check).map_err(|invalid| SettingsError::Wrong {
            path: path.to_owned(),
            place: place(invalid.span),
            problem: invalid.problem,
        })
    }

    /// Reads the file at `path`; without one the default file, which need not be there. With the path that it was.
    ///
    /// # Errors
    /// The file cannot be read, or what is in it cannot be used.
    pub fn load(path: Option<&Path>, check: CheckOption) -> Result<Option<(PathBuf, Self)>, SettingsError> {
        let wanted = path.unwrap_or(Path::new(DEFAULT_PATH));
        let bytes = match fs::read(wanted) {
            Ok(bytes) => bytes,
            Err(error) if path.is_none() && error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(SettingsError::Unreadable { path: wanted.to_owned(), error }),
        };
        let text = String::from_utf8(bytes).map_err(|error| {
            let error = io::Error::new(io::ErrorKind::InvalidData, format!("{error}; save it as UTF-8"));
            SettingsError::Unreadable { path: wanted.to_owned(), error }
        })?;
        let settings = Self::parse(wanted, &text, &SystemUsers, check)?;
        Ok(Some((std::path::absolute(wanted).unwrap_or_else(|_| wanted.to_owned()), settings)))
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests;
