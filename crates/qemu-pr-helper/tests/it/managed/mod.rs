//! Helpers whose command line somebody else writes, as libvirt does: `-k SOCKET` and nothing more. What else they are
//! to do stands in /etc/qemu-pr-helper.toml.

mod control;
mod options;

use std::{fs, path::PathBuf};

use pr_control::Control;
use pr_lab::{keys, prelude::*};

use crate::ours;

/// An /etc of its own, with what is in the bed's folder `etc`.
const WITH_SETTINGS: [&str; 7] = [
    "/usr/bin/unshare",
    "--mount",
    "--propagation",
    "private",
    "/bin/sh",
    "-c",
    "cp /etc/passwd /etc/group /etc/nsswitch.conf etc && mount --bind etc /etc && exec \"$0\" \"$@\"",
];

/// A helper on a host with these settings.
fn managed(bed: &Bed, settings: &str) -> Launch {
    fs::create_dir_all(bed.path("etc")).unwrap();
    fs::write(bed.path("etc/qemu-pr-helper.toml"), settings).unwrap();
    bed.launch().by(&WITH_SETTINGS)
}

/// The line of the settings that gives each helper a control socket.
fn control_line(bed: &Bed) -> String {
    format!("control = \"{}/%s\"\n", bed.path("controls").display())
}

/// Where a helper that listens at this socket of the bed has it then.
fn control_path(bed: &Bed, socket: &str) -> PathBuf {
    let name = bed.path(socket).display().to_string().replace('/', "-");
    bed.path("controls").join(name.trim_start_matches('-'))
}

fn control(bed: &Bed, socket: &str) -> Control {
    Control::new(control_path(bed, socket), PATIENCE)
}
