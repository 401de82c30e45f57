//! A helper that is not well, by its own account.

use std::{fs, os::unix::net::UnixListener};

use pr_control::{Client, Connection, Device, InFlight, Snapshot, Totals};

use super::{doctor, host::Host, only};

/// A helper that is well, but for this.
pub fn state(totals: Totals) -> Snapshot {
    Snapshot { pid: 100, max_connections: 1024, totals, ..Snapshot::default() }
}

#[test]
fn a_host_whose_helper_has_no_place_left() {
    let host = Host::sound();
    let connections = vec![Connection::default(), Connection::default()];
    host.state_is(Snapshot {
        max_connections: 2,
        connections,
        ..state(Totals { turned_away: 7, ..Totals::default() })
    });
    only(
        &doctor(&host, &[]),
        "critical: the helper rejects new connections: all 2 are in use",
        "systemctl edit qemu-pr-helper.service  # ExecStart= with --max-connections 64, LimitNOFILE= thrice that",
    );
}

#[test]
fn a_host_whose_broker_is_gone() {
    let host = Host::sound();
    fs::remove_dir_all(host.path("proc/101")).expect("end the broker");
    only(&doctor(&host, &[]), "critical: the multipath broker is gone:", "systemctl restart qemu-pr-helper.service");
}

#[test]
fn a_host_where_a_command_hangs() {
    let host = Host::sound();
    let device = Device { name: Some("sdb".into()), map: Some("mpatha".into()), ..Device::default() };
    let in_flight = Some(InFlight { action: "RESERVE".into(), device: Some(device), for_us: 31_000_000 });
    let client = Client { connection: 3, vm: Some("web1".into()), ..Client::default() };
    let connection = Connection { client, in_flight, ..Connection::default() };
    host.state_is(Snapshot { connections: vec![connection], ..state(Totals::default()) });
    only(
        &doctor(&host, &[]),
        "error: RESERVE of web1 has been in flight on mpatha for 31 seconds:",
        "dmesg --level emerg,alert,crit,err,warn",
    );
}

#[test]
fn a_host_whose_helper_has_lost_something() {
    for (totals, words, mend) in [
        (
            Totals { turned_away: 2, ..Totals::default() },
            "warning: the helper has rejected 2 connections",
            "systemctl edit qemu-pr-helper.service  # ExecStart= with --max-connections 2048, LimitNOFILE= thrice that",
        ),
        (
            Totals { over_limit: 2, ..Totals::default() },
            "warning: the helper has rejected 2 connections",
            "qemu-pr-ctl state  # who has them; raise connections-per-process in /etc/qemu-pr-helper.toml",
        ),
        (
            Totals { multipath_failures: 3, ..Totals::default() },
            "warning: 3 commands on multipath maps had no answer",
            "journalctl --unit qemu-pr-helper.service --grep path",
        ),
        (
            Totals { without_names: 1, ..Totals::default() },
            "warning: audit records have no names",
            "systemctl restart qemu-pr-helper.service",
        ),
        (
            Totals { messages_lost: 4, ..Totals::default() },
            "warning: 4 messages and audit records",
            "systemctl restart systemd-journald.service",
        ),
    ] {
        let host = Host::sound();
        host.state_is(state(totals));
        only(&doctor(&host, &[]), words, mend);
    }
    let host = Host::sound();
    host.state_is(Snapshot {
        trace: vec!["pr_helper_command_sent".into()],
        ..state(Totals { messages_lost: 4, ..Totals::default() })
    });
    only(&doctor(&host, &[]), "warning: 4 messages", "qemu-pr-ctl trace disable '*'");
}

#[test]
fn a_host_whose_control_socket_is_dead() {
    let host = Host::sound();
    host.remove("run/qemu-pr-helper/control");
    drop(UnixListener::bind(host.path("run/qemu-pr-helper/control")).expect("a socket"));
    only(&doctor(&host, &[]), "error: the helper's state cannot be read:", "systemctl restart qemu-pr-helper.service");
}
