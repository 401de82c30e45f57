//! A helper that is not there, is not one, or may not be connected to.

use std::{
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
};

use super::{
    doctor, doctor_within, first,
    host::{Guest, Host, WEB},
    listener, only,
};

#[test]
fn a_host_without_a_helper() {
    let host = Host::sound();
    host.remove_helper();
    let run = doctor(&host, &[]);
    first(&run, "critical: /run/qemu-pr-helper.sock: No such file", "systemctl enable --now qemu-pr-helper.socket");
}

#[test]
fn a_host_whose_helper_has_left_its_socket() {
    let host = Host::sound();
    host.remove_helper();
    drop(UnixListener::bind(host.path("run/qemu-pr-helper.sock")).expect("a socket"));
    host.open_to_guests();
    let run = doctor(&host, &[]);
    first(&run, "critical: /run/qemu-pr-helper.sock: Connection refused;", "systemctl restart qemu-pr-helper.socket");
}

#[test]
fn a_host_with_a_file_in_place_of_the_socket() {
    let host = Host::sound();
    host.remove_helper();
    host.file("run/qemu-pr-helper.sock", "");
    host.open_to_guests();
    first(
        &doctor(&host, &[]),
        "critical: /run/qemu-pr-helper.sock is not a socket;",
        "rm /run/qemu-pr-helper.sock && systemctl restart qemu-pr-helper.socket",
    );
}

#[test]
fn a_host_whose_service_has_failed() {
    let host = Host::sound();
    host.remove_helper();
    // systemd accepts, and nobody comes.
    let _socket = host.listen("run/qemu-pr-helper.sock", |stream| listener::wait_for_end(&stream));
    host.open_to_guests();
    host.units_are(&[("qemu-pr-helper.socket", "active", "enabled"), ("qemu-pr-helper.service", "failed", "indirect")]);
    let run = doctor_within(&host, "1", &[]);
    first(&run, "critical: qemu-pr-helper.service has failed (exit-code);", "systemctl restart qemu-pr-helper.service");
    assert!(run.stdout.contains("no greeting"), "{}", run.stdout);
}

#[test]
fn a_host_whose_socket_is_not_enabled() {
    let host = Host::sound();
    host.units_are(&[
        ("qemu-pr-helper.socket", "active", "disabled"),
        ("qemu-pr-helper.service", "active", "indirect"),
    ]);
    only(
        &doctor(&host, &[]),
        "warning: qemu-pr-helper.socket is not enabled: there will be no helper",
        "systemctl enable qemu-pr-helper.socket",
    );
}

#[test]
fn a_host_where_the_brokers_socket_has_failed() {
    let host = Host::sound();
    host.units_are(&[
        ("qemu-pr-broker.socket", "failed", "static"),
        ("qemu-pr-helper.socket", "active", "enabled"),
        ("qemu-pr-helper.service", "active", "indirect"),
    ]);
    only(
        &doctor(&host, &[]),
        "critical: qemu-pr-broker.socket has failed (exit-code);",
        "systemctl restart qemu-pr-broker.socket",
    );
}

#[test]
fn a_host_with_the_rpm_packages_units() {
    let host = Host::sound();
    host.remove_helper();
    host.units_are(&[("qemu-pr-helper-rs.socket", "inactive", "disabled"), ("qemu-pr-helper.service", "failed", "")]);
    let run = doctor(&host, &[]);
    first(&run, "critical: /run/qemu-pr-helper.sock: No such file", "systemctl enable --now qemu-pr-helper-rs.socket");
}

#[test]
fn a_host_where_another_program_listens() {
    for (answer, words) in [
        (
            &b"220 mail.example.com ESMTP\r\n"[..],
            "critical: another program than a helper listens on /run/qemu-pr-helper.sock:",
        ),
        (&b""[..], "critical: /run/qemu-pr-helper.sock accepts connections and closes them"),
    ] {
        let host = Host::sound();
        host.remove_helper();
        let _socket = host.listen("run/qemu-pr-helper.sock", move |stream| listener::say(stream, answer));
        host.open_to_guests();
        let run = doctor(&host, &[]);
        assert!(run.stdout.starts_with(words) || run.stdout.replace("\n          ", " ").starts_with(words), "{run:?}");
        assert_eq!(run.code, Some(36));
    }
}

