//! The virtual machine tests. A bed is a virtual machine with a real SCSI stack, booted only to try one helper in it: User
//! Mode Linux, or an emulated machine.
//!
//! The library builds the machine's root image, boots it, and listens: [`run`], which `cargo xtask bed` calls as well as
//! the tests in `tests/it`. What happens in the machine is this package's program, `bed-inside`, in `inside/`.
//!
//! [`page`] and [`session`] are how the manual is followed: in a machine, and by the manual's own tests.
#![forbid(unsafe_code)]

mod bench;
pub mod c_helper;
mod cpio;
pub mod foreign;
mod host;
mod image;
mod kernel;
mod machine;
mod multipath;
pub mod page;
pub mod random;
pub mod session;
mod uml;
mod vm;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Error, Result, anyhow, bail, ensure};
use pr_dev::workspace::{cargo, debug_builds, run as run_command, target};

use kernel::Kernel;
use machine::{Chosen, Start};
use vm::Heard;

pub use bench::{Maps, measure, measure_on_maps};
pub use kernel::Version;
pub use machine::Machine;
pub use random::{Random, Release};
pub use vm::Tally;

/// Debian's own helper, against which a bed shows that it is right itself.
pub const REFERENCE: &str = "/usr/bin/qemu-pr-helper";

/// This project's programs.
const HELPER: &str = "qemu-pr-helper";
const CTL: &str = "qemu-pr-ctl";
const DRIVER: &str = "bed-inside";
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
    /// A map over four paths in two target port groups: random commands while another node acts, paths fail and
    /// processes are killed, each answer held against one disk
    MultipathRandom,
    /// That map, passed through to a QEMU guest
    MultipathGuest,
    /// A whole Debian with systemd and libvirt, this project's package installed on it, and two guests
    Host,
    /// The same Debian, on which somebody who has just got the package follows the manual, word for word
    Manual,
    /// The LUN of the first bed, on which `cargo xtask bench` measures
    #[value(skip)]
    Bench,
    /// Maps of four paths, on which `cargo xtask bench --multipath` measures
    #[value(skip)]
    BenchMultipath,
}

impl Kind {
    /// The word that names the bed on a command line, here and inside the machine.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Kernel => "kernel",
            Kind::Guest => "guest",
            Kind::Multipath => "multipath",
            Kind::MultipathRandom => "multipath-random",
            Kind::MultipathGuest => "multipath-guest",
            Kind::Host => "host",
            Kind::Manual => "manual",
            Kind::Bench => "bench",
            Kind::BenchMultipath => "bench-multipath",
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

    /// The parts of its checks, each of which is made in a machine of its own, all at the same time.
    pub fn parts(self) -> &'static [&'static str] {
        match self {
            // As whom the helper runs: half of the time is spent waiting for multipathd.
            Kind::Multipath => &["root", "nobody"],
            _ => &[""],
        }
    }

    /// Whether multipathd looks after a map.
    pub fn has_multipath(self) -> bool {
        matches!(self, Kind::Multipath | Kind::MultipathRandom | Kind::MultipathGuest | Kind::BenchMultipath)
    }
}

/// How often a bed does what is repeated in it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Amount {
    /// As often as every change has time for.
    #[default]
    Short,
    /// As often as a release has to pass.
    Full,
}

impl Amount {
    /// The word for the program inside; none is needed for what is usual.
    fn word(self) -> &'static str {
        match self {
            Amount::Short => "",
            Amount::Full => "full",
        }
    }
}

/// How a run is shown and what it leaves behind.
#[derive(Clone, Default)]
pub struct Options {
    /// Keep the root image and the console log.
    pub keep: bool,
    /// Print the story for a reader, and of the checks only those that fail.
    pub story: bool,
    /// Try debug builds, which are there already where tests have run; what is shipped takes minutes to build.
    pub debug: bool,
    /// How often it does what is repeated in it.
    pub amount: Amount,
    /// The kind of machine [default: User Mode Linux where it can do the work and starts, otherwise an emulated one].
    pub machine: Option<Machine>,
    /// The kernel of an emulated machine [default: Debian 12's].
    pub kernel: Option<Version>,
    /// What the bed `multipath-random` does.
    pub random: Random,
}

/// Boots the bed with a helper in it and shows every check as it is made.
///
/// # Errors
/// Whatever keeps the bed from being built or booted. A check that fails is not an error: it is in the tally.
pub fn run(kind: Kind, helper: Option<&Path>, options: &Options) -> Result<Tally> {
    if kind == Kind::MultipathRandom {
        return random::run(helper, options);
    }
    boot(kind, helper, options).map(|heard| heard.tally)
}

/// What machines are made of is fetched and built by one at a time.
static MAKING: Mutex<()> = Mutex::new(());

