//! An image in the layout of the Open Container Initiative
//! (<https://github.com/opencontainers/image-spec/blob/main/image-layout.md>): one layer, its configuration, a manifest and
//! an index, each named by its hash, in one archive.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use pr_dev::workspace::{output, run};
use serde_json::{Value, json};

use crate::archive;

/// What is run if nobody says otherwise: the Containerfile says the same.
pub const ENTRYPOINT: &str = "/entrypoint.sh";

/// The names that the specification has for the kinds of files.
const KIND: &str = "application/vnd.oci.image";

/// Makes the image of a root file system.
pub fn write(tree: &Path, image: &Path) -> Result<()> {
    let stage = tempfile::tempdir()?;
    let blobs = stage.path().join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let plain = digest(tree)?;
    let layer = blobs.join("layer");
    run(Command::new("sh").args(["-c", "gzip -6n <\"$1\" >\"$2\"", "sh"]).arg(tree).arg(&layer))?;
    let layer = named(&layer, &format!("{KIND}.layer.v1.tar+gzip"))?;
    let moment = archive::moment()?;
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let labels = json!({
        "org.opencontainers.image.title": "qemu-pr-helper",
        "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
        "org.opencontainers.image.licenses": "Apache-2.0 OR MIT",
    });
    let configuration = json!({
        "created": moment,
        "architecture": architecture,
        "os": "linux",
        "config": {
            "Entrypoint": [ENTRYPOINT],
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "StopSignal": "SIGTERM",
            "Labels": labels,
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{plain}")] },
        "history": [{ "created": moment, "created_by": "cargo xtask image" }],
    });
    let configuration = blob(&blobs, &configuration, &format!("{KIND}.config.v1+json"))?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": format!("{KIND}.manifest.v1+json"),
        "config": configuration,
        "layers": [layer],
        "annotations": labels,
    });
    let mut manifest = blob(&blobs, &manifest, &format!("{KIND}.manifest.v1+json"))?;
    manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": env!("CARGO_PKG_VERSION") });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": format!("{KIND}.index.v1+json"),
        "manifests": [manifest],
    });
    fs::write(stage.path().join("index.json"), index.to_string())?;
    fs::write(stage.path().join("oci-layout"), json!({ "imageLayoutVersion": "1.0.0" }).to_string())?;
    check(stage.path())?;
    run(archive::tar(image).arg("-C").arg(stage.path()).args(["oci-layout", "index.json", "blobs"]))
}

/// Writes a JSON file under its hash; what others call it by.
fn blob(blobs: &Path, content: &Value, kind: &str) -> Result<Value> {
    let path = blobs.join("new");
    fs::write(&path, content.to_string())?;
    named(&path, kind)
}

/// Gives a file its hash as its name; what others call it by.
fn named(path: &Path, kind: &str) -> Result<Value> {
    let digest = digest(path)?;
    let size = fs::metadata(path)?.len();
    fs::rename(path, path.with_file_name(&digest))?;
    Ok(json!({ "mediaType": kind, "digest": format!("sha256:{digest}"), "size": size }))
}

fn digest(path: &Path) -> Result<String> {
    let line = output(Command::new("sha256sum").arg(path))?;
    Ok(line.split(' ').next().context("sha256sum prints nothing")?.trim_start_matches('\\').to_owned())
}

/// Follows the layout from its index as an engine does: every file is there, of the size and with the hash that its name
/// says, and the layer unpacks to what the configuration names.
fn check(layout: &Path) -> Result<()> {
    let read = |path: PathBuf| -> Result<Value> { Ok(serde_json::from_slice(&fs::read(path)?)?) };
    let find = |at: &Value| -> Result<PathBuf> {
        let name = at["digest"].as_str().and_then(|it| it.strip_prefix("sha256:")).context("no digest")?;
        let path = layout.join("blobs/sha256").join(name);
        ensure!(digest(&path)? == name, "{} has another hash", path.display());
        ensure!(Some(fs::metadata(&path)?.len()) == at["size"].as_u64(), "{} has another size", path.display());
        Ok(path)
    };
    let index = read(layout.join("index.json"))?;
    let manifest = read(find(&index["manifests"][0])?)?;
    let configuration = read(find(&manifest["config"])?)?;
    let layer = find(&manifest["layers"][0])?;
    let plain = output(Command::new("sh").args(["-c", "gzip -dc \"$1\" | sha256sum", "sh"]).arg(layer))?;
    let said = configuration["rootfs"]["diff_ids"][0].as_str().and_then(|it| it.strip_prefix("sha256:"));
    ensure!(said.is_some_and(|said| plain.starts_with(said)), "the layer unpacks to something else");
    Ok(())
}
