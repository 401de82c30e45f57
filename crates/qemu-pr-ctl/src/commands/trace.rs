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

/// Change what the helper traces, or list it
#[derive(Debug, Subcommand)]
pub enum Trace {
    /// Trace these events from now on
    Enable(Patterns),
    /// No longer trace these events
    Disable(Patterns),
    /// List the events that are traced now
    List(List),
}

/// Some events.
#[derive(Debug, Args)]
pub struct Patterns {
    /// An event, or several with * and ? (qemu-pr-helper -T help lists all)
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
        [] => Err("it is the name of an event".to_owned()),
        [b'-', ..] => Err("no event begins with a hyphen; 'trace disable' disables".to_owned()),
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
                let done = format!("traced from now on: {}", events.patterns.join(", "));
                control::change(global, &events.control.find(&global.helper)?, &ask, &done)?;
            }
            Self::Disable(events) => {
                let patterns = events.patterns.iter().map(|pattern| format!("-{pattern}")).collect();
                let done = format!("no longer traced: {}", events.patterns.join(", "));
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
        return terminal::print("nothing is traced; 'qemu-pr-ctl trace enable PATTERN' changes that\n");
    }
    terminal::print(&trace.iter().fold(String::new(), |text, event| text + &terminal::plain(event) + "\n"))
}
