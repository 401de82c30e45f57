//! Hosts without the library, or without other things that multipath needs.

use std::fs;
use std::os::unix::net::UnixListener;

use pr_lab::eventually;

use crate::disk::{keys, willing};
use crate::lab::{Lab, node};

/// Makes it look as if the library were not installed: the loader stops at this file, whatever the system has elsewhere.
fn uninstall(lab: &Lab) {
    fs::write(lab.library(), "").expect("empty the library");
}

/// A library that exports none of what is needed, as releases before 0.8.6.
fn downgrade(lab: &Lab) {
    let maps = fs::read_to_string("/proc/self/maps").expect("read the memory map");
    let libc = maps.lines().find_map(|line| line.split_whitespace().last().filter(|path| path.contains("/libc.so")));
    fs::remove_file(lab.library()).expect("remove the library");
    std::os::unix::fs::symlink(libc.expect("a libc"), lab.library()).expect("link another library");
}

#[test]
fn without_a_usable_library_registrations_are_refused_and_the_rest_works() {
    for spoil in [uninstall, downgrade] {
        let lab = Lab::new();
        spoil(&lab);
        let helper = lab.start(willing);
        let client = helper.connect();
        for (action, key) in [(0, 0), (0, 0xa1), (6, 0)] {
            client.pr_out(node(0), action, &keys(key, 0xb2)).expect_check(0xb, 8, 0);
        }
        assert_eq!(lab.log(), [""; 0], "a key that cannot be spread is not put anywhere");
        let reasons = ["file too short", "undefined symbol: libmpathpersist_init"];
        eventually("the reason is given", || reasons.iter().any(|reason| helper.stderr().contains(reason)));
        helper.await_stderr("install multipath-tools");
        eventually("one line each", || helper.stderr().lines().count() == 3);

        assert_eq!(client.pr_in(node(0), 0, 8).status, 0);
        for (action, new) in [(1, 0), (2, 0), (4, 0xb2), (4, 0xa1), (3, 0)] {
            client.pr_out(node(0), action, &keys(0xa1, new)).expect_bare(0);
        }
    }
}

#[test]
fn a_library_installed_later_is_found() {
    let lab = Lab::new();
    let helper_library = fs::read(lab.library()).unwrap();
    uninstall(&lab);
    let helper = lab.start(willing);
    let client = helper.connect();
    client.pr_out(node(0), 6, &keys(0, 0xa1)).expect_check(0xb, 8, 0);
    fs::write(lab.library(), helper_library).unwrap();
    client.pr_out(node(0), 6, &keys(0, 0xa1)).expect_bare(0);
}

#[test]
fn check_says_what_is_missing() {
    let lab = Lab::new();
    let check = || lab.enter(lab.bed().launch().bare()).arg("--check").run();
    let found = check();
    assert_eq!((found.code(), found.stderr.as_str()), (1, ""));
    assert!(found.stdout.contains("ok       multipath library"), "{}", found.stdout);
    assert!(found.stdout.contains("MISSING  device-mapper"), "{}", found.stdout);
    assert!(found.stdout.contains("MISSING  multipathd"), "{}", found.stdout);

    let _multipathd = UnixListener::bind(lab.bed().path("multipathd")).unwrap();
    let found = Lab::with_control(lab.enter(lab.bed().launch().bare())).arg("--check").run();
    assert_eq!((found.code(), found.stderr.as_str()), (0, ""), "{}", found.stdout);
    assert!(!found.stdout.contains("MISSING"), "{}", found.stdout);

    uninstall(&lab);
    let found = check();
    assert_eq!(found.code(), 1);
    assert!(found.stdout.contains("MISSING  multipath library"), "{}", found.stdout);
    assert!(found.stdout.contains("install multipath-tools"), "{}", found.stdout);
    assert!(found.stdout.contains("ok       multipathd"), "{}", found.stdout);
}
