//! The exporter: serves the metrics of helpers over HTTP, so that the helper, which has privileges, opens no network port.
//! The exporter has none and uses the control socket as any client does.
//!
//! It runs for as long as the host does and anybody may connect to it, so it links as little as it can: no device, no
//! command and no reservation is known here, and the command line is read without a framework.
//!
//! It is a library so that the man page and the completions are made from the very table that the help is made from
//! (`cargo xtask dist`); the program is its [`main`].
#![deny(unsafe_code)]
#![cfg_attr(test, expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails"))]

mod cli;
mod error;
mod families;
mod http;
mod openmetrics;
mod output;
mod server;
#[expect(unsafe_code, reason = "looking users up and becoming one is unsafe; here it becomes safe functions")]
mod sys;
mod user;

use std::{env, process::ExitCode};

pub use self::cli::{ABOUT, NAME, NOTES, OPTIONS, Opt};

use self::{cli::Request, error::EXIT_COMMAND_LINE};

/// The program.
pub fn main() -> ExitCode {
    let options = match cli::parse(env::args_os()) {
        Ok(Request::Serve(options)) => options,
        Ok(Request::Help) => return told(&cli::help()),
        Ok(Request::Version) => return told(&format!("{} {}\n", cli::NAME, pr_control::VERSION)),
        Err(invalid) => {
            output::log(&invalid.to_string());
            return ExitCode::from(EXIT_COMMAND_LINE);
        }
    };
    let Err(error) = server::run(&options);
    output::log(&error.to_string());
    if options.json {
        // An error of standard output cannot be reported there.
        let _ = output::print_line(&error.for_programs());
    }
    ExitCode::from(error.exit_status())
}

/// Help that cannot be written is no error: the reader has closed the pipe.
fn told(text: &str) -> ExitCode {
    let _ = output::print(text);
    ExitCode::SUCCESS
}
