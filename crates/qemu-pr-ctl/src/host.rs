//! Where this runs, for a page that goes into a support case.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::fs::{major, minor};

/// The kernel's release.
pub fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// Vendor, model and revision of a SCSI disk.
pub fn disk(device: &Path) -> Option<String> {
    let name = fs::canonicalize(device).ok()?;
    let folder = Path::new("/sys/class/block").join(name.file_name()?).join("device");
    let parts = ["vendor", "model", "rev"].map(|name| fs::read_to_string(folder.join(name)).unwrap_or_default());
    let parts: Vec<&str> = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty()).collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

/// How many paths a multipath map has; `None` for anything else.
pub fn paths(device: &Path) -> Option<usize> {
    let meta = fs::metadata(device).ok()?;
    let number = meta.file_type().is_block_device().then(|| meta.rdev())?;
    paths_of(&Path::new("/sys/dev/block").join(format!("{}:{}", major(number), minor(number))))
}

fn paths_of(device: &Path) -> Option<usize> {
    let uuid = fs::read_to_string(device.join("dm/uuid")).ok()?;
    let slaves = fs::read_dir(device.join("slaves")).ok()?;
    uuid.starts_with("mpath-").then(|| slaves.flatten().count())
}

/// The time, UTC, as in `2026-01-31T12:00:00Z`.
pub fn now() -> String {
    time(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

fn time(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// The date so many days after 1970-01-01. Years are counted from March, so that the leap day is the last one.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multipath_map_is_known_by_its_uuid() {
        let sysfs = tempfile::tempdir().expect("a directory");
        for (device, uuid, slaves) in [("map", "mpath-36001\n", 2), ("volume", "LVM-abc\n", 1)] {
            let folder = sysfs.path().join(device);
            fs::create_dir_all(folder.join("dm")).expect("a directory");
            fs::write(folder.join("dm/uuid"), uuid).expect("a file");
            for slave in 0..slaves {
                fs::create_dir_all(folder.join(format!("slaves/sd{slave}"))).expect("a directory");
            }
        }
        let paths = |device: &str| paths_of(&sysfs.path().join(device));
        assert_eq!((paths("map"), paths("volume"), paths("disk")), (Some(2), None, None));
        assert_eq!(super::paths(sysfs.path()), None);
    }

    #[test]
    fn seconds_become_dates() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
        ] {
            assert_eq!(time(seconds), expected);
        }
    }
}
