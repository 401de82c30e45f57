//! The helper on a node of KubeVirt's: a virt-handler that looks for the socket once, and the script that has it start at the
//! right time.

pub mod pod;
mod virt_handler;

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use qemu_pr_protocol::Client;
use scsi_persistent_reservations::InAction;

use crate::helper::{Helper, through};
use crate::node::Node;
use crate::report::Report;
use crate::request::Request;
use crate::tool;
use crate::wait;
use virt_handler::{QEMU, Release, Resource, VirtHandler};

/// Where virt-handler looks for the socket.
const FOLDER: &str = "/var/run/kubevirt/daemons/pr";
const NAME: &str = "pr-helper.sock";

/// How the DaemonSet starts the helper: by the container image's script (packaging/container).
const OURS: &[&str] = &["/entrypoint.sh", "--socket-mode", "0660"];

/// The helper by itself, as KubeVirt's container starts it.
const PLAIN: &[&str] = &["/usr/bin/qemu-pr-helper"];

/// What the init containers run.
const SCRIPT: &str = "/wait-for-helper.sh";

const PATIENCE: Duration = Duration::from_secs(60);

const RELEASES: [Release; 3] = [Release::V1_5_0, Release::V1_5_1, Release::V1_9];

/// What is left in the folder by a node that went down.
#[derive(Clone, Copy, Debug)]
enum Left {
    /// It is in memory.
    Nothing,
    /// It is on a disk: the socket of the dead helper, QEMU's user's.
    Socket,
}

/// All of it.
pub fn run(report: &mut Report, disk: &Node) -> Result<()> {
    for release in RELEASES {
        report.check(&format!("{release:?}: a helper that comes after virt-handler, {}", after(release)), || {
            late(release)
        });
        for left in [Left::Nothing, Left::Socket] {
            let name =
                format!("{release:?}: a node that begins with {left:?} serves a guest once virt-handler has waited");
            report.check(&name, || begins(release, left, disk));
        }
        report.check(
            &format!("{release:?}: a helper that is killed or ended has a successor that serves guests"),
            || restarts(release),
        );
        report.check(&format!("{release:?}: a successor of a plain helper, {}", plain(release)), || {
            plain_restarts(release)
        });
        report.check(&format!("{release:?}: the DaemonSet's helper takes over from virt-handler's own"), || {
            takes_over(release)
        });
    }
    report.check("virt-handler waits for no helper for ever, and its container says so", gives_up);
    empty()
}

fn after(release: Release) -> &'static str {
    match release {
        Release::V1_5_0 => "is seen",
        Release::V1_5_1 | Release::V1_9 => "is not seen until the KubeVirt object changes",
    }
}

fn plain(release: Release) -> &'static str {
    match release {
        Release::V1_5_0 | Release::V1_5_1 => "has a socket that guests may not use",
        Release::V1_9 => "has a socket that virt-handler gives to guests",
    }
}

/// The order that goes wrong: both are applied, or a node boots, and virt-handler is first.
fn late(release: Release) -> Result<()> {
    empty()?;
    let mut handler = VirtHandler::start(release)?;
    let mut helper = start(OURS)?;
    let seen = handler.resource()?;
    if release == Release::V1_5_0 {
        ensure!(seen == Resource::Healthy, "the resource is {seen:?}");
    } else {
        ensure!(seen == Resource::Unknown, "the fault is not there: the resource is {seen:?}");
        handler.look()?;
        expect(&mut handler, Resource::Healthy)?;
    }
    handler.guest_starts()?;
    guest_is_served()?;
    helper.end()
}

/// A node boots, fresh or again: virt-handler's pod is first, and its init container waits.
fn begins(release: Release, left: Left, disk: &Node) -> Result<()> {
    empty()?;
    if matches!(left, Left::Socket) {
        let mut helper = start(OURS)?;
        VirtHandler::start(Release::V1_9)?;
        helper.kill()?;
        ensure!(Path::new(FOLDER).join(NAME).exists(), "nothing is left of it");
    }
    fs::create_dir_all(FOLDER)?;
    let mut first = script(&[&socket(), "60"])?;
    // It has to wait for this helper, not for a file.
    std::thread::sleep(Duration::from_secs(1));
    ensure!(first.try_wait()?.is_none(), "it does not wait");
    let mut helper = start(OURS)?;
    let said = first.wait_with_output()?;
    ensure!(said.status.success() && said.stderr.is_empty(), "{}", text(&said));
    let mut handler = VirtHandler::start(release)?;
    expect(&mut handler, Resource::Healthy)?;
    handler.guest_starts()?;
    guest_is_served()?;
    let mut client = Client::connect(Path::new(&socket()))?;
    through(&mut client, disk.open()?, &Request::read(InAction::ReadKeys))?.keys()?;
    drop(client);
    helper.end()
}

