//! The beds that measure: the first bed's kernel and LUN, or maps of four paths, and several helpers that take turns.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use pr_dev::workspace::target;
use pr_measure::turn::{Rounds, Sample};

use crate::kernel::Version;
use crate::kind::{Amount, Kind};
use crate::machine::{Chosen, Start};
use crate::programs::build_driver;
use crate::{image, start, uml, vm};

/// Boots a machine with the subjects in it (their names and programs), lets them serve so many connections at a time, and
/// returns what each turn came to.
///
/// # Errors
/// Whatever keeps the machine from being built or booted, and a subject that does not do its work there.
pub fn measure(subjects: &[(&str, &Path)], connections: &[u32], rounds: Rounds) -> Result<Vec<Sample>> {
    let connections: Vec<String> = connections.iter().map(u32::to_string).collect();
    let words = format!("{} {} {}", rounds.count, rounds.slice.as_millis(), connections.join(","));
    // An emulated machine has a clock that counts instructions.
    boot(Kind::Bench, Chosen::Tcg(Version::Debian12), subjects, &words)
}

/// What is measured on maps, and in which machine.
#[derive(Clone, Copy, Debug)]
pub enum Maps {
    /// One map and one of its paths, on an emulated machine: its clock counts instructions.
    One,
    /// On so many maps at once, beside so many device-mapper devices in all, on User Mode Linux: all of these are made in
    /// a minute there.
    Many {
        /// How many maps.
        maps: u32,
        /// How many devices, the maps among them.
        devices: u32,
    },
}

impl Maps {
    const fn machine(self) -> Chosen {
        match self {
            Maps::One => Chosen::Tcg(Version::Debian12),
            Maps::Many { .. } => Chosen::Uml,
        }
    }

    /// What the kernel there calls itself.
    ///
    /// # Errors
    /// It cannot be fetched.
    pub fn kernel(self) -> Result<String> {
        Ok(start::kernel(self.machine())?.release())
    }
}

/// The same on maps of iSCSI paths: in so many rounds, each command so many times in a turn.
///
/// # Errors
/// As for [`measure`].
pub fn measure_on_maps(
    subjects: &[(&str, &Path)],
    what: Maps,
    (rounds, cycles): (usize, usize),
) -> Result<Vec<Sample>> {
    let (maps, devices) = match what {
        Maps::One => (1, 1),
        Maps::Many { maps, devices } => (maps, devices),
    };
    boot(Kind::BenchMultipath, what.machine(), subjects, &format!("{rounds} {cycles} {maps} {devices}"))
}

fn boot(kind: Kind, machine: Chosen, subjects: &[(&str, &Path)], words: &str) -> Result<Vec<Sample>> {
    let driver = build_driver()?;
    let kernel = start::kernel(machine)?;
    let name = format!("{}-{}", kind.word(), std::process::id());
    let [image, console] = ["cpio", "console"].map(|ending| target().join("bed").join(format!("{name}.{ending}")));
    let programs: Vec<&Path> = subjects.iter().map(|(_, program)| *program).collect();
    let names: Vec<String> = subjects.iter().map(|(name, _)| format!("'{name}'")).collect();
    let words = format!("{words} {}", names.join(" "));
    image::write_to_measure(&image, kind, &kernel, &driver, &programs, &words)?;
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
    uml::clean_up(&console)?;
    fs::remove_file(&image)?;
    fs::remove_file(&console)?;
    ensure!(machine != Chosen::Uml || heard.started, "User Mode Linux does not start here: {}", heard.last_words);
    ensure!(heard.tally.succeeded(), "the helpers do not do the same work there: {}", heard.tally);
    Ok(heard.samples)
}
