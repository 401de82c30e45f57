//! A sysfs of the test's own, in which loop devices are disks, partitions, volumes and other things.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use pr_lab::prelude::*;
use pr_lab::{Command, Subject};
pub use pr_lab::{keys, loop_device as node};

/// In a mount namespace of its own sysfs knows our devices. Those of device-mapper are not there.
const ENTER: &str = r#"
    mount --bind "$LAB_SYSFS" /sys/dev || exit 90
    if [ -d /dev/mapper ]; then mount -t tmpfs none /dev/mapper || exit 91; fi
    exec "$0" "$@"
"#;

/// The world.
pub struct World(Bed);

impl World {
    /// One in which sysfs knows nothing.
    pub fn new() -> Self {
        let world = Self(Bed::within(Path::new("/run"), &Subject::ours(env!("CARGO_BIN_EXE_qemu-pr-helper"))));
        for folder in ["sysfs/block", "sysfs/char", "sysfs/devices"] {
            fs::create_dir_all(world.0.path(folder)).expect("create a directory");
        }
        world
    }

    /// Names `/dev/loopMINOR` so.
    pub fn block(&self, minor: u32, name: &str) {
        self.named("block", &format!("7:{minor}"), name);
    }

    /// Names a character device so.
    pub fn character(&self, number: &str, name: &str) {
        self.named("char", number, name);
    }

    fn named(&self, class: &str, number: &str, name: &str) {
        self.attribute(name, "dev", &format!("{number}\n"));
        let link = self.0.path(&format!("sysfs/{class}/{number}"));
        symlink(format!("../devices/{name}"), link).expect("link a number");
    }

    /// Makes `/dev/loopMINOR` a device of device-mapper's with this uuid and as many sectors, on these devices.
    pub fn mapped(&self, minor: u32, name: &str, uuid: &str, size: u32, lower: &[&str]) {
        self.block(minor, name);
        self.attribute(name, "dm/uuid", &format!("{uuid}\n"));
        self.attribute(name, "dm/name", &format!("{name}-map\n"));
        self.attribute(name, "size", &format!("{size}\n"));
        for lower in lower {
            let folder = self.0.path(&format!("sysfs/devices/{name}/slaves"));
            fs::create_dir_all(&folder).expect("create a directory");
            symlink(format!("../../{lower}"), folder.join(lower)).expect("link a lower device");
        }
    }

    /// Gives a file in a device's directory these contents.
    pub fn attribute(&self, device: &str, name: &str, contents: &str) {
        let path = self.0.path(&format!("sysfs/devices/{device}/{name}"));
        fs::create_dir_all(path.parent().expect("a directory")).expect("create a directory");
        fs::write(path, contents).expect("write an attribute");
    }

    /// The directory of the test.
    pub const fn bed(&self) -> &Bed {
        &self.0
    }

    /// A helper in this world, with these settings, whose `SG_IO` is answered so.
    pub fn start(&self, settings: &str, device: impl FnMut(&Command) -> Outcome + Send + 'static) -> Helper {
        let file = self.0.path("settings.toml");
        fs::write(&file, settings).expect("write settings");
        let enter = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", ENTER];
        let launch = self.0.launch().by(&enter).env("LAB_SYSFS", self.0.path("sysfs")).arg("--config").arg(file);
        launch.device(device).start()
    }
}

/// How many lines have all of these words.
pub fn count(text: &str, words: &[&str]) -> usize {
    text.lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
}
