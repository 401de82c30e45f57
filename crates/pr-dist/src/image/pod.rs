//! What a container engine would make of the DaemonSet, as a shell script: the volumes, another root, users and
//! capabilities. The process and network name spaces are the node's, as the DaemonSet wants them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use pr_dev::workspace::output;
use serde_json::Value;

use crate::schemas::{self, named};

/// What begins a script's own mount name space; the script follows.
pub const OWN_MOUNTS: [&str; 3] = ["unshare", "--mount", "--propagation=private"];

/// The pod of the DaemonSet.
pub struct Pod {
    spec: Value,
    /// Where the image's files are.
    root: PathBuf,
    /// What stands for the node's folders; empty if they are themselves.
    node: PathBuf,
}

impl Pod {
    /// The DaemonSet's, with the image at `root` and the node's folders below `node`.
    pub fn new(root: &Path, node: &Path) -> Result<Self> {
        let spec = schemas::daemon_set()?["spec"]["template"]["spec"].clone();
        ensure!(spec["hostPID"] == true && spec["hostNetwork"] == true, "the pod has name spaces that are not played");
        Ok(Self { spec, root: root.to_owned(), node: node.to_owned() })
    }

    /// One of its containers.
    pub fn container(&self, name: &str) -> Result<&Value> {
        named(self.spec["containers"].as_array().context("a pod without containers")?, name)
    }

    /// Unpacks the image at `to`, with all places that something is mounted at: the script may run on a disk that is not
    /// to be written.
    pub fn unpack(&self, image: &Path, to: &Path) -> Result<()> {
        fs::create_dir_all(to)?;
        output(Command::new("tar").arg("-C").arg(to).args(["--extract", "--file"]).arg(image))?;
        for container in self.spec["containers"].as_array().into_iter().flatten() {
            for mount in mounts(container)? {
                // The image has links to folders: /var/run is one.
                let place = output(Command::new("chroot").arg(to).args(["realpath", "-m", mount.1]))?;
                fs::create_dir_all(to.join(place.trim().trim_start_matches('/')))?;
            }
        }
        Ok(())
    }

    /// The folder of the node that a volume is.
    pub fn volume(&self, name: &str) -> Result<PathBuf> {
        let volume = named(self.spec["volumes"].as_array().context("a pod without volumes")?, name)?;
        let path = volume["hostPath"]["path"].as_str();
        let path = path.map_or_else(|| Path::new("/run/volumes").join(name), PathBuf::from);
        // Devices are always the node's own.
        let is_own = self.node.as_os_str().is_empty() || path == Path::new("/dev");
        Ok(if is_own { path } else { self.node.join(path.strip_prefix("/")?) })
    }

    /// The script that runs `words` as a container of the pod would be run.
    pub fn script(&self, container: &Value, words: &[String]) -> Result<String> {
        let root = self.root.display();
        // Places that the image may write to, wherever it lies.
        let mut lines = vec![
            "set -e".to_owned(),
            format!("mount -t proc proc {root}/proc"),
            format!("mount --rbind /sys {root}/sys"),
            format!("mount -t tmpfs tmpfs {root}/run"),
            format!("mount -t tmpfs tmpfs {root}/tmp"),
        ];
        for (name, place) in mounts(container)? {
            let from = self.volume(name)?;
            let from = from.display();
            lines.push(format!("place={root}$(chroot {root} realpath -m {place})"));
            lines.push(format!("mkdir -p {from} $place"));
            lines.push(format!("mount --rbind {from} $place"));
        }
        let mut start = vec![format!("exec chroot {root}")];
        let security = &container["securityContext"];
        if security["privileged"] != true {
            let (user, group) = (&security["runAsUser"], &security["runAsGroup"]);
            start.push(format!("setpriv --reuid={user} --regid={group} --clear-groups"));
            start.push("--no-new-privs --bounding-set=-all --inh-caps=-all".to_owned());
        }
        start.extend(words.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))));
        lines.push(start.join(" "));
        Ok(lines.join("\n"))
    }
}

/// The command line of a container, with what the kubelet would fill in.
pub fn command_line(container: &Value, variables: &[(&str, &str)]) -> Vec<String> {
    let expand = |word: String, (name, value): &(&str, &str)| word.replace(&format!("$({name})"), value);
    let words = [words(&container["command"]), words(&container["args"])].concat();
    words.into_iter().map(|word| variables.iter().fold(word, expand)).collect()
}

/// A list of words in a manifest.
pub fn words(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|word| word.as_str().map(str::to_owned)).collect()
}

/// The volumes of a container, and where they are mounted.
fn mounts(container: &Value) -> Result<Vec<(&str, &str)>> {
    let mounts = container["volumeMounts"].as_array().into_iter().flatten();
    let mounts = mounts.map(|mount| Some((mount["name"].as_str()?, mount["mountPath"].as_str()?)));
    mounts.collect::<Option<_>>().context("a mount without a name or a place")
}
