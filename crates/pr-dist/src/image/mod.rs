//! `cargo xtask image`: the container image for KubeVirt's nodes, made without a container engine, and tried.
//!
//! A Debian is put together by mmdebstrap and finished by the script that the Containerfile runs as well. What becomes of
//! it is an archive in the layout of the Open Container Initiative, which any engine loads.

mod oci;
mod pod;
pub mod podman;
mod serve;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use pr_dev::packages;
use pr_dev::workspace::{output, root, target};

use crate::archive;

/// What is made and what is done with it.
#[derive(clap::Args)]
pub struct Options {
    /// Which Debian it is made of
    #[arg(long, default_value = SUITE)]
    pub suite: String,
    /// Run the DaemonSet's command line in the image and be its client
    #[arg(long)]
    pub serve: bool,
}

/// Debian 13, as in the Containerfile.
pub const SUITE: &str = "trixie";

/// What the image is made from, beside the Debian package.
const FILES: [&str; 3] = ["install", "entrypoint.sh", "wait-for-helper.sh"];

/// Makes the image and says where it is.
pub fn run(options: &Options) -> Result<bool> {
    let tree = tree(&options.suite)?;
    let image = write(&tree)?;
    print!("{}", output(Command::new("sha256sum").arg(&image))?);
    if options.serve { serve::run(&tree) } else { Ok(true) }
}

/// Makes the image, of the release that the Containerfile has, and returns the path of its archive.
pub fn archive() -> Result<PathBuf> {
    write(&tree(SUITE)?)
}

fn write(tree: &Path) -> Result<PathBuf> {
    let image = folder()?.join(format!("qemu-pr-helper-{}-oci.tar", env!("CARGO_PKG_VERSION")));
    oci::write(tree, &image)?;
    Ok(image)
}

fn folder() -> Result<PathBuf> {
    let folder = target().join("image");
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    Ok(folder)
}

/// Makes the image's files, as one archive, and returns its path.
fn tree(suite: &str) -> Result<PathBuf> {
    packages::install_missing(&[packages::FOR_IMAGE])?;
    let to = folder()?.join("root.tar");
    let stage = tempfile::tempdir()?;
    let stage = stage.path();
    for file in FILES {
        fs::copy(root().join("packaging/container").join(file), stage.join(file))?;
    }
    let deb = archive::deb()?;
    fs::copy(&deb, stage.join(deb.file_name().context("a package without a name")?))?;

    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--mode=root", "--variant=minbase", "--skip=output/dev"]);
    for kind in ["doc", "info", "locale", "man", "groff", "lintian", "linda"] {
        command.arg(format!("--dpkgopt=path-exclude=/usr/share/{kind}/*"));
    }
    command.arg("--dpkgopt=path-include=/usr/share/doc/*/copyright");
    command.arg("--dpkgopt=path-include=/usr/share/doc/qemu-pr-helper-rs/*");
    command.arg(format!("--customize-hook=cp -r {} \"$1\"/tmp/pr", stage.display()));
    command.arg("--customize-hook=chroot \"$1\" /tmp/pr/install");
    // The name of this machine, and how it finds others.
    command.arg("--customize-hook=rm -f \"$1\"/etc/hostname \"$1\"/etc/resolv.conf");
    command.env("SOURCE_DATE_EPOCH", archive::epoch());
    let _ = fs::remove_file(&to);
    println!("making a Debian {suite} (some minutes)");
    output(command.arg(suite).arg(&to))?;
    Ok(to)
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    #[test]
    fn the_containerfile_makes_the_same_of_the_same() {
        let containerfile = fs::read_to_string(root().join("packaging/container/Containerfile")).unwrap();
        for line in [
            format!("ARG SUITE={SUITE}"),
            format!("COPY qemu-pr-helper-rs_*.deb {} /tmp/pr/", FILES.join(" ")),
            "RUN /tmp/pr/install".to_owned(),
            format!("ENTRYPOINT [\"{}\"]", oci::ENTRYPOINT),
        ] {
            assert!(containerfile.lines().any(|found| found == line), "the Containerfile lacks: {line}");
        }
    }
}
