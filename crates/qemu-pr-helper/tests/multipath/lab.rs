//! A world in which loop devices are multipath maps and paths.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use fake_mpath::Event;
use pr_lab::Subject;
use pr_lab::prelude::*;
use rustix::process::Resource;

use crate::disk::{self, Log, Op};

/// In a mount namespace of its own sysfs knows our maps, and device-mapper is not there or only looks as if it were; in a network
/// namespace of its own nobody answers at multipathd's abstract socket.
const WORLD: &str = r#"
    mount --bind "$LAB_SYSFS" /sys/dev/block || exit 90
    if [ -n "$LAB_CONTROL" ]; then
        mount -t tmpfs none /dev || exit 92
        mkdir /dev/mapper
        : > /dev/mapper/control
        mknod -m 666 /dev/null c 1 3
        for minor in 0 1 2 3 4 5 6 7; do mknod "/dev/loop$minor" b 7 "$minor"; done
    elif [ -d /dev/mapper ]; then mount --bind "$LAB_EMPTY" /dev/mapper || exit 91; fi
    exec "$0" "$@"
"#;

/// The laboratory.
pub struct Lab {
    bed: Bed,
    log: Arc<Mutex<Log>>,
}

impl Lab {
    /// A world with one map, loop0, whose paths are loop1 and loop2, and with the library.
    pub fn new() -> Self {
        let lab = Self::without_maps();
        lab.map(0, &[1, 2]);
        lab
    }

    /// A world with the library.
    pub fn without_maps() -> Self {
        // Where a library may keep its records: this one has its script and its journal there.
        let bed = Bed::within(Path::new("/run"), &Subject::ours(env!("CARGO_BIN_EXE_qemu-pr-helper")));
        for name in ["sysfs", "empty", "lib"] {
            fs::create_dir(bed.path(name)).expect("create a directory");
        }
        let log = Arc::new(Mutex::new(Log::of(bed.path("journal"))));
        let lab = Self { bed, log };
        fs::copy(built_library(), lab.library()).expect("copy the library");
        lab.script("");
        lab
    }

    /// The directory of the test.
    pub fn bed(&self) -> &Bed {
        &self.bed
    }

    /// The library as the helper finds it.
    pub fn library(&self) -> PathBuf {
        self.bed.path("lib/libmpathpersist.so.0")
    }

    /// Makes a loop device a multipath map with these loop devices as its paths.
    pub fn map(&self, minor: u32, paths: &[u32]) {
        self.block_device(minor, Some(&format!("mpath-{minor}")), paths);
    }

    /// Makes a loop device a block device, device-mapper's with a uuid, on top of others.
    pub fn block_device(&self, minor: u32, uuid: Option<&str>, lower: &[u32]) {
        let directory = self.bed.path(&format!("sysfs/7:{minor}"));
        describe(&directory, minor, uuid);
        fs::create_dir(directory.join("slaves")).expect("create a directory");
        for lower in lower {
            // What lies below is a link in the real sysfs; the name is the same.
            let below = self.bed.path(&format!("sysfs/7:{lower}"));
            let link = directory.join(format!("slaves/loop{lower}"));
            if below.exists() {
                std::os::unix::fs::symlink(below, link).expect("link to a lower device");
            } else {
                describe(&link, *lower, None);
            }
        }
    }

    /// What the library does from now on; see the crate fake-mpath.
    pub fn script(&self, text: &str) {
        let (new, script) = (self.bed.path("script.new"), self.bed.path("script"));
        fs::write(&new, text).expect("write the script");
        fs::rename(new, script).expect("put the script in place");
    }

    /// A helper in this world; its disk answers as `disk` says.
    pub fn launch(&self, disk: impl FnMut(u32, Op) -> Outcome + Send + 'static) -> Launch {
        self.enter(self.bed.launch()).device(disk::answering(Arc::clone(&self.log), disk))
    }

