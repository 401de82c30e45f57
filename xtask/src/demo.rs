//! The demonstrations: what this project does, shown to somebody who has not read it.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use pr_dev::{packages, workspace};
use qemu_pr_protocol::{Client, Reply};
use scsi_persistent_reservations::{
    BasicParameters, FullStatus, InAction, OutAction, PersistentReserveIn, PrOut, ReadKeys, ReservationKey,
    ReservationType, SenseCode, Status,
};

const ALPHA: ReservationKey = ReservationKey(0xa1fa);
const BETA: ReservationKey = ReservationKey(0xbe7a);
const KIND: ReservationType = ReservationType::WriteExclusiveRegistrantsOnly;

/// The story on a simulated disk.
pub fn simulated() -> Result<bool> {
    workspace::debug_builds()?;
    let folder = tempfile::tempdir()?;
    let daemon = Daemon::start(folder.path())?;
    let disk = folder.path().join("disk");
    File::create_new(&disk)?;

    println!("Two hosts share a disk. Only one of them may write at a time, and the disk itself sees to that.\n");
    let mut alpha = Host::new("alpha", &daemon, &disk)?;
    let mut beta = Host::new("beta", &daemon, &disk)?;
    println!();

    println!("Both introduce themselves to the disk with a key of their own:");
    alpha.out(OutAction::Register, ReservationKey::ZERO, ALPHA, None, &Wanted::Good)?;
    beta.out(OutAction::Register, ReservationKey::ZERO, BETA, None, &Wanted::Good)?;
    beta.show_keys(2)?;

    println!("\nalpha becomes the active node: it reserves the disk. beta cannot:");
    alpha.out(OutAction::Reserve, ALPHA, ReservationKey::ZERO, Some(KIND), &Wanted::Good)?;
    beta.out(OutAction::Reserve, BETA, ReservationKey::ZERO, Some(KIND), &Wanted::Conflict)?;
    beta.show_status(Some(ALPHA))?;

    println!("\nalpha stops answering its cluster. beta takes the disk from it:");
    beta.out(OutAction::Preempt, BETA, ALPHA, Some(KIND), &Wanted::Good)?;
    beta.show_status(Some(BETA))?;

    println!("\nalpha was only slow. It wakes up, is told what happened, and is locked out:");
    let told = Wanted::Attention(SenseCode::REGISTRATIONS_PREEMPTED);
    alpha.out(OutAction::Reserve, ALPHA, ReservationKey::ZERO, Some(KIND), &told)?;
    alpha.out(OutAction::Reserve, ALPHA, ReservationKey::ZERO, Some(KIND), &Wanted::Conflict)?;

    println!("\nWhen all is well again, beta clears the table:");
    beta.out(OutAction::Clear, BETA, ReservationKey::ZERO, None, &Wanted::Good)?;
    beta.show_keys(0)?;

    drop((alpha, beta));
    daemon.stop()?;
    println!("\nThe helper has ended and its socket is gone. Each answer above was checked.");
    println!("The same with a real kernel, disk and QEMU guest: cargo xtask demo --guest");
    Ok(true)
}

/// The story on a real kernel, with a real QEMU guest as one of the two hosts.
pub fn guest(helper: Option<&Path>) -> Result<bool> {
    packages::install_missing(&[packages::FOR_BEDS])?;
    println!("Booting a machine with a real disk, and a guest inside it. This takes about half a minute.\n");
    let tally = e2e::run(e2e::Kind::Guest, helper, &e2e::Options { story: true, ..e2e::Options::default() })?;
    println!("\nEvery step above was checked: {tally}.");
    Ok(tally.succeeded())
}

/// The real daemon, on a socket of its own. Killed if the story breaks off.
struct Daemon {
    child: Child,
    socket: PathBuf,
}

