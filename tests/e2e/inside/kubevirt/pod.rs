//! The `DaemonSet`'s pod, played by podman on a node with a map, beside a virt-handler that is played here.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::virt_handler::{Release, Resource, VirtHandler};
use super::{FOLDER, expect, guest_is_served, script, socket};
use crate::host::exporter::page;
use crate::host::process::{NO_CAPABILITY, status};
use crate::lun;
use crate::multipath::scene::{Scene, State};
use crate::report::Report;
use crate::tool::Run;
use crate::wait;

/// The Debian with podman, which is the node's root as far as containers go.
const NODE: &str = "/node";

/// The machine's disks: that Debian, and what this run brings along.
const DISKS: [&str; 2] = ["/dev/ubda", "/dev/ubdb"];

/// What podman is told each time: there is no systemd, and its storage is in memory.
const PODMAN: [&str; 5] = [
    "podman",
    "--cgroup-manager=cgroupfs",
    "--events-backend=file",
    "--storage-driver=vfs",
    "--root=/run/containers-of-podman",
];

const POD: &str = "/bed/pod.yaml";
const HELPER: &str = "qemu-pr-helper-pr-helper";
const EXPORTER: &str = "qemu-pr-helper-exporter";

/// The exporter's user and group. It listens at the address that the node has.
const EXPORTERS_ID: &str = "9437";

const MAP: &str = "/dev/mapper/mpatha";
const KEY: u64 = 0x9b01;

/// podman is a large program, and the image is copied for each container.
const PATIENCE: Duration = Duration::from_secs(300);

/// All of it.
pub fn run(report: &mut Report) -> Result<()> {
    let scene = Scene::set_up()?;
    mount_node()?;
    let podman = Podman::enter()?;
    report.check("podman loads the image", || {
        let said = podman.run(&["load", "--quiet", "--input", "/bed/image.tar"])?;
        let image = said.trim().strip_prefix("Loaded image: ").with_context(|| format!("it says {said}"))?;
        podman.run(&["tag", image, fs::read_to_string(format!("{NODE}/bed/name"))?.trim()]).map(drop)
    });
    // As virt-handler's pod is told to: it is on the node before the DaemonSet's.
    let first = script(&[&socket(), "300"])?;
    report.check("podman plays the DaemonSet's pod", || podman.run(&["kube", "play", POD]).map(drop));
    let mut handler = None;
    report.check("virt-handler waits for the pod's helper, and offers the resource", || {
        let said = first.wait_with_output()?;
        ensure!(said.status.success() && said.stderr.is_empty(), "{}", String::from_utf8_lossy(&said.stderr));
        let handler = handler.insert(VirtHandler::start(Release::V1_9)?);
        expect(handler, Resource::Healthy)
    });
    report.check("a guest's QEMU is served by the pod", guest_is_served);
    report.check("the pod's helper changes the map on both paths, and multipathd keeps the key", || changes(&scene));
    report.check("both probes of the helper succeed", || {
        podman.run(&["healthcheck", "run", HELPER])?;
        // It was run in the container: the machine has no such file.
        podman.run(&["exec", HELPER, "test", "-e", "/etc/debian_version"])?;
        // podman has one kind of probe, which is the liveness probe; this is the other one, which may fail at first.
        let ready = ["exec", HELPER, "qemu-pr-ctl", "state", "--control", "/run/qemu-pr-helper/control"];
        wait::until("the helper to be ready", PATIENCE, || Ok(podman.run(&ready).ok())).map(drop)
    });
    report.check("the helper is in the node's process and network name spaces, as the exporter is", || {
        for container in [HELPER, EXPORTER] {
            let process = podman.process_of(container)?;
            for kind in ["pid", "net"] {
                let [its, own] =
                    [process.as_str(), "self"].map(|whose| fs::read_link(format!("/proc/{whose}/ns/{kind}")));
                ensure!(its? == own?, "{container} has a name space of its own: {kind}");
            }
        }
        Ok(())
    });
    report.check("the exporter has no right, and tells of the helper", || {
        let process = podman.process_of(EXPORTER)?.parse()?;
        for (field, due) in [
            ("Uid", EXPORTERS_ID),
            ("Gid", EXPORTERS_ID),
            ("CapEff", NO_CAPABILITY),
            ("CapBnd", NO_CAPABILITY),
            ("NoNewPrivs", "1"),
        ] {
            let found = status(process, field)?;
            ensure!(found.split_whitespace().next() == Some(due), "{field} is {found}");
        }
        wait::until("the exporter's page", PATIENCE, || {
            Ok(page().is_ok_and(|page| page.contains("qemu_pr_helper_up 1")).then_some(()))
        })
    });
    report.check("the pod ends as it is told to, and the next one serves guests", || {
        let old = podman.process_of(HELPER)?;
        podman.run(&["kube", "down", POD])?;
        ensure!(!Path::new("/proc").join(old).exists(), "the helper is still there");
        podman.run(&["kube", "play", POD])?;
        expect(handler.as_mut().context("there is no virt-handler")?, Resource::Healthy)?;
        wait::until("the next pod's helper", PATIENCE, || Ok(guest_is_served().ok()))?;
        changes(&scene)
    });
    if podman.run(&["kube", "down", POD]).is_err() {
        bail!("the pod does not end");
    }
    Ok(())
}

