//! A guest as `qemu-pr-ctl doctor` sees it: a QEMU with a disk and a helper. Its processor is never started.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

use crate::monitor::{self, Monitor};

/// As whom libvirt runs QEMU.
pub const USER: &str = "libvirt-qemu";

/// A QEMU that waits to be told to go on. It never outlives this value.
pub struct Guest {
    process: Child,
    _monitor: Monitor,
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Guest {
    /// Starts one of this name, which has the disk and the helper at the socket; the device may have more properties.
    pub fn start(name: &str, disk: &Path, socket: &Path, properties: &str) -> Result<Self> {
        let log = File::create(format!("/run/{name}.log"))?;
        let mut command = Command::new("/usr/bin/qemu-system-x86_64");
        command
            .args(["-S", "-name", &format!("guest={name},debug-threads=on"), "-runas", USER])
            .args(["-M", "q35", "-accel", "tcg", "-m", "32M", "-L", "/guest/firmware"])
            .args(["-nodefaults", "-display", "none", "-vga", "none"])
            .arg("-object")
            .arg(format!("pr-manager-helper,id=helper,path={}", socket.display()))
            .arg("-blockdev")
            .arg(format!("driver=host_device,node-name=disk,filename={},pr-manager=helper", disk.display()))
            .args(["-device", "virtio-scsi-pci,id=bus"])
            .args(["-device", &format!("scsi-block,drive=disk,bus=bus.0,share-rw=on{properties}")]);
        let place = monitor::listen(&mut command, name);
        let command = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut process = command.spawn().context("QEMU cannot be started")?;
        let said = || std::fs::read_to_string(format!("/run/{name}.log")).unwrap_or_default();
        let monitor = Monitor::connect(&place, &mut process).with_context(said)?;
        Ok(Self { process, _monitor: monitor })
    }
}
