//! `cargo xtask manual`: the manual (`docs/manual`) as pages for a browser.
//!
//! Its Markdown is held true by `xtask/tests/manual` and by `cargo xtask bed manual`; this only makes it look better.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use pr_dev::packages;
use pr_dev::tools;
use pr_dev::workspace::{output, root, target};

/// Where it is written, below the target folder.
const TO: &str = "docs/manual/html";

/// Where the man pages are, and how the manual's pages call that folder.
const MAN: &str = "docs/man";
const MAN_IN_LINKS: &str = "href=\"../../man/";

/// The folder for them among the manual's pages, and what they look like.
const MAN_PAGES: &str = "man";
const STYLE: &str = "body { max-width: 50em; margin: 1em auto; padding: 0 1em; font-family: sans-serif; }\n";

/// Makes it and says where it is.
pub fn run_all() -> Result<bool> {
    let folder = build()?;
    println!("{}", folder.join("index.html").display());
    Ok(true)
}

/// Makes it and returns its folder.
pub fn build() -> Result<PathBuf> {
    let to = target().join(TO);
    fs::create_dir_all(&to)?;
    let to = fs::canonicalize(to)?;
    // mdBook names a file that it cannot read, and goes on.
    let printed = output(tools::mdbook()?.arg("build").arg("--dest-dir").arg(&to).arg(root().join("docs/manual")))?;
    ensure!(!printed.contains("ERROR"), "mdbook: {printed}");
    let ending = |folder: &Path, ending: &str| -> Result<usize> {
        let paths = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
        Ok(paths.filter(|path| path.extension().is_some_and(|extension| extension == ending)).count())
    };
    // Without the table of contents.
    let pages = ending(&root().join("docs/manual/src"), "md")? - 1;
    let made = ending(&to, "html")?;
    ensure!(made > pages, "mdbook made {made} of {pages} pages in {}", to.display());
    man_pages(&to)?;
    let dead = dead_links(&to)?;
    ensure!(dead.is_empty(), "these links lead nowhere: {dead:#?}");
    Ok(to)
}

/// Makes pages of the man pages, and has links lead there: a browser does not show their source as a page.
fn man_pages(to: &Path) -> Result<()> {
    let mandoc = packages::unpack_mandoc()?.join("usr/bin/mandoc");
    let folder = to.join(MAN_PAGES);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("style.css"), STYLE)?;
    for entry in fs::read_dir(root().join(MAN))? {
        let entry = entry?;
        let page = output(Command::new(&mandoc).args(["-T", "html", "-O", "style=style.css"]).arg(entry.path()))?;
        fs::write(folder.join(format!("{}.html", entry.file_name().display())), page)?;
    }
    for entry in fs::read_dir(to)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "html") {
            let text = fs::read_to_string(&path)?;
            fs::write(&path, with_links_to_man_pages(&text))?;
        }
    }
    Ok(())
}

/// The same page; its links to the source of man pages lead to the pages that are made of them.
fn with_links_to_man_pages(page: &str) -> String {
    let mut parts = page.split(MAN_IN_LINKS);
    let mut changed = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('"').unwrap_or((part, ""));
        changed.extend(["href=\"", MAN_PAGES, "/", name, ".html\"", rest]);
    }
    changed
}

/// The links and pictures of all pages that lead to no file or to no heading.
fn dead_links(folder: &Path) -> Result<Vec<String>> {
    let mut pages = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "html") {
            pages.insert(path.clone(), fs::read_to_string(&path)?);
        }
    }
    let mut dead = Vec::new();
    for (page, text) in &pages {
        let targets = ["href=\"", "src=\""].into_iter().flat_map(|mark| text.split(mark).skip(1));
        for target in targets.filter_map(|rest| rest.split('"').next()) {
            if ["https:", "http:", "data:"].iter().any(|scheme| target.starts_with(scheme)) {
                continue;
            }
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() { page.clone() } else { folder.join(path) };
            let has = |text: &String| text.contains(&format!("id=\"{heading}\""));
            let leads = file.exists() && (heading.is_empty() || pages.get(&file).is_none_or(has));
            if !leads {
                dead.push(format!("{}: {target}", page.file_name().unwrap_or_default().display()));
            }
        }
    }
    Ok(dead)
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    #[test]
    fn links_to_man_pages_lead_to_their_pages() {
        let page = "<a href=\"../../man/a-b.8\">a</a> <a href=\"c.html\">c</a> <a href=\"../../man/d.5\">d</a>";
        let changed = "<a href=\"man/a-b.8.html\">a</a> <a href=\"c.html\">c</a> <a href=\"man/d.5.html\">d</a>";
        assert_eq!(with_links_to_man_pages(page), changed);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let page = "<h2 id=\"here\"><a href=\"#here\"><a href=\"b.html#there\"><a href=\"https://x/\"><img src=\"no.svg\">\
                    <a href=\"#gone\"><a href=\"b.html#gone\">";
        fs::write(folder.path().join("a.html"), page).expect("a page");
        fs::write(folder.path().join("b.html"), "<h2 id=\"there\">").expect("a page");
        let dead = dead_links(folder.path()).expect("pages");
        assert_eq!(dead, ["a.html: #gone", "a.html: b.html#gone", "a.html: no.svg"]);
    }
}
