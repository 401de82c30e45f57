//! A directory of its own for one test, and nothing left running when it is gone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use pr_control::Control;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, set_child_subreaper, waitpid};
use tempfile::TempDir;

use crate::{Helper, Launch, PATIENCE, Process, Raw, Subject, eventually};

/// The environment variable by which processes of a bed are recognised, daemons included.
pub(crate) const MARK: &str = "PR_LAB_BED";

/// A temporary directory in which one subject is tested.
#[derive(Debug)]
pub struct Bed {
    subject: Subject,
    dir: TempDir,
}

impl Bed {
    /// A fresh directory, which every user may enter and nobody else may change.
    pub fn new(subject: &Subject) -> Self {
        Self::within(&std::env::temp_dir(), subject)
    }

    /// The same in this directory: what the helper's sandbox reaches is not everywhere.
    pub fn within(folder: &Path, subject: &Subject) -> Self {
        // Daemons become this process' children, so that they can be reaped.
        set_child_subreaper(Some(rustix::process::getpid())).expect("become a subreaper");
        let dir = tempfile::Builder::new().prefix("pr-lab-").tempdir_in(folder).expect("create a temporary directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("open the directory for other users");
        Self { subject: subject.clone(), dir }
    }

    /// The program under test.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A name in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where helpers of this bed listen unless told otherwise.
    pub fn socket(&self) -> PathBuf {
        self.path("pr.sock")
    }

    /// A helper to be started in this bed.
    pub fn launch(&self) -> Launch {
        Launch::new(self)
    }

    /// Where helpers of this bed have their control socket, if the test wants one.
    pub fn control_path(&self) -> PathBuf {
        self.path("control")
    }

    /// Who asks there.
    pub fn control(&self) -> Control {
        Control::new(self.control_path(), PATIENCE)
    }

    /// A helper to be started with these settings and a control socket, to which everybody may connect.
    pub fn launch_with(&self, settings: &str) -> Launch {
        let path = self.path("settings.toml");
        fs::write(&path, settings).expect("write the settings");
        let launch = self.launch().arg("--config").arg(path).args(["--socket-mode", "666"]);
        launch.arg("--control").arg(self.control_path())
    }

    /// How often the helper has refused requests for this reason.
    pub fn refusals(&self, name: &str) -> u64 {
        let snapshot = self.control().snapshot().expect("an answer");
        snapshot.refusals.iter().find(|named| named.name == name).expect("a counter").count
    }

    /// A helper with default options that has greeted.
    pub fn start(&self) -> Helper {
        self.launch().start()
    }

    /// A conversation that must end in a hang-up, three times over, beside a client that must not notice.
    pub fn closed(&self, conversation: impl Fn(&Raw)) -> Helper {
        let helper = self.start();
        let other = helper.connect();
        other.expect_served();
        let before = helper.settled_descriptors();
        for _ in 0..3 {
            let client = Raw::connect(helper.socket());
            conversation(&client);
            client.expect_closed();
        }
        other.expect_served();
        helper.await_descriptors(before);
        helper
    }

    /// The process whose number is in `pidfile`.
    pub fn daemon(&self, pidfile: &Path) -> Process {
        let pid = fs::read_to_string(pidfile).ok().and_then(|text| text.trim().parse().ok());
        Process::new(pid.unwrap_or_else(|| panic!("no process number in {}", pidfile.display())))
    }

    /// Every live process that was started in this bed, whoever its parent is.
    pub fn processes(&self) -> Vec<Process> {
        let mark = format!("{MARK}={}", self.dir().display());
        let own = rustix::process::getpid().as_raw_pid();
        Process::all().into_iter().filter(|process| process.id() != own && process.has_environment(&mark)).collect()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let left = self.processes();
        for pid in left.iter().filter_map(|process| Pid::from_raw(process.id())) {
            _ = kill_process(pid, Signal::KILL);
        }
        if !left.is_empty() && !std::thread::panicking() {
            eventually("the bed's processes end", || {
                reap(&left);
                self.processes().is_empty()
            });
        }
    }
}

fn reap(processes: &[Process]) {
    for pid in processes.iter().filter_map(|process| Pid::from_raw(process.id())) {
        _ = waitpid(Some(pid), WaitOptions::NOHANG);
    }
}
