//! `cargo xtask dist --packages`: what is given to users. A Debian package, an RPM package, a tarball for everybody else,
//! a bill of materials and checksums.
//!
//! The same source makes the same bytes, wherever it lies: no file carries the time or the place of the build.

mod bom;
mod check;
mod crates;
mod deb;
mod notices;
mod rpm;
mod twice;

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use pr_dev::arch::{self, Name};
use pr_dev::tools;
use pr_dev::workspace::{output, root, run, target};

use crate::manual;

pub use twice::run as run_twice;

/// The programs, each a package of the workspace.
const PROGRAMS: [&str; 3] = ["qemu-pr-helper", "qemu-pr-ctl", "qemu-pr-exporter"];

/// What the tarball has besides, by its path in the workspace.
const BESIDES: &[&str] = &[
    "docs/man",
    "docs/completions",
    "docs/manual",
    "packaging/selinux",
    "packaging/systemd",
    "packaging/apparmor",
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

/// Makes all of it for these architectures, this machine's if none is named, looks at it, and says where it is.
pub fn run_all(names: &[Name]) -> Result<bool> {
    let host = Name::host()?;
    let names = if names.is_empty() { &[host] } else { names };
    let folder = folder()?;
    // Last year's version must not be taken for this one.
    fs::remove_dir_all(&folder)?;
    fs::create_dir_all(&folder)?;
    let mut files = Vec::new();
    for name in names {
        let build = Build(*name);
        build.run()?;
        let suffix = if *name == host { String::new() } else { format!("-{}", name.elf().1) };
        let bom = folder.join(format!("qemu-pr-helper-{}{suffix}.cdx.json", env!("CARGO_PKG_VERSION")));
        fs::copy(build.papers().join("sbom.cdx.json"), &bom)?;
        let packages = [build.deb()?, rpm::make(build)?, build.tarball()?];
        check::programs(build)?;
        deb::check(build, &packages[0])?;
        rpm::check(build, &packages[1])?;
        files.extend(packages);
        files.push(bom);
    }
    files.sort();
    let names: Vec<_> = files.iter().filter_map(|file| file.file_name()).collect();
    let sums = output(Command::new("sha256sum").args(&names).current_dir(&folder))?;
    fs::write(folder.join("SHA256SUMS"), &sums)?;
    print!("{}:\n{sums}", folder.display());
    Ok(true)
}

/// Makes the Debian package for this machine and returns its path.
pub fn deb() -> Result<PathBuf> {
    let build = Build(Name::host()?);
    build.run()?;
    build.deb()
}

/// Makes the RPM package for this machine and returns its path.
pub fn rpm() -> Result<PathBuf> {
    let build = Build(Name::host()?);
    build.run()?;
    rpm::make(build)
}

/// The programs for an architecture, and what is made of them.
#[derive(Clone, Copy)]
struct Build(Name);

impl Build {
    /// Whether they are another machine's.
    fn is_foreign(self) -> Result<bool> {
        Ok(self.0 != Name::host()?)
    }

    /// Builds the programs, and writes what is to be said about them.
    fn run(self) -> Result<()> {
        let packages = PROGRAMS.iter().flat_map(|program| ["--package", *program]);
        let mut command = arch::cargo_for(self.0)?;
        command.args(["build", "--quiet", "--release", "--locked"]).args(packages);
        command.env("CARGO_TARGET_DIR", own_target());
        run(command.env("CARGO_ENCODED_RUSTFLAGS", flags()?))?;
        for program in PROGRAMS {
            run(self.strip()?.arg("--remove-section=.comment").arg(self.built(program)))?;
        }
        fs::create_dir_all(self.papers())?;
        let crates = crates::all(self.0.target())?;
        fs::write(self.papers().join("THIRD-PARTY"), notices::text(&crates)?)?;
        fs::write(self.papers().join("sbom.cdx.json"), bom::document(&crates)?)?;
        let notice = if self.is_foreign()? {
            arch::standard_library_notice(self.0)?
        } else {
            notices::of_the_standard_library()?
        };
        fs::copy(notice, self.papers().join(self.notice()?))?;
        Ok(())
    }

    /// What takes parts out of a program that only name the compilers.
    fn strip(self) -> Result<Command> {
        Ok(if self.is_foreign()? { Command::new(format!("{}-strip", self.0.gnu())) } else { Command::new("strip") })
    }

    /// What the notice of the standard library is called: rustup's is a page, Debian's is text.
    fn notice(self) -> Result<&'static str> {
        Ok(if self.is_foreign()? { "rust-standard-library.txt" } else { "rust-standard-library.html" })
    }

    /// Where Cargo and its tools look for the programs.
    fn release(self) -> PathBuf {
        let is_foreign = self.is_foreign().unwrap_or(false);
        let target = own_target();
        if is_foreign { target.join(self.0.target()) } else { target }.join("release")
    }

    fn built(self, program: &str) -> PathBuf {
        self.release().join(program)
    }

    fn papers(self) -> PathBuf {
        self.release().join(PAPERS)
    }

    /// How Cargo's tools are told about it.
    fn target(self) -> Result<Vec<&'static str>> {
        Ok(if self.is_foreign()? { vec!["--target", self.0.target()] } else { Vec::new() })
    }

    /// Has a tool make a package, whose name it chooses, and returns its path.
    fn make(self, mut tool: Command, ending: &str) -> Result<PathBuf> {
        let stage = folder()?.join(self.0.debian());
        fs::create_dir_all(&stage)?;
        tool.args(self.target()?).arg("--output").arg(&stage);
        output(tool.env("SOURCE_DATE_EPOCH", epoch()).env("CARGO_TARGET_DIR", own_target()))?;
        let made = the_one_ending(&stage, ending)?;
        let package = folder()?.join(made.file_name().context("a package without a name")?);
        fs::rename(made, &package)?;
        fs::remove_dir_all(stage)?;
        Ok(package)
    }

    /// Makes the Debian package and returns its path.
    fn deb(self) -> Result<PathBuf> {
        let mut command = tools::cargo_deb()?;
        command.args(["--quiet", "--package", "qemu-pr-helper", "--no-build", "--no-strip"]);
        let package = self.make(command, "deb")?;
        deb::finish(&package)?;
        Ok(package)
    }

    /// Makes the tarball and returns its path.
    fn tarball(self) -> Result<PathBuf> {
        let name = format!("qemu-pr-helper-{}-{}", env!("CARGO_PKG_VERSION"), self.0.elf().1);
        let stage = folder()?.join(&name);
        fs::create_dir_all(stage.join("bin"))?;
        for program in PROGRAMS {
            fs::copy(self.built(program), stage.join("bin").join(program))?;
        }
        for path in BESIDES {
            let to = stage.join(path).parent().map(Path::to_owned).context("a path without a folder")?;
            fs::create_dir_all(&to)?;
            run(Command::new("cp").arg("-r").arg(root().join(path)).arg(to))?;
        }
        run(Command::new("cp").arg("-r").arg(self.papers()).arg(stage.join("docs")))?;
        run(Command::new("cp").arg("-r").arg(manual::build()?).arg(stage.join("docs/manual")))?;
        let tarball = folder()?.join(format!("{name}.tar.gz"));
        run(tar(&tarball).args(["--use-compress-program", "gzip -9n"]).arg("-C").arg(folder()?).arg(&name))?;
        fs::remove_dir_all(stage)?;
        Ok(tarball)
    }
}

/// `tar`, with a new archive that tells nothing of the machine that it was made on.
pub fn tar(archive: &Path) -> Command {
    let mut tar = Command::new("tar");
    tar.args(["--format=gnu", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u+w,go=rX"]);
    tar.arg(format!("--mtime=@{}", epoch())).arg("--create").arg("--file").arg(archive);
    tar
}

/// The bill of materials, as it is in every package.
pub fn bill_of_materials() -> Result<String> {
    bom::document(&crates::all(Name::host()?.target())?)
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

fn folder() -> Result<PathBuf> {
    let folder = target().join("dist");
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    Ok(folder)
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
