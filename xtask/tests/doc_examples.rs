//! Each public type of the crates that are published is shown in an example of its crate's documentation. That the
//! examples compile and hold is what `cargo test --doc` is for.
#![expect(clippy::missing_panics_doc, reason = "a test is there to panic")]

use std::{collections::BTreeSet, fs, path::Path};

/// The crates that are published.
const CRATES: [&str; 4] = ["pr-multipath", "pr-sim", "qemu-pr-protocol", "scsi-persistent-reservations"];

/// All of a crate's own source, its files one behind the other.
fn source(name: &str) -> (String, String) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates").join(name).join("src");
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let files = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let all = files.map(|file| read(&file.expect("an entry").path())).collect();
    (read(&directory.join("lib.rs")), all)
}

/// The words of a text that can be names.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_alphanumeric() && character != '_')
}

/// The types that a crate exports: names with a capital that `pub use` has, constants left out.
fn exported(root: &str) -> BTreeSet<&str> {
    let uses = root.split("pub use ").skip(1).filter_map(|rest| rest.split(';').next());
    let is_type = |word: &&str| word.starts_with(char::is_uppercase) && word.contains(char::is_lowercase);
    uses.flat_map(words).filter(is_type).collect()
}

/// The words in the examples: the code between fences in documentation comments.
fn shown(source: &str) -> BTreeSet<&str> {
    let comments = source.lines().map(str::trim_start);
    let comments = comments.filter_map(|line| line.strip_prefix("///").or_else(|| line.strip_prefix("//!")));
    let mut is_code = false;
    let mut shown = BTreeSet::new();
    for line in comments {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if is_code {
            shown.extend(words(line));
        }
    }
    shown
}

#[test]
fn each_public_type_of_a_published_crate_is_shown_in_an_example() {
    for name in CRATES {
        let (root, all) = source(name);
        let (exported, shown) = (exported(&root), shown(&all));
        assert!(exported.len() > 4, "{name}: its exports were not understood: {exported:?}");
        let missing: Vec<_> = exported.difference(&shown).collect();
        assert!(missing.is_empty(), "{name}: in no example of its documentation: {missing:?}");
    }
}

#[test]
fn only_the_code_of_an_example_shows_a_type() {
    let source = "/// A Word in prose.\n/// ```\n/// let a = Shown::new();\n/// ```\n/// Another.\nstruct Real;\n";
    assert_eq!(
        shown(source).into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>(),
        ["Shown", "a", "let", "new"]
    );
    assert_eq!(
        exported("pub use a::{B1, Cd, LONG_NAME};\npub use e::Fg;\nuse g::Hi;").into_iter().collect::<Vec<_>>(),
        ["Cd", "Fg"]
    );
}
