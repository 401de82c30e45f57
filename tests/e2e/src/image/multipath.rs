//! What a root needs beyond the others for dm-multipath: multipathd and mpathpersist, and udev, without which no disk has
//! a name that multipathd would know it by.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Root;

/// Programs, each at the path where the packages have it, which is where the udev rules look for it.
const PROGRAMS: &[&str] =
    &["sbin/multipathd", "sbin/multipath", "sbin/mpathpersist", "sbin/kpartx", "bin/udevadm", "lib/udev/scsi_id"];

/// The path checkers and prioritizers, which multipathd and mpathpersist open at run time.
const PLUGINS: &str = "lib/multipath";

const RULES: &str = "lib/udev/rules.d";

/// Adds it all. In newer suites `/lib` is a link to `/usr/lib`: what is opened by its path is there by both.
pub fn add(root: &mut Root, packages: &Path) -> Result<()> {
    for program in PROGRAMS {
        root.program(&find(packages, program)?, program)?;
    }
    for plugin in names(&find(packages, PLUGINS)?)? {
        let path = format!("{PLUGINS}/{plugin}");
        root.program(&find(packages, &path)?, &path)?;
        root.copy(&find(packages, &path)?, &format!("usr/{path}"))?;
    }
    for rule in names(&find(packages, RULES)?)? {
        let path = format!("{RULES}/{rule}");
        root.copy(&find(packages, &path)?, &path)?;
        root.copy(&find(packages, &path)?, &format!("usr/{path}"))?;
    }
    Ok(())
}

/// A file of the packages, as an old suite has it or as a newer one.
pub fn find(packages: &Path, path: &str) -> Result<PathBuf> {
    let places = [packages.join(path), packages.join("usr").join(path)];
    places.into_iter().find(|place| place.exists()).with_context(|| format!("no package has {path}"))
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().into_string().ok().context("a file's name is not UTF-8")?);
    }
    Ok(names)
}
