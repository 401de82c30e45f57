//! The storage: a LUN behind five target ports in two target port groups, and who is logged in to them. Four of the ports
//! lead to the host whose map is tried, under one initiator name as on any host; another node comes in by the first of
//! those ports as well; and one who only looks has the fifth.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use scsi_persistent_reservations::{FullStatus, InAction, Reservation, ReservationType, SenseKey, TransportId};

use crate::lun::{self, TARGET, put};
use crate::multipath::port::Port;
use crate::request::Request;
use crate::wait;

/// How many paths the map has.
pub const PATHS: usize = 4;

/// The names of the initiators.
const HOST: &str = "iqn.2024-01.test.bed:host";
const NODE: &str = "iqn.2024-01.test.bed:node";

/// Where each path's target listens: an address of its own, so that one can be cut off.
const PORT: &str = "3260";

/// The LUN at every port. The target has something of its own to say at number 0 where nothing is there.
const LUN: &str = "lun/lun_1";

/// The target port groups of the two halves of the paths. The observer's port is in none of them.
const GROUPS: [&str; 2] = ["first", "second"];

/// What the host's iSCSI stack does without a daemon: it never gives a connection up by itself, so that a path whose
/// packets are lost for a while is one that hangs.
const PATIENT: &[&str] = &[
    "--param",
    "node.conn[0].timeo.noop_out_interval=0",
    "--param",
    "node.conn[0].timeo.noop_out_timeout=0",
    "--param",
    "node.session.timeo.replacement_timeout=86400",
];

/// The states of a target port group, by the numbers that they have in SPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Optimized,
    NonOptimized,
    Standby,
    Unavailable,
    Transitioning,
}

impl Access {
    fn number(self) -> &'static str {
        match self {
            Self::Optimized => "0",
            Self::NonOptimized => "1",
            Self::Standby => "2",
            Self::Unavailable => "3",
            Self::Transitioning => "15",
        }
    }
}

/// The storage and everybody's way to it.
pub struct Array {
    backstore: PathBuf,
    /// The paths of the map. One that was removed is not there.
    pub paths: [Option<Port>; PATHS],
    /// host:channel:target:lun of each, which it keeps.
    addresses: [String; PATHS],
    pub other: Port,
    observer: Port,
    /// The relative target port of each path.
    ports: [u16; PATHS],
}

/// Who has a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nexus {
    Path(usize),
    Other,
    /// Nobody that is known.
    Stranger,
}

/// What the LUN has in its books.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books {
    pub generation: u32,
    pub keys: BTreeMap<Nexus, u64>,
    /// Who holds it, with which key. Where all registrants hold it, the other node if the target has that in its books.
    pub held: Option<(Option<Nexus>, ReservationType, u64)>,
}

impl Books {
    pub fn key(&self, nexus: Nexus) -> Option<u64> {
        self.keys.get(&nexus).copied()
    }
}

/// What is there, for a reader: with the paths that carry I/O.
pub struct Seen<'a>(pub &'a Books, pub [bool; PATHS]);

impl fmt::Display for Seen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(books, active) = self;
        f.write_str("the LUN has")?;
        for (path, active) in active.iter().enumerate() {
            let key = books.key(Nexus::Path(path)).map_or_else(|| "-".to_owned(), |key| format!("{key:x}"));
            write!(f, " {key}{}", if *active { "" } else { "(failed)" })?;
        }
        let other = books.key(Nexus::Other).map_or_else(|| "-".to_owned(), |key| format!("{key:x}"));
        write!(f, ", other {other}, ")?;
        match books.held {
            None => f.write_str("no reservation"),
            Some((by, kind, key)) => write!(f, "type {} of {by:?} with {key:x}", kind.code()),
        }
    }
}

