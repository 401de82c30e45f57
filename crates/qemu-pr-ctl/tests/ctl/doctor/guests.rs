//! Virtual machines and their disks.

use pr_control::{Client, Connection, Snapshot, Totals};
use scsi_persistent_reservations::{ReservationType, SenseCode};

use super::{
    doctor, first,
    host::{DEAD, Guest, Host, KEY, WEB},
    only,
    state::state,
};

#[test]
fn a_host_with_a_disk_that_knows_no_reservations() {
    let host = Host::sound();
    host.refuses("sda", SenseCode::INVALID_OPERATION_CODE);
    only(
        &doctor(&host, &["/dev/sda"]),
        "error: /dev/sda: cannot read its reservations: ",
        "qemu-pr-ctl compare /dev/sda",
    );
}

#[test]
fn a_host_with_keys_of_nobody() {
    let host = Host::sound();
    host.register("sda", KEY);
    let run = doctor(&host, &["/dev/sda"]);
    only(
        &run,
        "warning: /dev/sda: this host is registered with key 0xa, but no guest",
        "qemu-pr-ctl unregister --key 0xa /dev/sda",
    );
    host.reserve("sda", ReservationType::WriteExclusive);
    only(
        &doctor(&host, &["/dev/sda"]),
        "warning: /dev/sda: this host holds the reservation with key 0xa, but no guest",
        "qemu-pr-ctl release --key 0xa --type 1 /dev/sda",
    );
    // Without being asked for it, it looks at guests' disks only.
    assert_eq!(doctor(&host, &[]).expect_done(), "ok\n");
}

#[test]
fn a_host_with_a_key_of_a_session_that_is_gone() {
    let host = Host::sound();
    host.has_iscsi_session(5);
    host.register_session("sda", 5);
    assert_eq!(doctor(&host, &[]).expect_done(), "ok\n");
    host.register_session("sda", DEAD);
    let run = doctor(&host, &["/dev/sda"]);
    first(
        &run,
        "warning: /dev/sda: key 0xa is registered for iqn.2024-01.test:here,i,0x00023d000004, which is no session",
        "qemu-pr-ctl register-ignore --new-key 0xa /dev/sda && qemu-pr-ctl preempt --key 0xa --victim 0xa --type 1 \
         /dev/sda && (qemu-pr-ctl register-ignore --new-key 0xa /dev/sda || qemu-pr-ctl register-ignore --new-key 0xa \
         /dev/sda)",
    );
}

#[test]
fn a_host_with_two_guests_on_one_disk() {
    let host = Host::sound();
    host.guest(&Guest { pid: 201, name: "web2", ..WEB });
    only(
        &doctor(&host, &[]),
        "error: /dev/mapper/mpatha is open in guests web1, web2, which are one initiator",
        "virsh migrate --live web2 qemu+ssh://OTHER-HOST/system",
    );
    // However they reach it.
    host.guest(&Guest { pid: 201, name: "web2", disk: "sdb", ..WEB });
    let run = doctor(&host, &[]);
    first(
        &run,
        "error: /dev/mapper/mpatha is open in guests web1, web2,",
        "virsh migrate --live web2 qemu+ssh://OTHER-HOST/system",
    );
    // Not where they have a disk each.
    host.guest(&Guest { pid: 201, name: "web2", disk: "sda", ..WEB });
    assert_eq!(doctor(&host, &[]).expect_done(), "ok\n");
}

#[test]
fn a_host_with_a_guest_on_a_path() {
    let host = Host::sound();
    host.guest(&Guest { disk: "sdb", ..WEB });
    only(
        &doctor(&host, &[]),
        "error: guest web1 has /dev/sdb open, a path of map mpatha:",
        "virsh edit web1  # source dev='/dev/mapper/mpatha'",
    );
}

#[test]
fn a_host_with_a_guest_that_stops_at_conflicts() {
    let host = Host::sound();
    host.guest(&Guest { policy: "stop", ..WEB });
    only(
        &doctor(&host, &[]),
        "warning: guest web1: /dev/dm-0 has werror=stop: before QEMU 9.1",
        "virsh edit web1  # error_policy='report' rerror_policy='report'",
    );
    host.guest(&Guest { policy: "stop", machine: "pc-q35-9.1", ..WEB });
    assert_eq!(doctor(&host, &[]).expect_done(), "ok\n");
}

#[test]
fn a_host_whose_guest_was_given_its_disk_while_it_ran() {
    // Its command line says nothing of a helper, and the helper knows it.
    let host = Host::sound();
    host.guest(&Guest { pid: 201, name: "web2", socket: "", ..WEB });
    assert_eq!(doctor(&host, &[]).expect_done(), "ok\n");
    let client = Client { connection: 3, pid: Some(201), ..Client::default() };
    let connections = vec![Connection { client, ..Connection::default() }];
    host.state_is(Snapshot { connections, ..state(Totals::default()) });
    only(
        &doctor(&host, &[]),
        "error: /dev/mapper/mpatha is open in guests web1, web2,",
        "virsh migrate --live web2 qemu+ssh://OTHER-HOST/system",
    );
}
