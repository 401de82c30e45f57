//! The host that is tried: the array's paths, the map over them, the helper, and what is broken of it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use qemu_pr_protocol::Client;
use scsi_persistent_reservations::{InAction, OutAction, ReservationType, Status};

use super::array::{Access, Array, Books, PATHS};
use super::chance::OTHER_KEY;
use super::disk::Act;
use super::family;
use super::faults::{Daemon, Deed, Faults, Reach};
use super::judge::{self, Broken, Came, Rule};
use super::map::{MAP, Map, SETTLE};
use super::meddle::{self, Done, Plan};
use crate::helper::{Helper, through};
use crate::multipath::services;
use crate::request::Request;
use crate::wait;

/// What may still be under way when an answer comes: a path that came back a moment ago gets its key, what was killed is
/// started again.
pub const GRACE: Duration = Duration::from_secs(8);

/// What the guest's side keeps of the helper.
struct Guest {
    helper: Helper,
    client: Option<Client>,
}

/// All of it.
pub struct Host {
    pub array: Array,
    map: Map,
    guest: Option<Guest>,
    log: PathBuf,
    pub faults: Faults,
}

impl Host {
    pub fn set_up() -> Result<Self> {
        let multipathd = Map::prepare()?;
        let array = Array::set_up()?;
        let map = Map::over(&array, multipathd)?;
        let log = PathBuf::from("/run/adversary.log");
        Ok(Self { array, map, guest: None, log, faults: Faults::default() })
    }

    /// Sends a command to the map through the helper, while the plan is carried out.
    pub fn send(&mut self, request: &Request, plan: Option<&Plan>) -> Result<(Came, Done)> {
        let multipathd = self.map.multipathd.pid();
        let Some(guest) = &mut self.guest else { bail!("no helper") };
        let mut client = match guest.client.take() {
            Some(client) => client,
            None => guest.helper.client()?,
        };
        let reach = Reach { array: &self.array, multipathd, daemon: guest.helper.pid() };
        let ended = AtomicBool::new(false);
        let (result, done) = thread::scope(|scope| {
            let meddler = plan.map(|plan| scope.spawn(|| meddle::run(plan, &reach, &ended)));
            let result = through(&mut client, &self.map.port.file, request);
            ended.store(true, Ordering::Release);
            let done = meddler.map(|it| it.join().unwrap_or_else(|_| bail!("the meddler panicked")));
            (result, done)
        });
        let done = done.transpose()?.unwrap_or_default();
        let came = match result {
            Ok(answer) => {
                guest.client = Some(client);
                Came::Answer(answer)
            }
            Err(error) => Came::Nothing(format!("{error:#}")),
        };
        Ok((came, done))
    }

    /// The LUN's books, and the paths that could carry I/O before they were read: those that the map uses and whose target
    /// port does not turn everything down. When that is over such a path is one that comes back.
    pub fn look(&self) -> Result<(Books, [bool; PATHS])> {
        let active = Map::active(&self.array)?;
        let active = std::array::from_fn(|path| active[path] && self.faults.is_ready(path));
        Ok((self.array.books()?, active))
    }

    /// Whether an error is no wonder: something is broken or was a moment ago, or the map has a path that is gone for good.
    pub fn is_disturbed(&self) -> Result<bool> {
        Ok(self.faults.disturb() || Map::has_another(&self.array)?)
    }

