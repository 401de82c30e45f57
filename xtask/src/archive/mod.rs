//! `cargo xtask dist --packages`: what is given to users. A Debian package, an RPM package, a tarball for everybody else,
//! a bill of materials and checksums.
//!
//! The same source makes the same bytes, wherever it lies: no file carries the time or the place of the build.

mod bom;
mod check;
mod crates;
mod notices;
mod rpm;
mod twice;

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::manual;
use crate::tools;
use crate::workspace::{cargo, output, root, run, target};

pub use twice::run as run_twice;

/// The programs, each a package of the workspace.
const PROGRAMS: [&str; 2] = ["qemu-pr-helper", "qemu-pr-ctl"];

/// What the tarball has besides, by its path in the workspace.
const BESIDES: &[&str] = &[
    "docs/man",
    "docs/completions",
    "docs/manual",
    "packaging/systemd",
    "packaging/sysusers",
    "packaging/qemu-pr-helper.toml",
    "README.md",
    "CHANGELOG.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
];

/// What is as old as nothing else: 1980.
const LONG_AGO: &str = "315532800";

/// What is written about the programs, beside them: the packages take it from there.
const PAPERS: &str = "papers";

/// Makes all of it, looks at it, and says where it is.
pub fn run_all() -> Result<bool> {
    build()?;
    let folder = folder()?;
    // Last year's version must not be taken for this one.
    fs::remove_dir_all(&folder)?;
    fs::create_dir_all(&folder)?;
    let bom = folder.join(format!("qemu-pr-helper-{}.cdx.json", env!("CARGO_PKG_VERSION")));
    fs::copy(papers().join("sbom.cdx.json"), &bom)?;
    let packages = [make_deb()?, rpm::make()?, tarball()?];
    check::programs()?;
    check::deb(&packages[0])?;
    rpm::check(&packages[1])?;
    let mut files = packages.to_vec();
    files.push(bom);
    files.sort();
    let names: Vec<_> = files.iter().filter_map(|file| file.file_name()).collect();
    let sums = output(Command::new("sha256sum").args(&names).current_dir(&folder))?;
    fs::write(folder.join("SHA256SUMS"), &sums)?;
    print!("{}:\n{sums}", folder.display());
    Ok(true)
}

/// Makes the Debian package and returns its path.
pub fn deb() -> Result<PathBuf> {
    build()?;
    make_deb()
}

fn make_deb() -> Result<PathBuf> {
    let folder = folder()?;
    remove_ending(&folder, "deb")?;
    let mut command = tools::cargo_deb()?;
    command.args(["--quiet", "--package", "qemu-pr-helper", "--no-build", "--no-strip", "--output"]).arg(&folder);
    output(command.env("SOURCE_DATE_EPOCH", epoch()).env("CARGO_TARGET_DIR", own_target()))?;
    the_one_ending(&folder, "deb")
}

/// Makes the tarball and returns its path.
fn tarball() -> Result<PathBuf> {
    let name = format!("qemu-pr-helper-{}-{}", env!("CARGO_PKG_VERSION"), env::consts::ARCH);
    let stage = folder()?.join(&name);
    fs::create_dir_all(stage.join("bin"))?;
    for program in PROGRAMS {
        fs::copy(built(program), stage.join("bin").join(program))?;
    }
    for path in BESIDES {
        let to = stage.join(path).parent().map(Path::to_owned).context("a path without a folder")?;
        fs::create_dir_all(&to)?;
        run(Command::new("cp").arg("-r").arg(root().join(path)).arg(to))?;
    }
    run(Command::new("cp").arg("-r").arg(papers()).arg(stage.join("docs")))?;
    run(Command::new("cp").arg("-r").arg(manual::build()?).arg(stage.join("docs/manual")))?;
    let tarball = folder()?.join(format!("{name}.tar.gz"));
    run(tar(&tarball).args(["--use-compress-program", "gzip -9n"]).arg("-C").arg(folder()?).arg(&name))?;
    fs::remove_dir_all(stage)?;
    Ok(tarball)
}

