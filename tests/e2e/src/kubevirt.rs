//! The disks of a node of `KubeVirt`'s: a Debian with podman, and the container image with the pod that is to be played.
//!
//! The machine is the multipath bed's: its udev and its multipathd are the node's, and podman is run in the Debian's
//! directory, with the node's `/dev`, `/proc`, `/sys` and `/etc/multipath`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use pr_dist::image as container;
use pr_dist::image::podman::Pod;

use crate::distribution::{self, Recipe};
use crate::machine::Disk;

/// The first release whose podman gives a pod its node's process name space.
const RELEASE: &str = "trixie";

/// podman, and what runs a pod in the node's network.
const PACKAGES: &[&str] = &["catatonit", "conmon", "crun", "podman"];

/// Places that are mounted in the machine and that Debian's packages do not bring.
const PLACES: [&str; 2] = ["bed", "etc/multipath"];

/// The node's address, as far as the pod is concerned.
const ADDRESS: &str = "127.0.0.1";

/// Makes them; those of a run beside its image.
pub fn disks(image: &Path) -> Result<Vec<Disk>> {
    let base = Recipe {
        name: "kubevirt",
        release: RELEASE,
        packages: PACKAGES,
        size: "500M",
        excludes: distribution::DOCUMENTATION,
        hooks: &[],
        additions: &format!("{PLACES:?}"),
        add,
    };
    let base = base.disk()?;
    Ok(vec![
        Disk { path: base, temporary: false },
        Disk { path: files(&image.with_extension("img"))?, temporary: true },
    ])
}

fn add(folder: &Path) -> Result<()> {
    for place in PLACES {
        fs::create_dir_all(folder.join(place))?;
    }
    Ok(())
}

/// The disk with what this run brings along.
fn files(to: &Path) -> Result<PathBuf> {
    let stage = to.with_extension("files");
    fs::create_dir_all(&stage)?;
    let pod = Pod::new(ADDRESS)?;
    fs::copy(container::archive()?, stage.join("image.tar"))?;
    fs::write(stage.join("pod.yaml"), pod.manifest())?;
    fs::write(stage.join("name"), pod.image()?)?;
    distribution::ext4(&stage, to, "200M")?;
    Ok(to.to_owned())
}
