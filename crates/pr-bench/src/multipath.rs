//! `cargo xtask bench --multipath`: this daemon on dm-multipath maps, beside the C helper built with multipath, in a
//! virtual machine with the kernel's own target, udev and multipathd.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, ensure};
use e2e::Maps;
use pr_dev::packages;
use pr_measure::multipath::{AGAIN, Command, DEVICES, FIRST, MEMORY, MEMORY_EACH, PATHS, PROCESSOR};
use pr_measure::subject::{OURS, THEIRS};
use pr_measure::turn::Sample;

use super::figure::{Figure, find, rows};
use super::maps::{DEVICES_IN_ALL, MAPS, RATIOS, devices_row, ratio_row};
use super::page::Report;
use super::{goals, machine};

/// How often all subjects have their turns, and each command in a turn.
type Amount = (usize, usize);

const THOROUGH: Amount = (3, 5);
const QUICK: Amount = (1, 3);

/// What the page says of a ratio's row.
const RATIO: &str = "One guest, one command after the other; within a round.";

/// Measures in the machine.
pub fn measure(ours: &Path, quick: bool) -> Result<Report> {
    let amount = if quick { QUICK } else { THOROUGH };
    let many = Maps::Many { maps: MAPS, devices: DEVICES_IN_ALL };
    let figures = figures(measure_in(ours, many, amount)?);
    let mut machine = machine::description(1);
    machine.insert("kernel of the emulated machine", Maps::One.kernel()?);
    machine.insert("kernel of User Mode Linux", many.kernel()?);
    Ok(Report {
        title: "This daemon and the C helper on dm-multipath maps".to_owned(),
        machine,
        method: method(amount),
        subjects: vec![OURS.to_owned(), THEIRS.to_owned()],
        compared: vec![(OURS.to_owned(), THEIRS.to_owned())],
        verdicts: goals::judge(&figures),
        figures,
        calls: BTreeMap::new(),
        plots: Vec::new(),
    })
}

fn measure_in(ours: &Path, many: Maps, amount: Amount) -> Result<Vec<Sample>> {
    packages::install_missing(&[packages::FOR_BEDS])?;
    let theirs = e2e::c_helper::program()?;
    let subjects: [(&str, &Path); 2] = [(OURS, ours), (THEIRS, &theirs)];
    let mut samples = Vec::new();
    for what in [Maps::One, many] {
        samples.append(&mut e2e::measure_on_maps(&subjects, what, amount)?);
    }
    Ok(samples)
}

/// Whether all of this still works, in a size that says nothing of speed.
pub fn works() -> Result<bool> {
    let figures = figures(measure_in(&e2e::our_helper()?, Maps::Many { maps: 3, devices: 10 }, (1, 1))?);
    for row in Command::ALL.map(Command::row).into_iter().chain([PROCESSOR, DEVICES, FIRST, AGAIN, MEMORY]) {
        ensure!(figures.iter().any(|figure| figure.row == row && figure.median(OURS).is_some()), "no row {row}");
    }
    for row in [Command::Register.row(), DEVICES, FIRST, AGAIN] {
        ensure!(
            figures.iter().any(|figure| figure.row == row && figure.median(THEIRS).is_some()),
            "no {THEIRS}: {row}"
        );
    }
    Ok(true)
}

fn unit(row: &str) -> &'static str {
    match row {
        FIRST | AGAIN => "ms",
        MEMORY | MEMORY_EACH => "kB",
        _ => "µs",
    }
}

/// The figures, row by row, with the ratios of maps and paths in front.
fn figures(samples: Vec<Sample>) -> Vec<Figure> {
    let mut figures: Vec<Figure> = Vec::new();
    for Sample { row, load, subject, value } in samples {
        let place = figures.iter().position(|figure| figure.row == row && figure.load == Some(load));
        let place = place.unwrap_or_else(|| {
            figures.push(Figure::new(&row, Some(load), unit(&row)));
            figures.len() - 1
        });
        figures[place].push(&subject, value);
    }
    let mut all: Vec<Figure> = RATIOS
        .iter()
        .filter_map(|command| over(&figures, command.row(), (PATHS, 1), &ratio_row(*command)))
        .chain(over(&figures, DEVICES, (DEVICES_IN_ALL, 1), &devices_row()))
        .collect();
    // What belongs together stands together, whatever came in between.
    for row in rows(&figures) {
        all.extend(figures.iter().filter(|figure| figure.row == row).cloned());
    }
    all
}

