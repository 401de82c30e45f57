//! A privileged helper that carries SCSI-3 persistent reservation commands from QEMU guests to the disk.
//!
//! Reading order is execution order: the command line becomes a configuration, `startup` takes every privileged step and
//! drops the privileges, `server` answers clients until a signal ends it.
//!
//! It is a library so that the man page and the completions are made from the very definition that reads the command
//! line (`cargo xtask dist`); the program is its [`main`].
#![forbid(unsafe_code)]

mod audit;
mod bucket;
mod check;
mod clock;
mod config;
mod control;
mod device;
#[cfg(fuzzing)]
pub mod fuzzing;
mod limits;
mod log;
mod metrics;
mod paths;
mod peer;
mod policy;
mod resolver;
mod server;
mod startup;
mod wildcard;

use std::{env, error::Error, ffi::OsStr, panic, path::PathBuf, process::ExitCode, sync::Arc};

use clap::CommandFactory as _;
use tracing::{error, warn};

use self::{
    config::{Config, cli, settings::Settings},
    log::Log,
};

/// The program, from its command line to its end.
pub fn main() -> ExitCode {
    // First of all: from here on no signal is lost.
    let before = pr_sys::signal::block();
    let arguments: Vec<_> = env::args_os().collect();
    let program = cli::program_name(arguments.first().map_or(OsStr::new(""), |program| program));
    let options = match cli::parse(&arguments) {
        Ok(options) => options,
        Err(code) => return code,
    };
    if options.check {
        return check::run();
    }
    if options.check_config {
        return check::settings(&program, options.config.as_deref());
    }
    // First the options that the settings have, and then what is wrong with them.
    // A broker has no use for them, and a mistake in them does not keep it from its work.
    let settings = if options.serve_broker { Ok(None) } else { config::load_settings(options.config.as_deref()) };
    let options = match &settings {
        Ok(Some((_, settings))) => match cli::parse_with(&arguments, options, &settings.defaults) {
            Ok(options) => options,
            Err(code) => return code,
        },
        _ => options,
    };
    let log = Arc::new(Log::default());
    let installed = log.install(&program, options.verbose && !options.quiet, options.log_format);
    // The standard library's hook may want to read debug information, and what is confined opens no files.
    panic::set_hook(Box::new(|info| error!("internal error: {info}")));
    let code =
        installed.map_err(Into::into).and_then(|()| run(options, settings?, &before, &log)).unwrap_or_else(|error| {
            // The process that started this reads standard error; libvirt shows it to people.
            log.also_to_standard_error();
            error!("{error}");
            ExitCode::FAILURE
        });
    log.finish();
    code
}

/// The definition of the command line.
pub fn command() -> clap::Command {
    cli::Options::command().version(env!("CARGO_PKG_VERSION"))
}

fn run(
    options: cli::Options,
    settings: Option<(PathBuf, Settings)>,
    before: &pr_sys::signal::Before,
    log: &Arc<Log>,
) -> Result<ExitCode, Box<dyn Error>> {
    if options.serve_broker {
        match startup::serve_broker(options.sandbox, log)? {}
    }
    for warning in settings.iter().flat_map(|(_, settings)| &settings.warnings) {
        warn!("{warning}");
    }
    for warning in log.apply_trace_options(&options.trace, options.trace_backend)? {
        warn!("{warning}");
    }
    let mut config = Config::new(options, settings);
    // Before anything is forked: the other processes live under the same limit.
    let wanted = config.options.max_connections;
    config.max_connections = limits::connections(wanted, config.is_given("max-connections"));
    let started = match startup::start(&config, before, log) {
        Ok(started) => started,
        Err(error) => match error.interruption() {
            // It was asked to end.
            Some((signal, whom)) => {
                warn!("{signal} while waiting for {whom}: exiting before any client was served");
                return Ok(ExitCode::SUCCESS);
            }
            None => return Err(error.into()),
        },
    };
    // As many as the connections need, and no way to more.
    let descriptors = limits::descriptors_for(u64::try_from(config.max_connections).unwrap_or(u64::MAX));
    let (sandbox, simulates, directories) = (config.options.sandbox, config.options.simulate, started.directories());
    let sandboxed = pr_sandbox::enter_sandbox(&started.unprivileged, sandbox, simulates, descriptors, &directories)?;
    Ok(server::run(started, &sandboxed, &config, Arc::clone(log))?)
}