    /// The same program as the broker of the daemon at the other end of a connection.
    pub fn broker_on(&self, daemon: OwnedFd, disk: impl FnMut(u32, Op) -> Outcome + Send + 'static) -> Launch {
        let launch = self.bed.launch().bare().arg("--serve-broker").activated("1", ListenPid::Own).fd(daemon, 3);
        self.enter(launch).device(disk::answering(Arc::clone(&self.log), disk))
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

    /// Takes what the disk and the library were asked since the last time.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("the log").take()
    }

    /// Everything the library was asked and answered so far.
    pub fn journal(&self) -> Vec<Event> {
        disk::journal(&self.bed.path("journal"))
    }

    /// Lets a helper find a control node of device-mapper, which knows no command.
    pub fn with_control(launch: Launch) -> Launch {
        launch.env("LAB_CONTROL", "1")
    }

    /// Puts a program into this world.
    pub fn enter(&self, launch: Launch) -> Launch {
        let namespaces = ["unshare", "--mount", "--net", "--propagation", "private", "/bin/sh", "-c", WORLD];
        launch
            .by(&namespaces)
            .limit(Resource::Core, 0)
            .env("LAB_SYSFS", self.bed.path("sysfs"))
            .env("LAB_EMPTY", self.bed.path("empty"))
            .env("LD_LIBRARY_PATH", self.bed.path("lib"))
            .env("MULTIPATH_SOCKET_NAME", self.bed.path("multipathd"))
            .env(fake_mpath::SCRIPT, self.bed.path("script"))
            .env(fake_mpath::JOURNAL, self.bed.path("journal"))
    }
}

fn describe(directory: &Path, minor: u32, uuid: Option<&str>) {
    fs::create_dir_all(directory).expect("create a directory");
    fs::write(directory.join("dev"), format!("7:{minor}\n")).expect("write a device number");
    if let Some(uuid) = uuid {
        fs::create_dir(directory.join("dm")).expect("create a directory");
        fs::write(directory.join("dm/uuid"), format!("{uuid}\n")).expect("write a uuid");
        fs::write(directory.join("dm/name"), format!("map{minor}\n")).expect("write a name");
    }
}

/// Where Cargo has put the shared object: a dependency of this test, beside it.
fn built_library() -> PathBuf {
    let own = std::env::current_exe().expect("the path of this test");
    let library = own.parent().expect("a directory").join(fake_mpath::FILE);
    assert!(
        library.exists(),
        "{} is missing: cargo build -p fake-mpath --tests, or clean and build anew",
        library.display()
    );
    library
}

/// A loop device as a guest's disk.
#[track_caller]
pub fn node(minor: u32) -> File {
    let path = format!("/dev/loop{minor}");
    File::options().read(true).write(true).open(&path).unwrap_or_else(|error| {
        panic!("{path}: {error}; these tests need /dev/loop0 to /dev/loop7: modprobe loop max_loop=8, or mknod {path} b 7 {minor}")
    })
}

/// The helper's broker.
#[track_caller]
pub fn broker(helper: &Helper) -> Process {
    helper.child("qemu-pr-broker")
}

/// What a broker without a command has open: the standard streams and its line to the daemon.
pub const IDLE: usize = 4;

/// Waits until a broker is done with what it has answered: that comes after the answer.
#[track_caller]
pub fn await_idle(broker: Process) {
    let settled = within(PATIENCE, || broker.descriptors().len() == IDLE);
    assert!(settled, "the broker keeps {:#?}", broker.descriptors());
    assert_eq!(children(broker), [], "no child is left, dead or alive");
}

/// The processes that a process has started and not seen end, dead ones included.
pub fn children(parent: Process) -> Vec<Process> {
    let parent = parent.id().to_string();
    let is_child = |process: &Process| process.status().get("PPid").is_some_and(|id| *id == parent);
    Process::all().into_iter().filter(is_child).collect()
}
