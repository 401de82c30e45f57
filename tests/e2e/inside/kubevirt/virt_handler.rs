//! What KubeVirt's virt-handler does about the helper's socket, played as its source says (the manual's page on KubeVirt
//! names the places): it offers the resource `devices.kubevirt.io/pr-helper` to the kubelet, without which no guest with a
//! reservation is placed on the node.

use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{chown, lchown};
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::{FOLDER, NAME};

/// QEMU's user and group in KubeVirt's virtual machines.
pub const QEMU: u32 = 107;

/// The releases that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// It watches for the socket, whenever that comes, and gives it to a guest's user when the guest starts.
    V1_5_0,
    /// 1.5.1 to 1.8: it gives folder and socket away when it looks for them, and offers nothing if they are not there.
    V1_5_1,
    /// As before; and a socket that comes later is given away as well.
    V1_9,
}

/// What the kubelet knows of the resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Never heard of it, or not any more.
    Unknown,
    Unhealthy,
    Healthy,
}

/// A virt-handler that runs.
pub struct VirtHandler {
    release: Release,
    plugin: Option<Plugin>,
}

/// A device plug-in that is registered, and watches.
struct Plugin {
    watch: OwnedFd,
    is_healthy: bool,
}

impl VirtHandler {
    /// It starts, and looks for the socket.
    pub fn start(release: Release) -> Result<Self> {
        // The kubelet has made what the pod mounts.
        fs::create_dir_all(FOLDER)?;
        let mut this = Self { release, plugin: None };
        this.look()?;
        Ok(this)
    }

    /// The only other time that it looks: somebody has changed the KubeVirt object. A plug-in that could not be made anew
    /// is one that is not wanted any more.
    pub fn look(&mut self) -> Result<()> {
        if self.release != Release::V1_5_0 && give_away().is_err() {
            self.plugin = None;
        } else if self.plugin.is_none() {
            self.plugin = Some(Plugin::start()?);
        }
        Ok(())
    }

    /// What the kubelet has been told by now.
    pub fn resource(&mut self) -> Result<Resource> {
        let Some(plugin) = &mut self.plugin else { return Ok(Resource::Unknown) };
        plugin.hear(self.release)?;
        Ok(if plugin.is_healthy { Resource::Healthy } else { Resource::Unhealthy })
    }

    /// A guest with a reservation starts on this node.
    pub fn guest_starts(&self) -> Result<()> {
        if self.release == Release::V1_5_0 {
            lchown(Path::new(FOLDER).join(NAME), Some(QEMU), Some(QEMU)).context("no guest starts here")?;
        }
        Ok(())
    }
}

/// Folder and socket, in this order.
fn give_away() -> Result<()> {
    chown(FOLDER, Some(QEMU), Some(QEMU))?;
    Ok(lchown(Path::new(FOLDER).join(NAME), Some(QEMU), Some(QEMU))?)
}

impl Plugin {
    fn start() -> Result<Self> {
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let what = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM;
        inotify::add_watch(&watch, FOLDER, what)?;
        // A file is enough: nobody asks whether somebody listens there.
        let is_healthy = Path::new(FOLDER).join(NAME).exists();
        Ok(Self { watch, is_healthy })
    }

    /// Takes in what has happened in the folder.
    fn hear(&mut self, release: Release) -> Result<()> {
        let mut buffer = [const { MaybeUninit::uninit() }; 4096];
        let mut events = Reader::new(&self.watch, &mut buffer);
        loop {
            let event = match events.next() {
                Err(Errno::AGAIN) => return Ok(()),
                event => event?,
            };
            if event.file_name().is_none_or(|name| name.to_bytes() != NAME.as_bytes()) {
                continue;
            }
            self.is_healthy = event.events().intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
            if self.is_healthy && release == Release::V1_9 {
                // A failure is a line in its log.
                let _ = give_away();
            }
        }
    }
}
