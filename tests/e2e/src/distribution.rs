//! A whole Debian as a disk. It is made once, kept, and never written to by a machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use pr_dev::workspace::{output, target};

/// What makes a file system of a directory; directory, file and size follow.
const MKE2FS: [&str; 7] = ["/sbin/mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d"];

/// What a machine that nobody logs in to does without.
pub const DOCUMENTATION: &[&str] = &["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*"];

/// What one consists of.
pub struct Recipe<'a> {
    /// What its files are called.
    pub name: &'a str,
    /// Debian's release.
    pub release: &'a str,
    pub packages: &'a [&'a str],
    /// Room for it all and for what a run writes.
    pub size: &'a str,
    /// What is not unpacked (`dpkg`'s `path-exclude`).
    pub excludes: &'a [&'a str],
    /// Commands that are run when it is installed; `$1` is its root.
    pub hooks: &'a [&'a str],
    /// What the distribution does not bring: everything that `add` writes, as one text.
    pub additions: &'a str,
    /// Writes it to a directory.
    pub add: fn(&Path) -> Result<()>,
}

impl Recipe<'_> {
    /// Makes the disk, if it is not there or was made by another recipe.
    pub fn disk(&self) -> Result<PathBuf> {
        let Self { name, release, packages, size, excludes, hooks, additions, add } = self;
        let folder = target().join("bed");
        let disk = folder.join(format!("{name}.img"));
        let marker = folder.join(format!("{name}.recipe"));
        let recipe = format!("{release} {packages:?} {size} {excludes:?} {hooks:?}\n{additions}");
        if disk.exists() && fs::read_to_string(&marker).is_ok_and(|made| made == recipe) {
            return Ok(disk);
        }
        println!("making the Debian of the bed {name} (some minutes, once)");
        let _ = fs::remove_file(&marker);
        let _ = fs::remove_file(&disk);
        let (added, stage) = (folder.join(format!("{name}.additions")), folder.join(format!("{name}.stage")));
        for old in [&added, &stage] {
            let _ = fs::remove_dir_all(old);
        }
        fs::create_dir_all(&added)?;
        add(&added)?;
        let added = fs::canonicalize(&added).with_context(|| format!("{} is gone", added.display()))?;
        let mut command = Command::new("mmdebstrap");
        command.args(["--quiet", "--variant=minbase", "--format=null", "--dpkgopt=force-unsafe-io"]);
        // Testing is signed for a week. A mirror may be older, and a clock may be wrong.
        command.arg("--aptopt=Acquire::Check-Valid-Until \"false\"");
        command.args(excludes.iter().map(|path| format!("--dpkgopt=path-exclude={path}")));
        command.arg(format!("--include={}", packages.join(",")));
        command.arg(format!("--customize-hook=cp -a {}/. \"$1\"/", added.display()));
        command.args(hooks.iter().map(|hook| format!("--customize-hook={hook}")));
        // As whoever mmdebstrap is inside: the files' owners are right only there. What is mounted there stays out of it.
        command.arg(format!("--customize-hook=cp -ax \"$1\"/. {}", stage.display()));
        let (mke2fs, stage) = (MKE2FS.join(" "), stage.display());
        command.arg(format!("--customize-hook={mke2fs} {stage} {} {size} && rm -r {stage}", disk.display()));
        output(command.args([release, "-"]))?;
        fs::remove_dir_all(added)?;
        fs::write(marker, recipe)?;
        Ok(disk)
    }
}

/// Makes a disk of a directory, which goes.
pub fn ext4(stage: &Path, to: &Path, size: &str) -> Result<()> {
    let _ = fs::remove_file(to);
    let [program, options @ ..] = MKE2FS;
    output(Command::new(program).args(options).arg(stage).arg(to).arg(size))?;
    Ok(fs::remove_dir_all(stage)?)
}
