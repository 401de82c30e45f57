//! A host on which all is well, and what it takes to have it so again.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::{Context as _, Result, ensure};
use qemu_pr_protocol::Client;
use rustix::process::{Pid, Signal, kill_process};
use scsi_persistent_reservations::ReservationType;

use super::guest::{Guest, USER};
use crate::helper::{Helper, PROGRAM};
use crate::iscsi;
use crate::lun;
use crate::multipath::port::Port;
use crate::multipath::scene::{MAP, SETTLE, Scene};
use crate::multipath::services;
use crate::request::Request;
use crate::tool::Run;
use crate::wait;

/// Where the package has it.
pub const SOCKET: &str = "/run/qemu-pr-helper.sock";
/// Where libvirt has that of a guest.
pub const OF_LIBVIRT: &str = "/var/lib/libvirt/qemu/domain-1-web1/pr-helper0.sock";

/// A device-mapper device whose only path is given up and that waits for it.
pub const STUCK: &str = "stuck";

/// QEMU's own.
pub const OTHER: &str = "/usr/libexec/qemu-pr-helper";

/// The guest's key.
pub const KEY: u64 = 0xa;
/// Another node's.
pub const OTHER_KEY: u64 = 0xb;

pub const KIND: ReservationType = ReservationType::WriteExclusiveRegistrantsOnly;

/// The group of QEMU's processes.
const KVM: u32 = 104;

const CONFIGURATION: &str = "/etc/multipath.conf";

/// The host. Its guest has a map, and nobody has its spare disk.
pub struct Host {
    pub scene: Scene,
    pub spare: Port,
    pub helper: Option<Helper>,
    pub guest: Option<Guest>,
    /// What else runs, as long as something is broken.
    pub helpers: Vec<Helper>,
    pub guests: Vec<Guest>,
    pub clients: Vec<Client>,
    pub asking: Option<Child>,
}

/// What doctor says.
pub struct Said {
    pub code: Option<i32>,
    pub text: String,
    /// The kind of its first finding, and the command below it, for programs; a moment later.
    pub first: Option<(String, String)>,
}

impl Said {
    /// The command below the first finding, whose words are folded further in.
    pub fn mend(&self) -> Option<String> {
        let is_command = |line: &&str| line.starts_with("    ") && !line.starts_with("     ");
        self.text.lines().find(is_command).map(|line| line.trim().to_owned())
    }
}

impl Host {
    /// Makes it.
    pub fn set_up() -> Result<Self> {
        add("/etc/passwd", &format!("{USER}:x:64055:{KVM}:libvirt:/:/bin/false\n"))?;
        add("/etc/group", &format!("kvm:x:{KVM}:\n"))?;
        // As everywhere: the helper is at the same place by both.
        fs::remove_dir("/var/run").context("/var/run has something in it")?;
        symlink("/run", "/var/run")?;
        fs::create_dir_all(Path::new(OF_LIBVIRT).parent().context("a socket in a directory")?)?;
        fs::create_dir_all("/run/qemu-pr-helper")?;
        let scene = Scene::set_up()?;
        configure(&configuration())?;
        let spare = iscsi::initiate(4, &lun::backstore("spare")?)?;
        services::settle_udev()?;
        let spare = Port::open(spare.path())?;
        let mut host = Self {
            scene,
            spare,
            helper: None,
            guest: None,
            helpers: Vec::new(),
            guests: Vec::new(),
            clients: Vec::new(),
            asking: None,
        };
        host.restore()?;
        Ok(host)
    }