impl Array {
    /// Makes the LUN and logs everybody in. The map's disks come first: `sda` to `sdd`.
    pub fn set_up() -> Result<Self> {
        lun::run("ip", &["link", "set", "lo", "up"])?;
        let backstore = lun::backstore("array")?;
        // What it keeps for a loss of power goes nowhere, and that at once: where it had to wait for a file, another session's
        // PREEMPT would wait for it, and the only processor with both. (The kernel does not write to /dev/null itself.)
        symlink("/dev/urandom", "/var/target/pr/aptpl_bed-array")?;
        for (group, id) in GROUPS.iter().zip(["7", "8"]) {
            let group = backstore.join("alua").join(group);
            fs::create_dir_all(&group)?;
            put(&group.join("tg_pt_gp_id"), id)?;
        }
        let mut paths = Vec::new();
        for number in 0..PATHS {
            serve(number, &backstore)?;
            let group = GROUPS[usize::from(is_in_second(number))];
            put(&portal_group(number).join(LUN).join("alua_tg_pt_gp"), group)?;
            let node = lun::appearing(|| log_in(HOST, number, &address(number)))?;
            paths.push(node.path().to_owned());
        }
        let other = lun::appearing(|| log_in(NODE, 0, "127.0.0.1"))?;
        let group = lun::nexus(9)?;
        let observer = lun::attach(&group, 0, &backstore)?;
        let observer = Port::open(observer.path())?;
        let other = Port::open(other.path())?;
        let paths = paths.iter().map(|path| Port::open(path)).collect::<Result<Vec<_>>>()?;
        let paths: [Port; PATHS] = paths.try_into().ok().context("not all paths are there")?;
        let addresses = paths.each_ref().map(scsi_address);
        let [a, b, c, d] = addresses;
        let addresses = [a?, b?, c?, d?];
        let mut this = Self { backstore, paths: paths.map(Some), addresses, other, observer, ports: [0; PATHS] };
        this.learn_ports()?;
        Ok(this)
    }

    /// Every path registers and leaves: the target port that appears is its own.
    fn learn_ports(&mut self) -> Result<()> {
        for number in 0..PATHS {
            let path = self.path(number)?;
            path.settle()?;
            path.directly(&Request::register(0, 1))?.good()?;
            let status = self.full_status()?;
            let status = FullStatus::parse(&status).context("no full status")?;
            let found = status.descriptors().next().context("a registration that is not listed")?;
            let port = found.relative_target_port;
            ensure!(!self.ports.contains(&port), "two paths with one relative target port");
            self.path(number)?.directly(&Request::register(1, 0))?.good()?;
            self.ports[number] = port;
        }
        Ok(())
    }

    pub fn path(&self, number: usize) -> Result<&Port> {
        self.paths[number].as_ref().with_context(|| format!("path {number} is removed"))
    }

    fn full_status(&self) -> Result<Vec<u8>> {
        let question = Request::read(InAction::ReadFullStatus);
        // It is told of its port group's new state first.
        for _ in 0..4 {
            let answer = self.observer.directly(&question)?;
            if answer.sense.code().is_none_or(|code| code.key != SenseKey(6)) {
                return Ok(answer.good()?.data);
            }
        }
        bail!("the observer is told of unit attentions only")
    }

    /// Asks the LUN, by way of its fifth port, which nobody else has.
    pub fn books(&self) -> Result<Books> {
        let data = self.full_status()?;
        let status = FullStatus::parse(&data).context("no full status")?;
        let mut books = Books { generation: status.generation, ..Books::default() };
        let mut holders = 0;
        for one in status.descriptors() {
            let nexus = self.nexus(one.relative_target_port, &one.transport_id);
            if let Some(Reservation { key, scope_type }) = one.reservation() {
                let kind = ReservationType::from_scope_type(scope_type).context("a reservation of no known type")?;
                books.held = Some((Some(nexus), kind, key.0));
                holders += 1;
            }
            books.keys.insert(nexus, one.key.0);
        }
        if holders > 1
            && let Some((holder, ..)) = &mut books.held
        {
            *holder = self.in_the_books()?;
        }
        Ok(books)
    }

    /// Where all registrants hold the reservation the target still has one of them in its books, and decides by that one's
    /// key who is preempted.
    fn in_the_books(&self) -> Result<Option<Nexus>> {
        let text = fs::read_to_string(self.backstore.join("pr/res_holder"))?;
        Ok(text.contains(NODE).then_some(Nexus::Other))
    }

    fn nexus(&self, port: u16, id: &TransportId<'_>) -> Nexus {
        let TransportId::Iscsi { name, .. } = id else { return Nexus::Stranger };
        match *name {
            name if name == NODE.as_bytes() => Nexus::Other,
            name if name == HOST.as_bytes() => {
                self.ports.iter().position(|own| *own == port).map_or(Nexus::Stranger, Nexus::Path)
            }
            _ => Nexus::Stranger,
        }
    }

    /// The counter that goes up with every change of registrations; no command is sent for it.
    pub fn generation(&self) -> Result<u32> {
        let text = fs::read_to_string(self.backstore.join("pr/res_pr_generation"))?;
        let digits = text.trim().trim_start_matches("0x");
        u32::from_str_radix(digits, 16).with_context(|| format!("{digits} is no generation"))
    }

