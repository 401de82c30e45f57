//! `cargo xtask manual`: the manual (`docs/manual`) as pages for a browser.
//!
//! Its Markdown is held true by `xtask/tests/manual` and by `cargo xtask bed manual`; this only makes it look better.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};
use pr_dev::tools;
use pr_dev::workspace::{output, root, run, target};

/// Where it is written, below the target folder, and where the man pages are: as far from each other as in the source,
/// so that links between them lead there.
const TO: &str = "docs/manual/html";
const MAN: &str = "docs/man";

/// Makes it and says where it is.
pub fn run_all() -> Result<bool> {
    let folder = build()?;
    println!("{}", folder.join("index.html").display());
    Ok(true)
}

/// Makes it and returns its folder.
pub fn build() -> Result<PathBuf> {
    let to = target().join(TO);
    fs::create_dir_all(&to)?;
    let to = fs::canonicalize(to)?;
    // mdBook names a file that it cannot read, and goes on.
    let printed = output(tools::mdbook()?.arg("build").arg("--dest-dir").arg(&to).arg(root().join("docs/manual")))?;
    ensure!(!printed.contains("ERROR"), "mdbook: {printed}");
    let pages = fs::read_dir(root().join("docs/manual/src"))?.count() - 1;
    let made = fs::read_dir(&to)?.filter_map(|entry| Some(entry.ok()?.path()));
    let made = made.filter(|path| path.extension().is_some_and(|extension| extension == "html")).count();
    ensure!(made > pages, "mdbook made {made} of {pages} pages in {}", to.display());
    run(Command::new("cp").arg("-r").arg(root().join(MAN)).arg(target().join("docs")))?;
    Ok(to)
}
