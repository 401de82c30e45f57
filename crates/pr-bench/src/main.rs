//! `cargo xtask bench` as a program of its own, which a release build is made of: the client must not be slower than what
//! it measures.
#![forbid(unsafe_code)]

use std::env;
use std::process::ExitCode;

use clap::Parser;

/// Measure the helper beside the C helper and beside the least that the protocol costs
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Cli {
    #[command(flatten)]
    options: pr_bench::Options,
}

fn main() -> ExitCode {
    match pr_bench::run(Cli::parse().options, env::args_os().skip(1)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
