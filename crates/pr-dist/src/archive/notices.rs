//! The notices that the licences of others ask for: who wrote what is in the programs, and on which terms.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use pr_dev::workspace::output;

use super::crates::Crates;

/// What stands before the list.
const HEAD: &str = "\
qemu-pr-helper, qemu-pr-ctl and qemu-pr-exporter are made of their own source (Apache-2.0 OR MIT) and of what follows. The
Rust standard library is in them as well: its notices are in the file rust-standard-library.html.

";

/// The list of crates with their licences, then each text once.
pub fn text(crates: &Crates) -> Result<String> {
    let mut texts: Vec<String> = Vec::new();
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    let mut list = HEAD.to_owned();
    for it in crates.values().filter(|it| !it.is_ours()) {
        let licence = it.license.as_deref().with_context(|| format!("{} names no licence", it.name))?;
        let files = it.licence_files()?;
        ensure!(!files.is_empty(), "{} {} comes without the text of its licence ({licence})", it.name, it.version);
        write!(list, "{} {}: {licence}", it.name, it.version)?;
        for path in files {
            let text = fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
            // Texts that differ in their line ends or in blanks at their ends say the same.
            let text = text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim().to_owned();
            let number = *numbers.entry(text.clone()).or_insert_with(|| {
                texts.push(text);
                texts.len()
            });
            write!(list, " [{number}]")?;
        }
        list.push('\n');
    }
    for (index, text) in texts.iter().enumerate() {
        write!(list, "\n{:=<80}\n[{}]\n\n{text}\n", "", index + 1)?;
    }
    Ok(list)
}

/// The standard library's notices, which every toolchain brings along.
pub fn of_the_standard_library() -> Result<PathBuf> {
    let toolchain = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let path = PathBuf::from(toolchain.trim()).join("share/doc/rust/COPYRIGHT-library.html");
    ensure!(path.exists(), "{} is not there: packages are made with a toolchain that has it", path.display());
    Ok(path)
}
