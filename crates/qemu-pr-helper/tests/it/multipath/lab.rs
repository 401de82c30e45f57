//! A world in which loop devices are multipath maps and paths.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex};

pub use pr_lab::loop_device as node;
use pr_lab::prelude::*;
use pr_lab::{FakeMultipathd, Mapper, Subject};
use rustix::fs::makedev;
use rustix::process::{Resource, Signal};

use crate::multipath::disk::{self, Log, Op};

/// In a mount namespace of its own sysfs knows our maps, and /dev has a control node whose ioctls the laboratory answers; in a network
/// namespace of its own nobody answers at multipathd's abstract socket.
const WORLD: &str = r#"
    mount --bind "$LAB_SYSFS" /sys/dev/block || exit 90
    mkdir -p /run/qemu-pr-broker
    mount --bind "$LAB_LOCKS" /run/qemu-pr-broker || exit 93
    if [ -n "$LAB_CONTROL" ]; then
        mount -t tmpfs none /dev || exit 92
        mkdir /dev/mapper
        : > /dev/mapper/control
        mount --bind "$LAB_CONTROL" /dev/mapper/control || exit 94
        mknod -m 666 /dev/null c 1 3
        for minor in 0 1 2 3 4 5 6 7; do mknod "/dev/loop$minor" b 7 "$minor"; done
    elif [ -d /dev/mapper ]; then mount --bind "$LAB_EMPTY" /dev/mapper || exit 91; fi
    exec "$0" "$@"
"#;

/// The laboratory.
pub struct Lab {
    bed: Bed,
    log: Arc<Mutex<Log>>,
    mapper: Mapper,
    multipathd: Option<FakeMultipathd>,
}

impl Lab {
    /// A world with one map, loop0, whose paths are loop1 and loop2.
    pub fn new() -> Self {
        let lab = Self::without_maps();
        lab.map(0, &[1, 2]);
        lab
    }

    /// A world with a willing multipathd.
    pub fn without_maps() -> Self {
        let mut lab = Self::without_multipathd();
        lab.start_multipathd();
        lab
    }

    /// multipathd is there from now on.
    pub fn start_multipathd(&mut self) {
        self.multipathd = Some(FakeMultipathd::at(&self.bed.path("multipathd")));
    }

    /// A world without it.
    pub fn without_multipathd() -> Self {
        let bed = Bed::within(Path::new("/run"), &Subject::ours(env!("CARGO_BIN_EXE_qemu-pr-helper")));
        for name in ["sysfs", "empty", "locks"] {
            fs::create_dir(bed.path(name)).expect("create a directory");
        }
        let mapper = Mapper::default();
        mapper.make_node(&bed.path("control"));
        Self { bed, log: Arc::default(), mapper, multipathd: None }
    }

    /// device-mapper.
    pub fn mapper(&self) -> &Mapper {
        &self.mapper
    }

    /// multipathd.
    #[track_caller]
    pub fn multipathd(&self) -> &FakeMultipathd {
        self.multipathd.as_ref().expect("a multipathd")
    }

    /// The directory of the test.
    pub fn bed(&self) -> &Bed {
        &self.bed
    }

    /// Makes a loop device a multipath map with these loop devices as its paths.
    pub fn map(&self, minor: u32, paths: &[u32]) {
        self.block_device(minor, Some(&format!("mpath-{minor}")), paths);
        let paths: Vec<u64> = paths.iter().copied().map(device).collect();
        self.mapper.map(device(minor), &[&paths]);
    }

    /// Makes a loop device a block device, device-mapper's with a uuid, on top of others.
    pub fn block_device(&self, minor: u32, uuid: Option<&str>, lower: &[u32]) {
        let directory = self.bed.path(&format!("sysfs/7:{minor}"));
        describe(&directory, minor, uuid);
        fs::create_dir(directory.join("slaves")).expect("create a directory");
        for lower in lower {
            let below = self.bed.path(&format!("sysfs/7:{lower}"));
            if !below.exists() {
                describe(&below, *lower, None);
            }
            // As in sysfs: relative to where it is.
            std::os::unix::fs::symlink(format!("../../7:{lower}"), directory.join(format!("slaves/loop{lower}")))
                .expect("link to a lower device");
        }
    }

