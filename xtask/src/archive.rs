//! `cargo xtask dist --packages`: what is given to users. A Debian package, a tarball for everybody else, and checksums.
//!
//! The same source makes the same bytes: no file carries the time of the build.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::tools;
use crate::workspace::{cargo, output, root, run, target};

/// The programs, each a package of the workspace.
const PROGRAMS: [&str; 2] = ["qemu-pr-helper", "qemu-pr-ctl"];

/// What the tarball has besides, by its path in the workspace.
const BESIDES: &[&str] = &[
    "docs/man",
    "docs/completions",
    "packaging/systemd",
    "README.md",
    "CHANGELOG.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
];

/// What is as old as nothing else: 1980.
const LONG_AGO: &str = "315532800";

/// Makes all of it and says where it is.
pub fn run_all() -> Result<bool> {
    let mut files = [deb()?, tarball()?];
    files.sort();
    let folder = folder()?;
    let names: Vec<_> = files.iter().filter_map(|file| file.file_name()).collect();
    let sums = output(Command::new("sha256sum").args(&names).current_dir(&folder))?;
    fs::write(folder.join("SHA256SUMS"), &sums)?;
    print!("{}:\n{sums}", folder.display());
    Ok(true)
}

/// Makes the Debian package and returns its path.
pub fn deb() -> Result<PathBuf> {
    build()?;
    let folder = folder()?;
    // Last year's version must not be taken for this one.
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            fs::remove_file(path)?;
        }
    }
    let mut command = tools::cargo_deb()?;
    command.args(["--quiet", "--package", "qemu-pr-helper", "--no-build", "--no-strip", "--output"]).arg(&folder);
    output(command.env("SOURCE_DATE_EPOCH", epoch()))?;
    let mut made = fs::read_dir(&folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let deb = made.find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    deb.context("cargo-deb made no package")
}

/// Makes the tarball and returns its path.
fn tarball() -> Result<PathBuf> {
    build()?;
    let name = format!("qemu-pr-helper-{}-{}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let stage = folder()?.join(&name);
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    fs::create_dir_all(stage.join("bin"))?;
    for program in PROGRAMS {
        fs::copy(target().join("release").join(program), stage.join("bin").join(program))?;
    }
    for path in BESIDES {
        let to = stage.join(path).parent().map(Path::to_owned).context("a path without a folder")?;
        fs::create_dir_all(&to)?;
        run(Command::new("cp").arg("-r").arg(root().join(path)).arg(to))?;
    }
    let tarball = folder()?.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u+w,go=rX", "--mtime"]);
    tar.arg(format!("@{}", epoch())).args(["--use-compress-program", "gzip -9n", "--create", "--file"]);
    run(tar.arg(&tarball).arg("-C").arg(folder()?).arg(&name))?;
    fs::remove_dir_all(stage)?;
    Ok(tarball)
}

fn build() -> Result<()> {
    let packages = PROGRAMS.iter().flat_map(|program| ["--package", *program]);
    run(cargo().args(["build", "--quiet", "--release", "--locked"]).args(packages))
}

fn folder() -> Result<PathBuf> {
    let folder = target().join("dist");
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    Ok(folder)
}

/// The moment that stands in the archives (<https://reproducible-builds.org/specs/source-date-epoch/>): the builder's
/// choice, or that of the last change.
fn epoch() -> String {
    let last_change = || output(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(root()));
    let epoch = std::env::var("SOURCE_DATE_EPOCH").ok().or_else(|| last_change().ok());
    epoch.map_or_else(|| LONG_AGO.to_owned(), |epoch| epoch.trim().to_owned())
}
