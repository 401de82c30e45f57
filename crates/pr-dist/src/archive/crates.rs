//! What the programs are made of, as Cargo tells it: for the notices and for the bill of materials.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use pr_dev::workspace::{cargo, output, root};
use serde::Deserialize;

use super::PROGRAMS;

/// A crate, by its identity: what Cargo says of it.
pub type Crates = BTreeMap<String, Crate>;

/// One crate.
#[derive(Clone, Debug, Deserialize)]
pub struct Crate {
    id: String,
    pub name: String,
    pub version: String,
    /// An SPDX expression.
    pub license: Option<String>,
    pub repository: Option<String>,
    /// The oldest Rust that builds it, if it says so.
    #[cfg_attr(not(test), expect(dead_code, reason = "only a test compares it"))]
    rust_version: Option<String>,
    manifest_path: PathBuf,
    source: Option<String>,
    targets: Vec<Target>,
    /// Whether it is in the programs: the others run in the compiler, and only what they write is.
    #[serde(skip)]
    pub is_linked: bool,
    /// What it is made of itself.
    #[serde(skip)]
    pub uses: Vec<String>,
    /// Its archive in the registry, as SHA-256.
    #[serde(skip)]
    pub checksum: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Crate>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

impl Crate {
    /// Whether it is this project's own.
    pub fn is_ours(&self) -> bool {
        self.source.is_none()
    }

    fn is_macro(&self) -> bool {
        self.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "proc-macro"))
    }

    /// Its address among all packages of all languages (<https://github.com/package-url/purl-spec>).
    pub fn address(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version.replace('+', "%2B"))
    }

    /// The licence files that it comes with.
    pub fn licence_files(&self) -> Result<BTreeSet<PathBuf>> {
        let folder = self.manifest_path.parent().context("a manifest without a folder")?;
        let mut files = BTreeSet::new();
        for entry in fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().to_uppercase();
            let speaks = ["LICEN", "COPY", "NOTICE", "UNLICENSE"].iter().any(|word| name.starts_with(word));
            if speaks && entry.file_type()?.is_file() {
                files.insert(entry.path());
            }
        }
        Ok(files)
    }
}

/// What Cargo knows of this workspace, as it is built for a target.
fn metadata(target: &str) -> Result<Metadata> {
    let mut command = cargo();
    command.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", target]);
    Ok(serde_json::from_str(&output(&mut command)?)?)
}

/// Everything that is in either program, or that made code in it.
pub fn all(target: &str) -> Result<Crates> {
    let metadata = metadata(target)?;
    let checksums = checksums()?;
    let mut known: Crates = metadata.packages.into_iter().map(|it| (it.id.clone(), it)).collect();
    let mut uses: BTreeMap<String, Vec<String>> = metadata
        .resolve
        .nodes
        .into_iter()
        .map(|node| {
            // What only tests or build scripts need has another kind.
            let plain = |dependency: &Dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none());
            (node.id, node.deps.into_iter().filter(plain).map(|dependency| dependency.pkg).collect())
        })
        .collect();
    let is_program = |it: &&Crate| it.is_ours() && PROGRAMS.contains(&it.name.as_str());
    let mut next: Vec<String> = known.values().filter(is_program).map(|it| it.id.clone()).collect();
    let mut found = Crates::new();
    // First what is linked, then the macros and what only they are made of.
    for is_linked in [true, false] {
        let mut later = Vec::new();
        while let Some(id) = next.pop() {
            let Some(mut it) = known.remove(&id) else { continue };
            if is_linked && it.is_macro() {
                known.insert(id.clone(), it);
                later.push(id);
                continue;
            }
            it.is_linked = is_linked;
            it.uses = uses.remove(&id).unwrap_or_default();
            it.checksum = checksums.get(&(it.name.clone(), it.version.clone())).cloned();
            next.extend(it.uses.iter().cloned());
            found.insert(id, it);
        }
        next = later;
    }
    Ok(found)
}

/// The checksums in `Cargo.lock`, by name and version.
fn checksums() -> Result<BTreeMap<(String, String), String>> {
    let lock = fs::read_to_string(root().join("Cargo.lock"))?;
    let value = |block: &str, key: &str| {
        let mut lines = block.lines();
        lines.find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"')?.to_owned()))
    };
    let blocks = lock.split("[[package]]");
    Ok(blocks.filter_map(|it| Some(((value(it, "name")?, value(it, "version")?), value(it, "checksum")?))).collect())
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    fn release(version: &str) -> Vec<u32> {
        version.split('.').take(2).map(|number| number.parse().unwrap()).collect()
    }

    #[test]
    fn no_dependency_asks_for_a_newer_rust_than_this_workspace_says() {
        let metadata = metadata(pr_dev::arch::Name::host().unwrap().target()).unwrap();
        let ours = metadata.packages.iter().find(|it| it.is_ours()).and_then(|it| it.rust_version.clone()).unwrap();
        let used = |it: &&Crate| metadata.resolve.nodes.iter().any(|node| node.id == it.id);
        for it in metadata.packages.iter().filter(used) {
            let Some(wanted) = &it.rust_version else { continue };
            assert!(release(wanted) <= release(&ours), "{} {} needs Rust {wanted}, we say {ours}", it.name, it.version);
        }
    }

    #[test]
    fn the_programs_are_made_of_what_they_name_and_of_no_test() {
        let crates = all(pr_dev::arch::Name::host().unwrap().target()).unwrap();
        let find = |name: &str| crates.values().find(|it| it.name == name);
        assert!(find("rustix").is_some_and(|it| it.is_linked && it.checksum.is_some()));
        assert!(find("clap_derive").is_some_and(|it| !it.is_linked), "it runs in the compiler");
        assert!(find("syn").is_some_and(|it| !it.is_linked), "a macro is made of it");
        for name in ["tempfile", "pr-lab", "plotters"] {
            assert!(find(name).is_none(), "{name} is in no program");
        }
    }
}
