//! The place of action: a LUN with three initiators, two of which are the paths of a map.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use scsi_persistent_reservations::ReservationType;

use super::port::Port;
use super::services::{self, Multipathd};
use crate::iscsi;
use crate::lun;
use crate::request::Request;
use crate::wait;

/// The only map.
pub const MAP: &str = "mpatha";

/// How long everything may take that is bound to happen.
pub const SETTLE: Duration = Duration::from_secs(60);

/// The map, its paths, the initiator beside it, and the daemon that looks after it.
pub struct Scene {
    pub paths: [Port; 2],
    pub map: Port,
    /// The third initiator, which no map has.
    pub third: Port,
    pub multipathd: Multipathd,
    /// What multipathd calls the LUN.
    wwid: String,
}

impl Scene {
    /// Starts the services, makes the LUN, and waits for the map.
    pub fn set_up() -> Result<Self> {
        lun::mount_configfs()?;
        services::start_udev()?;
        let multipathd = Multipathd::start(services::CONFIGURATION)?;
        let backstore = lun::backstore("disk0")?;
        // Real initiators: between loopback nexuses PREEMPT AND ABORT never ends, and READ FULL STATUS names nobody.
        let [first, second, third] = [1, 2, 3].map(|number| iscsi::initiate(number, &backstore));
        let [first, second, third] = [first?, second?, third?];
        services::settle_udev()?;
        let place = Path::new("/dev/mapper").join(MAP);
        wait::until("the map", SETTLE, || Ok(place.exists().then_some(())))?;
        let kernel_name = fs::canonicalize(&place)?;
        let kernel_name = kernel_name.file_name().context("a map has a name")?.to_owned();
        let uuid = fs::read_to_string(Path::new("/sys/block").join(kernel_name).join("dm/uuid"))?;
        let this = Self {
            paths: [Port::open(first.path())?, Port::open(second.path())?],
            map: Port::open(&place)?,
            third: Port::open(third.path())?,
            multipathd,
            wwid: uuid.trim().trim_start_matches("mpath-").to_owned(),
        };
        this.wait_for_paths([true, true])?;
        Ok(this)
    }

    /// No key, no reservation, nothing kept, all paths there, nothing to report on any of them.
    pub fn reset(&mut self) -> Result<()> {
        for path in &self.paths {
            path.set_state("running")?;
        }
        message("fail_if_no_path")?;
        self.multipathd.start_again()?;
        self.wait_for_paths([true, true])?;
        for command in ["unsetprstatus", "unsetprkey"] {
            services::tell(&format!("{command} map {MAP}"))?;
        }
        for port in self.ports() {
            port.settle()?;
            port.directly(&Request::register_anyhow(0))?.good()?;
        }
        for port in self.ports() {
            port.settle()?;
        }
        let state = self.state()?;
        ensure!(state == State::default(), "the scene starts with {state:x?}");
        Ok(())
    }

    /// Each nexus by itself.
    pub fn ports(&self) -> [&Port; 3] {
        [&self.paths[0], &self.paths[1], &self.third]
    }

    /// What the LUN and multipathd have on record. All three nexuses have to be there.
    pub fn state(&self) -> Result<State> {
        let keys = self.third.keys()?;
        let reservation = self.third.reservation()?;
        let mut candidates = keys.clone();
        candidates.dedup();
        let key_of = |port: &Port| -> Result<Option<u64>> {
            for key in &candidates {
                if port.is_registered_with(*key)? {
                    return Ok(Some(*key));
                }
            }
            Ok(None)
        };
        Ok(State {
            paths: [key_of(&self.paths[0])?, key_of(&self.paths[1])?],
            third: key_of(&self.third)?,
            reservation: reservation.map(|held| (held.key.0, held.scope_type)),
            keys,
            kept: self.kept()?,
        })
    }

    /// The key that multipathd keeps for the map.
    pub fn kept(&self) -> Result<Option<u64>> {
        services::kept_key(&self.wwid)
    }

    /// Insists on the state.
    pub fn expect(&self, expected: &State) -> Result<()> {
        let state = self.state()?;
        ensure!(state == *expected, "expected {expected:x?}, came {state:x?}");
        Ok(())
    }

