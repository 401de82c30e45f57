//! The command line tool: shows and changes the persistent reservations of a disk through `qemu-pr-helper`.
//!
//! It is a client like QEMU. One run is one command: the command line becomes a CDB and a parameter list, the
//! transport carries them to the helper and the answer back, which becomes text and an exit status.
//!
//! It is a library so that the man pages and the completions are made from the very definition that reads the command
//! line (`cargo xtask dist`); the program is its [`main`].
#![forbid(unsafe_code)]
#![cfg_attr(test, expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails"))]

mod commands;
mod error;
mod output;
mod request;
mod target;

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::CommandFactory as _;

use self::output::{json, terminal};

/// The program.
pub fn main() -> ExitCode {
    let options = match commands::parse(env::args_os()) {
        Ok(options) => options,
        Err(code) => return code,
    };
    match options.run() {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            let text = format!("qemu-pr-ctl: {error}");
            // Some of it is text of other programs.
            let text = terminal::plain(&text).into_owned();
            // A log has a line for each message; a person has 80 columns.
            let text = if io::stderr().is_terminal() { terminal::fold(&text, 2) } else { text };
            // An error of standard error cannot be reported.
            let _ = writeln!(io::stderr(), "{text}");
            if options.json() {
                let failure = json::failure(&error);
                let _ = if options.prints_lines() { json::print_line(&failure) } else { json::print(&failure) };
            }
            ExitCode::from(error.exit_status())
        }
    }
}

/// The definition of the command line, for man pages and completions. These have room for what the help has a table for.
pub fn command() -> clap::Command {
    let show = |command: clap::Command, name| command.mut_arg(name, |argument| argument.hide_possible_values(false));
    commands::Options::command()
        .mut_subcommand("simulate", |command| show(command, "misbehave").after_long_help(""))
        .mut_subcommand("validate", |command| show(command, "only"))
}