impl Daemon {
    fn start(folder: &Path) -> Result<Self> {
        let program = workspace::target().join("debug").join("qemu-pr-helper");
        let socket = folder.join("pr.sock");
        println!("$ qemu-pr-helper -k {} --simulate --audit off", socket.display());
        let child = Command::new(&program).arg("-k").arg(&socket).args(["--simulate", "--audit", "off"]).spawn();
        let child = child.with_context(|| format!("{} cannot be started", program.display()))?;
        let mut this = Self { child, socket };
        // The path appears when connections are accepted.
        let patience = Instant::now() + Duration::from_secs(10);
        while !this.socket.exists() {
            if let Some(status) = this.child.try_wait()? {
                bail!("the helper ended: {status}");
            }
            ensure!(Instant::now() < patience, "the helper does not get ready");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(this)
    }

    fn stop(mut self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the helper ended with {status}");
        ensure!(!self.socket.exists(), "the helper left its socket behind");
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has ended already unless the story broke off.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a step of the story expects of the disk.
enum Wanted {
    Good,
    Conflict,
    Attention(SenseCode),
}

/// One of the two: a connection to the helper, as QEMU makes one for a guest.
struct Host {
    name: &'static str,
    client: Client,
    disk: File,
}

impl Host {
    fn new(name: &'static str, daemon: &Daemon, disk: &Path) -> Result<Self> {
        let client = Client::connect(&daemon.socket)?;
        println!("{name:>5} connects");
        Ok(Self { name, client, disk: File::options().read(true).write(true).open(disk)? })
    }

    /// Sends a PERSISTENT RESERVE OUT and says what came of it.
    fn out(
        &mut self,
        action: OutAction,
        key: ReservationKey,
        other: ReservationKey,
        kind: Option<ReservationType>,
        wanted: &Wanted,
    ) -> Result<()> {
        let scope_type = kind.map_or(0, ReservationType::code);
        let command = PrOut::new(action, scope_type, BasicParameters::keys(key, other));
        let reply = self.client.execute(&self.disk, &command.cdb(), &command.list())?;
        let what = match (action, kind) {
            (OutAction::Register, _) => format!("{action} {other}"),
            (OutAction::Preempt, Some(kind)) => format!("{action} {other}, {kind}"),
            (_, Some(kind)) => format!("{action}, {kind}"),
            (_, None) => action.to_string(),
        };
        let came = match reply.status {
            Status::CHECK_CONDITION => reply.sense.to_string(),
            status => status.to_string(),
        };
        println!("{:>5}  {what:<52} {came}", self.name);
        let held = match wanted {
            Wanted::Good => reply.status == Status::GOOD,
            Wanted::Conflict => reply.status == Status::RESERVATION_CONFLICT,
            Wanted::Attention(code) => reply.sense.code() == Some(*code),
        };
        ensure!(held, "{}'s {action} did not come out as it must", self.name);
        Ok(())
    }

    fn ask(&mut self, action: InAction) -> Result<Reply> {
        let cdb = PersistentReserveIn::new(action, 8192).cdb();
        let reply = self.client.execute(&self.disk, &cdb, &[])?;
        ensure!(reply.status == Status::GOOD, "{}'s {action} answers {}", self.name, reply.status);
        Ok(reply)
    }

    fn show_keys(&mut self, wanted: usize) -> Result<()> {
        let reply = self.ask(InAction::ReadKeys)?;
        let keys = ReadKeys::parse(&reply.data).context("READ KEYS is too short")?;
        let list: Vec<String> = keys.keys().map(|key| key.to_string()).collect();
        let text = if list.is_empty() { "no keys".to_owned() } else { list.join(", ") };
        println!("{:>5}  {:<52} {text}", self.name, "READ KEYS");
        ensure!(list.len() == wanted, "{} keys are registered, {wanted} should be", list.len());
        Ok(())
    }

    fn show_status(&mut self, holder: Option<ReservationKey>) -> Result<()> {
        let reply = self.ask(InAction::ReadFullStatus)?;
        let status = FullStatus::parse(&reply.data).context("READ FULL STATUS is too short")?;
        println!("{:>5}  READ FULL STATUS", self.name);
        for registration in status.descriptors() {
            let holds = registration.reservation().and_then(|reservation| reservation.reservation_type());
            let holds = holds.map(|kind| format!("  holds {kind}")).unwrap_or_default();
            println!("{:>14} {}{holds}", registration.key.to_string(), registration.transport_id);
        }
        let held = status.descriptors().find(|registration| registration.holds.is_some());
        ensure!(held.map(|registration| registration.key) == holder, "the wrong one holds the reservation");
        Ok(())
    }
}
