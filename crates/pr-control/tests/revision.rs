//! Where the revision in `--version` comes from.
#![expect(clippy::missing_panics_doc, reason = "a test is there to panic")]

use std::path::Path;
use std::process::Command;

#[path = "../build.rs"]
#[expect(dead_code, reason = "the build script's main is run by Cargo")]
mod build;

fn git(folder: &Path, line: &str) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=a", "-c", "user.email=a@example.org"]).args(line.split(' ')).current_dir(folder);
    let output = command.output().unwrap();
    assert!(output.status.success(), "git {line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_version_is_that_of_the_package_and_may_name_a_revision() {
    let rest = pr_control::VERSION.strip_prefix(env!("CARGO_PKG_VERSION")).unwrap();
    let revision = rest.strip_prefix(" (").and_then(|rest| rest.strip_suffix(')'));
    assert!(rest.is_empty() || revision.is_some_and(|revision| !revision.is_empty()), "{}", pr_control::VERSION);
}

#[test]
fn a_commit_has_a_revision_of_seven_digits_whatever_git_prefers() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("inner");
    std::fs::create_dir(&folder).unwrap();
    git(scratch.path(), "init --quiet");
    git(scratch.path(), "config core.abbrev 12");
    git(scratch.path(), "commit --quiet --allow-empty --message=a");
    let (revision, log) = build::revision(&folder, "inner/").unwrap();
    assert_eq!(revision, git(scratch.path(), "rev-parse HEAD")[..7]);
    assert!(folder.join(log).exists());
}

#[test]
fn without_a_repository_of_its_own_the_source_has_no_revision() {
    let scratch = tempfile::tempdir().unwrap();
    assert_eq!(build::revision(scratch.path(), ""), None, "no repository");
    git(scratch.path(), "init --quiet");
    assert_eq!(build::revision(scratch.path(), ""), None, "no commit");
    git(scratch.path(), "commit --quiet --allow-empty --message=a");
    assert_eq!(build::revision(scratch.path(), "crates/pr-control/"), None, "somebody else's repository");
}