/// Boots what a bed needs, and tells what came of it.
fn boot(kind: Kind, helper: Option<&Path>, options: &Options) -> Result<Heard> {
    let is_given = helper.is_some();
    // The package has release builds, whatever is asked for.
    let debug = options.debug && !kind.is_distribution();
    let helper = match helper {
        Some(path) => fs::canonicalize(path).with_context(|| format!("the helper {} is not there", path.display()))?,
        None if debug => target().join("debug").join(HELPER),
        None => our_helper()?,
    };
    let reference = is_reference(&helper);
    ensure!(
        !kind.is_distribution() || !is_given || (reference && kind == Kind::Host),
        "this bed installs this project's package; Debian's helper has the bed host --helper {REFERENCE}"
    );
    let chosen = Chosen::choose(kind, options)?;
    let making = MAKING.lock();
    let (kernel, programs) = thread::scope(|scope| {
        let fetched = scope.spawn(|| chosen.kernel());
        let programs = if debug {
            let built = debug_builds()?;
            Programs { driver: built.join(DRIVER), ctl: built.join(CTL), helper }
        } else {
            Programs { driver: build_driver()?, ctl: build(CTL, CTL)?, helper }
        };
        let kernel = fetched.join().unwrap_or_else(|_| bail!("fetching the kernel panicked"));
        Ok::<_, Error>((kernel, programs))
    })?;
    drop(making);
    if chosen != Chosen::Uml {
        return attempt(kind, chosen, &kernel?, &programs, options);
    }
    let reason = match kernel {
        Ok(kernel) => {
            let heard = attempt(kind, chosen, &kernel, &programs, options)?;
            if heard.started {
                return Ok(heard);
            }
            anyhow!(heard.last_words)
        }
        Err(error) => error,
    };
    println!("User Mode Linux does not start on this host; taking an emulated machine, which is slow: {reason:#}");
    let chosen = Chosen::Tcg(Version::default());
    attempt(kind, chosen, &chosen.kernel()?, &programs, options)
}

/// Whether a helper is QEMU's own, of which is known that not every check holds.
fn is_reference(helper: &Path) -> bool {
    helper == Path::new(REFERENCE) || fs::canonicalize(c_helper::place()).is_ok_and(|place| place == helper)
}

/// Boots the bed on machines of one kind and tells what came of it.
fn attempt(kind: Kind, machine: Chosen, kernel: &Kernel, programs: &Programs, options: &Options) -> Result<Heard> {
    let reference = is_reference(&programs.helper);
    let place = target().join("bed");
    // Several of one process differ in their first round.
    let name = format!("{}-{}-{}", kind.word(), std::process::id(), options.random.seed);
    let image = place.join(format!("{name}.cpio"));
    let consoles = kind.parts().iter().map(|part| place.join(format!("{name}{part}.console")));
    let consoles: Vec<PathBuf> = consoles.collect();
    let disks = if kind.is_distribution() {
        host::write(&image, kind, kernel, programs, reference)?
    } else {
        let whose = whose(reference);
        let words = match kind {
            Kind::MultipathRandom => format!("{whose} {}", options.random.words()),
            _ => format!("{whose} {}", options.amount.word()),
        };
        let _making = MAKING.lock();
        image::write(&image, kind, kernel, programs, &words, &options.random)?;
        Vec::new()
    };

    if !options.story {
        println!("bed {} with {}, on {machine}", kind.word(), programs.helper.display());
    }
    let started = Instant::now();
    let starts = kind.parts().iter().zip(&consoles);
    let starts = starts.map(|(part, console)| Start {
        kind,
        part,
        amount: options.amount,
        machine,
        kernel,
        image: &image,
        disks: &disks,
        console,
        beside: options.random.machines.max(kind.parts().len()),
    });
    // Lines of several machines are shown machine by machine.
    let at_once = options.random.machines == 1;
    let heard = side_by_side(&starts.collect::<Vec<_>>(), options.story, at_once)?;
    if !options.story && (heard.started || machine != Chosen::Uml) {
        println!("{}, {} s", heard.tally, started.elapsed().as_secs());
    }
    for console in &consoles {
        uml::clean_up(console)?;
        if options.keep {
            println!("kept {}", console.display());
        } else {
            fs::remove_file(console)?;
        }
    }
    if options.keep {
        println!("kept {}", image.display());
    } else {
        fs::remove_file(&image)?;
        for disk in disks.iter().filter(|disk| disk.temporary) {
            fs::remove_file(&disk.path)?;
        }
    }
    Ok(heard)
}

/// Boots machines side by side. The first one's report is shown as it comes, if it may, and the others' after it, one
/// after the other.
fn side_by_side(starts: &[Start<'_>], story: bool, at_once: bool) -> Result<Heard> {
    thread::scope(|scope| {
        let booted = starts.iter().map(|start| {
            let (lines, report) = mpsc::channel();
            (scope.spawn(move || vm::boot(start, story, Some(lines))), report)
        });
        let (machines, reports): (Vec<_>, Vec<_>) = booted.unzip();
        let mut lines = reports.into_iter().flatten();
        if at_once {
            lines.for_each(|line| println!("{line}"));
        } else {
            let all: Vec<String> = lines.by_ref().collect();
            println!("{}", all.join("\n"));
        }
        let heard = machines.into_iter().map(|it| it.join().unwrap_or_else(|_| bail!("following a machine panicked")));
        Ok(Heard::of_all(heard.collect::<Result<_>>()?))
    })
}

/// The programs that go into a machine.
struct Programs {
    driver: PathBuf,
    ctl: PathBuf,
    helper: PathBuf,
}

/// The program inside.
fn build_driver() -> Result<PathBuf> {
    build(env!("CARGO_PKG_NAME"), DRIVER)
}

/// Builds a program as it would be shipped.
fn build(package: &str, program: &str) -> Result<PathBuf> {
    run_command(cargo().args(["build", "--quiet", "--release", "--package", package, "--bin", program]))?;
    Ok(target().join("release").join(program))
}

/// The word that tells the program inside which helper it has.
fn whose(reference: bool) -> &'static str {
    if reference { "reference" } else { "ours" }
}

/// This project's helper, built as it would be shipped.
pub fn our_helper() -> Result<PathBuf> {
    build(HELPER, HELPER)
}
