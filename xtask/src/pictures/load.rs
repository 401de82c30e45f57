//! Something to show: two hosts of a cluster on one disk, and what a day may bring, in a few minutes.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use pr_dev::workspace::target;
use pr_lab::{Answer, Bed, Command, Helper, Outcome, Raw, Subject, keys};
use pr_sim::{InitiatorPort, LogicalUnit, Nexus};
use scsi_persistent_reservations::{Cdb, Completion, Status};

/// How long it takes.
pub const SECONDS: u64 = 480;
pub const MINUTES: f64 = 8.0;

/// The disk by the paths of two hosts, and another disk, which stops answering for a while. What is sent to them with `SG_IO`
/// never reaches the kernel.
const PATHS: [&str; 2] = ["/dev/null", "/dev/zero"];
const SICK: &str = "/dev/full";
const MINORS: [u32; 3] = [3, 5, 7];

/// In seconds: who holds the disk is fenced and does not notice, for longer than an alert takes; the sick disk is gone for a
/// while; a client has the disk for reading only and another one sends nonsense; many guests start.
const FENCED: [u64; 2] = [60, 420];
const GONE: [u64; 2] = [130, 180];
const ODD: [u64; 2] = [220, 250];
const CROWD: [u64; 2] = [290, 350];

/// REGISTER AND IGNORE EXISTING KEY, RESERVE, RELEASE, PREEMPT.
const REGISTER: u8 = 6;
const RESERVE: u8 = 1;
const RELEASE: u8 = 2;
const PREEMPT: u8 = 4;

/// Write Exclusive, registrants only: logical unit scope.
const TYPE: u8 = 5;

/// The helper, which waits for what is to come.
pub struct Load {
    bed: Bed,
    helper: Helper,
    is_gone: Arc<AtomicBool>,
}

impl Load {
    /// Starts a helper with a disk that takes a moment for each command.
    pub fn start() -> Self {
        let bed = Bed::new(&Subject::ours(target().join("debug/qemu-pr-helper")));
        let is_gone = Arc::new(AtomicBool::new(false));
        // A group that every system has: the exporter becomes a member of it.
        let launch = bed.launch().args(["--control-group", "daemon"]).arg("--control").arg(bed.control_path());
        let helper = launch.device(disks(Arc::clone(&is_gone))).start();
        Self { bed, helper, is_gone }
    }

    /// Where the helper can be asked.
    pub fn control(&self) -> PathBuf {
        self.bed.control_path()
    }

    /// Lets it all happen; when it began and ended, in seconds since the epoch.
    pub fn play(&self) -> Result<[f64; 2]> {
        let now = || Ok::<_, anyhow::Error>(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64());
        let clock = Instant::now();
        let start = now()?;
        thread::scope(|scope| {
            let mut parts: Vec<_> = (0..6).map(|number| scope.spawn(move || self.cluster(number, clock))).collect();
            parts.extend((0..3).map(|number| scope.spawn(move || self.sick(number, clock))));
            parts.push(scope.spawn(move || self.oddities(clock)));
            parts.push(scope.spawn(move || self.crowd(clock)));
            self.disk_goes_and_comes(clock);
            parts.into_iter().try_for_each(|part| part.join().ok().context("a guest failed")?)
        })?;
        Ok([start, now()?])
    }

    fn guest(&self) -> Raw {
        Raw::greeted(self.helper.socket()).patience(Duration::from_secs(120))
    }

    /// A member of a cluster: of the first host, or the second. It registers, looks around, and the first of the first
    /// host keeps on reserving.
    fn cluster(&self, number: u64, clock: Instant) -> Result<()> {
        let host = usize::from(number >= 3);
        let (guest, disk) = (self.guest(), open(PATHS[host])?);
        let key = 0xa0 + u64::try_from(host).unwrap_or_default();
        let mut random = Random(number + 1);
        change(&guest, &disk, REGISTER, 0, key);
        let mut has_fenced = false;
        while !is_over(clock) {
            random.pause(300);
            guest.pr_in(&disk, u8::from(random.below(3) == 0), 128);
            if random.below(4) == 0 {
                guest.pr_in(&disk, 3, 512);
            }
            let is_fenced = within(clock, FENCED);
            match number {
                0 => change(&guest, &disk, RESERVE, key, 0),
                // It comes back when somebody has noticed.
                1 if !is_fenced && random.below(10) == 0 => change(&guest, &disk, REGISTER, 0, key),
                3 if is_fenced && !has_fenced => {
                    change(&guest, &disk, PREEMPT, key, 0xa0);
                    has_fenced = true;
                }
                3 if is_fenced => change(&guest, &disk, RESERVE, key, 0),
                3 if has_fenced => change(&guest, &disk, RELEASE, key, 0),
                _ => {}
            }
        }
        Ok(())
    }

