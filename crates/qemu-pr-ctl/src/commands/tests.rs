use std::{path::PathBuf, time::Duration};

use clap::{Parser, error::ErrorKind};

use super::*;

fn parse_line(line: &str) -> Result<Options, clap::Error> {
    Options::try_parse_from(line.split(' '))
}

#[test]
fn the_command_line_is_sound() {
    Options::command().debug_assert();
}

#[test]
fn the_helpers_own_defaults_are_the_defaults() {
    let options = parse_line("qemu-pr-ctl ping").expect("a command");
    assert_eq!(options.global.helper.socket, PathBuf::from("/var/run/qemu-pr-helper.sock"));
    assert_eq!(options.global.helper.timeout(), Duration::from_secs(90));
}

#[test]
fn the_socket_may_stand_before_or_behind_the_command() {
    for line in ["qemu-pr-ctl --socket /s keys /d", "qemu-pr-ctl keys /d -k /s", "qemu-pr-ctl keys --socket=/s /d"] {
        let options = parse_line(line).expect(line);
        assert_eq!(options.global.helper.socket, PathBuf::from("/s"));
        assert!(format!("{:?}", options.command).contains("Device { path: \"/d\""), "{line}: {:?}", options.command);
        assert!(matches!(options.command, Command::Keys(_)));
    }
}

#[test]
fn what_a_command_needs_is_asked_for() {
    for line in [
        "qemu-pr-ctl",
        "qemu-pr-ctl keys",
        "qemu-pr-ctl register /d",
        "qemu-pr-ctl register /d --key 1",
        "qemu-pr-ctl register-ignore /d",
        "qemu-pr-ctl unregister /d",
        "qemu-pr-ctl reserve /d --key 1",
        "qemu-pr-ctl reserve /d --type 1",
        "qemu-pr-ctl release /d --key 1",
        "qemu-pr-ctl clear /d",
        "qemu-pr-ctl preempt /d --key 1 --type 1",
        "qemu-pr-ctl preempt-abort /d --key 1 --victim 2",
        "qemu-pr-ctl move /d --key 1 --new-key 2 --target-port 1",
        "qemu-pr-ctl replace-lost /d --new-key 2",
    ] {
        let error = parse_line(line).expect_err(line);
        let missing = [ErrorKind::MissingRequiredArgument, ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand];
        assert!(missing.contains(&error.kind()), "{line}: {error}");
    }
}

#[test]
fn what_a_command_has_no_use_for_is_refused() {
    for line in [
        "qemu-pr-ctl keys /d --key 1",
        "qemu-pr-ctl register-ignore /d --key 1 --new-key 2",
        "qemu-pr-ctl reserve /d --key 1 --type 1 --aptpl",
        "qemu-pr-ctl clear /d --key 1 --type 1",
        "qemu-pr-ctl ping /d /e",
        "qemu-pr-ctl keys /d /e",
    ] {
        let error = parse_line(line).expect_err(line);
        assert_eq!(error.kind(), ErrorKind::UnknownArgument, "{line}: {error}");
    }
}

#[test]
fn who_asks_for_the_exporter_is_told_of_the_program() {
    for line in ["qemu-pr-ctl exporter", "qemu-pr-ctl exporter --listen [::1]:0", "qemu-pr-ctl --json exporter"] {
        let mut error = parse_line(line).expect_err(line);
        tell_of_exporter(&mut error);
        assert!(error.to_string().contains("  tip: metrics are served by the program qemu-pr-exporter\n"), "{error}");
    }
    let mut other = parse_line("qemu-pr-ctl export").expect_err("no command");
    tell_of_exporter(&mut other);
    assert!(!other.to_string().contains("tip:"), "{other}");
}

#[test]
fn invalid_values_are_refused_with_a_reason() {
    for (line, reason) in [
        ("qemu-pr-ctl clear /d --key abc", "hexadecimal number with the prefix 0x"),
        ("qemu-pr-ctl register /d --new-key 0", "zero is not a key"),
        ("qemu-pr-ctl reserve /d --key 1 --type 2", "exclusive-access (3)"),
        ("qemu-pr-ctl register /d --new-key 1 --spec-i-pt usb:1", "sas:0x"),
        ("qemu-pr-ctl ping --timeout 0", "from 1 to 86400"),
        ("qemu-pr-ctl ping --timeout forever", "from 1 to 86400"),
    ] {
        let error = parse_line(line).expect_err(line);
        assert_eq!(error.kind(), ErrorKind::ValueValidation);
        assert!(error.to_string().contains(reason), "{line}: {error}");
    }
}

#[test]
fn help_documents_every_exit_status() {
    let help = Options::command().render_long_help().to_string();
    for (status, meaning) in exit::ALL {
        assert!(help.contains(&format!("{status:>3}  {meaning}\n")), "{status}");
    }
}

#[test]
fn help_fits_an_ordinary_terminal() {
    let mut command = Options::command();
    command.build();
    let subcommands = command.get_subcommands_mut().map(clap::Command::render_long_help).collect::<Vec<_>>();
    for help in subcommands.into_iter().chain([command.render_long_help()]) {
        for line in help.to_string().lines().filter(|line| !line.starts_with("Usage:")) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
