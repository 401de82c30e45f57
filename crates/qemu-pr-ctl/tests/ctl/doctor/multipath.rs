//! Maps, their paths, and multipathd.

use scsi_persistent_reservations::{ReservationType, SenseCode};

use super::{
    doctor, first,
    host::{HERE, Host, THERE},
    only,
};

#[test]
fn a_host_without_multipathd() {
    let host = Host::sound();
    host.remove_multipathd();
    only(
        &doctor(&host, &[]),
        "error: multipathd cannot be reached (No such file or directory",
        "systemctl enable --now multipathd.service",
    );
    // Nobody needs it where there are no maps.
    for name in ["dm-0", "sdb", "sdc"] {
        host.remove(&format!("sys/block/{name}"));
    }
    assert_eq!(doctor(&host, &["/dev/sda"]).expect_done(), "ok\n");
}

#[test]
fn a_host_whose_multipathd_has_no_time() {
    let host = Host::sound();
    host.multipathd_says("show config local", "timeout\n");
    only(
        &doctor(&host, &[]),
        "error: multipathd does not answer 'show config local' (",
        "systemctl restart multipathd.service",
    );
}

#[test]
fn a_host_whose_multipathd_keeps_no_keys() {
    let host = Host::sound();
    host.multipathd_says("show config local", "defaults {\n\tverbosity 2\n}\n");
    let mend = r"mkdir -p /etc/multipath/conf.d && printf 'defaults {\n    reservation_key file\n}\n' >/etc/multipath/conf.d/reservation-key.conf && multipathd reconfigure";
    only(&doctor(&host, &[]), "warning: multipathd's configuration has no 'reservation_key file':", mend);
    // It is an error where a key is lacking because of it, which then is no finding of its own.
    host.multipathd_says("getprkey map mpatha", "none\n");
    only(&doctor(&host, &[]), "error: multipathd's configuration has no 'reservation_key file':", mend);
}

#[test]
fn a_host_with_a_key_in_multipath_conf() {
    let host = Host::sound();
    host.multipathd_says(
        "show config local",
        "defaults {\n\treservation_key \"file\"\n}\nmultipaths {\n\tmultipath {\n\t\treservation_key 0x5\n\t}\n}\n",
    );
    host.multipathd_says("getprkey map mpatha", "0x5\n");
    // To tell multipathd another key would change nothing.
    let mend = "grep -rn reservation_key /etc/multipath.conf /etc/multipath/conf.d  # make it 'file', then multipathd \
                reconfigure";
    only(
        &doctor(&host, &[]),
        "error: multipathd's configuration has 'reservation_key 0x5' in section multipaths:",
        mend,
    );
    // It has the guest's key all the same.
    host.multipathd_says("getprkey map mpatha", "0xa\n");
    only(
        &doctor(&host, &[]),
        "warning: multipathd's configuration has 'reservation_key 0x5' in section multipaths:",
        mend,
    );
    // One that comes from elsewhere.
    host.multipathd_says("getprkey map mpatha", "0x7\n");
    let run = doctor(&host, &[]);
    first(
        &run,
        "error: map mpatha is registered with key 0xa, but multipathd has key 0x7 for it",
        "qemu-pr-ctl register-ignore --new-key 0xa /dev/mapper/mpatha",
    );
    assert!(run.stdout.contains("warning: multipathd's configuration has 'reservation_key 0x5' in"), "{run:?}");
}

#[test]
fn a_host_with_a_path_without_the_key() {
    let host = Host::sound();
    host.unregister(THERE);
    only(
        &doctor(&host, &[]),
        "error: map mpatha: path sdc carries I/O and has no registration with key 0xa;",
        "qemu-pr-ctl register-ignore --new-key 0xa /dev/mapper/mpatha",
    );
    // One that carries none may lack it.
    host.multipathd_says("show paths raw format \"%d %t\"", "sdb active\nsdc failed\n");
    assert_eq!(doctor(&host, &[]).expect_done(), "ok\n");
}

