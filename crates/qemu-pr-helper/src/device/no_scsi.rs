//! Devices that take no SCSI commands: an administrator is told once which one it is, and what to give the guest.

use std::{io, sync::Arc};

use pr_device::{Identity, Kind, MEMORY_MAJOR};
use tracing::warn;

use crate::{audit::Audit, log::Once};

/// Whether the kernel says by this that a device takes no SCSI commands, or none from this program.
pub fn says(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOTTY | libc::EINVAL | libc::EPERM))
}

/// Tells of such devices.
pub struct NoScsi {
    /// Which have been told of.
    said: Once,
    /// Knows their names.
    audit: Arc<Audit>,
}

impl NoScsi {
    /// None has been told of.
    pub fn new(audit: Arc<Audit>) -> Self {
        Self { said: Once::default(), audit }
    }

    /// Logs it, once for each device. A pipe or /dev/null is not taken for a disk: a client that sends one asks about this
    /// program.
    pub fn tell(&self, identity: Identity, error: &io::Error) {
        let is_probe = match identity.kind {
            Kind::Pipe => true,
            Kind::Character => identity.major() == MEMORY_MAJOR,
            Kind::Block | Kind::File | Kind::Unknown => false,
        };
        if is_probe || !self.said.admit(identity) {
            return;
        }
        let device = self.audit.device(identity);
        if error.raw_os_error() == Some(libc::EPERM) {
            warn!(
                "{device} takes no commands from this program ({error}): it needs CAP_SYS_RAWIO, and not that of a user namespace \
                 of its own"
            );
            return;
        }
        let hint = hint(identity.kind, device.name.as_deref().unwrap_or_default());
        warn!("{device} takes no SCSI commands ({error}): {hint}");
    }
}

/// What it is, by the kernel's name, and what to do.
fn hint(kind: Kind, name: &str) -> &'static str {
    let begins = |prefix: &str| name.starts_with(prefix);
    let is_address = name.split(':').count() == 4 && name.chars().all(|c| c.is_ascii_digit() || c == ':');
    match kind {
        Kind::Block if begins("nvme") => NVME,
        Kind::Character if begins("ng") || begins("nvme") => NVME,
        Kind::Block if begins("loop") => "it is a loop device, and there is a file behind it",
        Kind::Block if begins("vd") => {
            "it is a virtio-blk disk, which passes none on; have this host's own disk attached as scsi-block"
        }
        Kind::Block if begins("dm-") => {
            "device-mapper passes them on to one disk only; give the guest that disk, or its multipath map"
        }
        Kind::Character if is_address => {
            "it is the disk's bsg device, which has an interface of its own; give the guest /dev/sdX or /dev/sgN"
        }
        Kind::File => {
            "it is a file; persistent reservations are for SCSI disks (/dev/sdX, /dev/sgN) and multipath maps"
        }
        Kind::Block | Kind::Character | Kind::Pipe | Kind::Unknown => {
            "persistent reservations are for SCSI disks (/dev/sdX, /dev/sgN) and multipath maps"
        }
    }
}

const NVME: &str =
    "NVMe has reservations of its own, which QEMU's protocol has no words for; give the guest a SCSI disk";

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    #[test]
    fn what_a_device_is_can_be_told_by_its_name() {
        for (kind, name, words) in [
            (Kind::Block, "nvme0n1", "NVMe"),
            (Kind::Block, "nvme0c0n1", "NVMe"),
            (Kind::Character, "ng0n1", "NVMe"),
            (Kind::Character, "nvme0", "NVMe"),
            (Kind::Block, "loop3", "loop device"),
            (Kind::Block, "vda", "virtio-blk"),
            (Kind::Block, "dm-7", "device-mapper"),
            (Kind::Character, "0:0:1:15", "bsg"),
            (Kind::File, "", "a file"),
            (Kind::Character, "null", "are for SCSI disks"),
            (Kind::Block, "md0", "are for SCSI disks"),
            (Kind::Block, "", "are for SCSI disks"),
        ] {
            assert!(hint(kind, name).contains(words), "{name}: {}", hint(kind, name));
        }
    }

    #[test]
    fn a_command_that_got_lost_says_nothing_of_the_device() {
        let says = |errno| says(&io::Error::from_raw_os_error(errno));
        assert!([libc::ENOTTY, libc::EINVAL, libc::EPERM].into_iter().all(says));
        assert!(![libc::EIO, libc::EAGAIN, libc::ENODEV, libc::ENXIO, libc::ENOMEM].into_iter().any(says));
    }
}
