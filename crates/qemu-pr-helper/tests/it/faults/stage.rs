//! A helper with everything that a start can be asked for.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use pr_control::Control;
use pr_lab::{Faults, Subject, prelude::*};
use rustix::process::Signal;

use crate::OURS;

/// What a READ KEYS finds.
pub const KEYS: [u8; 8] = [0, 0, 0, 7, 0, 0, 0, 0];

/// What processes are, as far as it was promised, by their names.
pub type Processes = BTreeMap<String, BTreeMap<String, String>>;

/// A place for one helper.
pub struct Stage {
    bed: Bed,
    run: PathBuf,
    daemon: bool,
}

impl Stage {
    pub fn new(daemon: bool) -> Self {
        let bed = Bed::new(&Subject::ours(OURS));
        let run = bed.path("run");
        fs::create_dir(&run).expect("create a directory");
        // The helper becomes another user, and what it has made goes all the same.
        fs::set_permissions(&run, fs::Permissions::from_mode(0o1777)).expect("open the directory");
        fs::write(bed.path("settings"), "default = \"allow\"\n").expect("write the settings");
        Self { bed, run, daemon }
    }

    pub fn bed(&self) -> &Bed {
        &self.bed
    }

    pub fn socket(&self) -> PathBuf {
        self.run.join("pr.sock")
    }

    pub fn launch(&self, faults: &Faults) -> Launch {
        let launch = self.bed.launch().at(self.socket()).faults(faults);
        let launch = launch.arg("-f").arg(self.run.join("pid")).arg("--control").arg(self.run.join("control"));
        let launch = launch.arg("--config").arg(self.bed.path("settings"));
        let launch = launch.args(["-u", "daemon", "-g", "daemon"]).device(|_| Answer::good(&KEYS).into());
        if self.daemon { launch.arg("-d") } else { launch }
    }

    /// What is left of a helper that has ended.
    pub fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.run).expect("read the directory").flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// The process that serves, as far as that is known.
    fn main(&self, helper: &Helper) -> Option<Process> {
        if !self.daemon {
            return Some(helper.process());
        }
        Some(Process::new(fs::read_to_string(self.run.join("pid")).ok()?.trim().parse().ok()?))
    }

    /// Whether nothing more comes of this start. The program that starts a daemon ends with it, or with its failure.
    pub fn is_over(&self, helper: &Helper) -> bool {
        let is_started = || self.main(helper).is_some_and(|daemon| daemon.is_alive());
        helper.ends_within(Duration::ZERO) && !(self.daemon && is_started())
    }

    pub fn end(&self, helper: &Helper, signal: Signal) {
        if let Some(main) = self.main(helper) {
            main.signal(signal);
        }
    }

    /// The capabilities, users, filters and limits of the helper's processes.
    pub fn processes(&self, helper: &Helper) -> Processes {
        let Some(main) = self.main(helper) else { return Processes::new() };
        main.children().into_iter().chain([main]).map(walls).collect()
    }
}

fn walls(process: Process) -> (String, BTreeMap<String, String>) {
    let status = process.status();
    let limits = fs::read_to_string(format!("/proc/{}/limits", process.id())).unwrap_or_default();
    let limits = limits.lines().filter(|line| line.starts_with("Max open files") || line.starts_with("Max core"));
    let names = [
        "Uid",
        "Gid",
        "Groups",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
        "Seccomp_filters",
        "SigBlk",
        "SigIgn",
        "SigCgt",
    ];
    let values = names.iter().filter_map(|name| Some(((*name).to_owned(), status.get(*name)?.clone())));
    let mut walls: BTreeMap<String, String> = values.collect();
    walls.insert("limits".to_owned(), limits.collect());
    (status.get("Name").cloned().unwrap_or_default(), walls)
}

/// Whether a client and somebody at the control socket get what they ask for.
pub fn served(stage: &Stage, helper: &Helper) -> Result<(), String> {
    let asked = catch_unwind(AssertUnwindSafe(|| {
        let listens = within(PATIENCE, || stage.is_over(helper) || pr_lab::try_connect(&stage.socket()).is_ok());
        assert!(listens && !stage.is_over(helper), "nobody listens");
        let client = helper.connect();
        client.expect_served_with(&KEYS);
        client.pr_out(null(), 0, &[0; 24]).expect_bare(0);
        Control::new(stage.run.join("control"), PATIENCE).snapshot().expect("the helper's state");
    }));
    asked.map_err(|_| format!("it does not serve, saying {:?}", helper.stderr()))
}

/// Does this with each, three at a time.
pub fn all<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let (queue, results) = (Mutex::new(items.into_iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("the queue").next();
                    let Some(item) = next else { return };
                    let result = work(item);
                    results.lock().expect("the results").push(result);
                }
            });
        }
    });
    results.into_inner().expect("the results")
}
