//! The DaemonSet's command lines, run in the image's files: a client, KubeVirt's virt-handler and a Prometheus are played.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use pr_dev::workspace::output;
use serde_json::Value;

use super::pod::{OWN_MOUNTS, Pod, command_line, words};

/// QEMU's user in KubeVirt: virt-handler gives the socket to it.
const QEMU: u32 = 107;

/// The node's address is one of this host's own, which no real exporter has.
const ADDRESS: &str = "127.0.94.37";
const PORT: u16 = 9437;

/// How long something may take that should take no time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Unpacks the image and plays it.
pub fn run(tree: &Path) -> Result<bool> {
    ensure!(rustix::process::geteuid().is_root(), "another root and mounts are for root alone: run this as root");
    let folder = tempfile::tempdir()?;
    // QEMU's user has to get through.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let root = folder.path().join("root");
    let pod = Pod::new(&root, folder.path())?;
    pod.unpack(tree, &root)?;

    let definition = pod.container("pr-helper")?;
    let mut helper = Container::start(&pod, definition, &[])?;
    let socket = pod.volume("pr-helper-socket-vol")?.join("pr-helper.sock");
    helper.wait_for("the socket", || socket.exists())?;
    // What virt-handler does once the socket is there.
    chown(socket.parent().context("a socket without a folder")?, Some(QEMU), Some(QEMU))?;
    chown(&socket, Some(QEMU), Some(QEMU))?;
    println!("ok the helper's socket appears where virt-handler waits for it");

    output(&mut inside(&pod, definition, &words(&definition["readinessProbe"]["exec"]["command"]))?)?;
    println!("ok the readiness probe succeeds");

    let client = || {
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={QEMU}"), format!("--regid={QEMU}"), "--clear-groups".to_owned()]);
        command.arg(root.join("usr/bin/qemu-pr-ctl")).arg("--socket").arg(&socket);
        command
    };
    output(client().arg("ping"))?;
    println!("ok a client with QEMU's user is served");

    // Nothing here is a disk with reservations, and the answer has to say so, not that the helper is gone.
    let answer = client().args(["keys", "/dev/null"]).output()?;
    let said = String::from_utf8_lossy(&answer.stderr).into_owned();
    ensure!(
        !answer.status.success() && said.contains("the command did not reach the disk"),
        "a client that passes /dev/null is told {said}"
    );
    println!("ok a command with a descriptor is carried out, and its answer comes back");

    let mut exporter = Container::start(&pod, pod.container("exporter")?, &[("HOST_IP", ADDRESS)])?;
    exporter.wait_for("the exporter", || page().is_ok_and(|page| page.contains("qemu_pr_helper_up 1")))?;
    println!("ok the exporter tells of the helper");
    drop(exporter);

    let status = helper.end()?;
    ensure!(status.success(), "the helper ends with {status}");
    // The folder is QEMU's user's now, so that a helper without root's rights cannot take its socket along; the next one,
    // at its start, can.
    ensure!(socket.exists(), "the socket is gone: what follows is about one that was left behind");
    let mut next = Container::start(&pod, definition, &[])?;
    next.wait_for("the next helper", || {
        // virt-handler hears of the new socket and gives it away as well.
        chown(&socket, Some(QEMU), Some(QEMU)).is_ok()
            && client().arg("ping").output().is_ok_and(|answer| answer.status.success())
    })?;
    ensure!(next.end()?.success(), "the next helper ends badly");
    println!("ok the helper ends when it is told to, and the next one takes its place");
    Ok(true)
}

/// A command that runs words as a container's.
fn inside(pod: &Pod, container: &Value, words: &[String]) -> Result<Command> {
    let mut command = Command::new(OWN_MOUNTS[0]);
    command.args(&OWN_MOUNTS[1..]).args(["sh", "-c"]).arg(pod.script(container, words)?);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    Ok(command)
}

/// A page of the exporter.
fn page() -> Result<String> {
    let mut stream = TcpStream::connect((ADDRESS, PORT))?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

/// A running container.
struct Container {
    name: String,
    child: Child,
}

impl Container {
    fn start(pod: &Pod, container: &Value, variables: &[(&str, &str)]) -> Result<Self> {
        let mut command = inside(pod, container, &command_line(container, variables))?;
        let name = container["name"].as_str().unwrap_or_default().to_owned();
        let child = command.stdin(Stdio::null()).spawn().with_context(|| format!("{name} cannot be started"))?;
        Ok(Self { name, child })
    }

    fn wait_for(&mut self, what: &str, mut is_there: impl FnMut() -> bool) -> Result<()> {
        let start = Instant::now();
        while !is_there() {
            let ended = self.child.try_wait()?;
            ensure!(ended.is_none(), "{} ends before {what} is there: {ended:?}", self.name);
            ensure!(start.elapsed() < PATIENCE, "{what} does not come");
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// As the kubelet ends it.
    fn end(&mut self) -> Result<ExitStatus> {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM)?;
        Ok(self.child.wait()?)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