    /// The state of the first half of the paths, or of the second.
    pub fn set_access(&self, second: bool, access: Access) -> Result<()> {
        let group = GROUPS[usize::from(second)];
        put(&self.backstore.join("alua").join(group).join("alua_access_state"), access.number())
    }

    /// Takes the LUN from a path's target port; the path itself stays.
    pub fn unmap(number: usize) -> Result<()> {
        let lun = portal_group(number).join(LUN);
        fs::remove_file(lun.join("backstore"))?;
        fs::remove_dir(lun).context("a LUN that cannot be unmapped")
    }

    /// Gives it back.
    pub fn map(&self, number: usize) -> Result<()> {
        let lun = portal_group(number).join(LUN);
        lun::link(&lun, &self.backstore)?;
        put(&lun.join("alua_tg_pt_gp"), GROUPS[usize::from(is_in_second(number))])
    }

    /// Takes a path's disk away altogether.
    pub fn remove(&mut self, number: usize) -> Result<()> {
        let Some(port) = self.paths[number].take() else { return Ok(()) };
        let disk = Path::new("/sys/block").join(port.name()).join("device/delete");
        drop(port);
        put(&disk, "1")
    }

    /// Finds it again; it may have another name now.
    pub fn add(&mut self, number: usize) -> Result<()> {
        if self.paths[number].is_some() {
            return Ok(());
        }
        let address = &self.addresses[number];
        let host = address.split(':').next().unwrap_or_default();
        put(&Path::new("/sys/class/scsi_host").join(format!("host{host}/scan")), "- - -")?;
        let folder = Path::new("/sys/class/scsi_device").join(address).join("device/block");
        let port = wait::until("a removed path's disk", Duration::from_secs(30), || {
            let Ok(mut entries) = fs::read_dir(&folder) else { return Ok(None) };
            let Some(name) = entries.next() else { return Ok(None) };
            Ok(Port::open(&Path::new("/dev").join(name?.file_name())).ok())
        })
        .with_context(|| sessions(host))?;
        self.paths[number] = Some(port);
        Ok(())
    }
}

/// What a host's iSCSI session says of itself.
fn sessions(host: &str) -> String {
    let mut text = format!("host{host}:");
    for kind in ["iscsi_session", "iscsi_connection", "scsi_host"] {
        for entry in fs::read_dir(Path::new("/sys/class").join(kind)).into_iter().flatten().flatten() {
            let state = fs::read_to_string(entry.path().join("state")).unwrap_or_default();
            text.extend([" ", &entry.file_name().to_string_lossy(), " ", state.trim()]);
        }
    }
    text
}

/// Loses every packet to a path's target, or delivers them again.
pub fn cut(number: usize, off: bool) -> Result<()> {
    let verb = if off { "add" } else { "del" };
    let destination = format!("{}/32", address(number));
    lun::run("ip", &["route", verb, "blackhole", &destination, "table", "local"])
}

/// In which group a path's port is.
pub fn is_in_second(path: usize) -> bool {
    path >= PATHS / 2
}

fn address(number: usize) -> String {
    format!("127.0.1.{}", number + 1)
}

fn target(number: usize) -> String {
    format!("iqn.2024-01.test.bed:array-{number}")
}

fn portal_group(number: usize) -> PathBuf {
    Path::new(TARGET).join("iscsi").join(target(number)).join("tpgt_1")
}

fn serve(number: usize, backstore: &Path) -> Result<()> {
    let group = portal_group(number);
    fs::create_dir_all(group.join("np").join(format!("{}:{PORT}", address(number))))?;
    if number == 0 {
        // The other node's way to the same target port.
        fs::create_dir_all(group.join("np").join(format!("127.0.0.1:{PORT}")))?;
    }
    lun::link(&group.join(LUN), backstore)?;
    for (attribute, value) in [("generate_node_acls", "1"), ("demo_mode_write_protect", "0"), ("authentication", "0")] {
        put(&group.join("attrib").join(attribute), value)?;
    }
    put(&group.join("enable"), "1")
}

fn log_in(initiator: &str, number: usize, address: &str) -> Result<()> {
    let target = target(number);
    let words = ["-i", initiator, "-t", &target, "-g", "1", "-a", address, "-p", PORT];
    lun::run("iscsistart", &[&words, PATIENT].concat())
}

fn scsi_address(port: &Port) -> Result<String> {
    let device = fs::canonicalize(Path::new("/sys/block").join(port.name()).join("device"))?;
    Ok(device.file_name().context("a disk without an address")?.to_string_lossy().into_owned())
}
