//! The real daemon with simulated disks.

use std::path::{Path, PathBuf};

use pr_lab::{Bed, Helper, Subject};

use crate::run::{Run, run};

/// The daemon. It is built next to the tool, but not by the tool's own tests.
fn program() -> PathBuf {
    let program = Path::new(crate::run::PROGRAM).with_file_name("qemu-pr-helper");
    assert!(program.exists(), "{} is missing: cargo build -p qemu-pr-helper", program.display());
    program
}

/// A daemon that serves simulated disks, and one of them.
pub struct Daemon {
    bed: Bed,
    helper: Helper,
}

impl Daemon {
    pub fn start() -> Self {
        let bed = Bed::new(&Subject::ours(program()));
        let helper = bed.launch().arg("--simulate").start();
        std::fs::write(bed.path("disk"), "").expect("a file");
        Self { bed, helper }
    }

    pub fn socket(&self) -> &Path {
        self.helper.socket()
    }

    pub fn disk(&self) -> String {
        self.bed.path("disk").to_str().expect("a path in words").to_owned()
    }

    /// Runs the tool for the disk, by way of a socket: the daemon's own, where each run is a new initiator, or that
    /// of one initiator.
    pub fn ctl(&self, socket: &Path, line: &str) -> Run {
        let disk = self.disk();
        let mut words: Vec<&str> = line.split(' ').collect();
        words.insert(1, &disk);
        run(socket, &words)
    }
}
