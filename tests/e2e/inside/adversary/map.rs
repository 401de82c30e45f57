//! The map over the array's paths, as device-mapper has it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::array::{Array, PATHS};
use super::disk::{Disk, Held, Who};
use super::family;
use crate::lun;
use crate::multipath::port::Port;
use crate::multipath::services::{self, Multipathd};
use crate::wait;

pub const MAP: &str = "mpatha";

/// How long everything may take that is bound to happen.
pub const SETTLE: Duration = Duration::from_secs(60);

/// multipathd takes the host's disks, and nobody else's. Two priorities, as the two target port groups have them.
const CONFIGURATION: &str = r#"
defaults {
    find_multipaths no
    user_friendly_names yes
    reservation_key file
    polling_interval 1
    max_polling_interval 1
}
overrides {
    path_grouping_policy group_by_prio
    path_checker tur
    detect_checker no
    detect_prio no
    prio alua
    failback immediate
    no_path_retry fail
}
blacklist {
    devnode "^sd[e-h]$"
}
"#;

/// What multipathd has of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The key that it gives to paths that come back.
    key: Option<u64>,
    /// Whether it does.
    registers: bool,
    /// Whether the map holds a reservation, as far as that is known; releases before 0.13 do not.
    holds: Option<bool>,
}

impl Known {
    /// What it has to have after a deed of the guest. Who of several holds what all registrants hold the target decides, and
    /// what the other node has released the guest does not know.
    pub fn of(before: &Disk, disk: &Disk) -> Self {
        let is_guests = |held: Held| !held.by_all() && held.by == Who::Guest;
        let holds = match (before.held, disk.held) {
            (_, Some(held)) if is_guests(held) => Some(true),
            (Some(held), None) if is_guests(held) => Some(false),
            _ => None,
        };
        Self { key: disk.guest, registers: disk.guest.is_some(), holds }
    }

    pub fn agrees(&self, due: &Self) -> bool {
        let holds = self.holds.zip(due.holds).is_none_or(|(is, due)| is == due);
        (self.key, self.registers) == (due.key, due.registers) && holds
    }
}

/// The map and the daemon that looks after it.
pub struct Map {
    pub port: Port,
    pub multipathd: Multipathd,
    sysfs: PathBuf,
}

impl Map {
    /// Starts udev and multipathd; the array comes next.
    pub fn prepare() -> Result<Multipathd> {
        services::start_udev()?;
        Multipathd::start(CONFIGURATION)
    }

    /// Waits for the map.
    pub fn over(array: &Array, multipathd: Multipathd) -> Result<Self> {
        services::settle_udev()?;
        let place = Path::new("/dev/mapper").join(MAP);
        wait::until("the map", SETTLE, || Ok(place.exists().then_some(())))?;
        let name = fs::canonicalize(&place)?;
        let sysfs = Path::new("/sys/block").join(name.file_name().context("a map has a name")?);
        let this = Self { port: Port::open(&place)?, multipathd, sysfs };
        Self::wait_for(array, [true; PATHS], SETTLE)?;
        Ok(this)
    }

    pub fn is_suspended(&self) -> Result<bool> {
        Ok(fs::read_to_string(self.sysfs.join("dm/suspended"))?.trim() == "1")
    }

    /// Resumes it if somebody has left it suspended. multipathd suspends it for a moment when it changes its table.
    pub fn resume(&self) -> Result<()> {
        let goes_on = || Ok((!self.is_suspended()?).then_some(()));
        if wait::until("the map to go on", Duration::from_secs(3), goes_on).is_ok() {
            return Ok(());
        }
        lun::run("/sbin/dmsetup", &["resume", MAP])
    }

    /// Which paths it uses: those that are there and that device-mapper does not take for failed.
    pub fn active(array: &Array) -> Result<[bool; PATHS]> {
        let status = status()?;
        let mut active = [false; PATHS];
        for (number, path) in array.paths.iter().enumerate() {
            let Some(path) = path else { continue };
            let number_of = path.number()?;
            active[number] =
                status.split_whitespace().skip_while(|word| *word != number_of).nth(1).is_some_and(|mark| mark == "A");
        }
        Ok(active)
    }

    /// Whether it has a path that is none of the array's: a disk that was removed and found again under another number, while
    /// multipathd, which would have taken it out of the map, did not look.
    pub fn has_another(array: &Array) -> Result<bool> {
        let mut known = Vec::new();
        for path in array.paths.iter().flatten() {
            known.push(path.number()?);
        }
        let status = status()?;
        let is_number = |word: &&str| {
            word.split_once(':')
                .is_some_and(|(major, minor)| major.parse::<u32>().is_ok() && minor.parse::<u32>().is_ok())
        };
        Ok(status.split_whitespace().filter(is_number).any(|word| known.iter().all(|number| number != word)))
    }

    /// What multipathd has of the map; nothing where it does not answer.
    pub fn known() -> Result<Option<Known>> {
        let ask = |question: &str| services::tell(&format!("{question} map {MAP}"));
        let [Ok(key), Ok(registers), Ok(holds)] = ["getprkey", "getprstatus", "getprhold"].map(ask) else {
            return Ok(None);
        };
        let is_set = |answer: &str| match answer.trim() {
            "set" | "1" => Some(true),
            "unset" | "0" => Some(false),
            _ => None,
        };
        // A word may follow for a registration that outlives a loss of power.
        let digits = key.trim().split(':').next().and_then(|key| key.strip_prefix("0x"));
        ensure!(digits.is_some() || key.trim() == "none", "getprkey: {key}");
        let key = digits.map(|digits| u64::from_str_radix(digits, 16)).transpose()?;
        let registers = is_set(&registers).with_context(|| format!("getprstatus: {registers}"))?;
        Ok(Some(Known { key, registers, holds: is_set(&holds) }))
    }

    pub fn wait_for(array: &Array, wanted: [bool; PATHS], limit: Duration) -> Result<()> {
        let mut last = [false; PATHS];
        let result = wait::until(&format!("the map's paths to be {wanted:?}"), limit, || {
            last = Self::active(array)?;
            if last != wanted {
                std::thread::sleep(Duration::from_millis(50));
            }
            Ok((last == wanted).then_some(()))
        });
        result.with_context(|| {
            let paths = services::tell("show paths").unwrap_or_default();
            // Udev has to have looked at a path before multipathd takes it.
            let waiting = family::waiting(|name| name.contains("udev"));
            format!("they are {last:?}; {}; {paths}; {waiting}", status().unwrap_or_default().trim())
        })
    }
}

fn status() -> Result<String> {
    let output = Command::new("/sbin/dmsetup").args(["status", MAP]).output()?;
    ensure!(output.status.success(), "dmsetup: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The device-mapper devices that are suspended, as sysfs has it, which waits for nobody.
pub fn suspended() -> String {
    let mut names = Vec::new();
    for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        let is_suspended = fs::read_to_string(entry.path().join("dm/suspended")).is_ok_and(|text| text.trim() == "1");
        if is_suspended {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
