//! `cargo xtask dist`: man pages and shell completions, made from the definitions that read the command lines.
//!
//! What it makes is committed, so that packagers need no Rust for it; a test tells when it is no longer current.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Arg, ArgAction, Command, ValueHint};
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use pr_dev::workspace::root;
use qemu_pr_exporter as exporter;

/// All are for administrators.
const SECTION: &str = "8";
const MANUAL: &str = "System Administration";

/// What a page says besides its options, written by hand.
const WRITTEN: &str = "packaging/man";

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
    page_of(command, name, files)
}

fn page_of(command: Command, name: &str, files: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    let synopsis = synopsis(&command, name);
    let mut page = Vec::new();
    // No date: the same definitions make the same page on any day.
    Man::new(command).title(name).section(SECTION).manual(MANUAL).render(&mut page)?;
    let page = String::from_utf8(page)?.replace(".SH EXTRA\n", ".SH NOTES\n");
    let (head, rest) = page.split_once(".SH SYNOPSIS\n").context("a page without a synopsis")?;
    let (_, rest) = rest.split_once(".SH ").context("a page that ends with its synopsis")?;
    let (body, version) = rest.split_once(".SH VERSION\n").unwrap_or((rest, ""));
    let mut page = format!("{head}.SH SYNOPSIS\n{synopsis}.SH {body}");
    let file = format!("{name}.{SECTION}");
    let written = root().join(WRITTEN).join(&file);
    if written.exists() {
        page.push_str(&fs::read_to_string(&written).with_context(|| format!("cannot read {}", written.display()))?);
    }
    if !version.is_empty() {
        page.extend([".SH VERSION\n", version]);
    }
    files.insert(Path::new("docs/man").join(file), page.into_bytes());
    Ok(())
}

/// Each option with the name of its value; `clap_mangen` (0.3.3) leaves the values out.
fn synopsis(command: &Command, name: &str) -> String {
    let plain = |text: &str| text.replace('-', "\\-");
    // The page of a subcommand has its words joined by hyphens.
    let mut lines = vec![format!("\\fB{}\\fR", plain(command.get_bin_name().unwrap_or(name)))];
    for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
        let values: Vec<String> =
            argument.get_value_names().into_iter().flatten().map(|value| format!("\\fI{}\\fR", plain(value))).collect();
        let takes_value = argument.get_action().takes_values();
        let flag = match (argument.get_short(), argument.get_long()) {
            (Some(short), _) => Some(format!("\\fB\\-{short}\\fR")),
            (None, Some(long)) => Some(format!("\\fB\\-\\-{}\\fR", plain(long))),
            (None, None) => None,
        };
        let words: Vec<String> = flag.into_iter().chain(values.into_iter().filter(|_| takes_value)).collect();
        let words = words.join(" ");
        lines.push(if argument.is_required_set() { words } else { format!("[{words}]") });
    }
    if command.get_subcommands().next().is_some() {
        lines.push("\\fICOMMAND\\fR".to_owned());
    }
    lines.join("\n") + "\n"
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
