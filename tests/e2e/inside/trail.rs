//! The helper's audit log, held against the commands that a guest really sent.

use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use pr_control::{Control, Record, Told, What};

/// What a guest sent, and what it says came of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Sent {
    /// The service action.
    pub action: &'static str,
    /// RESERVATION KEY, for actions that look at it.
    pub key: Option<u64>,
    /// SERVICE ACTION RESERVATION KEY, likewise.
    pub service_action_key: Option<u64>,
    /// The SCSI status.
    pub status: &'static str,
}

/// The trail of a helper, collected from the beginning on.
pub struct Trail(JoinHandle<Result<Vec<Record>>>);

impl Trail {
    /// Follows the trail of the helper with this control socket until the helper ends.
    pub fn follow(control: &Path) -> Result<Self> {
        let trail = Control::new(PathBuf::from(control), Duration::from_secs(60)).follow()?;
        Ok(Self(thread::spawn(move || {
            trail
                .map(|told| match told? {
                    Told::Record(record) => Ok(*record),
                    Told::Lost(count) => bail!("{count} records were lost"),
                })
                .collect()
        })))
    }

    /// The helper has ended: all its records.
    pub fn records(self) -> Result<Vec<Record>> {
        self.0.join().ok().context("the trail cannot be read")?
    }

    /// The helper has ended: the trail has what one guest sent, in order, and nothing else.
    pub fn expect(self, guest: &str, disk: &Path, sent: &[Sent]) -> Result<()> {
        let records = self.records()?;
        let disk = disk.file_name().context("a disk without a name")?.to_string_lossy();
        for (number, sent) in sent.iter().enumerate() {
            let record = records.get(number).with_context(|| format!("there is no record of {sent:x?}"))?;
            let What::Command { device, command, outcome, .. } = &record.what else { bail!("{sent:x?}: {record}") };
            let key = |key: Option<u64>| key.map(|key| format!("{key:#x}"));
            ensure!(
                command.action == sent.action
                    && command.key == key(sent.key)
                    && command.service_action_key == key(sent.service_action_key)
                    && outcome.status == sent.status,
                "the guest sent {sent:x?}, the trail has {record}"
            );
            ensure!(record.client.vm.as_deref() == Some(guest), "{record} does not name the guest {guest}");
            ensure!(device.name.as_deref() == Some(&*disk), "{record} does not name the disk {disk}");
            ensure!(device.wwid.is_some(), "{record} has no WWID");
        }
        match records.get(sent.len()) {
            None => Ok(()),
            Some(invented) => bail!("nobody sent {invented}"),
        }
    }
}
