//! `log`: follows the helper's audit log.

use std::io::{self, IsTerminal as _};

use clap::Args;
use jiff::tz::TimeZone;
use pr_control::{Record, Told};
use serde::Serialize;

use super::global::{Global, Run};
use crate::{
    error::Error,
    output::{json, terminal, time},
    target::ControlSocket,
};

/// A gap in the audit log: to programs a record of its own kind.
#[derive(Serialize)]
struct Gap {
    event: &'static str,
    count: u64,
}

/// Follow the audit log of a helper until interrupted
///
/// Prints audit records from now on; earlier ones are in the helper's log. Ends
/// with an error when the helper stops.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Log {
    #[command(flatten)]
    control: ControlSocket,
}

impl Run for Log {
    /// Follows until interrupted, or until the helper closes the connection.
    fn run(&self, global: &Global) -> Result<u8, Error> {
        let control = self.control.find(&global.helper)?;
        let zone = TimeZone::system();
        let folds = io::stdout().is_terminal();
        for told in control.follow().map_err(Error::Control)? {
            match (told.map_err(Error::Control)?, global.json) {
                (Told::Record(record), true) => json::print_line(&record)?,
                (Told::Lost(count), true) => json::print_line(&Gap { event: "lost", count })?,
                (Told::Record(record), false) => print(&line(&record, &zone), folds)?,
                (Told::Lost(count), false) => {
                    let text = format!(
                        "{count} records were skipped here because this client read too slowly; the helper's log has them"
                    );
                    print(&text, folds)?;
                }
            }
        }
        Err(Error::LogEnded(control.path().to_owned()))
    }

    fn prints_lines(&self) -> bool {
        true
    }
}

fn print(line: &str, folds: bool) -> Result<(), Error> {
    if folds { terminal::print(&(terminal::fold(line, 4) + "\n")) } else { terminal::print(&format!("{line}\n")) }
}

/// The local time, and the record in words.
fn line(record: &Record, zone: &TimeZone) -> String {
    let text = record.to_string();
    format!("{}  {}", time::local(record.time_us, zone), terminal::plain(&text))
}
