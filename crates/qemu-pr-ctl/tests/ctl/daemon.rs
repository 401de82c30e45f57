//! The real daemon with simulated disks.

use std::path::{Path, PathBuf};

use pr_lab::{Bed, Helper, Subject};
use rustix::process::Signal;

use crate::{
    run::{Run, run},
    simulate::plays_two_hosts,
};

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
        Self::start_with(&["--simulate"])
    }

    /// One with these options, and a control socket.
    pub fn start_with(options: &[&str]) -> Self {
        let bed = Bed::new(&Subject::ours(program()));
        let helper = bed.launch().args(options).arg("--control").arg(bed.path("control")).start();
        std::fs::write(bed.path("disk"), "").expect("a file");
        Self { bed, helper }
    }

    pub fn socket(&self) -> &Path {
        self.helper.socket()
    }

    /// Where it is asked about itself.
    pub fn control(&self) -> PathBuf {
        self.bed.path("control")
    }

    /// Does something that makes a client follow the audit log, and waits until one does.
    pub fn await_follower<T>(&self, follow: impl FnOnce() -> T) -> T {
        let descriptors = self.helper.settled_descriptors();
        let done = follow();
        self.helper.await_descriptors(descriptors + 1);
        // It has one conversation after the other: when this one is over, the other has begun to follow.
        let control = pr_control::Control::new(self.control(), pr_lab::PATIENCE);
        control.snapshot().expect("an answer");
        done
    }

    /// Ends it.
    pub fn end(self) {
        self.helper.end(Signal::TERM);
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

#[test]
fn the_daemon_knows_initiators_by_their_names() {
    let daemon = Daemon::start();
    plays_two_hosts(&|line| daemon.ctl(daemon.socket(), line));
    for name in 2..256 {
        daemon.ctl(daemon.socket(), &format!("keys --as {name}")).expect_done();
    }
    daemon.ctl(daemon.socket(), "keys --as 256").expect_error(3, &["INTERNAL TARGET FAILURE"]);
    daemon.ctl(daemon.socket(), "keys").expect_done();
}
