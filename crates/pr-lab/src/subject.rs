//! The two programs, and the two questions asked of them.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::Bed;

const REFERENCE: &str = "/usr/bin/qemu-pr-helper";

/// Which of the two programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Debian's C helper.
    Reference,
    /// The one this workspace builds.
    Ours,
}

/// A program under test.
#[derive(Debug, Clone)]
pub struct Subject {
    who: Who,
    program: PathBuf,
}

impl Subject {
    /// The C helper of the Debian package qemu-system-common.
    pub fn reference() -> Self {
        let program = PathBuf::from(REFERENCE);
        assert!(program.exists(), "{REFERENCE} is missing: install the Debian package qemu-system-common");
        Self { who: Who::Reference, program }
    }

    /// Our helper, at the path that Cargo hands to the integration tests, or a build of it that `PR_LAB_OURS` names.
    pub fn ours(program: impl AsRef<Path>) -> Self {
        let program = std::env::var_os("PR_LAB_OURS").map_or_else(|| program.as_ref().to_path_buf(), PathBuf::from);
        Self { who: Who::Ours, program }
    }

    /// Which of the two it is.
    pub fn who(&self) -> Who {
        self.who
    }

    /// Whether it is ours.
    pub fn is_ours(&self) -> bool {
        self.who == Who::Ours
    }

    /// The executable.
    pub fn program(&self) -> &Path {
        &self.program
    }
}

/// A shared behaviour: `test` must pass on the reference, and then on ours.
///
/// Both are always tried, so that one failure does not hide the other. `PR_LAB_SUBJECT=reference` or `=ours` tries one alone.
pub fn both(program: impl AsRef<Path>, test: impl Fn(&Bed)) {
    let only = std::env::var("PR_LAB_SUBJECT").unwrap_or_default();
    let mut failures = Vec::new();
    if only != "ours" {
        failures.extend(attempt(&Subject::reference(), &test));
    }
    if only != "reference" {
        failures.extend(attempt(&Subject::ours(program), &test));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A weakness of the reference: `test` must pass on ours and fail on the reference, there with a message that contains `weakness`.
///
/// When it passes on the reference the test shows nothing, and fails.
pub fn better(program: impl AsRef<Path>, weakness: &str, test: impl Fn(&Bed)) {
    let only = std::env::var("PR_LAB_SUBJECT").unwrap_or_default();
    if only != "ours" {
        let failure = attempt(&Subject::reference(), &test);
        let failure = failure.expect("passes on the reference too, so it shows no weakness");
        assert!(failure.contains(weakness), "the reference fails for another reason than {weakness:?}: {failure}");
    }
    if only != "reference" {
        let failure = attempt(&Subject::ours(program), &test);
        assert!(failure.is_none(), "{}", failure.unwrap_or_default());
    }
}

/// A behaviour that only ours has.
pub fn ours(program: impl AsRef<Path>, test: impl Fn(&Bed)) {
    test(&Bed::new(&Subject::ours(program)));
}

fn attempt(subject: &Subject, test: &impl Fn(&Bed)) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(|| test(&Bed::new(subject)))).err()?;
    Some(format!("on {:?}: {}", subject.who, message(panic.as_ref())))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_else(|| "panicked".to_owned())
}
