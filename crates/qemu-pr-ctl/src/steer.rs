//! `trace`, and how a helper is told to change while it runs.

use std::{fmt::Write as _, path::Path};

use pr_control::{Ask, Control};
use serde::Serialize;

use crate::{
    cli::{Helper, Options, Trace},
    error::Error,
    out, which,
};

/// What `--json` prints of a change.
#[derive(Serialize)]
struct Carried<'a> {
    control: &'a Path,
    done: &'a str,
    warnings: Vec<String>,
}

/// What `trace list --json` prints.
#[derive(Serialize)]
struct Traced<'a> {
    control: &'a Path,
    trace: Vec<String>,
}

/// `trace`.
pub fn trace(options: &Options, trace: &Trace) -> Result<(), Error> {
    match trace {
        Trace::Enable(events) => {
            let ask = Ask::Trace { patterns: events.patterns.clone() };
            order(options, &events.helper, &ask, &format!("traced from now on: {}", events.patterns.join(", ")))
        }
        Trace::Disable(events) => {
            let ask = Ask::Trace { patterns: events.patterns.iter().map(|pattern| format!("-{pattern}")).collect() };
            order(options, &events.helper, &ask, &format!("no longer traced: {}", events.patterns.join(", ")))
        }
        Trace::List(helper) => list(options, helper),
    }
}

/// Has a helper do something, and tells what it says to that.
pub fn order(options: &Options, helper: &Helper, ask: &Ask, done: &str) -> Result<(), Error> {
    let path = which::control(&helper.control)?;
    let warnings = Control::new(&path, options.control_patience()).order(ask).map_err(Error::Control)?;
    if options.json {
        return out::json(&Carried { control: &path, done, warnings });
    }
    let mut text = format!("{done}\n");
    for warning in &warnings {
        let _ = writeln!(text, "{}", out::fold_behind("  warning: ", &out::plain(warning)));
    }
    out::print(&text)
}

fn list(options: &Options, helper: &Helper) -> Result<(), Error> {
    let path = which::control(&helper.control)?;
    let control = Control::new(&path, options.control_patience());
    let trace = control.snapshot().map_err(Error::Control)?.trace;
    if options.json {
        return out::json(&Traced { control: &path, trace });
    }
    if trace.is_empty() {
        return out::print("nothing is traced; 'qemu-pr-ctl trace enable PATTERN' changes that\n");
    }
    out::print(&trace.iter().fold(String::new(), |text, event| text + &out::plain(event) + "\n"))
}
