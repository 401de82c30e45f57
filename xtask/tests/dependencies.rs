//! Every dependency, in the version that is built, is on record in `supply-chain/`: audited, or owned up to as not
//! audited. `cargo vet --locked --frozen` looks at the same and more, but takes longer to build than all of this project.
#![expect(clippy::missing_panics_doc, reason = "a test is there to panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use toml::{Table, Value};

fn read(file: &str) -> Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What a table has under a name, as words.
fn word(table: &Value, name: &str) -> Option<String> {
    table.get(name)?.as_str().map(ToOwned::to_owned)
}

/// The crates that are recorded in one section, each with its version.
fn recorded(file: &str, section: &str) -> BTreeSet<String> {
    let record = read(file);
    let crates = record.get(section).and_then(Value::as_table).into_iter().flatten();
    let entries = crates.flat_map(|(name, entries)| entries.as_array().into_iter().flatten().map(move |it| (name, it)));
    entries.filter_map(|(name, entry)| Some(format!("{name} {}", word(entry, "version")?))).collect()
}

#[test]
fn each_dependency_is_on_record_and_nothing_else_is() {
    let lock = read("Cargo.lock");
    let packages = lock.get("package").and_then(Value::as_array).expect("packages");
    // What has no source is this project's own.
    let foreign = packages.iter().filter(|package| package.get("source").is_some());
    let built: BTreeSet<String> = foreign
        .filter_map(|package| Some(format!("{} {}", word(package, "name")?, word(package, "version")?)))
        .collect();
    assert!(!built.is_empty(), "Cargo.lock was not understood");
    let mut record = recorded("supply-chain/config.toml", "exemptions");
    record.extend(recorded("supply-chain/audits.toml", "audits"));
    let missing: Vec<_> = built.difference(&record).collect();
    assert!(missing.is_empty(), "not on record: {missing:?}; cargo vet add-exemption NAME VERSION");
    let stale: Vec<_> = record.difference(&built).collect();
    assert!(stale.is_empty(), "on record, but not built any more: {stale:?}; cargo vet prune");
}
