//! What goes to standard output and standard error.

use std::io::{self, Write as _};

use serde::Serialize;

use crate::{cli::NAME, error::Error};

/// Prints text.
pub fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Error::Output)
}

/// Prints JSON on a line of its own.
pub fn print_line(value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string(value).map_err(|error| Error::Output(error.into()))?;
    print(&(text + "\n"))
}

/// Writes a line to standard error. Some of it may be text of other programs, whose control characters could move the
/// cursor, or look like another line.
pub fn log(message: &str) {
    // An error of standard error cannot be reported.
    let _ = writeln!(io::stderr(), "{NAME}: {}", message.replace(char::is_control, "?"));
}
