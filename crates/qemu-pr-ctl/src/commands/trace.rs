//! `trace`: which events a helper traces.

use std::path::Path;

use clap::{Args, Subcommand};
use pr_control::{Ask, Control};
use serde::Serialize;

use super::{
    control,
    global::{Global, Run},
};
use crate::{
    error::{Error, exit},
    output::{json, terminal},
    target::ControlSocket,
};

/// Enable, disable or list the trace events of a helper
#[derive(Debug, Subcommand)]
pub enum Trace {
    /// Enable trace events
    Enable(Patterns),
    /// Disable trace events
    Disable(Patterns),
    /// List the enabled trace events
    List(List),
}

/// Some events.
#[derive(Debug, Args)]
pub struct Patterns {
    /// Event name, or a pattern with * and ? (list: qemu-pr-helper -T help)
    #[arg(value_name = "PATTERN", required = true, value_parser = pattern)]
    patterns: Vec<String>,

    #[command(flatten)]
    control: ControlSocket,
}

/// Of which helper.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    control: ControlSocket,
}

fn pattern(text: &str) -> Result<String, String> {
    match text.as_bytes() {
        [] => Err("expected the name of an event".to_owned()),
        [b'-', ..] => Err("an event name does not begin with a hyphen; use 'trace disable'".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// What `trace list --json` prints.
#[derive(Serialize)]
struct Traced<'a> {
    control: &'a Path,
    trace: Vec<String>,
}

impl Run for Trace {
    fn run(&self, global: &Global) -> Result<u8, Error> {
        match self {
            Self::Enable(events) => {
                let ask = Ask::Trace { patterns: events.patterns.clone() };
                let done = format!("enabled: {}", events.patterns.join(", "));
                control::change(global, &events.control.find(&global.helper)?, &ask, &done)?;
            }
            Self::Disable(events) => {
                let patterns = events.patterns.iter().map(|pattern| format!("-{pattern}")).collect();
                let done = format!("disabled: {}", events.patterns.join(", "));
                control::change(global, &events.control.find(&global.helper)?, &Ask::Trace { patterns }, &done)?;
            }
            Self::List(List { control }) => list(global, &control.find(&global.helper)?)?,
        }
        Ok(exit::GOOD)
    }
}

fn list(global: &Global, control: &Control) -> Result<(), Error> {
    let trace = control.snapshot().map_err(Error::Control)?.trace;
    if global.json {
        return json::print(&Traced { control: control.path(), trace });
    }
    if trace.is_empty() {
        return terminal::print("no trace event is enabled; 'qemu-pr-ctl trace enable PATTERN' enables some\n");
    }
    terminal::print(&trace.iter().fold(String::new(), |text, event| text + &terminal::plain(event) + "\n"))
}
