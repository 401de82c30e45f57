//! What monitoring systems get, and what becomes of those who are none.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    os::unix::net::UnixListener,
    thread,
};

use pr_control::Snapshot;
use pr_lab::{ControlStandIn, eventful_snapshot};

use crate::{
    exporter::{Exporter, FAMILIES, KEPT, value},
    openmetrics,
};

#[test]
#[expect(clippy::float_cmp, reason = "they are whole numbers, or written as they are read")]
fn the_page_tells_what_the_helper_does() {
    let helper = ControlStandIn::telling(eventful_snapshot());
    let exporter = Exporter::start(&[helper.path()]);
    let families = exporter.metrics();
    let value = |name: &str, labels: &[(&str, &str)]| value(&families, &format!("qemu_pr_helper_{name}"), labels);
    for (name, labels, expected) in [
        ("up", &[][..], 1.0),
        ("build", &[("version", "0.2.0")], 1.0),
        ("start_time_seconds", &[], 1_700_000_000.000_001),
        ("requests", &[("action", "READ KEYS"), ("result", "good")], 1200.0),
        ("requests", &[("action", "RESERVE"), ("result", "conflict")], 12.0),
        ("requests", &[("action", "OTHER OUT"), ("result", "check-condition")], 1.0),
        ("requests", &[("action", "CLEAR"), ("result", "busy")], 0.0),
        ("connections", &[], 3.0),
        ("connections_max", &[], 1024.0),
        ("connections_accepted", &[], 37.0),
        ("connections_turned_away", &[], 5.0),
        ("connections_over_limit", &[], 8.0),
        ("requests_delayed", &[], 21.0),
        ("connections_overdue", &[], 2.0),
        ("violations", &[("rule", "unknown-features")], 2.0),
        ("violations", &[("rule", "a \"quoted\" \\ rule\n")], 1.0),
        ("refusals", &[("reason", "read-only-descriptor")], 4.0),
        ("commands_in_flight", &[], 2.0),
        ("commands_hung", &[], 1.0),
        ("oldest_command_seconds", &[], 31.5),
        ("multipath_commands", &[], 19.0),
        ("multipath_commands_in_flight", &[], 1.0),
        ("multipath_failures", &[], 3.0),
        ("multipath_notes", &[], 6.0),
        ("multipath_maps", &[], 4.0),
        ("multipath_maps_suspended", &[], 1.0),
        ("multipath_process_deaths", &[], 2.0),
        ("multipath_paths_restored", &[], 9.0),
        ("audit_records", &[], 112.0),
        ("audit_left_out", &[], 900.0),
        ("audit_without_names", &[], 1.0),
        ("messages_lost", &[], 7.0),
    ] {
        assert_eq!(value(name, labels), expected, "{name} {labels:?}");
    }
    assert_eq!(families.len(), FAMILIES);
    let times = &families["qemu_pr_helper_request_duration_seconds"].samples;
    let time = |suffix: &str, le: Option<&str>| {
        let of = |sample: &&openmetrics::Sample| {
            sample.0.ends_with(suffix)
                && sample.1.get("action").is_some_and(|action| action == "REGISTER")
                && sample.1.get("le").map(String::as_str) == le
        };
        times.iter().find(of).expect("a sample").2
    };
    // 14 commands that took longer than all bounds.
    assert_eq!((time("_bucket", Some("30.0")), time("_bucket", Some("+Inf"))), (0.0, 14.0));
    assert_eq!((time("_count", None), time("_sum", None)), (14.0, 0.0112));
    assert_eq!(times.iter().filter(|sample| sample.0.ends_with("_bucket")).count(), 4 * 17);
}

#[test]
fn each_client_gets_the_format_that_it_reads() {
    let helper = ControlStandIn::telling(eventful_snapshot());
    let exporter = Exporter::start(&[helper.path()]);
    let (head, body) = exporter.get("/metrics", "Accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n");
    assert!(head.contains("Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{head}");
    assert!(body.contains("# TYPE qemu_pr_helper_requests counter\n") && body.ends_with("# EOF\n"), "{body}");
    assert!(body.contains("# UNIT qemu_pr_helper_request_duration_seconds seconds\n"), "{body}");
    let (head, body) = exporter.get("/metrics", "Accept: text/plain\r\n");
    assert!(head.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(body.contains("# TYPE qemu_pr_helper_requests_total counter\n"), "{body}");
    assert!(!body.contains("# EOF") && !body.contains("# UNIT"), "{body}");
}

#[test]
fn a_helper_that_cannot_be_asked_is_down_and_the_page_is_there() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("control");
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("for all");
    let exporter = Exporter::start(std::slice::from_ref(&path));
    let families = exporter.metrics();
    assert!(value(&families, "qemu_pr_helper_up", &[]).abs() < 0.5 && families.len() == 1, "{families:?}");
    drop(UnixListener::bind(&path).expect("a socket"));
    thread::sleep(KEPT);
    assert_eq!(exporter.metrics().len(), 1);
    exporter.metrics();
    // It is logged when it changes, and not each time.
    let said = exporter.end();
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(said.contains("cannot connect to the control socket") && said.contains("control"), "{said}");
}

#[test]
fn a_directory_means_the_only_socket_that_is_in_it_by_then() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("for all");
    let exporter = Exporter::start(&[dir.path().to_path_buf()]);
    assert_eq!(exporter.metrics().len(), 1);
    let helper = ControlStandIn::telling(eventful_snapshot());
    std::fs::rename(helper.path(), dir.path().join("web1")).expect("a socket");
    thread::sleep(KEPT);
    assert_eq!(exporter.metrics().len(), FAMILIES);
    // Another one, and nobody knows which of them is meant.
    let _other = UnixListener::bind(dir.path().join("db1")).expect("a socket");
    thread::sleep(KEPT);
    assert_eq!(exporter.metrics().len(), 1);
    let said = exporter.end();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    for (line, words) in lines.into_iter().zip(["no control socket in", "answers", "several control sockets in"]) {
        assert!(line.contains(words), "{said}");
    }
}

