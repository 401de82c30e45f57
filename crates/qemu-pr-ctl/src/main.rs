//! The operator's tool: asks about, and changes, the persistent reservations of a disk through `qemu-pr-helper`.
//!
//! It is a client like QEMU. One run is one command: the command line becomes a CDB and a parameter list, the link
//! carries them to the helper and back, and the answer becomes words and an exit status.
#![forbid(unsafe_code)]
#![cfg_attr(test, expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails"))]

mod change;
mod cli;
mod commands;
mod exit;
mod link;
mod remedy;
mod show;
mod trouble;
mod values;

use std::{
    env,
    io::{self, Write},
    process::ExitCode,
};

use trouble::Trouble;

fn main() -> ExitCode {
    let options = match cli::parse(env::args_os()) {
        Ok(options) => options,
        Err(code) => return code,
    };
    match commands::run(&options).and_then(|text| print(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            // There is nobody left to tell if even this cannot be written.
            let _ = writeln!(io::stderr(), "qemu-pr-ctl: {trouble}");
            trouble.exit_code()
        }
    }
}

fn print(text: &str) -> Result<(), Trouble> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Trouble::Output)
}
