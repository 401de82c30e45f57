//! The manual (`docs/manual`) tells the truth: its commands print what it says, its links lead somewhere, each message
//! that the programs can print is in it, and the tests that it names are in the sources. So do the documents for those who
//! change something (`documents`).
#![expect(clippy::missing_panics_doc, reason = "a test is there to panic")]

mod commands;
mod documents;
mod links;
mod messages;
mod promises;
mod proxmox;
mod sources;
mod test_code;
mod world;

use std::fs;
use std::path::{Path, PathBuf};

use e2e::page;

/// The workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A page of the manual.
fn text(page: &str) -> String {
    let path = root().join("docs/manual/src").join(page);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All pages, in the order in which they are read.
fn pages() -> Vec<String> {
    page::contents(&text("SUMMARY.md"))
}
