//! A QEMU guest inside the machine, with one disk passed through, that runs what it is told.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

use crate::node::Node;

/// An emulated machine inside an emulated machine takes its time to boot; a host under load takes more.
const PATIENCE: Duration = Duration::from_secs(560);

/// What the guest is called, as libvirt would tell QEMU.
pub const GUEST_NAME: &str = "host-a";

/// Where control groups are.
const CGROUPS: &str = "/sys/fs/cgroup";

/// The guest's, as libvirt and systemd would make it: the audit log names a guest by nothing else.
const SCOPE: &str = r"machine.slice/machine-qemu\x2d1\x2dhost\x2da.scope";

/// Where the kernel of a guest of this name writes.
fn console(name: &str) -> String {
    format!("/run/{name}.console")
}

/// The command line of a guest's kernel. On a host under load it would count too few ticks, and take the timer for broken.
pub const APPEND: &str =
    "console=ttyS1 panic=-1 tsc=reliable no_timer_check quiet mitigations=off nokaslr cryptomgr.notests";

/// A QEMU and the serial line of the guest in it. It never outlives this value.
pub struct Qemu {
    pub process: Child,
    pub terminal: Terminal,
}

impl Drop for Qemu {
    fn drop(&mut self) {
        self.switch_off();
    }
}

impl Qemu {
    /// What starts a guest of this name, whose disk is the node, with its reservations going through the helper at the
    /// socket. More words may follow.
    pub fn command(name: &str, cpu: &str, memory: &str, node: &Node, socket: &Path) -> Command {
        let mut command = Command::new("/usr/bin/qemu-system-x86_64");
        command
            .args(["-name", &format!("guest={name},debug-threads=on")])
            .args(["-M", "q35", "-accel", "tcg", "-cpu", cpu, "-m", memory, "-L", "/guest/firmware"])
            .args(["-nodefaults", "-display", "none", "-vga", "none", "-no-reboot"])
            .args(["-serial", "stdio", "-serial", &format!("file:{}", console(name))])
            .args(["-kernel", "/guest/vmlinuz", "-initrd", "/guest/root.cpio"])
            .arg("-object")
            .arg(format!("pr-manager-helper,id=helper,path={}", socket.display()))
            .args(["-device", "virtio-scsi-pci,id=bus"]);
        Self::pass_through(&mut command, "disk", node);
        command
    }

    /// Has a guest that is about to be started have one more disk: the node, by this name. It is the next target on its bus.
    pub fn pass_through(command: &mut Command, name: &str, node: &Node) {
        command
            .arg("-blockdev")
            .arg(format!(
                "driver=host_device,node-name={name},filename={},pr-manager=helper,cache.direct=on",
                node.path().display()
            ))
            .args(["-device", &format!("scsi-block,drive={name},bus=bus.0")]);
    }

    /// Starts the guest of this name.
    pub fn start(name: &str, mut command: Command) -> Result<Self> {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().context("QEMU cannot be started")?;
        let keyboard = process.stdin.take().context("QEMU's standard input is no pipe")?;
        let stdout = process.stdout.take().context("QEMU's standard output is no pipe")?;
        Ok(Self { process, terminal: Terminal::new(name, keyboard, stdout) })
    }

    /// A guest is never shut down: it has nothing to lose.
    pub fn switch_off(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Runs a shell command in the guest and insists that it succeeds; returns what it printed.
    pub fn done(&mut self, command: &str) -> Result<String> {
        let (status, printed) = self.terminal.run(command)?;
        ensure!(status == 0, "{command} in the guest: exit status {status}: {printed}");
        Ok(printed)
    }
}

/// A running guest.
pub struct Guest(Qemu);

impl Guest {
    /// Boots a guest whose disk is the node, with its reservations going through the helper at the socket.
    pub fn boot(node: &Node, socket: &Path) -> Result<Self> {
        match mount("cgroup2", CGROUPS, "cgroup2", MountFlags::empty(), None) {
            Ok(()) | Err(Errno::BUSY) => {}
            Err(error) => bail!("control groups cannot be mounted: {error}"),
        }
        fs::create_dir_all(Path::new(CGROUPS).join(SCOPE)).context("the guest's control group cannot be made")?;
        // What is started there is in it.
        enter(SCOPE)?;
        let mut command = Qemu::command(GUEST_NAME, "qemu64", "256M", node, socket);
        command.args(["-append", APPEND]);
        let guest = Qemu::start(GUEST_NAME, command)?;
        enter("")?;
        guest.terminal.ready()?;
        Ok(Self(guest))
    }

    /// Runs a shell command in the guest; returns its exit status and what it printed.
    pub fn run(&mut self, command: &str) -> Result<(i32, String)> {
        self.0.terminal.run(command)
    }

    /// Runs one that is to succeed; returns what it printed.
    pub fn done(&mut self, command: &str) -> Result<String> {
        self.0.done(command)
    }
}

/// Puts this process into a control group.
fn enter(group: &str) -> Result<()> {
    let path = Path::new(CGROUPS).join(group).join("cgroup.procs");
    fs::write(&path, "0").with_context(|| format!("{} cannot be entered", path.display()))
}

/// The serial line of a guest, with the shell of its first process at the other end.
pub struct Terminal {
    keyboard: Box<dyn Write + Send>,
    screen: Receiver<String>,
    console: String,
}

impl Terminal {
    /// A terminal with these two ends, of a guest of this name.
    pub fn new(guest: &str, keyboard: impl Write + Send + 'static, output: impl Read + Send + 'static) -> Self {
        let (sender, screen) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line.trim().to_owned()).is_err() {
                    break;
                }
            }
        });
        Self { keyboard: Box::new(keyboard), screen, console: console(guest) }
    }

    /// Waits until a guest that is booting says that it is ready.
    pub fn ready(&self) -> Result<()> {
        while self.line()? != "guest ready" {}
        Ok(())
    }

    /// Waits until a guest answers that may have said that it is ready when nobody listened.
    pub fn wake(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            writeln!(self.keyboard, "echo awake")?;
            match self.screen.recv_timeout(Duration::from_secs(3)) {
                Ok(line) if line == "awake" => {
                    // It may have been asked several times, and answers as often.
                    writeln!(self.keyboard, "echo settled")?;
                    while self.line()? != "settled" {}
                    self.line()?;
                    return Ok(());
                }
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("the guest's serial line is closed"),
            }
        }
        bail!("the guest does not answer")
    }

    /// Runs a shell command; returns its exit status and what it printed.
    pub fn run(&mut self, command: &str) -> Result<(i32, String)> {
        writeln!(self.keyboard, "{command}").context("the guest's serial line is closed")?;
        let mut printed = Vec::new();
        loop {
            let line = self.line().with_context(|| format!("running {command} in the guest"))?;
            if let Some(status) = line.strip_prefix("done ") {
                let status = status.parse().with_context(|| format!("the guest's exit status was {status}"))?;
                return Ok((status, printed.join("\n")));
            }
            printed.push(line);
        }
    }

    fn line(&self) -> Result<String> {
        self.screen.recv_timeout(PATIENCE).map_err(|_| {
            let console = fs::read(&self.console).unwrap_or_default();
            let console = String::from_utf8_lossy(&console);
            let lines: Vec<&str> = console.lines().collect();
            let last = lines[lines.len().saturating_sub(8)..].join(" | ");
            anyhow::anyhow!("the guest says nothing any more; its console ends: {last}")
        })
    }
}
