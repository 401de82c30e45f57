//! udev and multipathd, as a host runs them, and the words that one says to multipathd.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::lun;
use crate::wait;

/// multipathd takes the disks of both paths; the third initiator's is none of its business. It looks at its paths every
/// second, so that nobody here waits for long.
pub const CONFIGURATION: &str = r#"
defaults {
    find_multipaths no
    user_friendly_names yes
    reservation_key file
    path_grouping_policy multibus
    polling_interval 1
    max_polling_interval 1
}
blacklist {
    devnode "^sdc$"
}
"#;

/// Where multipathd listens, in the abstract namespace.
const SOCKET: &str = "/org/kernel/linux/storage/multipathd";

/// Where multipathd keeps the keys of its maps.
pub const KEYS: &str = "/etc/multipath/prkeys";

/// What it says.
pub const LOG: &str = "/run/multipathd.log";

/// What a loaded machine may need to start a service. multipathd looks at all disks first, and there may be hundreds.
const PATIENCE: Duration = Duration::from_secs(300);

/// Starts udev; it goes to the background by itself and lives as long as the machine.
pub fn start_udev() -> Result<()> {
    // Some rules look for their own files there.
    fs::create_dir_all("/run/udev")?;
    let status = Command::new("/bin/udevadm")
        // One program with two faces; it chooses by its name.
        .arg0("systemd-udevd")
        .arg("--daemon")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("udevadm cannot be started")?;
    ensure!(status.success(), "systemd-udevd ended with {status}");
    Ok(())
}

/// Waits until udev has nothing left to do.
pub fn settle_udev() -> Result<()> {
    lun::run("/bin/udevadm", &["settle", "--timeout=60"])
}

/// A running multipathd.
pub struct Multipathd {
    process: Option<Child>,
}

impl Drop for Multipathd {
    fn drop(&mut self) {
        // The machine ends with it anyway.
        let _ = self.kill();
    }
}

impl Multipathd {
    /// Writes its configuration and starts it.
    pub fn start(configuration: &str) -> Result<Self> {
        fs::write("/etc/multipath.conf", configuration)?;
        fs::create_dir_all("/etc/multipath")?;
        let mut this = Self { process: None };
        this.start_again()?;
        Ok(this)
    }

    /// Starts it unless it runs; returns when it takes commands.
    pub fn start_again(&mut self) -> Result<()> {
        if self.process.is_some() {
            return Ok(());
        }
        let log = File::options().create(true).append(true).open(LOG)?;
        let process = Command::new("/sbin/multipathd")
            .args(["-d", "-v2"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("multipathd cannot be started")?;
        self.process = Some(process);
        wait::until("multipathd to take commands", PATIENCE, || {
            Ok(tell("show daemon").ok().filter(|state| state.contains("idle") || state.contains("running")))
        })?;
        Ok(())
    }

    /// Its process, if it was started.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Kills it without a warning.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }
}

/// Gives multipathd a command and returns its answer.
pub fn tell(command: &str) -> Result<String> {
    let mut socket =
        UnixStream::connect_addr(&SocketAddr::from_abstract_name(SOCKET)?).context("multipathd cannot be reached")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    // A length in the machine's own byte order, then a C string; the answer likewise.
    let length = command.len() + 1;
    socket.write_all(&[&length.to_ne_bytes(), command.as_bytes(), b"\0"].concat())?;
    let mut length = [0; size_of::<usize>()];
    socket.read_exact(&mut length).with_context(|| format!("multipathd does not answer {command}"))?;
    let mut answer = Vec::new();
    socket.take(u64::try_from(usize::from_ne_bytes(length))?).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).trim_end_matches(['\0', '\n']).to_owned())
}

/// The key that multipathd keeps for a map, as the file says it.
pub fn kept_key(wwid: &str) -> Result<Option<u64>> {
    let text = match fs::read_to_string(KEYS) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context(KEYS),
    };
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some((key, name)) = line.split_once(' ')
            && name.trim() == wwid
        {
            // A capital X stands for a registration that outlives a loss of power.
            let digits = key.trim_start_matches(['0', 'x', 'X']);
            return Ok(Some(u64::from_str_radix(digits, 16).with_context(|| format!("{KEYS} has the line {line}"))?));
        }
    }
    Ok(None)
}
