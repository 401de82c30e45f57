//! The documents for those who change something: the map is small and names every room, links lead to files that are
//! there, each decision is in the index and names what holds it, each dependency has its reason.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use crate::{
    links::{anchors, links},
    root,
};

/// A map that takes longer to read is none.
const MAP: u64 = 10 * 1024;

/// The crates whose rooms are on the map, each with the heading there.
const ROOMS: [(&str, &str); 3] = [
    ("qemu-pr-helper", "## Rooms of the daemon"),
    ("qemu-pr-ctl", "## Rooms of the tool"),
    ("pr-multipath", "## Rooms of the map engine"),
];

/// Where the rooms of the other crates are, each row with its crate in front.
const LIBRARIES: &str = "## Rooms of the processes' crates";

/// The crates that are there.
#[rustfmt::skip]
const OF_PROCESSES: &[&str] = &[
    "pr-broker",
    "pr-device",
    "pr-resolver",
    "pr-sandbox",
    "pr-sys",
];

/// A file of the workspace.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The Markdown files of a directory, in the order of their names.
fn markdown(directory: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(directory)).unwrap_or_else(|error| panic!("{directory}: {error}"));
    let paths = entries.map(|entry| Path::new(directory).join(entry.expect("an entry").file_name()));
    let mut found: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    found.sort();
    found
}

/// The decisions, without their index: name of the file and text.
pub fn decisions() -> Vec<(String, String)> {
    let files = markdown("docs/decisions").into_iter().filter(|path| !path.ends_with("README.md"));
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    files.map(|path| (name(&path), read(&path.to_string_lossy()))).collect()
}

/// The code spans in the first column of each row of the tables of a text.
fn first_cells(text: &str) -> impl Iterator<Item = Vec<String>> {
    let cells = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    cells.map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

/// Those of all rows.
fn first_column(text: &str) -> BTreeSet<String> {
    first_cells(text).flatten().collect()
}

/// What stands under a heading.
fn section<'text>(text: &'text str, heading: &str) -> &'text str {
    let (_, after) = text.split_once(heading).unwrap_or_else(|| panic!("the map has no {heading}"));
    after.split("\n## ").next().unwrap_or(after)
}

/// The modules at the root of a crate, without those that are tests only.
fn rooms(source: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(source).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let modules = names.map(|name| name.trim_end_matches(".rs").to_owned());
    modules.filter(|name| !matches!(name.as_str(), "lib" | "main") && !name.ends_with("_tests")).collect()
}

#[test]
fn the_map_is_small() {
    let length = fs::metadata(root().join("ARCHITECTURE.md")).expect("a map").len();
    assert!(length <= MAP, "ARCHITECTURE.md has {length} bytes; what is a decision goes to docs/decisions");
}

#[test]
fn each_room_is_on_the_map() {
    let map = read("ARCHITECTURE.md");
    for (name, heading) in ROOMS {
        let source = root().join("crates").join(name).join("src");
        let mut named = BTreeSet::new();
        for room in first_column(section(&map, heading)) {
            let room = room.trim_end_matches('/').trim_end_matches(".rs").to_owned();
            if room.contains('/') || room == "lib" {
                let is_there = source.join(&room).is_dir() || source.join(format!("{room}.rs")).is_file();
                assert!(is_there, "{name} has no room {room}");
            } else {
                named.insert(room);
            }
        }
        assert_eq!(named, rooms(&source), "{heading}: left is what the map names, right what is there");
    }
    let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for mut row in first_cells(section(&map, LIBRARIES)).filter(|row| !row.is_empty()) {
        named.entry(row.remove(0)).or_default().extend(row);
    }
    let there = OF_PROCESSES.iter().map(|name| (*name, rooms(&root().join("crates").join(name).join("src"))));
    let there: BTreeMap<String, _> = there.map(|(name, rooms)| (name.to_owned(), rooms)).collect();
    assert_eq!(named, there, "{LIBRARIES}: left is what the map names, right what is there");
}

#[test]
fn links_of_the_documents_lead_somewhere() {
    let mut dead = Vec::new();
    let mut seen = 0;
    for page in [".", "docs", "docs/decisions"].into_iter().flat_map(markdown) {
        let (text, directory) = (read(&page.to_string_lossy()), page.parent().expect("a directory"));
        for target in links(&text).iter().filter(|target| !target.starts_with("https://")) {
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() { page.clone() } else { directory.join(path) };
            let leads = root().join(&path).exists()
                && (anchor.is_empty() || anchors(&read(&path.to_string_lossy())).contains(anchor));
            if !leads {
                dead.push(format!("{}: {target}", page.display()));
            }
            seen += 1;
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
    assert!(seen > 80, "only {seen} links were seen");
}

#[test]
fn each_decision_is_in_the_index_and_names_what_holds_it() {
    let mut index = Vec::new();
    for (count, (file, text)) in decisions().into_iter().enumerate() {
        let number = format!("{:03}", count + 1);
        assert!(file.starts_with(&format!("{number}-")), "{file} is not {number}: one is missing, or there are two");
        let title = text.lines().next().and_then(|line| line.strip_prefix(&format!("# {number}: ")));
        index.push(format!("* [{number}]({file}) {}", title.unwrap_or_else(|| panic!("{file} has no title"))));
        let parts = ["**Context.**", "**Decision.**", "**Held by.**"].map(|part| text.find(part));
        assert!(parts.iter().all(Option::is_some) && parts.is_sorted(), "{file} lacks a part: {parts:?}");
        assert!(text[parts[2].unwrap_or(0)..].contains('`'), "{file} does not name what holds it");
    }
    let page = read("docs/decisions/README.md");
    let listed: Vec<_> = page.lines().filter(|line| line.starts_with("* ")).collect();
    assert_eq!(listed, index);
}

#[test]
fn each_dependency_has_a_reason() {
    let used = |path: &str, section: &[&str]| -> BTreeSet<String> {
        let manifest: Table = read(path).parse().unwrap_or_else(|error| panic!("{path}: {error}"));
        let table = section.iter().try_fold(&Value::Table(manifest), |table, name| table.get(*name)).cloned();
        let crates = table.as_ref().and_then(Value::as_table).unwrap_or_else(|| panic!("{path} has no {section:?}"));
        let foreign = crates.iter().filter(|(_, about)| about.get("path").is_none());
        foreign.map(|(name, _)| name.clone()).collect()
    };
    let mut crates = used("Cargo.toml", &["workspace", "dependencies"]);
    crates.extend(used("fuzz/Cargo.toml", &["dependencies"]));
    assert_eq!(first_column(&read("docs/dependencies.md")), crates, "left is what has a reason, right what is used");
}