/// `tar`, with a new archive that tells nothing of the machine that it was made on.
pub fn tar(archive: &Path) -> Command {
    let mut tar = Command::new("tar");
    tar.args(["--format=gnu", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u+w,go=rX"]);
    tar.arg(format!("--mtime=@{}", epoch())).arg("--create").arg("--file").arg(archive);
    tar
}

/// Builds the programs, and writes what is to be said about them.
fn build() -> Result<()> {
    let packages = PROGRAMS.iter().flat_map(|program| ["--package", *program]);
    let mut command = cargo();
    command.args(["build", "--quiet", "--release", "--locked"]).args(packages).env("CARGO_TARGET_DIR", own_target());
    run(command.env("CARGO_ENCODED_RUSTFLAGS", flags()?))?;
    fs::create_dir_all(papers())?;
    let crates = crates::all()?;
    fs::write(papers().join("THIRD-PARTY"), notices::text(&crates)?)?;
    fs::write(papers().join("sbom.cdx.json"), bom::document(&crates)?)?;
    fs::copy(notices::of_the_standard_library()?, papers().join("rust-standard-library.html"))?;
    Ok(())
}

/// The bill of materials, as it is in every package.
pub fn bill_of_materials() -> Result<String> {
    bom::document(&crates::all()?)
}

/// The compiler's options: those that are asked for, and names instead of this machine's folders. Errors that a program
/// cannot mend name a line of the source, and nobody needs to know where that lay.
fn flags() -> Result<OsString> {
    let mut flags: Vec<OsString> = match env::var_os("CARGO_ENCODED_RUSTFLAGS") {
        Some(encoded) => vec![encoded],
        None => env::var("RUSTFLAGS").unwrap_or_default().split_whitespace().map(Into::into).collect(),
    };
    for (folder, name) in [(root(), "/source"), (own_target(), "/target"), (cargo_home()?, "/cargo")] {
        fs::create_dir_all(&folder)?;
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(fs::canonicalize(folder)?);
        flag.push("=");
        flag.push(name);
        flags.push(flag);
    }
    Ok(flags.join(OsStr::new("\x1f")))
}

/// Where Cargo keeps the sources of others.
fn cargo_home() -> Result<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo"))).context("HOME is not set")
}

/// What is shipped is built for itself: with other options than what is tested and measured all day.
fn own_target() -> PathBuf {
    target().join("shipped")
}

fn built(program: &str) -> PathBuf {
    own_target().join("release").join(program)
}

fn papers() -> PathBuf {
    own_target().join("release").join(PAPERS)
}

fn folder() -> Result<PathBuf> {
    let folder = target().join("dist");
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    Ok(folder)
}

fn remove_ending(folder: &Path, ending: &str) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == ending) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn the_one_ending(folder: &Path, ending: &str) -> Result<PathBuf> {
    let mut made = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let package = made.find(|path| path.extension().is_some_and(|extension| extension == ending));
    package.with_context(|| format!("no .{ending} was made in {}", folder.display()))
}

/// The moment that stands in the archives (<https://reproducible-builds.org/specs/source-date-epoch/>): the builder's
/// choice, or that of the last change.
pub fn epoch() -> String {
    let last_change = || output(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(root()));
    let epoch = env::var("SOURCE_DATE_EPOCH").ok().or_else(|| last_change().ok());
    epoch.map_or_else(|| LONG_AGO.to_owned(), |epoch| epoch.trim().to_owned())
}

/// The same in words, as JSON formats want it.
pub fn moment() -> Result<String> {
    let moment = output(Command::new("date").args(["-u", "+%FT%TZ", "-d"]).arg(format!("@{}", epoch())))?;
    Ok(moment.trim().to_owned())
}
