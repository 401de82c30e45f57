//! A change that is sent to a control socket.

use std::{fmt::Write as _, path::Path};

use pr_control::{Ask, Control};
use serde::Serialize;

use super::global::Global;
use crate::{
    error::Error,
    output::{json, terminal},
};

/// What `--json` prints.
#[derive(Serialize)]
struct Change<'a> {
    control: &'a Path,
    done: &'a str,
    warnings: Vec<String>,
}

/// Has a helper change something, and prints `done` and its warnings.
pub fn change(global: &Global, control: &Control, ask: &Ask, done: &str) -> Result<(), Error> {
    let warnings = control.order(ask).map_err(Error::Control)?;
    if global.json {
        return json::print(&Change { control: control.path(), done, warnings });
    }
    let mut text = format!("{done}\n");
    for warning in &warnings {
        let _ = writeln!(text, "{}", terminal::fold_behind("  warning: ", &terminal::plain(warning)));
    }
    terminal::print(&text)
}
