//! `cargo xtask schemas`: what others read is held against their own schemas. The Kubernetes manifests, strictly, so that a
//! field with a wrong name is found; and the bill of materials.
//!
//! Overlays are built by Debian's kubectl, and what KubeVirt is told is applied to what virt-operator makes.
//!
//! The schemas of the kinds that are not Kubernetes' own (ServiceMonitor, KubeVirt, Kustomization, …) are written down in
//! `written.json`, for the fields that are used.

mod manifests;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
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

/// A manifest's file, and the documents in it.
pub type Manifests = BTreeMap<String, Vec<Value>>;

/// The overlay that stands for all where only the pod matters.
const OVERLAY: &str = "kubevirt-1.9";

/// virt-handler with the helper in its own pod, as the manual has it.
const WITHOUT: &str = "without-a-daemon-set.yaml";

/// Checks all of it.
pub fn run() -> Result<bool> {
    let overlays = overlays()?;
    let files = validated(&source())?;
    let folder = target().join("schemas/built");
    if fs::exists(&folder)? {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    for overlay in &overlays {
        fs::write(folder.join(format!("{overlay}.yaml")), built(overlay)?)?;
        let patch = manifests::patch_of_virt_handler(&files, overlay)?;
        fs::write(folder.join(format!("{overlay}-virt-handler.yaml")), patched(&patch)?)?;
    }
    fs::write(folder.join(WITHOUT), patched(&patch_of_the_manual()?)?)?;
    let built = validated(&folder)?;
    manifests::check_without_daemon_set(&built[WITHOUT][0]).context("virt-handler as the manual has it")?;
    let mut checked = 0;
    for overlay in &overlays {
        let documents = &built[&format!("{overlay}.yaml")];
        manifests::check(documents).with_context(|| format!("the overlay {overlay}"))?;
        let handler = &built[&format!("{overlay}-virt-handler.yaml")][0];
        manifests::check_virt_handler(handler, documents).with_context(|| format!("virt-handler with {overlay}"))?;
        checked += documents.len();
    }
    manifests::check_openshift(&built["openshift.yaml"])?;
    println!(
        "{} files, {checked} manifests in {} overlays and the bill of materials hold",
        files.len(),
        overlays.len()
    );
    Ok(true)
}

/// The DaemonSet as it is applied, after the schemas have found nothing wrong with it.
pub fn daemon_set() -> Result<Value> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("built.yaml"), built(OVERLAY)?)?;
    let documents = validated(folder.path())?.remove("built.yaml").context("the overlay is empty")?;
    manifests::of_kind(&documents, "DaemonSet").cloned()
}

/// Where the manifests are.
fn source() -> PathBuf {
    root().join("packaging/kubernetes")
}

/// The names of the overlays.
fn overlays() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(source().join("overlays"))? {
        names.push(entry?.file_name().into_string().ok().context("an overlay's name is not UTF-8")?);
    }
    names.sort();
    Ok(names)
}

/// What is applied of an overlay, by kubectl's own kustomize.
fn built(overlay: &str) -> Result<String> {
    output(Command::new(kubectl()?).arg("kustomize").arg(source().join("overlays").join(overlay)))
}

/// What virt-operator makes of virt-handler with a patch: kubectl merges by the same rules.
fn patched(patch: &str) -> Result<String> {
    let handler = root().join("crates/pr-dist/src/schemas/virt-handler.yaml");
    let mut kubectl = Command::new(kubectl()?);
    kubectl.args(["patch", "--local", "--type=strategic", "--output=yaml", "--filename"]).arg(handler);
    output(kubectl.arg("--patch").arg(patch))
}

/// The patch for those who want no `DaemonSet`, from the manual's page.
fn patch_of_the_manual() -> Result<String> {
    let page = fs::read_to_string(root().join("docs/manual/src/kubevirt-and-ovirt.md"))?;
    let mut blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let patch = blocks.find(|block| block.starts_with("spec:")).context("the manual has no patch of virt-handler")?;
    Ok(patch.to_owned())
}

fn kubectl() -> Result<PathBuf> {
    Ok(packages::unpack_kubectl()?.join("usr/bin/kubectl"))
}

/// The manifests of a folder and those below it, by file name, after the schemas have found nothing wrong with them.
fn validated(manifests: &Path) -> Result<Manifests> {
    let tools = packages::unpack_for_schemas()?;
    let folder = target().join("schemas");
    let bill = folder.join("sbom.cdx.json");
    fs::write(&bill, archive::bill_of_materials()?)?;
    let mut python = Command::new("python3");
    python.arg(root().join("crates/pr-dist/src/schemas/validate.py")).arg(&bill);
    python.arg(root().join("crates/pr-dist/src/schemas/written.json")).arg(wheel(KUBERNETES)?).arg(wheel(CYCLONEDX)?);
    python.arg(manifests);
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