    /// Whatever is broken is whole afterwards.
    pub fn restore(&mut self) -> Result<()> {
        self.guests.clear();
        self.clients.clear();
        self.helpers.clear();
        self.guest = None;
        self.helper = None;
        let _ = lun::run("/sbin/dmsetup", &["resume", MAP]);
        let _ = lun::run("/sbin/dmsetup", &["remove", "--force", STUCK]);
        let _ = fs::remove_file(SOCKET);
        let _ = fs::remove_dir_all("/etc/multipath/conf.d");
        self.scene.multipathd.kill()?;
        fs::write(CONFIGURATION, configuration())?;
        self.scene.multipathd.start_again()?;
        self.scene.reset()?;
        self.spare.settle()?;
        self.spare.directly(&Request::register_anyhow(OTHER_KEY))?.good()?;
        self.spare.directly(&Request::clear(OTHER_KEY))?.good()?;
        self.spare.settle()?;
        self.serve(&[])?;
        self.guest = Some(Guest::start("web1", &map(), Path::new(SOCKET), "")?);
        reserve()
    }

    /// Starts the helper as the package's units do, with more options.
    pub fn serve(&mut self, more: &[&str]) -> Result<()> {
        let log = File::options().create(true).append(true).open("/run/helper.log")?;
        let options = ["--socket-mode", "0660", "--socket-group", "kvm", "--control", "/run/qemu-pr-helper/control"];
        let helper = Helper::start_at(PROGRAM, PathBuf::from(SOCKET), &[&options, more].concat(), log.into())?;
        self.helper = Some(helper);
        Ok(())
    }

    /// Starts another helper.
    pub fn serve_other(&mut self, program: &str, socket: &str) -> Result<()> {
        self.helpers.push(Helper::start_at(program, PathBuf::from(socket), &[], Stdio::null())?);
        fs::set_permissions(socket, fs::Permissions::from_mode(0o660))?;
        chown(socket, None, Some(KVM))?;
        Ok(())
    }

    pub fn spare(&self) -> PathBuf {
        Path::new("/dev").join(self.spare.name())
    }
}

/// The guest registers and reserves.
pub fn reserve() -> Result<()> {
    let (map, key) = (map().display().to_string(), format!("{KEY:#x}"));
    does(&["register-ignore", "--new-key", &key, &map])?;
    does(&["reserve", "--key", &key, "--type", &KIND.code().to_string(), &map])
}

/// An administrator does something that is to succeed.
pub fn does(words: &[&str]) -> Result<()> {
    let run = Run::at(Path::new(SOCKET), words)?;
    ensure!(run.code == Some(0), "{words:?}: {run:?}");
    Ok(())
}

/// What doctor says of the host, and of disks.
pub fn examine(disks: &[String]) -> Result<Said> {
    let disks: Vec<&str> = disks.iter().map(String::as_str).collect();
    let socket = Path::new(SOCKET);
    let run = Run::at(socket, &[&["doctor"], &disks[..]].concat())?;
    ensure!(run.complaint.is_empty(), "{run:?}");
    let report = Run::at(socket, &[&["doctor", "--json"], &disks[..]].concat())?;
    let said: serde_json::Value =
        serde_json::from_str(&report.output).with_context(|| format!("no JSON: {report:?}"))?;
    let word = |name: &str| said["findings"][0][name].as_str().map(str::to_owned);
    Ok(Said { code: run.code, text: run.output, first: word("kind").zip(word("mend")) })
}

/// Stops a process in the middle of what it does.
pub fn stop(pid: u32) -> Result<()> {
    signal(pid, Signal::STOP)
}

pub fn map() -> PathBuf {
    Path::new("/dev/mapper").join(MAP)
}

/// multipathd's configuration, which leaves the spare disk alone.
pub fn configuration() -> String {
    services::CONFIGURATION.replace("^sdc$", "^sd[cd]$")
}

/// Has multipathd read another configuration.
pub fn configure(text: &str) -> Result<()> {
    fs::write(CONFIGURATION, text)?;
    services::tell("reconfigure")?;
    wait::until("multipathd to have read its configuration", SETTLE, || {
        Ok(services::tell("show daemon").ok().filter(|state| state.contains("idle") || state.contains("running")))
    })
    .map(drop)
}

fn add(file: &str, line: &str) -> Result<()> {
    let text = fs::read_to_string(file)?;
    fs::write(file, text + line).with_context(|| file.to_owned())
}

fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(pid)?).context("a process has a number")?;
    Ok(kill_process(pid, signal)?)
}
