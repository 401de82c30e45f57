//! Control groups, as systemd or somebody else makes them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process, thread,
    time::Duration,
};

/// A control group, in every hierarchy that tells a process' unit. Removed when dropped.
#[derive(Debug)]
pub struct Cgroup {
    /// The roots of the hierarchies.
    roots: Vec<PathBuf>,
    path: String,
}

impl Cgroup {
    /// One with this path, which begins with a slash. It takes root, and a hierarchy that may be written to.
    #[track_caller]
    pub fn new(path: &str) -> Self {
        let made = Self { roots: roots(), path: path.to_owned() };
        assert!(!made.roots.is_empty(), "neither the unified hierarchy of control groups is mounted nor systemd's own");
        for root in &made.roots {
            let folder = inside(root, path);
            // Another test may be about to remove one of those above.
            let made = (0..100).find_map(|_| {
                let result = fs::create_dir_all(&folder);
                if result.is_err() {
                    thread::sleep(Duration::from_millis(10));
                }
                result.ok()
            });
            assert!(made.is_some(), "{} cannot be made", folder.display());
        }
        made
    }

    /// What `spawn` starts is in this group from its first moment. (This process is as well, as long as that takes.)
    #[track_caller]
    pub fn around<T>(&self, spawn: impl FnOnce() -> T) -> T {
        let own: Vec<_> = self.roots.iter().map(|root| own(root)).collect();
        for root in &self.roots {
            enter(&inside(root, &self.path)).expect("enter the control group");
        }
        let spawned = spawn();
        for own in own {
            enter(&own).expect("leave the control group");
        }
        spawned
    }

    /// Moves a process here.
    #[track_caller]
    pub fn take(&self, process: u32) {
        for root in &self.roots {
            fs::write(inside(root, &self.path).join("cgroup.procs"), process.to_string()).expect("move a process");
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for root in &self.roots {
            let mut folder = inside(root, &self.path);
            // Who was in it may still be on the way out.
            for _ in 0..100 {
                if fs::remove_dir(&folder).is_ok() {
                    break;
                }
                thread::sleep(Duration::from_millis(10));
            }
            // What others use as well is not empty.
            while folder.pop() && folder != *root && fs::remove_dir(&folder).is_ok() {}
        }
    }
}

fn inside(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn enter(folder: &Path) -> io::Result<()> {
    fs::write(folder.join("cgroup.procs"), process::id().to_string())
}

/// Where hierarchies are mounted that tell a process' unit.
fn roots() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").expect("read the mounts");
    let root = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        let (path, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        let tells = kind == "cgroup2" || kind == "cgroup" && options.split(',').any(|option| option == "name=systemd");
        tells.then(|| PathBuf::from(path))
    };
    mounts.lines().filter_map(root).collect()
}

/// Where this process is in a hierarchy.
fn own(root: &Path) -> PathBuf {
    let groups = fs::read_to_string("/proc/self/cgroup").expect("read the own control groups");
    let is_unified = root.join("cgroup.controllers").exists();
    let path = groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (name, path) = (fields.next()?, fields.next()?);
        (name == if is_unified { "" } else { "name=systemd" }).then(|| path.to_owned())
    });
    inside(root, &path.expect("every process is somewhere in it"))
}
