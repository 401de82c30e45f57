//! Guests that libvirt runs, each with one of the LUN's disks passed through.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::SOCKET;
use super::command::{sh, try_sh};
use crate::guest_machine::{APPEND, Terminal};
use crate::node::Node;
use crate::wait;

/// Where the guest's kernel and root lie while it runs: libvirt makes them the guest's own.
const IMAGES: &str = "/var/lib/libvirt/images";

/// Serial lines.
const LINES: &str = "/run/guests";

/// libvirt asks QEMU what it can before it starts the first guest.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a guest's reservations reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reservations {
    /// `managed='yes'`: by a helper of the guest's own, which libvirt starts.
    Managed,
    /// `managed='no'`: by the socket that everybody uses.
    Unmanaged,
}

/// A guest.
pub struct Domain {
    name: &'static str,
    terminal: Terminal,
}

/// What all guests have in common.
pub fn prepare() -> Result<()> {
    for file in ["vmlinuz", "root.cpio"] {
        fs::copy(Path::new("/bed/guest").join(file), Path::new(IMAGES).join(file))?;
    }
    sh(&format!("install -d -m 777 {LINES}"))?;
    Ok(())
}

/// The definition of its disk.
fn disk(node: &Node, reservations: Reservations) -> String {
    let reservations = match reservations {
        Reservations::Managed => "<reservations managed='yes'/>".to_owned(),
        Reservations::Unmanaged => {
            format!("<reservations managed='no'><source type='unix' path='{SOCKET}' mode='client'/></reservations>")
        }
    };
    format!(
        "<disk type='block' device='lun'>\
           <driver name='qemu' type='raw' cache='none'/>\
           <source dev='{}'>{reservations}</source>\
           <target dev='sda' bus='scsi'/>\
         </disk>",
        node.path().display()
    )
}

/// The definition of a guest that has this disk, or none.
fn definition(name: &str, disk: &str) -> String {
    format!(
        "<domain type='qemu'>\
           <name>{name}</name><memory unit='MiB'>192</memory><vcpu>1</vcpu>\
           <os>\
             <type arch='x86_64' machine='pc'>hvm</type>\
             <kernel>{IMAGES}/vmlinuz</kernel><initrd>{IMAGES}/root.cpio</initrd>\
             <cmdline>{APPEND}</cmdline>\
           </os>\
           <features><acpi/></features>\
           <cpu mode='custom'><model>qemu64</model></cpu>\
           <devices>\
             <emulator>/usr/bin/qemu-system-x86_64</emulator>\
             {disk}\
             <controller type='scsi' model='virtio-scsi'/>\
             <controller type='usb' model='none'/>\
             <serial type='unix'><source mode='bind' path='{LINES}/{name}'/></serial>\
             <serial type='file'><source path='{LINES}/{name}.console'/></serial>\
             <memballoon model='none'/>\
           </devices>\
         </domain>"
    )
}

impl Domain {
    /// Starts a guest; it boots while its host does other things.
    pub fn start(name: &'static str, node: &Node, reservations: Reservations) -> Result<Self> {
        Self::start_from(name, &disk(node, reservations))
    }

    /// Starts a guest without a disk.
    pub fn start_bare(name: &'static str) -> Result<Self> {
        Self::start_from(name, "")
    }

    fn start_from(name: &'static str, disk: &str) -> Result<Self> {
        let file = format!("/run/{name}.xml");
        fs::write(&file, definition(name, disk))?;
        sh(&format!("virsh create {file}"))?;
        let line = wait::until("the guest's serial line", PATIENCE, || {
            Ok(UnixStream::connect(Path::new(LINES).join(name)).ok())
        })?;
        Ok(Self { name, terminal: Terminal::new(name, line.try_clone()?, line) })
    }

    /// Waits until it has booted.
    pub fn wake(&mut self) -> Result<()> {
        self.terminal.wake().with_context(|| {
            let logs = format!("tail -n 8 {LINES}/{0}.console /var/log/libvirt/qemu/{0}.log", self.name);
            try_sh(&logs).map_or_else(|error| error.to_string(), |(_, text)| text)
        })
    }

    /// Runs a shell command in it that has to succeed; what it printed.
    pub fn runs(&mut self, command: &str) -> Result<String> {
        let (status, printed) = self.terminal.run(command)?;
        ensure!(status == 0, "{command} in {}: exit status {status}: {printed}", self.name);
        Ok(printed)
    }

    /// Types a shell command in it; its exit status and what it printed.
    pub fn types(&mut self, command: &str) -> Result<(i32, String)> {
        self.terminal.run(command)
    }

    /// Sends PERSISTENT RESERVE OUT to its disk.
    pub fn out(&mut self, change: &str) -> Result<String> {
        self.runs(&format!("sg_persist --no-inquiry --out {change} $(ls -d /dev/sd?)"))
    }

    /// Sends PERSISTENT RESERVE IN.
    pub fn ask(&mut self, question: &str) -> Result<String> {
        self.runs(&format!("sg_persist --no-inquiry --in {question} $(ls -d /dev/sd?)"))
    }

    /// Takes its disk away and gives it back with reservations that go another way.
    pub fn attach_anew(&mut self, node: &Node, from: Reservations, to: Reservations) -> Result<()> {
        let file = format!("/run/{}-disk.xml", self.name);
        fs::write(&file, disk(node, from))?;
        sh(&format!("virsh detach-device {} {file} --live", self.name))?;
        wait::until("the guest to let its disk go", PATIENCE, || {
            Ok(self.terminal.run("ls -d /dev/sd?")?.0.ne(&0).then_some(()))
        })?;
        fs::write(&file, disk(node, to))?;
        sh(&format!("virsh attach-device {} {file} --live", self.name))?;
        wait::until("the guest to find its disk", PATIENCE, || {
            Ok(self.terminal.run("ls -d /dev/sd?")?.0.eq(&0).then_some(()))
        })
    }

    /// Switches it off.
    pub fn destroy(self) -> Result<()> {
        sh(&format!("virsh destroy {}", self.name)).map(drop)
    }
}
