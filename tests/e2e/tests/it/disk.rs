//! One LUN of a kernel's own target, by two initiators.

use std::path::Path;

use e2e::{Kind, Options, REFERENCE, Version};

use crate::{holds, holds_on, holds_with};

#[test]
#[ignore = "boots a virtual machine"]
fn what_a_helper_does_to_a_lun_is_what_the_lun_does_without_one() {
    holds(Kind::Kernel);
}

#[test]
#[ignore = "boots a virtual machine"]
fn what_debians_helper_does_to_a_lun_is_right_but_for_known_weaknesses() {
    holds_with(Kind::Kernel, Some(Path::new(REFERENCE)), Options::default());
}

#[test]
#[ignore = "boots a virtual machine"]
fn a_lun_is_the_same_in_the_whole_sandbox_of_debian_12s_kernel() {
    holds_on(Kind::Kernel, Version::Debian12);
}

#[test]
#[ignore = "boots a virtual machine"]
fn a_lun_is_the_same_in_the_whole_sandbox_of_the_newest_kernel() {
    holds_on(Kind::Kernel, Version::Newest);
}

#[test]
#[ignore = "boots a virtual machine"]
fn libiscsis_tests_end_as_they_do_on_the_lun_itself() {
    holds(Kind::Libiscsi);
}

#[test]
#[ignore = "boots a virtual machine"]
fn libiscsis_tests_end_with_debians_helper_as_they_do_on_the_lun_itself() {
    holds_with(Kind::Libiscsi, Some(Path::new(REFERENCE)), Options::default());
}

#[test]
#[ignore = "boots a virtual machine"]
fn a_guest_and_its_host_fence_each_other_from_a_lun() {
    holds(Kind::Guest);
}

#[test]
#[ignore = "boots a virtual machine"]
fn a_guest_keeps_its_reservation_while_it_migrates() {
    holds(Kind::Migration);
}

#[test]
#[ignore = "boots a virtual machine"]
fn a_guest_keeps_its_reservation_while_it_migrates_with_debians_helper() {
    holds_with(Kind::Migration, Some(Path::new(REFERENCE)), Options::default());
}

#[test]
#[ignore = "boots a virtual machine"]
fn pacemaker_fences_a_node_that_is_cut_off() {
    holds(Kind::Cluster);
}

#[test]
#[ignore = "boots a virtual machine"]
fn pacemaker_fences_a_node_that_is_cut_off_with_debians_helper() {
    holds_with(Kind::Cluster, Some(Path::new(REFERENCE)), Options::default());
}

#[test]
#[ignore = "boots a virtual machine"]
fn a_guest_and_its_host_fence_each_other_with_debians_helper() {
    holds_with(Kind::Guest, Some(Path::new(REFERENCE)), Options::default());
}

#[test]
#[ignore = "boots a virtual machine"]
fn a_guest_and_its_host_fence_each_other_on_debian_12s_kernel() {
    holds_on(Kind::Guest, Version::Debian12);
}
