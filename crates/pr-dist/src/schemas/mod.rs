//! `cargo xtask schemas`: what others read is held against their own schemas. The Kubernetes manifests, strictly, so that a
//! field with a wrong name is found; and the bill of materials.
//!
//! The schemas of the kinds that are not Kubernetes' own (ServiceMonitor, KubeVirt, Kustomization) are written down in
//! `written.json`, for the fields that are used.

mod manifests;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use pr_dev::packages;
use pr_dev::workspace::{output, root, target};
use serde_json::Value;

use crate::archive;

pub use manifests::named;

/// Packages of Python's registry that bring the schemas. Nothing of them is run.
const KUBERNETES: (&str, &str) = ("kubernetes-validate", "1.37.0");
const CYCLONEDX: (&str, &str) = ("cyclonedx-python-lib", "11.12.0");

/// Checks all of it.
pub fn run() -> Result<bool> {
    let manifests = manifests()?;
    manifests::check(&manifests)?;
    println!("{} manifests and the bill of materials hold", manifests.as_object().map_or(0, serde_json::Map::len));
    Ok(true)
}

/// The manifests, by file name, after the schemas have found nothing wrong with them.
pub fn manifests() -> Result<Value> {
    let tools = packages::unpack_for_schemas()?;
    let folder = target().join("schemas");
    let bill = folder.join("sbom.cdx.json");
    fs::write(&bill, archive::bill_of_materials()?)?;
    let mut python = Command::new("python3");
    python
        .arg(root().join("crates/pr-dist/src/schemas/validate.py"))
        .arg(root().join("packaging/kubernetes"))
        .arg(&bill);
    python.arg(root().join("crates/pr-dist/src/schemas/written.json")).arg(wheel(KUBERNETES)?).arg(wheel(CYCLONEDX)?);
    let modules = tools.join("usr/lib/python3/dist-packages");
    python.env("PYTHONPATH", modules).env("PYTHONWARNINGS", "ignore::DeprecationWarning");
    let read = output(&mut python)?;
    serde_json::from_str(&read).context("the manifests as JSON")
}

/// A package of Python's registry, as the archive that it is.
fn wheel((name, version): (&str, &str)) -> Result<PathBuf> {
    let folder = target().join("schemas").join(format!("{name}-{version}"));
    let is_wheel = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "whl");
    let find = || fs::read_dir(&folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).find(is_wheel);
    if let Some(found) = find() {
        return Ok(found);
    }
    println!("fetching {name}");
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]);
    output(pip.arg("--dest").arg(&folder).arg(format!("{name}=={version}")))?;
    find().with_context(|| format!("pip fetched no archive of {name}"))
}
