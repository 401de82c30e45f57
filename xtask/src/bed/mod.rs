//! A bed is a virtual machine with a real SCSI stack, booted only to try one helper in it.
//!
//! This half builds the machine's root image, boots it, and listens. What happens in the machine is the second program
//! of this package, `bed-inside`, under `src/inside`.

mod bench;
mod cpio;
pub mod foreign;
mod host;
mod image;
mod kernel;
mod machine;
mod multipath;
mod uml;
mod vm;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::workspace::{cargo, run as run_command, target};

pub use bench::measure;
pub use kernel::Version;
pub use machine::Name as Machine;
pub use vm::Tally;

/// Debian's own helper, against which a bed shows that it is right itself.
pub const REFERENCE: &str = "/usr/bin/qemu-pr-helper";

/// What the first process says before the driver program begins.
const STARTED: &str = "started";

/// Which machine to boot.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Two initiators of one LUN, without a guest
    Kernel,
    /// The same LUN, shared by the machine and a QEMU guest inside it
    Guest,
    /// One LUN as a dm-multipath map over two paths, with udev and multipathd, and a third initiator beside it
    Multipath,
    /// That map, passed through to a QEMU guest
    MultipathGuest,
    /// A whole Debian with systemd and libvirt, this project's package installed on it, and two guests
    Host,
    /// The same Debian, on which somebody who has just got the package follows the manual, word for word
    Manual,
    /// The LUN of the first bed, on which `cargo xtask bench` measures
    #[value(skip)]
    Bench,
}

impl Kind {
    /// The word that names the bed on a command line, here and inside the machine.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Kernel => "kernel",
            Kind::Guest => "guest",
            Kind::Multipath => "multipath",
            Kind::MultipathGuest => "multipath-guest",
            Kind::Host => "host",
            Kind::Manual => "manual",
            Kind::Bench => "bench",
        }
    }

    /// Whether a guest boots inside.
    pub fn has_guest(self) -> bool {
        matches!(self, Kind::Guest | Kind::MultipathGuest | Kind::Host | Kind::Manual)
    }

    /// Whether it is a whole distribution, on which packages are installed.
    pub fn is_distribution(self) -> bool {
        matches!(self, Kind::Host | Kind::Manual)
    }

    /// Whether multipathd looks after a map.
    pub fn has_multipath(self) -> bool {
        matches!(self, Kind::Multipath | Kind::MultipathGuest)
    }
}

/// How a run is shown and what it leaves behind.
#[derive(Default)]
pub struct Options {
    /// Keep the root image and the console log.
    pub keep: bool,
    /// Print the story for a reader, and of the checks only those that fail.
    pub story: bool,
    /// The kind of machine [default: User Mode Linux where it can do the work and starts, otherwise an emulated one].
    pub machine: Option<Machine>,
    /// The kernel of an emulated machine [default: Debian 12's].
    pub kernel: Option<Version>,
}

/// Boots the bed with a helper in it and shows every check as it is made.
///
/// # Errors
/// Whatever keeps the bed from being built or booted. A check that fails is not an error: it is in the tally.
pub fn run(kind: Kind, helper: Option<&Path>, options: &Options) -> Result<Tally> {
    let is_given = helper.is_some();
    let helper = match helper {
        Some(path) => fs::canonicalize(path).with_context(|| format!("the helper {} is not there", path.display()))?,
        None => our_helper()?,
    };
    let reference = helper == Path::new(REFERENCE);
    ensure!(
        !kind.is_distribution() || !is_given || (reference && kind == Kind::Host),
        "this bed installs this project's package; Debian's helper has the bed host --helper {REFERENCE}"
    );
    build_driver()?;
    run_command(cargo().args(["build", "--quiet", "--release", "--package", "qemu-pr-ctl"]))?;
    let machine = machine::Machine::choose(kind, options)?;
    match attempt(kind, machine, &helper, options) {
        Ok(Some(tally)) => Ok(tally),
        Ok(None) => {
            println!("User Mode Linux does not start on this host; taking an emulated machine, which is slow");
            let machine = machine::Machine::Tcg(Version::default());
            attempt(kind, machine, &helper, options)?.context("the machine cannot be started")
        }
        Err(error) => Err(error),
    }
}

/// Boots one machine; nothing is returned if it does not start and another kind is worth a try.
fn attempt(kind: Kind, machine: machine::Machine, helper: &Path, options: &Options) -> Result<Option<Tally>> {
    let kernel = machine.kernel()?;
    let reference = helper == Path::new(REFERENCE);
    let place = target().join("bed");
    let name = format!("{}-{}", kind.word(), std::process::id());
    let image = place.join(format!("{name}.cpio"));
    let console = place.join(format!("{name}.console"));
    let disks = if kind.is_distribution() {
        host::write(&image, kind, &kernel, reference)?
    } else {
        image::write(&image, kind, &kernel, helper, reference)?;
        Vec::new()
    };

    if !options.story {
        println!("bed {} with {}, on {machine}", kind.word(), helper.display());
    }
    let started = Instant::now();
    let heard = vm::boot(kind, machine, &kernel, &image, &disks, &console, options.story)?;
    if !options.story && heard.started {
        println!("{}, {} s", heard.tally, started.elapsed().as_secs());
    }
    uml::clean_up(&image)?;
    if options.keep {
        println!("kept {} and {}", image.display(), console.display());
    } else {
        fs::remove_file(&image)?;
        fs::remove_file(&console)?;
        for disk in disks.iter().filter(|disk| disk.temporary) {
            fs::remove_file(&disk.path)?;
        }
    }
    Ok(heard.started.then_some(heard.tally))
}

/// The program inside.
fn build_driver() -> Result<()> {
    run_command(cargo().args(["build", "--quiet", "--release", "--package", "xtask", "--bin", "bed-inside"]))
}

/// The word that tells the program inside which helper it has.
fn whose(reference: bool) -> &'static str {
    if reference { "reference" } else { "ours" }
}

/// This project's helper, built as it would be shipped.
pub fn our_helper() -> Result<PathBuf> {
    run_command(cargo().args(["build", "--quiet", "--release", "--package", "qemu-pr-helper"]))?;
    Ok(target().join("release/qemu-pr-helper"))
}
