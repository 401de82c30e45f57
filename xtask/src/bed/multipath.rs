//! What a root needs beyond the others for dm-multipath: multipathd and mpathpersist, and udev, without which no disk has
//! a name that multipathd would know it by.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::image::Root;

/// Programs, each at the path where the packages have it, which is where the udev rules look for it.
const PROGRAMS: &[&str] =
    &["sbin/multipathd", "sbin/multipath", "sbin/mpathpersist", "sbin/kpartx", "bin/udevadm", "lib/udev/scsi_id"];

/// The path checkers and prioritizers, which multipathd and mpathpersist open at run time.
const PLUGINS: &str = "lib/multipath";

const RULES: &str = "lib/udev/rules.d";

/// Adds it all.
pub fn add(root: &mut Root, packages: &Path) -> Result<()> {
    for program in PROGRAMS {
        root.program(&packages.join(program), program)?;
    }
    for plugin in names(&packages.join(PLUGINS))? {
        let path = format!("{PLUGINS}/{plugin}");
        root.program(&packages.join(&path), &path)?;
    }
    for rule in names(&packages.join(RULES))? {
        let path = format!("{RULES}/{rule}");
        root.copy(&packages.join(&path), &path)?;
    }
    Ok(())
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().into_string().ok().context("a file's name is not UTF-8")?);
    }
    Ok(names)
}
