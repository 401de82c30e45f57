//! What holds for the programs in every package.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use pr_dev::arch;
use pr_dev::workspace::{output, root, target};

use super::{Build, PROGRAMS, cargo_home};

/// The C library of the oldest systems that packages are made for: RHEL 9's. Debian 12 and all others have newer ones.
const OLDEST: [u32; 2] = [2, 34];

/// They run, they run elsewhere, and they do not tell where they were built.
pub fn programs(build: Build) -> Result<()> {
    for program in PROGRAMS {
        let path = build.built(program);
        let machine = arch::elf_machine(&path)?;
        ensure!(machine == build.0.elf().0, "{} is for machine {machine}, not {}", path.display(), build.0.target());
        let version = output(arch::start(build.0, &path)?.arg("--version"))?;
        let start = format!("{program} {}", env!("CARGO_PKG_VERSION"));
        ensure!(version.starts_with(&start), "{} says {version}", path.display());

        let content = fs::read(&path)?;
        let newest = newest_glibc(&content).context("a program without a C library")?;
        ensure!(newest <= OLDEST, "{program} needs glibc {newest:?}, and RHEL 9 has {OLDEST:?}: what asks for more?");

        let here = [fs::canonicalize(root())?, fs::canonicalize(target())?, fs::canonicalize(cargo_home()?)?];
        let here = here.iter().filter_map(|path| path.to_str());
        for place in here {
            let told = content.windows(place.len()).any(|bytes| bytes == place.as_bytes());
            ensure!(!told, "{program} tells that it was built in {place}");
        }
    }
    Ok(())
}

/// The newest version of the C library that a program asks for. The names are in its string table.
fn newest_glibc(program: &[u8]) -> Option<[u32; 2]> {
    let starts = program.windows(6).enumerate().filter(|(_, bytes)| bytes == b"GLIBC_").map(|(at, _)| at + 6);
    let versions = starts.filter_map(|at| {
        let text = program[at..].split(|byte| *byte == 0).next()?;
        let mut numbers = std::str::from_utf8(text).ok()?.split('.').map(str::parse);
        Some([numbers.next()?.ok()?, numbers.next()?.ok()?])
    });
    versions.max()
}
