//! `cargo xtask dist`: man pages and shell completions, made from the definitions that read the command lines.
//!
//! What it makes is committed, so that packagers need no Rust for it; a test tells when it is no longer current.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Arg, ArgAction, Command, ValueHint};
use clap_complete::{Shell, generate};
use pr_dev::workspace::root;
use qemu_pr_exporter as exporter;

use crate::man::{self, SECTION};

/// Where they lie, below the workspace: nothing else is there.
const FOLDERS: [&str; 2] = ["docs/man", "docs/completions"];

/// Writes everything; files that are no longer made are removed.
pub fn run() -> Result<bool> {
    let made = made()?;
    for folder in FOLDERS {
        for path in present(&root().join(folder))? {
            let known = made.keys().any(|name| root().join(name) == path);
            if !known {
                fs::remove_file(&path)?;
            }
        }
    }
    for (name, content) in &made {
        let path = root().join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, content).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    println!("{} files in {}", made.len(), FOLDERS.join(" and "));
    Ok(true)
}

/// Every file by its path below the workspace.
fn made() -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for command in [qemu_pr_helper::command(), qemu_pr_ctl::command(), exporter()] {
        let name = command.get_name().to_owned();
        for (shell, file) in [
            (Shell::Bash, format!("bash/{name}")),
            (Shell::Zsh, format!("zsh/_{name}")),
            (Shell::Fish, format!("fish/{name}.fish")),
        ] {
            let mut content = Vec::new();
            generate(shell, &mut command.clone(), name.clone(), &mut content);
            if shell == Shell::Bash {
                content = mended(&name, std::str::from_utf8(&content)?).into_bytes();
            }
            files.insert(Path::new("docs/completions").join(file), content);
        }
        pages(command, &mut files)?;
    }
    Ok(files)
}

/// The exporter's command line, which knows nothing of clap, as clap would have it.
fn exporter() -> Command {
    let command = Command::new(exporter::NAME).about(exporter::ABOUT).version(env!("CARGO_PKG_VERSION"));
    let command = command.after_long_help(exporter::NOTES).disable_help_flag(true).disable_version_flag(true);
    command.args(exporter::OPTIONS.map(|option| {
        let argument = Arg::new(option.long).long(option.long).short(option.short).help(option.help);
        let Some(value) = option.value else { return argument.action(ArgAction::SetTrue) };
        let hint = if value == "PATH" { ValueHint::AnyPath } else { ValueHint::Unknown };
        argument.value_name(value).default_values(option.default).value_hint(hint)
    }))
}

/// `clap_complete` (4.6.11) gives the subcommands of a program two names if the program's own has a hyphen, so that
/// bash never gets to their options. The name that the script looks for is the shorter one.
fn mended(name: &str, script: &str) -> String {
    script.replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__"))
}

/// A page for a program, and one for each of its subcommands.
fn pages(mut command: Command, files: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    command.build();
    let name = command.get_name().to_owned();
    pages_of(command, &name, files)
}

fn pages_of(command: Command, name: &str, files: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        let page = format!("{name}-{}", subcommand.get_name());
        pages_of(subcommand.clone().display_name(&page), &page, files)?;
    }
    files.insert(Path::new("docs/man").join(format!("{name}.{SECTION}")), man::page(command, name)?.into_bytes());
    Ok(())
}

/// The files in a folder and in those below it that are made.
fn present(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if !folder.exists() {
        return Ok(files);
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // The page of the settings file is written by hand.
        let is_written = path.extension().is_some_and(|section| section == "5");
        if path.is_dir() {
            files.extend(present(&path)?);
        } else if !is_written {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    #[test]
    fn what_is_committed_is_current() {
        let made = made().expect("man pages and completions");
        for (name, content) in &made {
            let committed = fs::read(root().join(name)).unwrap_or_default();
            assert!(committed == *content, "{} is not current: run 'cargo xtask dist'", name.display());
        }
        let mut present: Vec<_> =
            FOLDERS.iter().flat_map(|folder| present(&root().join(folder)).expect("a folder")).collect();
        present.retain(|path| !made.keys().any(|name| root().join(name) == *path));
        assert!(present.is_empty(), "nobody makes {present:?}: run 'cargo xtask dist'");
    }
}
