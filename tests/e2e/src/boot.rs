//! A machine from its image to its end.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Error, Result, anyhow, bail, ensure};
use pr_dev::workspace::{debug_builds, target};

use crate::kernel::{Kernel, Version};
use crate::kind::Kind;
use crate::machine::{Chosen, Disk, Start};
use crate::options::Options;
use crate::programs::{CTL, DRIVER, HELPER, Programs, REFERENCE, build, build_driver, is_reference, our_helper, whose};
use crate::vm::{self, Heard};
use crate::{cluster, host, image, kubevirt, selinux, start, uml};

/// What machines are made of is fetched and built by one at a time.
static MAKING: Mutex<()> = Mutex::new(());

/// Boots what a bed needs, and tells what came of it.
pub fn boot(kind: Kind, helper: Option<&Path>, options: &Options) -> Result<Heard> {
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
        !kind.installs_package() || !is_given || (reference && kind == Kind::Host),
        "this bed installs this project's package; Debian's helper has the bed host --helper {REFERENCE}"
    );
    let chosen = Chosen::choose(kind, options.machine, options.kernel)?;
    let making = MAKING.lock();
    let (kernel, programs) = thread::scope(|scope| {
        let fetched = scope.spawn(|| start::kernel(chosen));
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
    attempt(kind, chosen, &start::kernel(chosen)?, &programs, options)
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
        host::write(&image, kind, options.suite, kernel, programs, reference)?
    } else if kind == Kind::Selinux {
        selinux::write(&image, kernel, programs)?
    } else {
        let whose = whose(reference);
        let words = match kind {
            Kind::MultipathRandom => format!("{whose} {}", options.random.words()),
            _ => format!("{whose} {}", options.amount.word()),
        };
        let _making = MAKING.lock();
        image::write(&image, kind, kernel, programs, &words, options.suite)?;
        match kind {
            Kind::Kubevirt => kubevirt::disks(&image)?,
            Kind::Cluster => vec![Disk { path: cluster::disk()?, temporary: false }],
            _ => Vec::new(),
        }
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
