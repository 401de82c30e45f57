//! `reload`: a running helper opens no files and no user database, so this reads the settings file, looks up the users
//! and groups in it, and sends all of it. The helper decides whether the settings are valid.

use std::{
    collections::BTreeMap,
    ffi::{CStr, CString},
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use pr_control::{Ask, Control, MAX_SETTINGS};
use pr_sys::users;
use toml::{Table, Value};

use super::{
    control,
    global::{Global, Run},
};
use crate::{
    error::{Error, exit},
    target::ControlSocket,
};

/// The file of a helper that has none.
const DEFAULT_PATH: &str = "/etc/qemu-pr-helper.toml";

/// Make the helper use a changed settings file (qemu-pr-helper.toml(5))
///
/// Reads the file, looks up its users and groups, and sends it to the helper,
/// which opens no files itself. If the file has an error, the helper keeps the
/// settings that it has.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Reload {
    /// Settings file [default: the one that the helper uses]
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,

    #[command(flatten)]
    control: ControlSocket,
}

impl Run for Reload {
    fn run(&self, global: &Global) -> Result<u8, Error> {
        let control = self.control.find(&global.helper)?;
        let path = match &self.config {
            Some(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()),
            None => in_use(&control)?,
        };
        let text = read(&path).map_err(|error| Error::Settings { path: path.clone(), error })?;
        let path = path.display().to_string();
        let done = format!("settings loaded from {path}");
        let ask = Ask::Reload {
            path,
            users: numbers(&text, "user", by_name(users::user_id)),
            groups: numbers(&text, "group", by_name(users::group_id)),
            text,
        };
        control::change(global, &control, &ask, &done)?;
        Ok(exit::GOOD)
    }
}

/// The file that the helper read last.
fn in_use(control: &Control) -> Result<PathBuf, Error> {
    let settings = control.snapshot().map_err(Error::Control)?.settings;
    Ok(settings.map_or_else(|| DEFAULT_PATH.into(), |settings| settings.path.into()))
}

fn read(path: &Path) -> io::Result<String> {
    let length = fs::metadata(path)?.len();
    if length > u64::try_from(MAX_SETTINGS).unwrap_or(u64::MAX) {
        return Err(io::Error::other(format!("it has {length} bytes, more than the limit of {MAX_SETTINGS}")));
    }
    fs::read_to_string(path)
}

/// What a database says of a name. One that cannot be read knows none: the helper names those that it was not given.
fn by_name(look_up: fn(&CStr) -> io::Result<Option<u32>>) -> impl Fn(&str) -> Option<u32> {
    move |name| look_up(&CString::new(name).ok()?).ok()?
}

/// The numbers of the users or groups that rules and defaults name. Of a file that is no TOML there are none; the helper
/// says where it goes wrong.
fn numbers(text: &str, key: &str, look_up: impl Fn(&str) -> Option<u32>) -> BTreeMap<String, u32> {
    let table: Table = toml::from_str(text).unwrap_or_default();
    let rules = table.get("rule").and_then(Value::as_array).into_iter().flatten();
    let listed = rules.filter_map(|rule| rule.get(key)?.as_array()).flatten();
    let default = table.get("defaults").and_then(|defaults| defaults.get(format!("control-{key}")));
    let named = listed.chain(default).filter_map(Value::as_str);
    named.filter_map(|name| Some((name.to_owned(), look_up(name)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nobody_has_has_no_number() {
        let (user, group) = (by_name(users::user_id), by_name(users::group_id));
        assert_eq!((user("root"), user("there is no such user"), user("a\0b")), (Some(0), None, None));
        assert_eq!((group("root"), group("there is no such group"), group("a\0b")), (Some(0), None, None));
    }

    #[test]
    fn every_name_in_a_rule_is_looked_up_once() {
        let text =
            "[[rule]]\nuser = [\"a\", 7, \"gone\"]\ngroup = [\"g\"]\n[[rule]]\n[[rule]]\nuser = [\"b\", \"a\"]\n";
        let number = |name: &str| name.bytes().next().filter(|_| name.len() == 1).map(u32::from);
        let users = BTreeMap::from([("a".to_owned(), 97), ("b".to_owned(), 98)]);
        assert_eq!(numbers(text, "user", number), users);
        assert_eq!(numbers(text, "group", number), BTreeMap::from([("g".to_owned(), 103)]));
        let defaults = "[defaults]\ncontrol-group = \"g\"\n";
        assert_eq!(numbers(defaults, "group", number), BTreeMap::from([("g".to_owned(), 103)]));
        for nonsense in ["", "defaults = 1", "[[rule", "rule = 1", "[[rule]]\nuser = 1", "[rule]\nuser = [\"a\"]"] {
            assert_eq!(numbers(nonsense, "user", number), BTreeMap::new(), "{nonsense}");
        }
    }
}