#[test]
fn a_host_with_qemus_own_helper() {
    let host = Host::sound();
    host.is_qemus_own();
    only(
        &doctor(&host, &[]),
        "warning: another helper, such as QEMU's, listens on /run/qemu-pr-helper.sock;",
        "systemctl restart qemu-pr-helper.service",
    );
}

#[test]
fn a_host_whose_guests_may_not_connect() {
    let host = Host::sound();
    fs::set_permissions(host.path("run/qemu-pr-helper.sock"), Permissions::from_mode(0o600)).expect("permissions");
    only(
        &doctor(&host, &[]),
        "critical: guest web1 (user 64055) may not connect to /run/qemu-pr-helper.sock (mode 0600,",
        "chgrp kvm /run/qemu-pr-helper.sock && chmod 0660 /run/qemu-pr-helper.sock",
    );
}

#[test]
fn a_host_where_libvirt_starts_the_helpers() {
    // There is none for all, and one for the guest.
    let host = Host::sound();
    host.move_helper("var/lib/libvirt/qemu/domain-1-web1/pr-helper0.sock");
    host.guest(&Guest { socket: "/var/lib/libvirt/qemu/domain-1-web1/pr-helper0.sock", ..WEB });
    assert_eq!(doctor(&host, &[]).expect_done(), "ok\n");
    let run = doctor(&host, &["--socket", "/run/of-mine.sock"]);
    first(&run, "critical: /run/of-mine.sock: No such file", "systemctl enable --now qemu-pr-helper.socket");
    host.remove_helper();
    let run = doctor(&host, &[]);
    first(
        &run,
        "critical: /var/lib/libvirt/qemu/domain-1-web1/pr-helper0.sock: No such file",
        "systemctl try-restart libvirtd.service virtqemud.service",
    );
}

#[test]
fn a_host_whose_guests_are_in_containers() {
    let host = Host::sound();
    // Inside the container the socket has a name that the host has not.
    let inside = Guest { socket: "/var/run/pr/pr-helper.sock", ..WEB };
    host.guest(&inside);
    first(
        &doctor(&host, &[]),
        "critical: /var/run/pr/pr-helper.sock: No such file or directory;",
        "systemctl enable --now qemu-pr-helper.socket",
    );
    host.serve("proc/200/root/run/pr/pr-helper.sock");
    assert_eq!(doctor(&host, &[]).expect_done(), "ok\n");
}

#[test]
fn a_host_that_denies_the_socket() {
    let host = Host::sound();
    let record = |time| {
        format!(
            "4,1,{time},-;audit: type=1400 audit({time}.1:2): apparmor=\"DENIED\" operation=\"connect\" \
             profile=\"libvirt-7\" name=\"/run/qemu-pr-helper.sock\" pid=7 comm=\"qemu-system-x86\"\n"
        )
    };
    host.file("dev/kmsg", &(record(4_000_000_000_u32) + &record(4_000_000_001) + "4,1,2,-;something else\n"));
    only(
        &doctor(&host, &[]),
        "error: AppArmor denies qemu-system-x86 'connect' on /run/qemu-pr-helper.sock (profile libvirt-7)",
        "aa-logprof",
    );
    // Long ago.
    host.file("dev/kmsg", &record(1_000_000_000));
    assert_eq!(doctor(&host, &[]).expect_done(), "ok\n");
    host.file(
        "var/log/audit/audit.log",
        "type=AVC msg=audit(4000000000.1:2): avc:  denied  { connectto } for  pid=7 comm=\"qemu-pr-broker\" \
         path=\"/run/multipathd.socket\" scontext=u:r:virtd_t:s0 tcontext=u:r:x_t:s0 tclass=unix_stream_socket\n",
    );
    only(
        &doctor(&host, &[]),
        "error: SELinux denies qemu-pr-broker 'connectto' on /run/multipathd.socket (u:r:virtd_t:s0)",
        "ausearch -m avc -ts today | audit2allow -M qemu-pr-helper && semodule -i qemu-pr-helper.pp",
    );
}
