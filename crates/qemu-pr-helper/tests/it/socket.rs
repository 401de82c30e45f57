//! The socket file: the behaviour that both helpers share.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

use pr_lab::prelude::*;
use rustix::process::Signal;

use crate::OURS;

const ENDINGS: [Signal; 3] = [Signal::TERM, Signal::INT, Signal::HUP];

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

#[test]
fn the_mode_is_what_the_umask_leaves_of_0777() {
    both(OURS, |bed| {
        for (mask, mode) in [(0o000, 0o777), (0o022, 0o755), (0o077, 0o700), (0o117, 0o660)] {
            let helper = bed.launch().umask(mask).start();
            let found = fs::metadata(helper.socket()).unwrap().permissions().mode() & 0o7777;
            assert_eq!(found, mode, "umask {mask:03o}: {found:03o}");
            helper.end(Signal::TERM).expect_silent_success();
        }
    });
}

#[test]
fn the_owner_is_the_starting_user_even_with_another_user_to_run_as() {
    both(OURS, |bed| {
        let helper = bed.launch().args(["-u", "nobody", "-g", "nogroup"]).start();
        let file = fs::metadata(helper.socket()).unwrap();
        assert_eq!((file.uid(), file.gid()), (0, 0));
    });
}

#[test]
fn a_stale_socket_is_replaced() {
    both(OURS, |bed| {
        drop(UnixListener::bind(bed.socket()).unwrap());
        assert!(is_socket(&bed.socket()));
        bed.start().connect().expect_served();
    });
}

#[test]
fn the_socket_of_a_killed_helper_stays_and_is_replaced() {
    both(OURS, |bed| {
        let helper = bed.start();
        assert_eq!(helper.end(Signal::KILL).code(), -9);
        assert!(is_socket(&bed.socket()));
        bed.start().connect().expect_served();
    });
}

#[test]
fn a_directory_in_the_way_is_refused_and_stays() {
    both(OURS, |bed| {
        let path = bed.path("dir");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("file"), "contents").unwrap();
        bed.launch().at(&path).run().expect_refusal(&[path.to_str().unwrap()]);
        assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "contents");
    });
}

#[test]
fn a_missing_directory_is_refused() {
    both(OURS, |bed| {
        let path = bed.path("missing/pr.sock");
        bed.launch().at(&path).run().expect_refusal(&[path.to_str().unwrap(), "No such file or directory"]);
    });
}

#[test]
fn a_path_below_a_file_is_refused() {
    both(OURS, |bed| {
        fs::write(bed.path("file"), "contents").unwrap();
        let path = bed.path("file/pr.sock");
        bed.launch().at(&path).run().expect_refusal(&[path.to_str().unwrap(), "Not a directory"]);
        assert_eq!(fs::read_to_string(bed.path("file")).unwrap(), "contents");
    });
}

#[test]
fn the_socket_is_removed_at_the_end() {
    both(OURS, |bed| {
        for signal in ENDINGS {
            let helper = bed.start();
            assert!(is_socket(&bed.socket()));
            helper.end(signal).expect_silent_success();
            assert!(!bed.socket().exists(), "{signal:?}");
        }
    });
}

#[test]
fn a_socket_that_is_gone_already_is_no_failure() {
    both(OURS, |bed| {
        let helper = bed.start();
        fs::remove_file(bed.socket()).unwrap();
        helper.end(Signal::TERM).expect_silent_success();
    });
}

/// A directory of root's: nobody else may remove a file there.
#[test]
fn a_socket_that_the_new_user_may_not_remove_is_reported_by_the_original_and_removed_by_ours() {
    both(OURS, |bed| {
        let helper = bed.launch().args(["-u", "nobody", "-g", "nogroup"]).start();
        let finished = helper.end(Signal::TERM);
        if bed.subject().is_ours() {
            finished.expect_silent_success();
            assert!(!bed.socket().exists());
        } else {
            assert_eq!(finished.code(), 0);
            assert!(is_socket(&bed.socket()));
            assert!(finished.stderr.contains(bed.socket().to_str().unwrap()), "{}", finished.stderr);
        }
    });
}

#[test]
fn a_socket_that_cannot_be_removed_is_reported_and_no_failure() {
    both(OURS, |bed| {
        let dir = bed.path("theirs");
        fs::create_dir(&dir).unwrap();
        std::os::unix::fs::chown(&dir, Some(65534), Some(65534)).unwrap();
        let socket = dir.join("pr.sock");
        let helper = bed.launch().at(&socket).args(["-u", "nobody", "-g", "nogroup"]).start();
        // It was nobody's when the helper started.
        std::os::unix::fs::chown(&dir, Some(0), Some(0)).unwrap();
        let finished = helper.end(Signal::TERM);
        assert_eq!(finished.code(), 0);
        assert!(is_socket(&socket));
        assert!(finished.stderr.contains(socket.to_str().unwrap()), "{}", finished.stderr);
    });
}

#[test]
fn a_socket_of_another_user_in_a_directory_of_its_own_is_removed_at_the_end() {
    both(OURS, |bed| {
        let dir = bed.path("theirs");
        fs::create_dir(&dir).unwrap();
        std::os::unix::fs::chown(&dir, Some(65534), Some(65534)).unwrap();
        let helper = bed.launch().at(dir.join("pr.sock")).args(["-u", "nobody", "-g", "nogroup"]).start();
        helper.end(Signal::TERM).expect_silent_success();
        assert!(!dir.join("pr.sock").exists());
    });
}
