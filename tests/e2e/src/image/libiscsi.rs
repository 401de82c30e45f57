//! What a root needs for libiscsi's tests: the test program, and two initiators for it.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use pr_dev::workspace::{self, output, target};

use super::Root;

/// Adds both.
pub fn add(root: &mut Root, packages: &Path) -> Result<()> {
    let initiators = target().join("bed/initiators.so");
    let mut compile = Command::new("cc");
    compile.args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-I"]);
    compile.arg(packages.join("usr/include")).arg("-o").arg(&initiators);
    output(compile.arg(workspace::root().join("tests/e2e/libiscsi/initiators.c")))?;
    root.program(&initiators, "usr/lib/initiators.so")?;
    root.program(&packages.join("usr/bin/iscsi-test-cu"), "usr/bin/iscsi-test-cu")
}