    /// A helper in this world; its disk answers as `disk` says.
    pub fn launch(&self, disk: impl FnMut(u32, Op) -> Outcome + Send + 'static) -> Launch {
        self.enter(self.bed.launch()).device(disk::answering(Arc::clone(&self.log), disk))
    }

    /// The same program as the broker of the daemon at the other end of a connection.
    pub fn broker_on(&self, daemon: OwnedFd) -> Launch {
        self.enter(self.bed.launch().bare().arg("--serve-broker").activated("1", ListenPid::Own).fd(daemon, 3))
    }

    /// A helper that has greeted.
    pub fn start(&self, disk: impl FnMut(u32, Op) -> Outcome + Send + 'static) -> Helper {
        self.launch(disk).start()
    }

    /// From now on the disk answers so, and the log is empty.
    pub fn behave(&self, helper: &Helper, disk: impl FnMut(u32, Op) -> Outcome + Send + 'static) {
        helper.device().behave(disk::answering(Arc::clone(&self.log), disk));
        self.log();
    }

    /// Takes what the disk was asked since the last time.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("the log").take()
    }

    /// Hides device-mapper's control node from a helper.
    pub fn without_control(launch: Launch) -> Launch {
        launch.env("LAB_CONTROL", "")
    }

    /// Puts a program into this world.
    pub fn enter(&self, launch: Launch) -> Launch {
        let namespaces = ["unshare", "--mount", "--net", "--propagation", "private", "/bin/sh", "-c", WORLD];
        launch
            .by(&namespaces)
            .limit(Resource::Core, 0)
            .mapper(&self.mapper)
            .env("LAB_SYSFS", self.bed.path("sysfs"))
            .env("LAB_EMPTY", self.bed.path("empty"))
            .env("LAB_LOCKS", self.bed.path("locks"))
            .env("LAB_CONTROL", self.bed.path("control"))
            .env("MULTIPATH_SOCKET_NAME", self.bed.path("multipathd"))
    }
}

/// The device number of a loop device.
pub fn device(minor: u32) -> u64 {
    makedev(7, minor)
}

fn describe(directory: &Path, minor: u32, uuid: Option<&str>) {
    fs::create_dir_all(directory).expect("create a directory");
    fs::write(directory.join("dev"), format!("7:{minor}\n")).expect("write a device number");
    fs::write(directory.join("uevent"), format!("MAJOR=7\nMINOR={minor}\nDEVNAME=loop{minor}\n"))
        .expect("write a name");
    if let Some(uuid) = uuid {
        fs::create_dir(directory.join("dm")).expect("create a directory");
        fs::write(directory.join("dm/uuid"), format!("{uuid}\n")).expect("write a uuid");
        fs::write(directory.join("dm/name"), format!("map{minor}\n")).expect("write a name");
    }
}

/// All processes of the helper's broker, with the only worker.
#[track_caller]
pub fn broker(helper: &Helper) -> [Process; 3] {
    [guard(helper), keeper(helper), worker(helper)]
}

/// Kills processes, none of which is to start another one meanwhile.
pub fn kill_at_once(processes: &[Process]) {
    for signal in [Signal::STOP, Signal::KILL] {
        for process in processes {
            process.signal(signal);
        }
    }
}

/// Its guard.
#[track_caller]
pub fn guard(helper: &Helper) -> Process {
    helper.child("qemu-pr-broker")
}

/// Its keeper.
#[track_caller]
pub fn keeper(helper: &Helper) -> Process {
    child(guard(helper), "qemu-pr-keeper")
}

/// Its only worker.
#[track_caller]
pub fn worker(helper: &Helper) -> Process {
    child(keeper(helper), "qemu-pr-map")
}

/// A child of this name, which may take a moment to be there.
#[track_caller]
fn child(parent: Process, name: &str) -> Process {
    let find = || children(parent).into_iter().find(|child| child.status().get("Name").is_some_and(|is| is == name));
    let found = within(PATIENCE, || find().is_some());
    assert!(found, "no {name} among {:?}", children(parent));
    find().expect("it was there")
}

/// The processes that a process has started and not seen end, dead ones included.
pub fn children(parent: Process) -> Vec<Process> {
    let parent = parent.id().to_string();
    let is_child = |process: &Process| process.status().get("PPid").is_some_and(|id| *id == parent);
    Process::all().into_iter().filter(is_child).collect()
}