/// What happens to a DaemonSet's helper: it is killed, or its pod is replaced. The KubeVirt object changes meanwhile.
fn restarts(release: Release) -> Result<()> {
    empty()?;
    let mut helper = start(OURS)?;
    let mut handler = VirtHandler::start(release)?;
    handler.guest_starts()?;
    guest_is_served()?;
    helper.kill()?;
    let mut helper = start(OURS)?;
    expect(&mut handler, Resource::Healthy)?;
    guest_is_served()?;

    helper.end()?;
    handler.look()?;
    // The next pod of the DaemonSet begins with this.
    ensure!(script(&["--gone", &socket()])?.wait()?.success(), "it waits for somebody");
    let mut helper = start(OURS)?;
    if release == Release::V1_5_0 {
        // Its folder is root's, and the helper takes the socket along.
        expect(&mut handler, Resource::Healthy)?;
    } else {
        // The socket has stayed, so that a change of the object meanwhile has cost nothing.
        ensure!(handler.resource()? == Resource::Healthy, "the resource is gone");
    }
    guest_is_served()?;
    helper.end()
}

/// The same by the command line of KubeVirt's own container.
fn plain_restarts(release: Release) -> Result<()> {
    empty()?;
    let mut helper = start(PLAIN)?;
    let mut handler = VirtHandler::start(release)?;
    handler.guest_starts()?;
    guest_is_served()?;
    helper.kill()?;
    let mut helper = start(PLAIN)?;
    expect(&mut handler, Resource::Healthy)?;
    if release == Release::V1_9 {
        guest_is_served()?;
    } else {
        ensure!(guest_is_served().is_err(), "the fault is not there");
    }
    helper.end()
}

/// virt-handler's pod has a helper of its own until it is replaced; the DaemonSet's pod is there before that.
fn takes_over(release: Release) -> Result<()> {
    empty()?;
    let mut own = start(PLAIN)?;
    let handler = VirtHandler::start(release)?;
    let mut alone = script(&["--gone", &socket()])?;
    std::thread::sleep(Duration::from_secs(1));
    ensure!(alone.try_wait()?.is_none(), "it does not wait until the other one has gone");
    // The pod ends, and the new one has an init container.
    drop(handler);
    own.end()?;
    let mut first = script(&[&socket(), "60"])?;
    ensure!(alone.wait()?.success(), "it ends badly");
    let mut helper = start(OURS)?;
    ensure!(first.wait()?.success(), "virt-handler's init container ends badly");
    let mut handler = VirtHandler::start(release)?;
    expect(&mut handler, Resource::Healthy)?;
    handler.guest_starts()?;
    guest_is_served()?;
    helper.end()
}

/// Nobody comes.
fn gives_up() -> Result<()> {
    empty()?;
    fs::create_dir_all(FOLDER)?;
    let start = Instant::now();
    let said = script(&[&socket(), "3"])?.wait_with_output()?;
    ensure!(start.elapsed() >= Duration::from_secs(2), "it has not waited");
    ensure!(said.status.success(), "virt-handler would not start: {}", text(&said));
    ensure!(text(&said).contains("no helper answers at"), "it says {}", text(&said));
    Ok(())
}

/// The node's folder is gone, as after a boot.
fn empty() -> Result<()> {
    match fs::remove_dir_all(FOLDER) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => Ok(result?),
    }
}

fn socket() -> String {
    PathBuf::from(FOLDER).join(NAME).display().to_string()
}

fn expect(handler: &mut VirtHandler, due: Resource) -> Result<()> {
    wait::until(&format!("the resource to be {due:?}"), PATIENCE, || Ok((handler.resource()? == due).then_some(())))
}

/// A client with QEMU's user and group, and no other right.
fn guest_is_served() -> Result<()> {
    let mut command = Command::new(tool::PROGRAM);
    command.args(["ping", "--requests", "1", "--socket", &socket()]).uid(QEMU).gid(QEMU);
    let said = command.output()?;
    ensure!(said.status.success(), "a guest's QEMU is told: {}", text(&said));
    Ok(())
}

fn script(words: &[&str]) -> Result<Child> {
    let mut command = Command::new(SCRIPT);
    command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().with_context(|| format!("{SCRIPT} cannot be started"))
}

fn text(said: &Output) -> String {
    String::from_utf8_lossy(&said.stderr).into_owned()
}

/// A helper at the node's socket, started by these words, that answers.
fn start(words: &[&str]) -> Result<Helper> {
    fs::create_dir_all(FOLDER)?;
    Helper::start_at(words[0], PathBuf::from(socket()), &words[1..], Stdio::inherit())
}