/// Through the socket, a key comes to both paths and to multipathd, and goes again.
fn changes(scene: &Scene) -> Result<()> {
    let socket = PathBuf::from(socket());
    let key = format!("{KEY:#x}");
    Run::at(&socket, &["register", "--new-key", &key, MAP, "--json"])?.json()?;
    scene.expect(&State::registered(KEY))?;
    Run::at(&socket, &["unregister", "--key", &key, MAP, "--json"])?.json()?;
    scene.expect(&State::default())
}

/// The Debian with the machine's devices, and with places to write to.
fn mount_node() -> Result<()> {
    fs::create_dir_all(NODE)?;
    let mount = |words: &[&str]| lun::run("mount", words);
    mount(&["-t", "ext4", "-o", "ro", DISKS[0], NODE])?;
    mount(&["-t", "ext4", "-o", "ro", DISKS[1], &format!("{NODE}/bed")])?;
    for place in ["run", "tmp", "var/tmp"] {
        mount(&["-t", "tmpfs", "tmpfs", &format!("{NODE}/{place}")])?;
    }
    for (kind, place) in
        [("devpts", "/dev/pts"), ("tmpfs", "/dev/shm"), ("mqueue", "/dev/mqueue"), ("cgroup2", "/sys/fs/cgroup")]
    {
        fs::create_dir_all(place)?;
        mount(&["-t", kind, kind, place])?;
    }
    for place in ["dev", "proc", "sys", "etc/multipath"] {
        mount(&["-o", "rbind", &format!("/{place}"), &format!("{NODE}/{place}")])?;
    }
    // podman names the pod's host after it.
    fs::write("/proc/sys/kernel/hostname", "node")?;
    // One folder of the node: /var/run is a link to /run in the Debian.
    let place = Path::new(FOLDER);
    fs::create_dir_all(format!("{NODE}/run/kubevirt"))?;
    let kubevirt = place.ancestors().nth(2).context("a folder in KubeVirt's")?;
    fs::create_dir_all(kubevirt.parent().context("a folder")?)?;
    Ok(symlink(format!("{NODE}/run/kubevirt"), kubevirt)?)
}

/// The node, as far as podman goes: a process in a mount name space whose root is the Debian, which lives as long as the
/// machine. A directory that was only changed to with chroot would not do: what `podman exec` starts would begin in the
/// machine's own root.
struct Podman(String);

impl Podman {
    fn enter() -> Result<Self> {
        let enter = format!("cd {NODE} && mount --move . / && exec chroot . /usr/bin/sleep infinity");
        let process = Command::new("unshare").args(["-m", "sh", "-c", &enter]).spawn()?.id().to_string();
        wait::until("the node", PATIENCE, || {
            let name = fs::read_to_string(format!("/proc/{process}/comm"))?;
            Ok((name.trim() == "sleep").then_some(()))
        })?;
        Ok(Self(process))
    }

    /// Runs podman, and returns what it printed.
    fn run(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.0, "-m"]).args(PODMAN).args(words);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let said = command.output()?;
        let [printed, complaint] = [said.stdout, said.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        ensure!(said.status.success(), "podman {}: {complaint}", words.join(" "));
        Ok(printed)
    }

    /// The process that is first in a container.
    fn process_of(&self, container: &str) -> Result<String> {
        Ok(self.run(&["inspect", "--format", "{{.State.Pid}}", container])?.trim().to_owned())
    }
}
