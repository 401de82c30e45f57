//! The Debian package: what Debian's policy asks for and cargo-deb does not make, and a look at what became of it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use pr_dev::packages;
use pr_dev::workspace::{output, run};

use super::{Build, epoch};

/// Its name.
const NAME: &str = "qemu-pr-helper-rs";

/// Adds what is missing to a package: Debian's changelog, and the checksums of its files.
pub fn finish(package: &Path) -> Result<()> {
    let stage = tempfile::tempdir()?;
    let tree = stage.path().join("tree");
    output(Command::new("dpkg-deb").arg("--raw-extract").arg(package).arg(&tree))?;
    let news = tree.join("usr/share/doc").join(NAME).join("changelog.Debian");
    fs::write(&news, changelog(package)?)?;
    run(Command::new("gzip").arg("-9n").arg(&news))?;
    fs::write(tree.join("DEBIAN/md5sums"), sums(&tree)?)?;
    // What is new has this process' mask otherwise.
    for (path, mode) in [
        (tree.clone(), 0o755),
        (tree.join("DEBIAN"), 0o755),
        (tree.join("DEBIAN/md5sums"), 0o644),
        (news.with_extension("Debian.gz"), 0o644),
    ] {
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    // Files that are new are as old as the others then.
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "--build"]).arg(&tree).arg(package);
    output(build.env("SOURCE_DATE_EPOCH", epoch())).map(drop)
}

/// What the packaging has changed: nothing, in the first revision of a release.
fn changelog(package: &Path) -> Result<String> {
    let (version, maintainer) = (field(package, "Version")?, field(package, "Maintainer")?);
    let date = output(Command::new("date").args(["--utc", "--rfc-email", "--date"]).arg(format!("@{}", epoch())))?;
    Ok(format!(
        "{NAME} ({version}) unstable; urgency=medium\n\n  * What is new in this release is in changelog.gz.\n\n \
         -- {maintainer}  {}\n",
        date.trim()
    ))
}

/// A field of the package's control file.
fn field(package: &Path, name: &str) -> Result<String> {
    Ok(output(Command::new("dpkg-deb").arg("--field").arg(package).arg(name))?.trim().to_owned())
}

/// The checksums, as `md5sum` writes them.
fn sums(tree: &Path) -> Result<String> {
    let list = "find * -path DEBIAN -prune -o -type f -print0 | LC_ALL=C sort --zero-terminated | xargs --null md5sum";
    output(Command::new("sh").args(["-c", list]).current_dir(tree))
}

/// The package has what the licences of others ask for, and what tells what is in it; and Debian's own critic has
/// nothing to say.
pub fn check(build: Build, package: &Path) -> Result<()> {
    let architecture = field(package, "Architecture")?;
    ensure!(architecture == build.0.debian(), "{} is for {architecture}", package.display());
    let depends = field(package, "Depends")?;
    for library in ["libc6 (>= 2.34)", "libgcc-s1"] {
        ensure!(depends.contains(library), "{} depends on {depends} and not on {library}", package.display());
    }
    let files = output(Command::new("dpkg-deb").arg("--contents").arg(package))?;
    for paper in ["copyright", "THIRD-PARTY", build.notice()?, "sbom.cdx.json"] {
        let path = format!("./usr/share/doc/{NAME}/{paper}");
        ensure!(files.lines().any(|line| line.ends_with(&path)), "{} lacks {path}", package.display());
    }
    packages::install_missing(&[packages::FOR_DEB])?;
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--display-info", "--pedantic", "--tag-display-limit", "0"]);
    // What is overridden has its reason in packaging/debian/lintian-overrides. Whether machine code reads like a word is
    // chance, so an override may have nothing to do.
    lintian.args(["--suppress-tags", "unused-override"]);
    run(lintian.args(["--fail-on", "error,warning,info,pedantic"]).arg(package))
}
