//! Where the manual, or a document beside it, names the test that holds a promise, there is one.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::{
    documents::{decisions, read},
    links::titled,
    root, text,
};

/// The names of all functions.
fn functions(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            functions(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).expect("a source file");
            let lines = source.lines().filter_map(|line| line.trim_start().strip_prefix("fn "));
            names.extend(lines.filter_map(|rest| Some(rest.split_once('(')?.0.to_owned())));
        }
    }
}

/// Those in the sources and tests of all crates, where tests of a module are beside it, in the virtual machine tests, and
/// in the tests of `xtask`.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    functions(&root().join("crates"), &mut names);
    functions(&root().join("tests"), &mut names);
    functions(&root().join("xtask/tests"), &mut names);
    names
}

/// What is called like a test: a code span of at least three words with underscores in between, and no type of SELinux's.
fn named(page: &str) -> Vec<&str> {
    let is_test = |span: &&str| {
        span.matches('_').count() > 1
            && !span.ends_with("_t")
            && span.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    page.split("```").step_by(2).flat_map(|outside| outside.split('`').skip(1).step_by(2)).filter(is_test).collect()
}

#[test]
fn the_tests_that_hold_promises_are_there() {
    let tests = tests();
    let decisions: String = decisions().into_iter().map(|(_, text)| text).collect();
    for (text, fewest) in [
        (text("multipath.md"), 20),
        (read("SECURITY.md"), 10),
        (read("ARCHITECTURE.md"), 10),
        (decisions, 100),
        (read("docs/testing.md"), 2),
    ] {
        let named = named(&text);
        assert!(named.len() >= fewest, "{named:#?}");
        let missing: Vec<_> = named.into_iter().filter(|name| !tests.contains(*name)).collect();
        assert!(missing.is_empty(), "there are no tests called {missing:#?}");
    }
}

/// A test's text: from its name to the line that ends it.
fn body<'text>(source: &'text str, name: &str) -> Option<&'text str> {
    let (before, rest) = source.split_once(&format!("\nfn {name}() {{\n"))?;
    // Behind the mark may stand why it is not always run.
    let is_test = before.rsplit("\n\n").next().is_some_and(|marks| marks.starts_with("#[test]"));
    is_test.then(|| rest.split("\n}\n").next())?
}

/// The test that a link's title names, in the file that it leads to.
fn linked(file: &str, name: &str) -> String {
    let source = read(file);
    body(&source, name).unwrap_or_else(|| panic!("{file} has no test {name}")).to_owned()
}

#[test]
fn the_tests_that_the_readme_links_to_are_there() {
    let readme = read("README.md");
    let tests: Vec<_> = titled(&readme).into_iter().filter(|(_, title)| !title.is_empty()).collect();
    assert!(tests.len() >= 15, "{tests:#?}");
    for (file, name) in tests {
        linked(&file, &name);
    }
}

#[test]
fn each_cell_that_compares_the_helpers_in_the_readme_links_to_a_test() {
    let readme = read("README.md");
    let (_, table) = readme.split_once("| | this helper | QEMU's C helper |\n|---|---|---|\n").expect("the table");
    let rows: Vec<_> = table.lines().take_while(|line| line.starts_with("| ")).collect();
    assert!(rows.len() >= 5, "{rows:#?}");
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").collect();
        let [_, ours, theirs] = cells[..] else { panic!("{row}") };
        for (cell, is_ours) in [(ours, true), (theirs, false)] {
            let [(file, name)] = &titled(cell)[..] else { panic!("{cell} has to have one link") };
            let body = linked(file, name);
            // One test of both programs; or each program has its own, which boots a machine.
            let word = if is_ours { "holds(Kind::" } else { "c_helper::program()" };
            assert!(body.contains("better(") || body.contains(word), "{name} does not try that helper");
        }
    }
}
