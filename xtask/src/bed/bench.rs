//! The bed that measures: the first bed's kernel and LUN, and several helpers that take turns on it.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use measure::turn::{Rounds, Sample};

use super::kernel::Version;
use super::machine::{Chosen, Start};
use super::{Amount, Kind, build_driver, image, vm};
use crate::workspace::target;

/// Boots a machine with the subjects in it (their names and programs), lets them serve so many connections at a time, and
/// returns what each turn came to.
///
/// # Errors
/// Whatever keeps the machine from being built or booted, and a subject that does not do its work there.
pub fn measure(subjects: &[(&str, &Path)], connections: &[u32], rounds: Rounds) -> Result<Vec<Sample>> {
    let driver = build_driver()?;
    // An emulated machine has a clock that counts instructions.
    let machine = Chosen::Tcg(Version::Debian12);
    let kernel = machine.kernel()?;
    let name = format!("{}-{}", Kind::Bench.word(), std::process::id());
    let [image, console] = ["cpio", "console"].map(|ending| target().join("bed").join(format!("{name}.{ending}")));
    let programs: Vec<&Path> = subjects.iter().map(|(_, program)| *program).collect();
    let names: Vec<String> = subjects.iter().map(|(name, _)| format!("'{name}'")).collect();
    let connections: Vec<String> = connections.iter().map(u32::to_string).collect();
    let slice = rounds.slice.as_millis();
    let words = format!("{} {slice} {} {}", rounds.count, connections.join(","), names.join(" "));
    image::write_to_measure(&image, &kernel, &driver, &programs, &words)?;
    let kind = Kind::Bench;
    let start = Start {
        kind,
        part: "",
        amount: Amount::Short,
        machine,
        kernel: &kernel,
        image: &image,
        disks: &[],
        beside: 1,
        console: &console,
    };
    let heard = vm::boot(&start, false, None)?;
    fs::remove_file(&image)?;
    fs::remove_file(&console)?;
    ensure!(heard.tally.succeeded(), "the helpers do not do the same work on a LUN: {}", heard.tally);
    Ok(heard.samples)
}