    /// Waits for the map not to be suspended.
    pub fn expect_resumed(&self) -> Result<Result<(), Broken>> {
        let started = Instant::now();
        while self.map.is_suspended()? {
            if started.elapsed() > Duration::from_secs(3) {
                return Ok(Err(Broken(Rule::Suspended, "the map is suspended for 3 s".to_owned())));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(Ok(()))
    }

    /// Waits until the map uses these paths. A disk that was removed and found again under its old name while multipathd
    /// did not look may stay the old disk to it, which is dead for ever; it is removed and found once more then.
    pub fn wait_for(&mut self, wanted: [bool; PATHS]) -> Result<()> {
        if Map::wait_for(&self.array, wanted, SETTLE / 3).is_ok() {
            return Ok(());
        }
        let active = Map::active(&self.array)?;
        for path in (0..PATHS).filter(|path| wanted[*path] && !active[*path]) {
            self.array.remove(path)?;
            self.array.add(path)?;
        }
        Map::wait_for(&self.array, wanted, SETTLE)
    }

    pub fn reach(&self) -> Result<Reach<'_>> {
        let guest = self.guest.as_ref().context("no helper")?;
        Ok(Reach { array: &self.array, multipathd: self.map.multipathd.pid(), daemon: guest.helper.pid() })
    }

    /// Does something to the host or as the other node, while no command is under way.
    pub fn apply(&mut self, deed: &Deed) -> Result<()> {
        match *deed {
            Deed::Remove(path) => {
                self.array.remove(path)?;
            }
            Deed::Add(path) => self.array.add(path)?,
            Deed::StartMultipathd => {
                self.map.multipathd.kill()?;
                self.map.multipathd.start_again()?;
            }
            _ => drop(self.reach()?.perform(deed)?),
        }
        self.faults.note(deed);
        Ok(())
    }

    /// After a kill: what is started by itself has its time, and the daemon is started by whoever started it.
    pub fn look_after_helper(&mut self, deeds: &[Deed]) -> Result<Result<(), Broken>> {
        let Some(guest) = &mut self.guest else { bail!("no helper") };
        if deeds.contains(&Deed::KillDaemon) {
            self.start()?;
            return Ok(Ok(()));
        }
        if let Some(status) = guest.helper.ended()? {
            self.start()?;
            return Ok(Err(Broken(Rule::InTime, format!("the daemon ended by itself: {status}"))));
        }
        if !deeds.iter().any(|deed| matches!(deed, Deed::KillChild(_))) {
            return Ok(Ok(()));
        }
        let started = Instant::now();
        loop {
            let (came, _) = self.send(&Request::read(InAction::ReadKeys), None)?;
            match came {
                Came::Answer(answer) if answer.status == Status::GOOD => return Ok(Ok(())),
                _ if started.elapsed() < GRACE => thread::sleep(Duration::from_millis(50)),
                // Nothing to be learned from a map without paths.
                _ if !self.look()?.1.contains(&true) => return Ok(Ok(())),
                _ => {
                    self.start()?;
                    return Ok(Err(Broken(
                        Rule::InTime,
                        format!("{} s after a child was killed READ KEYS is answered {came}", GRACE.as_secs()),
                    )));
                }
            }
        }
    }

    fn start(&mut self) -> Result<()> {
        if let Some(guest) = self.guest.take() {
            let family = family::descendants(guest.helper.pid())?;
            drop(guest);
            for pid in family {
                family::kill(pid)?;
            }
        }
        let log = File::options().create(true).append(true).open(&self.log)?;
        let helper = Helper::start_logging_to("adversary", &[], Stdio::from(log))?;
        self.guest = Some(Guest { helper, client: None });
        Ok(())
    }

    /// Whether the helper says something of a path. An audit record names none, and it answers before it writes.
    pub fn has_named_a_path(&self, mark: usize) -> bool {
        let names_one = |line: &str| !line.contains("audit: ") && line.contains("path sd");
        let said = || Ok(self.log().get(mark..).unwrap_or_default().lines().any(names_one).then_some(()));
        wait::until("a message that names a path", Duration::from_secs(2), said).is_ok()
    }

    /// What the helper has said.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Everything whole, no key, no reservation, nothing kept, nothing to report.
    pub fn reset(&mut self) -> Result<()> {
        self.faults.uncut()?;
        for second in [false, true] {
            self.array.set_access(second, Access::Optimized)?;
        }
        for path in 0..PATHS {
            self.array.add(path)?;
            // One that the kernel is about to give up, or to take back, changes to nothing else.
            let path = self.array.path(path)?;
            wait::until("a path to be running", Duration::from_secs(30), || Ok(path.set_state("running").ok()))?;
        }
        if self.faults.multipathd != Daemon::Running {
            if self.faults.multipathd == Daemon::Stopped {
                self.reach()?.perform(&Deed::ContinueMultipathd)?;
            } else {
                self.map.multipathd.kill()?;
                self.map.multipathd.start_again()?;
            }
        }
        self.faults.forget();
        let is_alive = match &mut self.guest {
            Some(guest) => guest.helper.ended()?.is_none(),
            None => false,
        };
        if !is_alive {
            self.start()?;
        }
        self.map.resume()?;
        self.wait_for([true; PATHS])?;
        for command in ["unsetprstatus", "unsetprkey"] {
            services::tell(&format!("{command} map {MAP}"))?;
        }
        // Whatever runs in the background has its time to notice.
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut empty = 0;
        while empty < 3 {
            if self.array.books()?.keys.is_empty() {
                empty += 1;
            } else {
                ensure!(Instant::now() < deadline, "somebody registers again and again: {:x?}", self.array.books()?);
                empty = 0;
                self.array.other.settle()?;
                let kind = ReservationType::WriteExclusive;
                let register = Act::new(OutAction::RegisterAndIgnoreExistingKey, 0, OTHER_KEY, kind);
                self.reach()?.perform(&Deed::Act(register))?;
                self.reach()?.perform(&Deed::Act(Act::new(OutAction::Clear, OTHER_KEY, 0, kind)))?;
            }
            thread::sleep(Duration::from_millis(30));
        }
        self.array.other.settle()?;
        for path in 0..PATHS {
            let path = self.array.path(path)?;
            wait::until("a path to be ready", Duration::from_secs(30), || Ok(path.settle().ok()))?;
        }
        // The helper may still owe the guest news of the last round.
        for _ in 0..=PATHS {
            let (came, _) = self.send(&Request::read(InAction::ReadKeys), None)?;
            if !matches!(&came, Came::Answer(answer) if judge::is_attention(answer)) {
                break;
            }
        }
        Ok(())
    }
}
