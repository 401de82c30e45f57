//! Command lines against the real daemon.

use crate::{daemon::Daemon, run::run, stand_in::StandIn};

#[test]
fn a_daemon_that_runs_is_heard() {
    let daemon = Daemon::start();
    let said = run(daemon.socket(), &["ping"]).expect_done();
    assert!(said.contains("pr.sock: the helper answers\n"), "{said}");
    for (name, value) in [
        ("protocol features", "0x0"),
        ("simulates disks", "yes"),
        ("guards read-only descriptors", "yes"),
        ("refuses NACA", "yes"),
    ] {
        assert!(said.lines().any(|line| line.trim().starts_with(name) && line.ends_with(value)), "{said}");
    }
}

#[test]
fn each_run_on_a_simulated_disk_is_an_initiator_of_its_own() {
    let daemon = Daemon::start();
    let (disk, ctl) = (daemon.disk(), |line: &str| daemon.ctl(daemon.socket(), line));
    assert_eq!(ctl("keys").expect_done(), format!("{disk}: no registrations (generation 0)\n"));
    ctl("register --new-key 0xa").expect_done();
    ctl("register-ignore --new-key 0xa").expect_done();
    let keys = ctl("keys").expect_done();
    assert_eq!(keys, format!("{disk}: 2 registrations (generation 2)\n  0xa  (2 registrations)\n"));
    // Whoever does this is a third one and has no registration.
    ctl("reserve --key 0xa --type write-exclusive").expect_error(24, &["RESERVATION CONFLICT", "not registered"]);
    ctl("clear --key 0xa").expect_error(24, &["CLEAR: RESERVATION CONFLICT"]);
    ctl("register --key 0xa --new-key 0xb").expect_error(24, &["register-ignore"]);
    let status = ctl("status").expect_done();
    assert_eq!(status.matches("initiator    sas:0x3").count(), 2, "{status}");
}

#[test]
fn two_hosts_register_reserve_conflict_and_preempt() {
    let daemon = Daemon::start();
    let disk = daemon.disk();
    let hosts = [StandIn::initiator(daemon.socket()), StandIn::initiator(daemon.socket())];
    let a = |line: &str| daemon.ctl(&hosts[0].socket(), line);
    let b = |line: &str| daemon.ctl(&hosts[1].socket(), line);

    assert_eq!(a("register --new-key 0xa").expect_done(), format!("{disk}: key 0xa is registered for this host\n"));
    b("register --new-key 0xb").expect_done();
    assert_eq!(a("reservation").expect_done(), format!("{disk}: not reserved (generation 2)\n"));
    let said = a("reserve --key 0xa --type write-exclusive-registrants-only").expect_done();
    assert_eq!(said, format!("{disk}:\n  reserved with key 0xa: Write Exclusive, registrants only (type 5)\n"));

    b("reserve --key 0xb --type write-exclusive").expect_error(24, &["RESERVE: RESERVATION CONFLICT", "status"]);
    b("preempt --key 0xb --victim 0xc --type 5").expect_error(24, &["PREEMPT: RESERVATION CONFLICT", "victim"]);
    a("release --key 0xa --type 1").expect_error(5, &["INVALID RELEASE", "another type"]);

    b("preempt-abort --key 0xb --victim 0xa --type 5").expect_error(
        1,
        &["one registration of another initiator would be removed", "PREEMPT AND ABORT was not sent", "--yes"],
    );
    b("preempt-abort --key 0xb --victim 0xa --type 5 --yes").expect_done();
    assert_eq!(b("keys").expect_done(), format!("{disk}: 1 registration (generation 3)\n  0xb\n"));
    let reservation = b("reservation").expect_done();
    assert!(reservation.contains("the registrant with key 0xb\n"), "{reservation}");
    let status = b("status").expect_done();
    assert!(
        status.contains("key 0xb\n") && status.contains("holds        Write Exclusive, registrants only"),
        "{status}"
    );

    // The host that lost learns of it first, and only then that it has no registration any more.
    a("clear --key 0xa --yes").expect_error(6, &["UNIT ATTENTION", "REGISTRATIONS PREEMPTED", "try again"]);
    a("clear --key 0xa --yes").expect_error(24, &["RESERVATION CONFLICT", "not registered"]);

    b("release --key 0xb --type write-exclusive-registrants-only").expect_done();
    assert_eq!(b("reservation").expect_done(), format!("{disk}: not reserved (generation 3)\n"));
    b("unregister --key 0xb").expect_done();
    assert_eq!(b("keys").expect_done(), format!("{disk}: no registrations (generation 4)\n"));
}

#[test]
fn a_key_is_changed_and_everything_cleared() {
    let daemon = Daemon::start();
    let host = StandIn::initiator(daemon.socket());
    let ctl = |line: &str| daemon.ctl(&host.socket(), line);
    ctl("register --new-key 1").expect_done();
    ctl("register --new-key 2").expect_error(24, &["--key is not the key"]);
    ctl("register --key 1 --new-key 2").expect_done();
    ctl("register-ignore --new-key 0x10 --aptpl").expect_done();
    ctl("reserve --key 16 --type 7").expect_done();
    let reservation = ctl("reservation").expect_done();
    assert!(reservation.contains("every registrant") && reservation.contains("(type 7)"), "{reservation}");
    ctl("clear --key 0x10").expect_done();
    assert!(ctl("keys").expect_done().contains("no registrations"));
}

#[test]
fn one_page_tells_everything() {
    let daemon = Daemon::start();
    let host = StandIn::initiator(daemon.socket());
    let ctl = |line: &str| daemon.ctl(&host.socket(), line);
    ctl("register --new-key 0xa").expect_done();
    ctl("reserve --key 0xa --type 6").expect_done();
    let disk = daemon.disk();
    assert_eq!(
        ctl("all").expect_done(),
        format!(
            "{disk}: 1 registration (generation 1)
  key 0xa
    initiator    sas:0x3000000000000002
    target port  1
    holds        Exclusive Access, registrants only (type 6)

{disk}: reserved (generation 1)
  holder  the registrant with key 0xa
  type    Exclusive Access, registrants only (type 6)

now                                             read   write  reserve preempt
  the holder                                    yes     yes     yes     yes
  others who are registered                     yes     yes      no     yes
  those who are not registered                   no      no      no      no
"
        )
    );
}

#[test]
fn a_reservation_moves_to_an_initiator_that_is_named() {
    let daemon = Daemon::start();
    let host = StandIn::initiator(daemon.socket());
    let ctl = |line: &str| daemon.ctl(&host.socket(), line);
    ctl("register --new-key 0xa --spec-i-pt sas:0x5000000000000001").expect_done();
    ctl("reserve --key 0xa --type 1").expect_done();
    ctl("move --key 0xa --new-key 0xb --to fc:0x2100000000000001 --target-port 1 --unregister").expect_done();
    let status = ctl("status").expect_done();
    assert!(status.contains("2 registrations") && status.contains("fc:0x2100000000000001"), "{status}");
    assert!(ctl("reservation").expect_done().contains("the registrant with key 0xb"));
    // A simulated disk never loses its reservations.
    ctl("replace-lost --new-key 0xc --type 1 --yes").expect_error(24, &["REPLACE LOST RESERVATION", "not lost"]);
}

#[test]
fn a_simulated_disk_says_what_it_supports() {
    let daemon = Daemon::start();
    let said = daemon.ctl(daemon.socket(), "capabilities").expect_done();
    for line in ["reservation types", "Write Exclusive (type 1)", "Exclusive Access, all registrants (type 8)"] {
        assert!(said.contains(line), "{said}");
    }
}
