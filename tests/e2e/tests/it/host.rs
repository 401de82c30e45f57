//! A whole Debian with systemd and libvirt.

use std::path::Path;

use e2e::{Kind, Machine, Options, REFERENCE, Suite};

use crate::{holds, holds_with};

#[test]
#[ignore = "boots a virtual machine"]
fn the_package_takes_the_place_of_debians_helper_and_gives_it_back() {
    holds(Kind::Host);
}

#[test]
#[ignore = "boots a virtual machine"]
fn it_does_so_with_the_libvirt_qemu_and_systemd_of_newer_debians() {
    for suite in [Suite::Trixie, Suite::Forky] {
        holds_with(Kind::Host, None, Options { suite, machine: Some(Machine::Uml), ..Options::default() });
    }
}

#[test]
#[ignore = "boots a virtual machine"]
fn libvirts_guests_are_served_by_debians_helper_as_well() {
    holds_with(Kind::Host, Some(Path::new(REFERENCE)), Options::default());
}

#[test]
#[ignore = "boots a virtual machine"]
fn selinux_confines_helper_and_broker_and_lets_guests_in() {
    holds(Kind::Selinux);
}

#[test]
#[ignore = "boots a virtual machine"]
fn the_manuals_commands_for_a_host_and_a_guest_print_what_it_says() {
    holds(Kind::Manual);
}
