use pr_control::{Client, Failure, InFlight, Named, Requests, Totals};
use pr_lab::eventful_snapshot;

use super::*;

#[test]
fn a_helper_is_a_page_of_eighty_columns() {
    assert_eq!(
        text(&eventful_snapshot(), 80),
        "\
qemu-pr-helper 0.2.0, PID 4242, up 3d4h, 3 of 1024 connections
1227 requests, 12 conflicts, 3 violations, 4 refusals, 1 hung command,
  1 suspended map, 3 multipath failures, 2 broker restarts,
  2 overdue connections, 5 connections rejected, 8 connections over a limit,
  21 delayed requests, 7 lost messages

ID  CLIENT               USER    AGE  SENT  IN FLIGHT          LAST FAILURE
 7  web1                64055   2h5m   120  -                  -
19  machine-qemu\\x2d1…  64055   1m1s     7  31s sdb PREEMPT …  5m12s conflict: …
20  -                       -  812us     1  2.2s mpatha PREE…  -
"
    );
}

#[test]
fn a_helper_without_errors_is_two_lines() {
    let requests = Requests { action: "READ KEYS".into(), result: "good".into(), buckets: vec![1], sum_us: 1 };
    let snapshot = Snapshot {
        version: "1.0".into(),
        pid: 1,
        uptime_us: 9_960_000,
        max_connections: 1,
        requests: vec![requests],
        ..Snapshot::default()
    };
    assert_eq!(
        text(&snapshot, 80),
        "qemu-pr-helper 1.0, PID 1, up 9.9s, 0 of 1 connection\n1 request, 0 conflicts, 0 violations\n"
    );
}

#[test]
fn what_is_being_closed_is_shown_where_a_command_would_be() {
    let connection = Connection { closing_us: Some(31_000_000), ..Connection::default() };
    assert_eq!(cells(&connection)[5], "31s closing descriptors");
    let command = InFlight { action: "CLEAR".into(), device: None, for_us: 2_000_000 };
    let both = Connection { in_flight: Some(command), ..connection };
    assert_eq!(cells(&both)[5], "2.0s CLEAR");
}

/// Everything as long as it gets.
fn longest() -> Snapshot {
    let long = || "\u{1b}[31mlong\n".repeat(40);
    let client = Client {
        connection: u64::MAX,
        pid: Some(u32::MAX),
        uid: Some(u32::MAX),
        vm: Some(long()),
        ..Client::default()
    };
    let device = Device { name: Some(long()), ..Device::default() };
    let connection = Connection {
        client,
        age_us: 86_400_000_000 * 999,
        requests: u64::MAX,
        in_flight: Some(InFlight { action: long(), device: Some(device), for_us: u64::MAX }),
        last_failure: Some(Failure { action: long(), status: long(), sense: Some(long()), ago_us: u64::MAX }),
        closing_us: Some(u64::MAX),
    };
    let all = u64::MAX;
    Snapshot {
        version: long(),
        pid: u32::MAX,
        uptime_us: all,
        max_connections: all,
        totals: Totals {
            multipath_suspended: all,
            multipath_failures: all,
            multipath_deaths: all,
            turned_away: all,
            over_limit: all,
            paused: all,
            overdue: all,
            messages_lost: all,
            ..Totals::default()
        },
        violations: vec![Named { name: long(), count: all }; 2],
        connections: vec![connection; 3],
        ..Snapshot::default()
    }
}

#[test]
fn whatever_a_helper_tells_stays_in_its_lines() {
    let text = text(&longest(), 80);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    assert_eq!(text.lines().rev().take_while(|line| !line.is_empty()).count(), 4, "{text}");
}

#[test]
fn a_wide_terminal_shows_everything() {
    let text = text(&eventful_snapshot(), 200);
    assert!(!text.contains('…') && text.contains("31s sdb PREEMPT AND ABORT"), "{text}");
    assert!(text.contains("5m12s conflict: RESERVE") && text.contains("2.2s mpatha"), "{text}");
}

#[test]
fn times_and_numbers_are_short() {
    for (microseconds, expected) in [
        (0, "0us"),
        (999, "999us"),
        (1000, "1ms"),
        (999_999, "999ms"),
        (1_000_000, "1.0s"),
        (59_999_999, "59s"),
        (3_599_000_000, "59m59s"),
        (86_399_000_000, "23h59m"),
        (86_400_000_000, "1d0h"),
    ] {
        assert_eq!(span(microseconds), expected);
    }
    for (number, expected) in [(9_999_999, "9999999"), (10_000_000, "10M"), (u64::MAX, "18446744073G")] {
        assert_eq!(short(number), expected);
    }
}