    /// Looks at the other disk now and then.
    fn sick(&self, number: u64, clock: Instant) -> Result<()> {
        let (guest, disk) = (self.guest(), open(SICK)?);
        let mut random = Random(number + 100);
        while !is_over(clock) {
            random.pause(800);
            guest.pr_in(&disk, 0, 128);
        }
        Ok(())
    }

    fn disk_goes_and_comes(&self, clock: Instant) {
        wait_until(clock, GONE[0]);
        self.is_gone.store(true, Ordering::SeqCst);
        wait_until(clock, GONE[1]);
        self.is_gone.store(false, Ordering::SeqCst);
        self.helper.device().release(Answer::good(&[0; 8]));
    }

    /// A guest whose disk is read-only to it wants to change it; and something that is no QEMU.
    fn oddities(&self, clock: Instant) -> Result<()> {
        let mut random = Random(7);
        wait_until(clock, ODD[0]);
        let (guest, disk) = (self.guest(), File::open(PATHS[0])?);
        while within(clock, ODD) {
            random.pause(1500);
            change(&guest, &disk, REGISTER, 0, 0xdd);
            let stranger = self.guest();
            stranger.send_with(&[0x12; 16], &[disk.as_fd()]);
        }
        Ok(())
    }

    /// Guests start one after the other, and end.
    fn crowd(&self, clock: Instant) -> Result<()> {
        let mut guests = Vec::new();
        wait_until(clock, CROWD[0]);
        while within(clock, CROWD) {
            let guest = self.guest();
            guest.pr_in(open(PATHS[0])?, 2, 8);
            guests.push(guest);
            thread::sleep(Duration::from_millis(400));
        }
        Ok(())
    }
}

/// A PERSISTENT RESERVE OUT, whatever comes of it.
fn change(guest: &Raw, disk: &File, action: u8, key: u64, other: u64) {
    let mut cdb = Raw::cdb_out(action, 24);
    cdb[2] = TYPE;
    guest.send_with(&cdb, &[disk.as_fd()]);
    guest.send(&keys(key, other));
    guest.reply();
}

fn open(path: &str) -> Result<File> {
    File::options().read(true).write(true).open(path).context(path.to_owned())
}

fn is_over(clock: Instant) -> bool {
    clock.elapsed() >= Duration::from_secs(SECONDS)
}

fn within(clock: Instant, [from, to]: [u64; 2]) -> bool {
    (from..to).contains(&clock.elapsed().as_secs())
}

fn wait_until(clock: Instant, second: u64) {
    thread::sleep(Duration::from_secs(second).saturating_sub(clock.elapsed()));
}

/// The disks.
fn disks(is_gone: Arc<AtomicBool>) -> impl FnMut(&Command) -> Outcome + Send + 'static {
    let mut unit = LogicalUnit::default();
    let mut random = Random(42);
    move |command| {
        let minor = rustix::fs::minor(command.device);
        if minor == MINORS[2] {
            let good = Answer::good(&[0; 8]).into();
            return if is_gone.load(Ordering::SeqCst) { Outcome::Hang } else { good };
        }
        // Most commands are quick; a few are not.
        let micros = if random.below(12) == 0 { 9000 } else { 400 };
        thread::sleep(Duration::from_micros(100 + random.below(micros)));
        let mut bytes = [0; 16];
        let length = command.cdb.len().min(16);
        bytes[..length].copy_from_slice(&command.cdb[..length]);
        let initiator = InitiatorPort(0x5000_0000_0000_0000 + u64::from(minor));
        let Ok(cdb) = Cdb::new(bytes) else { return Answer::default().into() };
        let mut buffer = vec![0; 8192];
        let nexus = Nexus { initiator, target_port: 1 };
        answer(&unit.execute(nexus, &cdb, &command.data_out, &mut buffer)).into()
    }
}

fn answer(completion: &Completion<'_>) -> Answer {
    match completion.status {
        Status::GOOD => Answer::good(completion.data),
        Status::CHECK_CONDITION => Answer::check(&completion.sense.as_bytes()[..18]),
        status => Answer::status(status.0),
    }
}

/// Chance that is the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// Half of this to one and a half, in milliseconds.
    fn pause(&mut self, milliseconds: u64) {
        thread::sleep(Duration::from_millis(milliseconds / 2 + self.below(milliseconds)));
    }
}
