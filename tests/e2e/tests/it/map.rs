//! A dm-multipath map over iSCSI paths, with udev and multipathd.

use e2e::{Kind, Options, Random, Version, c_helper};

use crate::{holds, holds_on, holds_with};

#[test]
#[ignore = "boots a virtual machine"]
fn a_map_has_its_key_on_each_path_whatever_fails_or_is_killed() {
    holds(Kind::Multipath);
}

#[test]
#[ignore = "boots a virtual machine"]
fn a_map_has_its_key_on_each_path_on_debian_12s_kernel() {
    holds_on(Kind::Multipath, Version::Debian12);
}

#[test]
#[ignore = "boots a virtual machine"]
fn a_map_has_its_key_on_each_path_on_the_newest_kernel() {
    holds_on(Kind::Multipath, Version::Newest);
}

#[test]
#[ignore = "boots a virtual machine"]
fn a_map_answers_as_one_disk_does_in_each_case_that_was_ever_wrong() {
    let random = Random { commands: 0, ..Random::default() };
    holds_with(Kind::MultipathRandom, None, Options { random, ..Options::default() });
}

#[test]
#[ignore = "boots a virtual machine"]
fn a_map_answers_as_one_disk_does_while_everything_goes_wrong() {
    holds(Kind::MultipathRandom);
}

#[test]
#[ignore = "boots a virtual machine"]
fn that_qemus_own_helper_does_not_answer_as_one_disk_is_found() {
    let helper = c_helper::program().expect("QEMU's helper, built with multipath");
    holds_with(Kind::MultipathRandom, Some(&helper), Options::default());
}

#[test]
#[ignore = "boots a virtual machine"]
fn doctor_names_what_is_broken_on_a_host_and_the_command_that_it_gives_mends_it() {
    holds(Kind::Doctor);
}

#[test]
#[ignore = "boots a virtual machine"]
fn a_guest_on_a_map_loses_no_write_while_its_helper_is_killed() {
    holds(Kind::MultipathGuest);
}

#[test]
#[ignore = "boots a virtual machine"]
fn a_guest_of_kubevirts_is_served_by_the_daemon_sets_pod() {
    holds(Kind::Kubevirt);
}
