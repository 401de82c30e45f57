//! `--check`: what this host offers, and what to do about what it does not.

use std::{fmt::Write as _, io::Write as _, path::Path, process::ExitCode};

use pr_broker::is_multipathd_reachable;
use pr_sys::dm;
use rustix::thread::{CapabilitySet, capabilities};

use crate::config::{
    self,
    settings::{DEFAULT_PATH, Settings},
};

/// One thing that is needed: how it stands, or what is wrong and what to do.
type Finding = (&'static str, Result<String, String>);

/// Prints the findings; success when nothing is missing.
pub fn run() -> ExitCode {
    let findings = [control_node(), multipathd(), rights()];
    let mut text = String::new();
    for (what, finding) in &findings {
        let (mark, words) = match finding {
            Ok(words) => ("ok", words),
            Err(words) => ("MISSING", words),
        };
        let _ = writeln!(text, "{mark:<8} {what:<18} {words}");
    }
    let _ = writeln!(text, "{:<8} {:<18} {}", "note", "systemd", systemd());
    // The reader may have closed it.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if findings.iter().all(|(_, finding)| finding.is_ok()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints what a settings file holds, or what is wrong with it; success when it can be used.
pub fn settings(program: &str, path: Option<&Path>) -> ExitCode {
    let path = path.unwrap_or(Path::new(DEFAULT_PATH));
    // Asked for by its name, it has to be there.
    let (text, code) = match config::load_settings(Some(path)) {
        Ok(loaded) => {
            (report(path, &loaded.map_or_else(Settings::default, |(_, settings)| settings)), ExitCode::SUCCESS)
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{program}: {error}");
            (String::new(), ExitCode::FAILURE)
        }
    };
    let _ = std::io::stdout().write_all(text.as_bytes());
    code
}

fn report(path: &Path, settings: &Settings) -> String {
    let mut text = String::new();
    for warning in &settings.warnings {
        let _ = text.write_fmt(format_args!("{}: warning: {warning}\n", path.display()));
    }
    let count = settings.rules.len();
    let rules = if count == 1 { "rule" } else { "rules" };
    let _ = text.write_fmt(format_args!("{}: ok, {count} {rules}", path.display()));
    match settings.defaults.len() {
        0 => {}
        1 => text.push_str(", 1 default"),
        defaults => _ = text.write_fmt(format_args!(", {defaults} defaults")),
    }
    text.push('\n');
    text
}

fn control_node() -> Finding {
    let found = dm::control().map(|_| format!("{} can be opened", dm::CONTROL)).map_err(|error| {
        format!("{}: {error}; load the kernel module dm-mod, or mount the node into the container", dm::CONTROL)
    });
    ("device-mapper", found)
}

fn multipathd() -> Finding {
    let remedy = "it does not answer; start it (systemctl start multipathd), or make its socket reachable \
                  (/run/multipathd.socket, or the host's network namespace)";
    ("multipathd", if is_multipathd_reachable() { Ok("answers".to_owned()) } else { Err(remedy.to_owned()) })
}

fn rights() -> Finding {
    let have = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.permitted);
    let needed = [
        ("CAP_SYS_RAWIO (commands)", CapabilitySet::SYS_RAWIO),
        ("CAP_SYS_ADMIN (multipath)", CapabilitySet::SYS_ADMIN),
        ("CAP_SETPCAP (giving up the rest)", CapabilitySet::SETPCAP),
    ];
    let missing: Vec<&str> = needed.iter().filter(|(_, bit)| !have.contains(*bit)).map(|(name, _)| *name).collect();
    let root = rustix::process::geteuid().is_root();
    let finding = match (missing.as_slice(), root) {
        ([], true) => Ok("all there".to_owned()),
        ([], false) => Err("not started as root, and multipathd listens to nobody else".to_owned()),
        (missing, _) => Err(format!("without {}; start the program as root", missing.join(", "))),
    };
    ("rights", finding)
}

fn systemd() -> &'static str {
    if std::env::var_os("NOTIFY_SOCKET").is_some() {
        "started by it, and it waits for READY"
    } else if std::path::Path::new("/run/systemd/system").exists() {
        "runs here; units may use socket activation and Type=notify"
    } else {
        "not running here"
    }
}
