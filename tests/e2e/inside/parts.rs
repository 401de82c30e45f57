//! Parts of a disk: what the kernel sends to the whole disk, and what the helper does not.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use scsi_persistent_reservations::{InAction, SenseCode};

use crate::helper::{Helper, through};
use crate::lun;
use crate::node::Node;
use crate::report::Report;
use crate::request::Request;
use crate::wait;

const KEY: u64 = 0x9a27;

/// The disk and a second one in sectors, and where its partition lies.
const SECTORS: u32 = 32768;
const FIRST: u32 = 2048;
const LENGTH: u32 = 8192;

pub fn run(report: &mut Report, reference: bool) -> Result<()> {
    let group = lun::nexus(3)?;
    fs::write("/run/parts.img", disk_with_a_partition())?;
    let disk = lun::attach(&group, 0, &lun::backstore("parts")?)?;
    let other = lun::attach(&group, 1, &lun::backstore("other")?)?;
    // The second is news to the first.
    disk.settle()?;
    let partition = partition_of(&disk)?;
    let [disk_path, other_path] = [&disk, &other].map(|node| node.path().display().to_string());
    let volume = Mapped::create("volume", &format!("0 {LENGTH} linear {disk_path} {FIRST}"))?;
    let whole = Mapped::create("whole", &format!("0 {SECTORS} linear {disk_path} 0"))?;
    let two = format!("0 {LENGTH} linear {disk_path} 0\n{LENGTH} {LENGTH} linear {other_path} 0");
    let two = Mapped::create("two", &two)?;
    let parts = [("a partition", &partition), ("a volume", &volume.node)];

    for (name, part) in parts {
        report.check(&format!("the kernel sends a change of {name} to the whole disk"), || {
            part.directly(&Request::register(0, KEY))?.good()?;
            ensure!(keys(&disk)? == [KEY], "the disk has not heard of it");
            disk.directly(&Request::register(KEY, 0))?.good().map(drop)
        });
    }
    let helper = Helper::start("parts", &[])?;
    for (name, part) in parts {
        let refused = || {
            let answer = through(&mut helper.client()?, part.open()?, &Request::register(0, KEY))?;
            let keys = keys(&disk)?;
            disk.directly(&Request::register_anyhow(0))?.good()?;
            ensure!(keys.is_empty(), "the helper answers {answer}, and the disk has the key {keys:#x?}");
            answer.check_condition(SenseCode::INVALID_OPERATION_CODE)
        };
        let what = format!("a change of {name} does not reach the disk");
        if reference {
            report.show(&what, refused);
        } else {
            report.check(&what, refused);
        }
        report.check(&format!("{name} can be asked"), || {
            through(&mut helper.client()?, part.open()?, &Request::read(InAction::ReadKeys))?.keys().map(drop)
        });
    }
    report.check("a volume that has all of a disk is that disk", || {
        through(&mut helper.client()?, whole.node.open()?, &Request::register(0, KEY))?.good()?;
        ensure!(keys(&disk)? == [KEY], "the disk has not heard of it");
        through(&mut helper.client()?, whole.node.open()?, &Request::register(KEY, 0))?.good().map(drop)
    });
    // The reference says what makes a guest try again.
    if !reference {
        report.check("a volume on two disks has no reservations", || {
            for request in [Request::read(InAction::ReadKeys), Request::register(0, KEY)] {
                let answer = through(&mut helper.client()?, two.node.open()?, &request)?;
                answer.check_condition(SenseCode::INVALID_OPERATION_CODE)?;
            }
            Ok(())
        });
    }
    helper.stop()?;
    if !reference {
        allowed(report, &disk, &parts)?;
    }
    Ok(())
}

/// With the setting that allows it.
fn allowed(report: &mut Report, disk: &Node, parts: &[(&str, &Node)]) -> Result<()> {
    let settings = "/run/parts.toml";
    fs::write(settings, "[devices]\nparts = \"allow\"\n")?;
    let helper = Helper::start("parts-allowed", &["--config", settings])?;
    for (name, part) in parts {
        report.check(&format!("a change of {name} reaches the disk if the settings say so"), || {
            through(&mut helper.client()?, part.open()?, &Request::register(0, KEY))?.good()?;
            ensure!(keys(disk)? == [KEY], "the disk has not heard of it");
            through(&mut helper.client()?, part.open()?, &Request::register(KEY, 0))?.good().map(drop)
        });
    }
    helper.stop()
}

fn keys(disk: &Node) -> Result<Vec<u64>> {
    disk.directly(&Request::read(InAction::ReadKeys))?.keys()
}

/// A disk with one partition, in the format of MS-DOS.
fn disk_with_a_partition() -> Vec<u8> {
    const ENTRY: usize = 446;
    const LINUX: u8 = 0x83;
    let mut disk = vec![0; SECTORS as usize * 512];
    disk[ENTRY + 4] = LINUX;
    disk[ENTRY + 8..ENTRY + 12].copy_from_slice(&FIRST.to_le_bytes());
    disk[ENTRY + 12..ENTRY + 16].copy_from_slice(&LENGTH.to_le_bytes());
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk
}

fn partition_of(disk: &Node) -> Result<Node> {
    let partition = PathBuf::from(format!("{}1", disk.path().display()));
    wait::until("the partition", Duration::from_secs(30), || Ok(fs::exists(&partition)?.then_some(())))?;
    Ok(Node::new(partition))
}

/// A device of device-mapper's, which goes with this value.
struct Mapped {
    name: &'static str,
    node: Node,
}

impl Mapped {
    fn create(name: &'static str, table: &str) -> Result<Self> {
        lun::run("dmsetup", &["create", name, "--table", table])?;
        // Without udev, nobody makes /dev/mapper/NAME.
        let entries = fs::read_dir("/sys/block")?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        let is_it = |path: &&PathBuf| fs::read_to_string(path.join("dm/name")).is_ok_and(|text| text.trim() == name);
        let path = entries.iter().find(is_it).with_context(|| format!("sysfs does not have {name}"))?;
        let file_name = path.file_name().context("it has a name")?;
        Ok(Self { name, node: Node::new(Path::new("/dev").join(file_name)) })
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // If it stays, the checks behind this one say so.
        let _ = lun::run("dmsetup", &["remove", self.name]);
    }
}
