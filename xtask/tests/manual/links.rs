//! Links lead to pages and headings that are there, and every page is in the table of contents and reached.

use std::collections::BTreeSet;
use std::fs;

use crate::{pages, root, text};

/// Where the pages lie.
const FOLDER: &str = "docs/manual/src";

/// The targets of the links on a page, outside of its blocks.
pub fn links(page: &str) -> Vec<String> {
    titled(page).into_iter().map(|(target, _)| target).collect()
}

/// The same, with the titles that a browser shows over them: `[text](target "title")`.
pub fn titled(page: &str) -> Vec<(String, String)> {
    let outside = page.split("```").step_by(2).collect::<String>();
    let insides = outside.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(inside, _)| inside);
    let parts = insides.map(|inside| inside.split_once(" \"").unwrap_or((inside, "")));
    parts.map(|(target, title)| (target.to_owned(), title.trim_end_matches('"').to_owned())).collect()
}

/// The anchors that mdBook gives a page's headings.
pub fn anchors(page: &str) -> BTreeSet<String> {
    let outside = page.split("```").step_by(2).collect::<String>();
    let headings = outside.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |heading: &str| {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut dead = Vec::new();
    for name in pages().iter().map(String::as_str).chain(["SUMMARY.md"]) {
        for target in links(&text(name)) {
            if target.starts_with("https://") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = if path.is_empty() { name } else { path };
            let is_there = root().join(FOLDER).join(path).exists();
            if !is_there || (!anchor.is_empty() && !anchors(&text(path)).contains(anchor)) {
                dead.push(format!("{name}: {target}"));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

#[test]
fn every_page_is_in_the_table_of_contents_once() {
    let pages = pages();
    let unique: BTreeSet<&String> = pages.iter().collect();
    assert_eq!(unique.len(), pages.len(), "{pages:?}");
    for entry in fs::read_dir(root().join(FOLDER)).expect("the manual") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        // What pages show.
        let is_known = ["SUMMARY.md", "pictures"].contains(&name.as_str());
        assert!(is_known || pages.contains(&name), "{name} is in no table of contents");
    }
    for name in &pages {
        assert!(text(name).starts_with("# "), "{name} has no title");
    }
}

#[test]
fn each_man_page_is_linked_to() {
    let linked = links(&text("man-pages.md"));
    for entry in fs::read_dir(root().join("docs/man")).expect("man pages") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        // What is below a subcommand is reached from its page.
        let is_below = name.starts_with("qemu-pr-ctl-trace-");
        assert!(is_below || linked.contains(&format!("../../man/{name}")), "{name} is not linked to");
    }
}

#[test]
fn the_readme_points_at_the_manual() {
    let readme = fs::read_to_string(root().join("README.md")).expect("a README");
    assert!(links(&readme).iter().any(|target| target == "docs/manual/src/five-minutes.md"));
}