/// A row at one load over the same row at another, round by round.
fn over(figures: &[Figure], row: &str, (load, reference): (u32, u32), name: &str) -> Option<Figure> {
    let (above, below) = (find(figures, row, Some(load))?, find(figures, row, Some(reference))?);
    let mut figure = Figure { note: Some(RATIO.to_owned()), ..Figure::new(name, None, "times") };
    for subject in [OURS, THEIRS] {
        for (above, below) in above.values(subject).iter().zip(below.values(subject)) {
            figure.push(subject, above / below);
        }
    }
    Some(figure)
}

fn method((rounds, cycles): Amount) -> String {
    format!(
        "Made by `cargo xtask bench --multipath`. LUNs of the kernel's own target (LIO), each behind {PATHS} iSCSI target \
         ports on the loopback interface, with udev and multipathd 0.9.4, which polls as it does by default. {rounds} \
         interleaved rounds (A B B A); values are medians. \"{THEIRS}\" is QEMU 7.2's, built with multipath from Debian's \
         source package; what it does not answer with GOOD has no figure.\n\n\
         The rows of one guest are measured in an emulated machine with one processor, whose clock counts its \
         instructions, a nanosecond each, whatever else the host does: ratios are what to look at. In a turn the guest \
         registers, reads, registers again, reserves, preempts its own key, releases and unregisters, {cycles} times: on \
         one path, as on a disk without multipath (the load is 1), and on the map of {PATHS} paths. What counts is what \
         the guest waits for. The processor time is that of all of the helper's processes, with what the kernel does for \
         them, for all seven commands; multipathd's is not in it.\n\n\
         The rows of many devices and many maps are measured on User Mode Linux with one processor, a process of a host \
         that does other things as well: ratios in one run are what to look at. {MAPS} maps have a LUN each; other \
         device-mapper devices (`zero`) are there as well until there are {DEVICES_IN_ALL} in all. multipathd is started \
         when all disks are there, and udev does not look again at a disk that was open for writing, which here are all of \
         them in each turn."
    )
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;
    use crate::maps::{limits, load_name};

    fn sample(row: &str, load: u32, subject: &str, value: f64) -> Sample {
        Sample { row: row.to_owned(), load, subject: subject.to_owned(), value }
    }

    #[test]
    fn a_map_is_held_against_one_of_its_paths_in_the_same_round() {
        let row = Command::Register.row();
        let figures = figures(vec![
            sample(row, 1, OURS, 100.0),
            sample(row, PATHS, OURS, 400.0),
            sample(row, 1, THEIRS, 100.0),
            sample(row, PATHS, THEIRS, 5000.0),
            sample(row, 1, OURS, 200.0),
            sample(row, PATHS, OURS, 1200.0),
        ]);
        let ratio = find(&figures, &ratio_row(Command::Register), None).expect("a ratio");
        assert_eq!((ratio.values(OURS), ratio.values(THEIRS)), (&[4.0, 6.0][..], &[50.0][..]));
        assert_eq!(rows(&figures), [ratio_row(Command::Register).as_str(), row]);
        let verdicts = goals::judge(&figures);
        assert_eq!((verdicts.len(), verdicts[0].held), (1, true));
    }

    #[test]
    fn every_limit_is_about_a_row_that_is_measured() {
        let mut samples = Vec::new();
        for command in Command::ALL {
            samples.extend([1, PATHS].map(|load| sample(command.row(), load, OURS, 1.0)));
        }
        samples.extend([1, DEVICES_IN_ALL].map(|load| sample(DEVICES, load, OURS, 1.0)));
        samples.push(sample(AGAIN, MAPS, OURS, 1.0));
        let figures = figures(samples);
        for (row, load, _) in limits() {
            assert!(find(&figures, &row, load).is_some(), "{row}");
        }
        assert_eq!(load_name(Command::ReadKeys.row()), Some("paths"));
        assert_eq!(load_name("PR IN"), None);
    }
}
