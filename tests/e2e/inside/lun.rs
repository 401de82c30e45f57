//! LUNs of the kernel's own target (LIO), made by writing to configfs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::node::Node;
use crate::wait;

/// LIO's folder.
pub const TARGET: &str = "/sys/kernel/config/target";

/// 16 MiB: nothing here reads more than a block.
const SIZE: u32 = 16 << 20;

/// Mounts configfs, which every other step needs. LIO keeps registrations that are to persist in /var/target/pr.
pub fn mount_configfs() -> Result<()> {
    if !Path::new(TARGET).parent().is_some_and(|folder| folder.join("target").exists()) {
        run("mount", &["-t", "configfs", "configfs", "/sys/kernel/config"])?;
    }
    fs::create_dir_all(TARGET).context("the target modules are not loaded")
}

/// The configfs folder of a LUN's medium.
pub fn of_backstore(name: &str) -> PathBuf {
    Path::new(TARGET).join("core/fileio_0").join(name)
}

/// A file in memory as a LUN's medium; returns its configfs folder.
pub fn backstore(name: &str) -> Result<PathBuf> {
    let folder = of_backstore(name);
    fs::create_dir_all(&folder)?;
    put(&folder.join("control"), &format!("fd_dev_name=/run/{name}.img,fd_dev_size={SIZE}"))?;
    // Without a serial number LIO has no name for the file that keeps registrations.
    put(&folder.join("wwn/vpd_unit_serial"), &format!("bed-{name}"))?;
    put(&folder.join("enable"), "1")?;
    Ok(folder)
}

/// Several LUNs, each reached by the same two initiators.
pub struct Loopback {
    luns: Vec<[Node; 2]>,
}

impl Loopback {
    /// Makes the LUNs and waits for their devices.
    pub fn set_up(count: usize) -> Result<Self> {
        mount_configfs()?;
        let groups = [nexus(1)?, nexus(2)?];
        let mut luns = Vec::new();
        for number in 0..count {
            let backstore = backstore(&format!("disk{number}"))?;
            let first = attach(&groups[0], number, &backstore)?;
            let second = attach(&groups[1], number, &backstore)?;
            luns.push([first, second]);
        }
        // Each new LUN is news to those that were there before.
        for node in luns.iter().flatten() {
            node.settle()?;
        }
        Ok(Self { luns })
    }

    /// One LUN as its two initiators see it.
    pub fn lun(&self, number: usize) -> &[Node; 2] {
        &self.luns[number]
    }
}

/// A loopback target with one initiator logged in; returns the folder of its portal group.
pub fn nexus(number: u32) -> Result<PathBuf> {
    let group = Path::new(TARGET).join(format!("loopback/naa.500140500000000{number}/tpgt_1"));
    fs::create_dir_all(&group)?;
    put(&group.join("nexus"), &format!("naa.600140500000000{number}"))?;
    Ok(group)
}

/// Shows a LUN to a loopback target's initiator; returns the disk that it gets.
pub fn attach(group: &Path, number: usize, backstore: &Path) -> Result<Node> {
    let lun = group.join("lun").join(format!("lun_{number}"));
    appearing(|| link(&lun, backstore))
}

/// Puts a backstore behind a LUN number.
pub fn link(lun: &Path, backstore: &Path) -> Result<()> {
    fs::create_dir_all(lun)?;
    symlink(backstore, lun.join("backstore")).with_context(|| format!("{} cannot be linked", lun.display()))
}

/// Does what makes one new disk appear, and returns that disk once it is ready.
pub fn appearing(act: impl FnOnce() -> Result<()>) -> Result<Node> {
    let before = disks()?;
    act()?;
    let node = wait::until("a new disk", Duration::from_secs(30), || {
        let new = disks()?.into_iter().find(|disk| !before.contains(disk));
        let node = new.map(|name| Node::new(Path::new("/dev").join(name)));
        // Its name is there before the disk can be opened.
        Ok(node.filter(|node| node.open().is_ok()))
    })?;
    node.settle()?;
    Ok(node)
}

fn disks() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir("/sys/block")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with("sd") {
            names.push(name);
        }
    }
    Ok(names)
}

/// Writes one setting.
pub fn put(file: &Path, value: &str) -> Result<()> {
    fs::write(file, value).with_context(|| format!("{value} cannot be written to {}", file.display()))
}

/// Runs a program that belongs to the scene, not to what is tested.
pub fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output =
        Command::new(program).args(arguments).output().with_context(|| format!("{program} cannot be started"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {} {}", arguments.join(" "), output.status, complaint.trim());
    Ok(())
}