#[test]
fn a_host_that_does_not_tell_who_its_paths_are() {
    let host = Host::sound();
    host.remove("sys/class/scsi_host");
    assert_eq!(doctor(&host, &[]).expect_done(), "ok\n");
    host.unregister(THERE);
    only(
        &doctor(&host, &[]),
        "warning: map mpatha: 2 paths carry I/O and key 0xa has 1 registrations;",
        "qemu-pr-ctl register-ignore --new-key 0xa /dev/mapper/mpatha",
    );
}

#[test]
fn a_host_of_many() {
    // So many registrations that an answer has room for their keys, and not for whose they are; then for neither.
    let host = Host::sound();
    host.others_register(HERE, 300);
    assert_eq!(doctor(&host, &[]).expect_done(), "ok\n");
    host.unregister(THERE);
    only(
        &doctor(&host, &[]),
        "warning: map mpatha: 2 paths carry I/O and key 0xa has 1 registrations;",
        "qemu-pr-ctl register-ignore --new-key 0xa /dev/mapper/mpatha",
    );
    host.others_register(HERE, 1500);
    assert_eq!(doctor(&host, &[]).expect_done(), "ok\n");
}

#[test]
fn a_host_with_a_map_that_is_suspended() {
    let host = Host::sound();
    host.file("sys/block/dm-0/dm/suspended", "1\n");
    only(&doctor(&host, &[]), "critical: map mpatha is suspended:", "dmsetup resume mpatha");
}

#[test]
fn a_host_whose_multipathd_believes_otherwise() {
    for (question, answer, words, mend) in [
        (
            "getprkey map mpatha",
            "none\n",
            "error: map mpatha is registered with key 0xa, but multipathd has no key for it",
            "qemu-pr-ctl register-ignore --new-key 0xa /dev/mapper/mpatha",
        ),
        (
            "getprstatus map mpatha",
            "unset\n",
            "warning: map mpatha is registered with key 0xa, but multipathd does not register",
            "multipathd setprstatus map mpatha",
        ),
        (
            "getprhold map mpatha",
            "set\n",
            "warning: multipathd reports that map mpatha holds a reservation",
            "multipathd unsetprhold map mpatha",
        ),
    ] {
        let host = Host::sound();
        host.multipathd_says(question, answer);
        only(&doctor(&host, &[]), words, mend);
    }
    let host = Host::sound();
    host.reserve(HERE, ReservationType::WriteExclusiveRegistrantsOnly);
    host.multipathd_says("getprhold map mpatha", "set\n");
    assert_eq!(doctor(&host, &[]).expect_done(), "ok\n");
}

#[test]
fn a_host_with_an_older_multipathd() {
    let host = Host::sound();
    host.multipathd_says("getprstatus map mpatha", "1");
    host.multipathd_says("getprhold map mpatha", "multipath-tools v0.9.4\nCLI commands reference:\n");
    assert_eq!(doctor(&host, &[]).expect_done(), "ok\n");
    host.multipathd_says("getprstatus map mpatha", "0");
    only(
        &doctor(&host, &[]),
        "warning: map mpatha is registered with key 0xa, but multipathd does not register",
        "multipathd setprstatus map mpatha",
    );
}

#[test]
fn a_host_with_a_path_in_standby() {
    let host = Host::sound();
    host.unregister(THERE);
    host.refuses(THERE, SenseCode::new(0x2, 0x04, 0x0b));
    assert_eq!(doctor(&host, &[]).expect_done(), "ok\n");
}

#[test]
fn a_host_whose_guest_was_fenced() {
    let host = Host::sound();
    host.unregister(HERE);
    host.unregister(THERE);
    only(
        &doctor(&host, &[]),
        "warning: multipathd has key 0xa for map mpatha, but the disk has no registration with it:",
        "multipathd unsetprstatus map mpatha && multipathd unsetprkey map mpatha",
    );
}

#[test]
fn a_host_with_a_path_to_another_disk() {
    let host = Host::sound();
    host.leads_elsewhere("sdc");
    let run = doctor(&host, &[]);
    first(
        &run,
        "error: map mpatha: path sdc answers with other reservations than the map;",
        "multipathd del path sdc && multipathd add path sdc",
    );
}
