//! `cargo xtask completions`: the committed completions, tried in the shells that they are for.
//!
//! Each shell reads its files, and is then asked what a person asks it with the tabulator key: for a command, an
//! option, a value of a list and a path.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use pr_dev::workspace::{output, root};
use tempfile::TempDir;

const PROGRAMS: [&str; 3] = ["qemu-pr-ctl", "qemu-pr-exporter", "qemu-pr-helper"];

/// What stands on the line when the key is pressed, and the only word that its last one can become.
const QUESTIONS: [(&str, &str); 11] = [
    ("qemu-pr-ctl va", "validate"),
    ("qemu-pr-ctl trace en", "enable"),
    ("qemu-pr-ctl trace enable --con", "--control"),
    ("qemu-pr-ctl preempt-abort --vi", "--victim"),
    ("qemu-pr-ctl simulate --misbehave preempt-l", "preempt-loses"),
    ("qemu-pr-ctl --socket /proc/cpuin", "/proc/cpuinfo"),
    ("qemu-pr-ctl keys --json /proc/cpuin", "/proc/cpuinfo"),
    ("qemu-pr-exporter --lis", "--listen"),
    ("qemu-pr-exporter --json --control /proc/cpuin", "/proc/cpuinfo"),
    ("qemu-pr-helper --com", "--command-timeout"),
    ("qemu-pr-helper --pidfile /proc/cpuin", "/proc/cpuinfo"),
];

/// What fish is asked; it prints each word with its description behind a tabulator.
const FISH: &str = "for file in $argv[2..]; source $file; end; complete --do-complete $argv[1]";

/// How bash is asked without a terminal: by calling the function that a program's completions name. Where that knows
/// nothing, and they say so, bash takes the word for a path.
const BASH: &str = r#"
    line=$1; shift
    for file; do source "$file"; done
    COMP_WORDS=($line); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    how=$(complete -p "${COMP_WORDS[0]}")
    function=${how##* -F }
    "${function%% *}" "${COMP_WORDS[0]}" "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
    if [[ ${#COMPREPLY[@]} = 0 && $how = *' -o default '* ]]; then COMPREPLY=($(compgen -f -- "${COMP_WORDS[-1]}")); fi
    printf '%s\n' "${COMPREPLY[@]}"
"#;

/// zsh completes nowhere but in its line editor, so it gets a terminal, and a key that notes the line.
const ZSH: &str = r#"
    zmodload zsh/zpty
    zpty shell "ZDOTDIR=${(q)1} TERM=vt100 zsh -d -i"
    zpty -r shell text '*ready> '
    shift
    for line; do zpty -w -n shell $line$'\t\x18'; done
    zpty -w -n shell $'\x19'
    while zpty -r shell text; do :; done
"#;

/// What that zsh reads when it starts.
const ZSHRC: &str = r#"
    fpath=($ZDOTDIR/completions $fpath)
    autoload -Uz compinit
    compinit -u -D
    note() { print -r -- "$BUFFER" >> $ZDOTDIR/lines; BUFFER= }
    finish() { exit }
    zle -N note; zle -N finish
    bindkey '^X' note; bindkey '^Y' finish
    PS1='ready> '
"#;

/// Longer than a shell on a busy machine needs: one that waits for ever is to fail, not to be waited for.
const PATIENCE: &str = "120";

/// Tries all of them.
pub fn check() -> Result<bool> {
    bash()?;
    fish()?;
    zsh()?;
    println!("{} questions answered by each of bash, fish and zsh", QUESTIONS.len());
    Ok(true)
}

fn bash() -> Result<()> {
    let files = files("bash", str::to_owned);
    read_by("bash", &files)?;
    for (line, word) in QUESTIONS {
        let words = output(shell("bash").args(["-c", BASH, "bash", line]).args(&files))?;
        expect("bash", line, word, words.trim())?;
    }
    Ok(())
}

fn fish() -> Result<()> {
    let files = files("fish", |program| format!("{program}.fish"));
    read_by("fish", &files)?;
    for (line, word) in QUESTIONS {
        let words = output(shell("fish").args(["--no-config", "-c", FISH, line]).args(&files))?;
        let words: Vec<&str> = words.lines().filter_map(|line| line.split('\t').next()).collect();
        expect("fish", line, word, &words.join(" "))?;
    }
    Ok(())
}

fn zsh() -> Result<()> {
    let files = files("zsh", |program| format!("_{program}"));
    read_by("zsh", &files)?;
    let home = TempDir::new()?;
    fs::write(home.path().join(".zshrc"), ZSHRC)?;
    let completions = home.path().join("completions");
    fs::create_dir(&completions)?;
    for file in &files {
        fs::copy(file, completions.join(file.file_name().context("a file has a name")?))?;
    }
    output(shell("zsh").args(["-f", "-c", ZSH, "zsh"]).arg(home.path()).args(QUESTIONS.map(|(line, _)| line)))?;
    let lines = fs::read_to_string(home.path().join("lines")).context("zsh did not get to any question")?;
    ensure!(lines.lines().count() == QUESTIONS.len(), "zsh did not get to all questions: {lines}");
    for ((line, word), completed) in QUESTIONS.iter().zip(lines.lines()) {
        // It puts the sign behind an option that wants a value.
        let last = completed.split_whitespace().last().unwrap_or_default().trim_end_matches('=');
        expect("zsh", line, word, last)?;
    }
    Ok(())
}

fn files(shell: &str, name: impl Fn(&str) -> String) -> Vec<PathBuf> {
    PROGRAMS.iter().map(|program| root().join("docs/completions").join(shell).join(name(program))).collect()
}

/// Every shell has an option to read a script and do nothing.
fn read_by(name: &str, files: &[impl AsRef<Path>]) -> Result<()> {
    files.iter().try_for_each(|file| output(shell(name).arg("-n").arg(file.as_ref())).map(drop))
}

fn shell(name: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args([PATIENCE, name]);
    command
}

fn expect(shell: &str, line: &str, expected: &str, came: &str) -> Result<()> {
    ensure!(came == expected, "{shell} completes '{line}' to '{came}', not to '{expected}'");
    Ok(())
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    // The other shells are not on every machine: 'cargo xtask test' installs and tries them.
    #[test]
    fn bash_completes_commands_options_and_values() {
        bash().expect("completions");
    }
}