    /// Waits until the kernel takes each path for usable or not, as it should.
    pub fn wait_for_paths(&self, usable: [bool; 2]) -> Result<()> {
        let numbers = [self.paths[0].number()?, self.paths[1].number()?];
        wait::until(&format!("the map's paths to be {usable:?}"), SETTLE, || {
            let status = Command::new("/sbin/dmsetup").args(["status", MAP]).output()?;
            let status = String::from_utf8_lossy(&status.stdout).into_owned();
            // Each path stands there as "major:minor A" or "major:minor F".
            let marks = numbers.each_ref().map(|number| {
                status.split_whitespace().skip_while(|word| word != number).nth(1).map(|mark| mark == "A")
            });
            let ready = marks == usable.map(Some);
            if !ready {
                std::thread::sleep(Duration::from_millis(50));
            }
            Ok(ready.then_some(()))
        })
    }

    /// Takes a disk that was found again for the path that it is.
    pub fn replace_path(&mut self, path: usize, disk: &Path) -> Result<()> {
        self.paths[path] = Port::open(disk)?;
        self.wait_for_paths([true, true])
    }

    /// Makes the map use the other path: the kernel takes this one for broken until it is told otherwise, by this
    /// program or by multipathd, which has a look at it.
    pub fn fail(&self, path: usize) -> Result<()> {
        message(&format!("fail_path {}", self.paths[path].number()?))
    }

    /// Makes the kernel use it again.
    pub fn reinstate(&self, path: usize) -> Result<()> {
        message(&format!("reinstate_path {}", self.paths[path].number()?))
    }

    /// Takes a path away and waits until everybody has noticed. A path that is back before multipathd looks at it was
    /// never away for it, and would not be registered again.
    pub fn lose(&self, path: usize) -> Result<()> {
        self.paths[path].set_state("offline")?;
        self.wait_for_paths([path != 0, path != 1])?;
        let gone = format!("{} failed faulty", self.paths[path].name());
        wait::until("multipathd to notice that a path is away", SETTLE, || {
            let paths = services::tell("show paths raw format \"%d %t %T\"")?;
            Ok(paths.lines().any(|line| line == gone).then_some(()))
        })
        .with_context(|| services::tell("show paths").unwrap_or_default())
    }

    /// Brings it back and waits likewise.
    pub fn recover(&self, path: usize) -> Result<()> {
        self.paths[path].set_state("running")?;
        self.wait_for_paths([true, true])
    }
}

/// Waits until the map has lost the path with this `major:minor`.
pub fn wait_for_removal(number: &str) -> Result<()> {
    wait::until("the map to lose a path", SETTLE, || {
        let status = Command::new("/sbin/dmsetup").args(["status", MAP]).output()?;
        let there = String::from_utf8_lossy(&status.stdout).split_whitespace().any(|word| word == number);
        Ok((!there).then_some(()))
    })
}

/// Tells the kernel's map something. It takes no messages while multipathd gives it another table.
pub fn message(text: &str) -> Result<()> {
    wait::until("the map to take a message", SETTLE, || match lun::run("/sbin/dmsetup", &["message", MAP, "0", text]) {
        Err(error) if error.to_string().contains("Device or resource busy") => Ok(None),
        other => other.map(Some),
    })
}

/// Who is registered with what, who holds the LUN, and what multipathd would register on a path that comes back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub paths: [Option<u64>; 2],
    pub third: Option<u64>,
    /// Key with scope and type.
    pub reservation: Option<(u64, u8)>,
    /// All keys in ascending order: one for every registration, also of those that nobody here knows of.
    pub keys: Vec<u64>,
    pub kept: Option<u64>,
}

impl State {
    /// The map is registered, nobody else is.
    pub fn registered(key: u64) -> Self {
        Self { paths: [Some(key); 2], kept: Some(key), keys: vec![key; 2], ..Self::default() }
    }

    /// The third initiator is registered as well.
    pub fn and_third(mut self, key: u64) -> Self {
        self.third = Some(key);
        self.keys.push(key);
        self.keys.sort_unstable();
        self
    }

    /// The holder of this key holds a reservation.
    pub fn held_by(mut self, key: u64, kind: ReservationType) -> Self {
        self.reservation = Some((key, kind.code()));
        self
    }
}
