//! The demonstrations: what this project does, shown to somebody who has not read it.

use anyhow::Result;

use crate::{bed, packages};

/// The story on a simulated disk.
pub fn simulated() -> Result<bool> {
    anyhow::bail!("the simulated disk is not here yet; try `cargo xtask demo --guest`")
}

/// The story on a real kernel, with a real QEMU guest as one of the two hosts.
pub fn guest() -> Result<bool> {
    packages::install_missing()?;
    println!("Booting a machine with a real disk, and a guest inside it. This takes about two minutes.\n");
    let tally = bed::run(bed::Kind::Guest, None, &bed::Options { story: true, ..bed::Options::default() })?;
    println!("\nEvery step above was checked: {tally}.");
    Ok(tally.succeeded())
}
