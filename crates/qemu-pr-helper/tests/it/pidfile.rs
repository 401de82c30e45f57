//! The pidfile: the behaviour that both helpers share.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use pr_lab::prelude::*;
use rustix::process::{FlockType, fcntl_getlk};

use crate::OURS;

/// A helper with this pidfile, once the file holds its number.
#[track_caller]
fn written(bed: &Bed, pidfile: &Path) -> Helper {
    let helper = bed.launch().arg("-f").arg(pidfile).start();
    let expected = format!("{}\n", helper.process().id());
    eventually("the number is written", || fs::read_to_string(pidfile).is_ok_and(|text| text == expected));
    helper
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_number_is_written_without_daemonising_too() {
    both(OURS, |bed| {
        let pidfile = bed.path("pid");
        let _helper = written(bed, &pidfile);
        assert_eq!(mode(&pidfile), 0o600);
    });
}

#[test]
fn the_last_pidfile_wins() {
    both(OURS, |bed| {
        let first = bed.path("first");
        let last = bed.path("last");
        let _helper = bed.launch().arg("-f").arg(&first).arg("-f").arg(&last).start();
        eventually("the number is written", || fs::metadata(&last).is_ok_and(|file| file.len() > 0));
        assert!(!first.exists());
    });
}

#[test]
fn a_relative_pidfile_is_in_the_working_directory() {
    both(OURS, |bed| {
        let _helper = bed.launch().args(["-f", "relative.pid"]).start();
        eventually("the file appears", || bed.path("relative.pid").exists());
    });
}

#[test]
fn a_stale_pidfile_is_reused_and_keeps_its_mode() {
    both(OURS, |bed| {
        let pidfile = bed.path("pid");
        fs::write(&pidfile, "999999999999\nand more\n").unwrap();
        fs::set_permissions(&pidfile, fs::Permissions::from_mode(0o666)).unwrap();
        let _helper = written(bed, &pidfile);
        assert_eq!(mode(&pidfile), 0o666);
    });
}

#[test]
fn a_symbolic_link_is_followed() {
    both(OURS, |bed| {
        let target = bed.path("target");
        symlink(&target, bed.path("pid")).unwrap();
        let _helper = written(bed, &bed.path("pid"));
        assert!(target.exists());
        assert!(fs::symlink_metadata(bed.path("pid")).unwrap().is_symlink());
    });
}

#[test]
fn the_file_is_locked_for_the_life_of_the_helper() {
    both(OURS, |bed| {
        let pidfile = bed.path("pid");
        let helper = written(bed, &pidfile);
        let file = fs::OpenOptions::new().read(true).write(true).open(&pidfile).unwrap();
        assert_eq!(lock_holder(&file), Some(helper.process().id()));
    });
}

/// Who holds a POSIX lock on the file's first byte.
fn lock_holder(file: &fs::File) -> Option<i32> {
    let question = FlockType::WriteLock.into();
    fcntl_getlk(file, &question).unwrap().and_then(|lock| lock.pid).map(rustix::process::Pid::as_raw_pid)
}

#[test]
fn a_locked_pidfile_is_refused() {
    both(OURS, |bed| {
        let pidfile = bed.path("pid");
        let helper = written(bed, &pidfile);
        let second = bed.launch().at(bed.path("second.sock")).arg("-f").arg(&pidfile).run();
        second.expect_refusal(&["lock"]);
        let number = fs::read_to_string(&pidfile).unwrap();
        assert_eq!(number, format!("{}\n", helper.process().id()), "the first one's number stays");
        helper.connect().expect_served();
    });
}

#[test]
fn a_pidfile_that_cannot_be_made_is_refused() {
    both(OURS, |bed| {
        fs::create_dir(bed.path("dir")).unwrap();
        for (path, reason) in [("dir", "Is a directory"), ("missing/pid", "No such file or directory")] {
            let path = bed.path(path);
            bed.launch().arg("-f").arg(&path).run().expect_refusal(&[path.to_str().unwrap(), reason]);
        }
        bed.launch().args(["-f", ""]).run().expect_refusal(&[]);
    });
}

#[test]
fn a_device_as_pidfile_is_refused() {
    both(OURS, |bed| {
        bed.launch().args(["-f", "/dev/full"]).run().expect_refusal(&["pid"]);
    });
}