#[test]
fn what_answers_nonsense_is_down() {
    let other = ControlStandIn::serving(|mut stream| _ = stream.write_all(b"hello\n"));
    let exporter = Exporter::start(&[other.path()]);
    assert_eq!(exporter.metrics().len(), 1);
}

#[test]
fn several_helpers_have_a_label_each_and_one_that_hangs_holds_up_none() {
    let helper = ControlStandIn::telling(eventful_snapshot());
    let hung = ControlStandIn::serving(|mut stream| _ = stream.read_to_end(&mut Vec::new()));
    let exporter = Exporter::with(&[helper.path(), hung.path(), helper.path()], &["--timeout", "1"]);
    let page = exporter.get("/metrics", "").1;
    assert!(page.contains(&format!("qemu_pr_helper_up{{helper=\"{}\"}} 0\n", hung.path().display())), "{page}");
    assert!(
        page.contains(&format!("qemu_pr_helper_connections{{helper=\"{}\"}} 3\n", helper.path().display())),
        "{page}"
    );
}

#[test]
fn the_other_pages_are_there_and_nothing_else_is() {
    let helper = ControlStandIn::telling(Snapshot::default());
    let exporter = Exporter::start(&[helper.path()]);
    let (head, body) = exporter.get("/", "");
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && body.lines().count() == 2 && body.contains("/metrics"),
        "{body}"
    );
    assert_eq!(exporter.get("/healthz", "").1, "ok\n");
    assert!(exporter.get("/etc/passwd", "").0.starts_with("HTTP/1.1 404 Not Found\r\n"));
    let answer = exporter.say(b"DELETE /metrics HTTP/1.1\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 405 Method Not Allowed\r\n") && answer.contains("\r\nAllow: GET, HEAD\r\n"));
    let answer = exporter.say(b"HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(!answer.contains("Content-Length: 0"), "{answer}");
}

#[test]
fn rubbish_is_refused_and_the_next_client_is_served() {
    let helper = ControlStandIn::telling(Snapshot::default());
    let exporter = Exporter::start(&[helper.path()]);
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(100_000));
    for (bytes, status) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..], "400"),
        (b"hello\r\n\r\n", "400"),
        (&[0xff; 300], "400"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", "400"),
        (long.as_bytes(), "431"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", "405"),
    ] {
        let answer = exporter.say(bytes);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer} to {bytes:?}");
    }
    // Some leave without a word, or in the middle of one.
    drop(TcpStream::connect(exporter.address).expect("an exporter"));
    let mut stream = TcpStream::connect(exporter.address).expect("an exporter");
    stream.write_all(b"GET /met").expect("half a request");
    stream.shutdown(Shutdown::Both).expect("its end");
    assert_eq!(exporter.get("/healthz", "").1, "ok\n");
    assert_eq!(exporter.end(), "");
}

#[test]
fn a_slow_client_has_an_end_and_holds_up_nobody() {
    let helper = ControlStandIn::telling(Snapshot::default());
    let exporter = Exporter::start(&[helper.path()]);
    let mut slow = TcpStream::connect(exporter.address).expect("an exporter");
    slow.write_all(b"GET /metrics HT").expect("a part");
    assert_eq!(exporter.get("/healthz", "").1, "ok\n");
    let mut answer = String::new();
    slow.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
}

#[test]
fn there_is_a_bound_on_clients_and_room_again_when_they_leave() {
    let helper = ControlStandIn::telling(Snapshot::default());
    let exporter = Exporter::start(&[helper.path()]);
    let idle: Vec<_> = (0..16).map(|_| TcpStream::connect(exporter.address).expect("an exporter")).collect();
    let answer = exporter.say(b"");
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    drop(idle);
    pr_lab::eventually("there is room again", || {
        let mut stream = TcpStream::connect(exporter.address).expect("an exporter");
        let mut answer = String::new();
        // A client may be rejected before it has sent anything.
        let asked =
            stream.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").and_then(|()| stream.read_to_string(&mut answer));
        asked.is_ok() && answer.ends_with("ok\n")
    });
}

#[test]
fn a_client_that_takes_all_it_can_keeps_no_other_address_out() {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

    let helper = ControlStandIn::telling(Snapshot::default());
    let exporter = Exporter::start(&[helper.path()]);
    let _idle: Vec<_> = (0..40).map(|_| TcpStream::connect(exporter.address).expect("an exporter")).collect();
    assert!(exporter.say(b"").starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
    let other = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&other, &SocketAddr::from(([127, 0, 0, 2], 0))).expect("another address");
    connect(&other, &exporter.address).expect("an exporter");
    let mut other = TcpStream::from(other);
    other.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").expect("a request");
    let mut answer = String::new();
    other.read_to_string(&mut answer).expect("an answer");
    assert!(answer.ends_with("ok\n"), "{answer}");
}

#[test]
fn clients_are_served_side_by_side() {
    let helper = ControlStandIn::telling(eventful_snapshot());
    let exporter = Exporter::start(&[helper.path()]);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..10).for_each(|_| assert_eq!(exporter.metrics().len(), FAMILIES)));
        }
    });
}
