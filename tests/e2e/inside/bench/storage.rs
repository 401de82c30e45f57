//! The storage of the machine that measures maps: LUNs behind four iSCSI target ports, each of which the machine logs in
//! to once, and device-mapper devices that have nothing to do with them.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pr_measure::multipath::PATHS;

use crate::lun::{self, TARGET, put};
use crate::multipath::services::{self, Multipathd};
use crate::node::Node;
use crate::report::remark;
use crate::wait;

const INITIATOR: &str = "iqn.2024-01.test.bed:host";
const PORT: &str = "3260";

/// udev and multipathd look at every disk, one after the other. A machine that is silent for longer is given up.
const PATIENCE: Duration = Duration::from_secs(550);

/// As it is shipped, as far as that goes for a LUN without target port groups.
const CONFIGURATION: &str = r"
defaults {
    find_multipaths no
    user_friendly_names yes
    reservation_key file
    path_grouping_policy multibus
    path_checker tur
    detect_checker no
    prio const
    detect_prio no
    skip_kpartx yes
    no_path_retry fail
}
";

/// udev looks anew at each disk that somebody has closed who could have written to it. In a turn that is every path; a
/// guest keeps its disk open.
const RULES: &str = "SUBSYSTEM==\"block\", OPTIONS+=\"nowatch\"\n";

/// A map and its paths.
pub struct Map {
    pub map: Node,
    pub paths: Vec<Node>,
}

/// All of it.
pub struct Storage {
    luns: usize,
    /// It ends with this.
    multipathd: Multipathd,
}

impl Storage {
    /// Makes one LUN with its map.
    pub fn set_up() -> Result<Self> {
        lun::run("ip", &["link", "set", "lo", "up"])?;
        lun::mount_configfs()?;
        fs::create_dir_all("/etc/udev/rules.d")?;
        fs::write("/etc/udev/rules.d/99-measuring.rules", RULES)?;
        services::start_udev()?;
        let mut this = Self { luns: 0, multipathd: Multipathd::start(CONFIGURATION)? };
        for number in 0..PATHS {
            let group = portal_group(number);
            fs::create_dir_all(group.join("np").join(format!("{}:{PORT}", address(number))))?;
            for (attribute, value) in
                [("generate_node_acls", "1"), ("demo_mode_write_protect", "0"), ("authentication", "0")]
            {
                put(&group.join("attrib").join(attribute), value)?;
            }
            put(&group.join("enable"), "1")?;
        }
        this.make_luns(1)?;
        for number in 0..PATHS {
            let (target, address) = (target(number), address(number));
            lun::run("iscsistart", &["-i", INITIATOR, "-t", &target, "-g", "1", "-a", &address, "-p", PORT])?;
        }
        this.settle()?;
        Ok(this)
    }

    /// So many LUNs in all, each with its map.
    pub fn grow(&mut self, luns: usize) -> Result<()> {
        // It would make each map as soon as there is a path, and again with each further one, and udev looks at all of
        // that. When it starts later it makes each map once, as when a host boots.
        self.multipathd.kill()?;
        self.make_luns(luns)?;
        for host in fs::read_dir("/sys/class/scsi_host")? {
            put(&host?.path().join("scan"), "- - -")?;
        }
        let wanted = luns * usize::try_from(PATHS)?;
        patiently("every disk", || Ok(disks()? == wanted))?;
        settle_udev()?;
        remark(&format!("{wanted} disks"));
        self.multipathd.start_again()?;
        self.settle()
    }

    fn make_luns(&mut self, luns: usize) -> Result<()> {
        for number in self.luns..luns {
            // The kernel's own target makes the LUN's identifier of the hexadecimal digits in this, and puts zeros behind
            // them: one map would have the paths of disk1, disk10 and disk100.
            let backstore = lun::backstore(&format!("disk{number:04}"))?;
            for path in 0..PATHS {
                // The target has something of its own to say at number 0.
                lun::link(&portal_group(path).join("lun").join(format!("lun_{}", number + 1)), &backstore)?;
            }
        }
        self.luns = self.luns.max(luns);
        Ok(())
    }

    /// Waits until every map has all of its paths, and nobody has anything left to do or to report.
    fn settle(&self) -> Result<()> {
        patiently("every map with all of its paths", || {
            let maps = maps()?;
            let paths = usize::try_from(PATHS)?;
            Ok(maps.len() == self.luns && maps.iter().all(|map| map.paths.len() == paths))
        })?;
        settle_udev()?;
        for map in maps()? {
            for path in &map.paths {
                path.settle()?;
            }
        }
        Ok(())
    }
}

/// Looks now and then whether something has come about.
fn patiently(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    wait::until(what, PATIENCE, || {
        if is_so()? {
            return Ok(Some(()));
        }
        // Looking takes time that others need.
        std::thread::sleep(Duration::from_millis(500));
        Ok(None)
    })
}

/// Waits until udev has nothing left to do.
fn settle_udev() -> Result<()> {
    lun::run("/bin/udevadm", &["settle", &format!("--timeout={}", PATIENCE.as_secs())])
}

fn disks() -> Result<usize> {
    let names = fs::read_dir("/sys/block")?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter(|name| name.starts_with("sd")).count())
}

/// The maps with their paths, the oldest first.
pub fn maps() -> Result<Vec<Map>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/block")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let Some(number) = name.strip_prefix("dm-").and_then(|number| number.parse::<u32>().ok()) else { continue };
        let folder = Path::new("/sys/block").join(&name);
        if !fs::read_to_string(folder.join("dm/uuid"))?.starts_with("mpath-") {
            continue;
        }
        let mut paths = Vec::new();
        for path in fs::read_dir(folder.join("slaves"))? {
            paths.push(Path::new("/dev").join(path?.file_name()));
        }
        paths.sort();
        found.push((
            number,
            Map { map: Node::new(Path::new("/dev").join(name)), paths: paths.into_iter().map(Node::new).collect() },
        ));
    }
    found.sort_by_key(|(number, _)| *number);
    Ok(found.into_iter().map(|(_, map)| map).collect())
}

/// How many device-mapper devices there are.
pub fn devices() -> Result<usize> {
    let names = fs::read_dir("/sys/block")?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter(|name| name.starts_with("dm-")).count())
}

/// Makes device-mapper devices that are no maps, until there are so many in all.
pub fn fill_up(wanted: usize) -> Result<()> {
    let first = devices()?;
    let lines: Vec<String> = (first..wanted).map(|number| format!("other{number},,,rw,0 8 zero")).collect();
    if lines.is_empty() {
        return Ok(());
    }
    let list = "/run/devices";
    File::create(list)?.write_all(lines.join(";").as_bytes())?;
    let status = Command::new("/sbin/dmsetup")
        // udev is waited for once, when all of them are there.
        .args(["create", "--concise", "--noudevsync"])
        .stdin(File::open(list)?)
        .stdout(Stdio::null())
        .status()
        .context("dmsetup cannot be started")?;
    ensure!(status.success(), "dmsetup ended with {status}");
    settle_udev()?;
    let there = devices()?;
    ensure!(there == wanted, "{there} device-mapper devices where {wanted} were due");
    Ok(())
}

fn address(path: u32) -> String {
    format!("127.0.1.{}", path + 1)
}

fn target(path: u32) -> String {
    format!("iqn.2024-01.test.bed:bench-{path}")
}

fn portal_group(path: u32) -> PathBuf {
    Path::new(TARGET).join("iscsi").join(target(path)).join("tpgt_1")
}
