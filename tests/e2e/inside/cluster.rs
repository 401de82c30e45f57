//! A Pacemaker cluster of two guests, each with a host's initiators and a helper of its own. They share three LUNs: a disk
//! that `fence_scsi` fences them from, a map of two paths that `fence_mpath` does, and a disk that `sg_persist` has the
//! promoted one own. A third host looks at what is on record.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pr_control::What;
use scsi_persistent_reservations::{InAction, ReservationType};
use serde_json::json;

use crate::guest_machine::{APPEND, Qemu};
use crate::helper::Helper;
use crate::iscsi;
use crate::lun;
use crate::monitor::{self, Monitor};
use crate::node::Node;
use crate::report::{Report, remark};
use crate::request::Request;
use crate::tool::Tool;
use crate::trail::Trail;
use crate::wait;

/// The disk with the guests' Debian.
const ROOT: &str = "/dev/ubda";

/// How long something may take that two emulated machines have to do.
const PATIENCE: Duration = Duration::from_secs(540);

/// The guests' names for what they share: the root's `/first` gives them.
const DISK: &str = "/dev/shared/disk";
const MAP: &str = "/dev/mapper/mpatha";
const OWNED: &str = "/dev/shared/owned";

/// The keys that the guests' multipath.conf has.
const MAP_KEYS: [u64; 2] = [0xa1, 0xa2];

/// What each of the agents reserves with; `sg_persist` if it is told nothing else.
const SHARED: ReservationType = ReservationType::WriteExclusiveRegistrantsOnly;
const ALONE: ReservationType = ReservationType::WriteExclusive;

/// Who looks on.
const OBSERVER: u32 = 3;

/// One member of the cluster.
struct Member {
    number: usize,
    qemu: Qemu,
    monitor: Monitor,
}

/// What the members share.
struct Shared {
    disk: Lun,
    map: Lun,
    owned: Lun,
}

/// A LUN: each host's paths to it, and the observer's tool on it.
struct Lun {
    name: &'static str,
    hosts: [Vec<Node>; 2],
    observer: Tool,
}

/// What is on record of a LUN.
#[derive(PartialEq, Eq)]
struct Seen {
    /// The key of each initiator, by its number: the host's, then the path's to that LUN.
    keys: Vec<(u32, u64)>,
    /// Who holds a reservation of which type.
    holder: Option<(u32, ReservationType)>,
}

/// Boots both, has them reserve and hand over, has one lose its network, and brings it back.
pub fn run(report: &mut Report, reference: bool) -> Result<()> {
    lun::mount_configfs()?;
    // QEMU puts there what a guest writes to its root.
    fs::create_dir_all("/var/tmp")?;
    let start = |number: usize| -> Result<Helper> {
        let control = control(number);
        let options: &[&str] = if reference { &[] } else { &["--control", &control] };
        Helper::start(&format!("host-{number}"), options)
    };
    let helpers = [start(1)?, start(2)?];
    let observer = Helper::start("observer", &[])?;
    let shared = Shared {
        disk: Lun::set_up("disk", 0, 1, &observer)?,
        map: Lun::set_up("map", 1, 2, &observer)?,
        owned: Lun::set_up("owned", 3, 1, &observer)?,
    };
    let log = if reference { None } else { Some(Trail::follow(Path::new(&control(1)))?) };
    let mut one = Member::boot(1, &shared, &helpers[0])?;
    let mut two = Member::boot(2, &shared, &helpers[1])?;
    let mut first = 0;
    report.check("two nodes are online and unfenced on the disk: two keys, and a reservation for registrants", || {
        one.is_up()?;
        two.is_up()?;
        online(&mut one, 2)?;
        // The agent makes a node's key of its place in the list of nodes.
        let seen = shared.disk.shows(|seen| seen.has(&[100, 200]) && seen.is_held(SHARED))?;
        first = seen.keys[0].1;
        ensure!(seen.keys[1].1 != first, "both nodes have the key {first:#x}");
        shared.disk.tells("all")
    });
    report.check("they are on the map: a key for each by both paths, and a reservation for registrants", || {
        shared.map.shows(|seen| seen.has_keys(&both_paths_of(&[0, 1])) && seen.is_held(SHARED))?;
        shared.map.tells("status")?;
        one.shows("multipath -ll mpatha | cat")?;
        one.shows(&format!("mpathpersist -i -k {MAP}"))?;
        two.shows(&format!("mpathpersist -i -r {MAP}"))
    });
    report.check("both write to the disk and to the map", || {
        for member in [&mut one, &mut two] {
            member.writes(DISK, true)?;
            member.writes(MAP, true)?;
        }
        Ok(())
    });
    report.check(
        "sg_persist is promoted on the first one, which holds the reservation: the second one does not write",
        || {
            shared.owned.shows(|seen| seen.is(&[(130, 1), (230, 2)], 130, ALONE))?;
            one.writes(OWNED, true)?;
            two.writes(OWNED, false)
        },
    );
    report.check("its promotion moves to the second one, and the reservation with it", || {
        one.shows("crm_resource --move --resource owner --promoted --node node2")?;
        shared.owned.shows(|seen| seen.is(&[(130, 1), (230, 2)], 230, ALONE))?;
        one.writes(OWNED, false)?;
        two.writes(OWNED, true)?;
        shared.owned.tells("all")?;
        promoted(&mut one, 2)
    });
    lose(report, &shared, [&mut one, &mut two], first);
    report.check("the second one is reset: it registers everywhere again, joins and writes", || {
        two.qemu.switch_off();
        two = Member::boot(2, &shared, &helpers[1])?;
        two.is_up()?;
        online(&mut one, 2)?;
        shared.disk.shows(|seen| seen.has(&[100, 200]))?;
        shared.map.shows(|seen| seen.has_keys(&both_paths_of(&[0, 1])))?;
        shared.owned.shows(|seen| seen.is(&[(130, 1), (230, 2)], 130, ALONE))?;
        two.writes(DISK, true)?;
        two.writes(MAP, true)?;
        two.paths()?.iter().try_for_each(|path| two.writes(path, true))?;
        two.writes(OWNED, false)
    });
    let disks = [&shared.disk, &shared.map, &shared.owned].map(Lun::names);
    drop((one, two));
    let [first, second] = helpers;
    first.stop()?;
    second.stop()?;
    observer.stop()?;
    if let Some(log) = log {
        report.check(
            "the audit log has the first one's PREEMPT AND ABORTs and its PREEMPT, and that each was GOOD",
            || preempted(log, &disks),
        );
    }
    Ok(())
}

/// The second one loses its network: each agent takes from it what it has, and the first one goes on.
fn lose(report: &mut Report, shared: &Shared, [one, two]: [&mut Member; 2], first: u64) {
    report.check(
        "the second one's network is cut: fence_scsi takes its key from the disk, and its writes fail",
        || {
            two.network(false)?;
            shared.disk.shows(|seen| seen.has_keys(&[(100, first)]) && seen.is_held(SHARED))?;
            two.writes(DISK, false)
        },
    );
    report.check("fence_mpath takes its key from both paths of the map, and its writes fail by either", || {
        shared.map.shows(|seen| seen.has_keys(&both_paths_of(&[0])) && seen.is_held(SHARED))?;
        shared.map.tells("status")?;
        two.writes(MAP, false)?;
        for path in two.paths()? {
            two.writes(&path, false)?;
        }
        Ok(())
    });
    report.check("sg_persist is promoted on the first one, which preempts the second one", || {
        shared.owned.shows(|seen| seen.is(&[(130, 1)], 130, ALONE))?;
        shared.owned.tells("all")?;
        two.writes(OWNED, false)?;
        promoted(one, 1)?;
        // Or it would move back as soon as the second one joins.
        one.shows("crm_resource --clear --resource owner")
    });
    report.check("the first one goes on writing", || {
        online(one, 1)?;
        [DISK, MAP, OWNED].iter().try_for_each(|disk| one.writes(disk, true))?;
        one.paths()?.iter().try_for_each(|path| one.writes(path, true))?;
        one.shows("stonith_admin --history node2")
    });
}

fn control(number: usize) -> String {
    format!("/run/host-{number}.control")
}

/// The registrations of these hosts on the map.
fn both_paths_of(hosts: &[usize]) -> Vec<(u32, u64)> {
    let of_one = |host: &usize| [0, 1].map(|path| (number(*host, 1, path), MAP_KEYS[*host]));
    hosts.iter().flat_map(of_one).collect()
}

/// Waits for so many nodes to be online for one of them.
fn online(member: &mut Member, count: usize) -> Result<()> {
    let result = wait::until(&format!("{count} nodes to be online"), PATIENCE, || {
        std::thread::sleep(Duration::from_secs(5));
        let nodes = member.qemu.terminal.run("crm_mon -1 --include=none,nodes")?.1;
        let online = nodes.lines().find(|line| line.contains("Online: [")).unwrap_or_default();
        Ok((online.matches("node").count() == count).then_some(()))
    });
    result.with_context(|| member.describe())
}

/// Waits for this node to have the promoted role, as one of them sees it.
fn promoted(member: &mut Member, number: usize) -> Result<()> {
    let ask = "crm_mon -1 --include=none,nodes,resources";
    let due = format!("Promoted: [ node{number} ]");
    let result = wait::until(&due, PATIENCE, || {
        let printed = member.qemu.terminal.run(ask)?.1;
        Ok(printed.contains(&due).then_some(()))
    });
    result.with_context(|| member.describe())?;
    member.shows(ask)
}

/// The first one's helper took the second one's keys from all three, each by what the agent sends, and nothing else failed.
fn preempted(log: Trail, luns: &[[Vec<String>; 2]; 3]) -> Result<()> {
    let records = log.records()?;
    for (action, [names, _]) in ["PREEMPT AND ABORT", "PREEMPT AND ABORT", "PREEMPT"].into_iter().zip(luns) {
        let mut preempted = 0;
        for record in &records {
            let What::Command { device, command, outcome, .. } = &record.what else { continue };
            let is_here = device.name.as_ref().is_some_and(|name| names.contains(name));
            if command.action == action && is_here {
                remark(&record.to_string());
                ensure!(outcome.status == "GOOD", "{record}");
                preempted += 1;
            }
        }
        ensure!(preempted > 0, "there was no {action} of {names:?}");
    }
    Ok(())
}

/// What an initiator is called: by its host, the LUN's first place on a guest's bus, and the path to it.
fn number(host: usize, place: u32, path: u32) -> u32 {
    (if host == 0 { 100 } else { 200 }) + 10 * place + path
}

impl Lun {
    /// Makes a LUN that the guests find at this place on their bus, with so many paths from each host and one of the
    /// observer's.
    fn set_up(name: &'static str, place: u32, paths: u32, helper: &Helper) -> Result<Self> {
        let backstore = lun::backstore(name)?;
        let of = |host| (0..paths).map(|path| iscsi::initiate(number(host, place, path), &backstore)).collect();
        let hosts: [Result<Vec<Node>>; 2] = [of(0), of(1)];
        let [first, second] = hosts;
        let observer = iscsi::initiate(100 * OBSERVER + place, &backstore)?;
        Ok(Self { name, hosts: [first?, second?], observer: Tool::new(helper, observer.path()) })
    }

    /// What each host calls its paths.
    fn names(&self) -> [Vec<String>; 2] {
        let name = |node: &Node| node.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.hosts.each_ref().map(|paths| paths.iter().map(name).collect())
    }

    /// What the observer sees.
    fn seen(&self) -> Result<Seen> {
        let mut seen = Seen { keys: Vec::new(), holder: None };
        let held = self.observer.send(&Request::read(InAction::ReadReservation))?.reservation()?;
        let held = held.as_ref().and_then(scsi_persistent_reservations::Reservation::reservation_type);
        for one in self.observer.send(&Request::read(InAction::ReadFullStatus))?.registrations()? {
            let name = one.initiator.split_once(',').map(|(name, _)| name);
            let number = name.and_then(|name| name.rsplit_once('-')?.1.parse().ok());
            let number = number.with_context(|| format!("{} is none of the hosts'", one.initiator))?;
            seen.keys.push((number, one.key));
            if one.holds {
                seen.holder = held.map(|held| (number, held));
            }
        }
        seen.keys.sort_unstable();
        Ok(seen)
    }

    /// Shows what the observer is told by this command.
    fn tells(&self, word: &str) -> Result<()> {
        remark(&format!("observer# qemu-pr-ctl {word}"));
        self.observer.prints(&[word])?.lines().for_each(remark);
        Ok(())
    }

    /// Waits for what is on record to be as it should.
    fn shows(&self, is_right: impl Fn(&Seen) -> bool) -> Result<Seen> {
        let mut last = String::new();
        let seen = wait::until(&format!("what should be on record of the {}", self.name), PATIENCE, || {
            std::thread::sleep(Duration::from_secs(1));
            let seen = self.seen()?;
            let told = format!("{}: {seen}", self.name);
            if told != last {
                remark(&told);
                last = told;
            }
            Ok(is_right(&seen).then_some(seen))
        })?;
        Ok(seen)
    }
}

impl Seen {
    /// Whether these initiators are registered and no other is.
    fn has(&self, initiators: &[u32]) -> bool {
        self.keys.iter().map(|(initiator, _)| initiator).eq(initiators)
    }

    /// The same with these keys.
    fn has_keys(&self, keys: &[(u32, u64)]) -> bool {
        self.keys == keys
    }

    /// Whether somebody holds a reservation of this type.
    fn is_held(&self, kind: ReservationType) -> bool {
        self.holder.is_some_and(|(_, held)| held == kind)
    }

    /// Whether it is this and nothing else.
    fn is(&self, keys: &[(u32, u64)], holder: u32, kind: ReservationType) -> bool {
        self.has_keys(keys) && self.holder == Some((holder, kind))
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (initiator, key) in &self.keys {
            write!(f, "initiator {initiator} has {key:#x}, ")?;
        }
        match self.holder {
            None => write!(f, "no reservation"),
            Some((initiator, kind)) => write!(f, "initiator {initiator} holds {kind}"),
        }
    }
}

impl Member {
    fn boot(number: usize, shared: &Shared, helper: &Helper) -> Result<Self> {
        let name = format!("node{number}");
        let host = number - 1;
        let mut command = Qemu::command(&name, "max", "640M", &shared.disk.hosts[host][0], helper.socket());
        for (number, path) in shared.map.hosts[host].iter().chain(&shared.owned.hosts[host]).enumerate() {
            Qemu::pass_through(&mut command, &format!("disk{number}"), path);
        }
        command
            .args(["-append", &format!("{APPEND} node={number}")])
            .args(["-drive", &format!("file={ROOT},format=raw,if=virtio,snapshot=on")])
            .arg("-netdev")
            .arg(format!(
                "dgram,id=net,local.type=inet,local.host=127.0.0.1,local.port=700{number},\
                 remote.type=inet,remote.host=127.0.0.1,remote.port=700{}",
                3 - number
            ))
            .args(["-device", &format!("virtio-net-pci,id=nic,netdev=net,mac=52:54:00:00:00:0{number},romfile=")]);
        let monitor = monitor::listen(&mut command, &name);
        let mut qemu = Qemu::start(&name, command)?;
        Ok(Self { number, monitor: Monitor::connect(&monitor, &mut qemu.process).context(name)?, qemu })
    }

    fn is_up(&self) -> Result<()> {
        self.qemu.terminal.ready()?;
        remark(&format!("node {} is up", self.number));
        Ok(())
    }

    fn writes(&mut self, disk: &str, passes: bool) -> Result<()> {
        let write = format!("dd if=/dev/zero of={disk} bs=4096 count=1 oflag=direct status=none");
        let (status, printed) = self.qemu.terminal.run(&write)?;
        ensure!((status == 0) == passes, "node {}'s write to {disk} ended with {status}: {printed}", self.number);
        Ok(())
    }

    /// The disks that are its map.
    fn paths(&mut self) -> Result<Vec<String>> {
        let names = self.qemu.done("ls /sys/block/dm-0/slaves")?;
        let paths: Vec<String> = names.split_whitespace().map(|name| format!("/dev/{name}")).collect();
        ensure!(paths.len() == 2, "node {}'s map has {paths:?}", self.number);
        Ok(paths)
    }

    /// Runs a command and shows what it prints.
    fn shows(&mut self, command: &str) -> Result<()> {
        let printed = self.qemu.done(command)?;
        remark(&format!("node{}# {command}", self.number));
        printed.lines().for_each(remark);
        Ok(())
    }

    /// Plugs its network cable in or out.
    fn network(&mut self, up: bool) -> Result<()> {
        self.monitor.execute("set_link", &json!({ "name": "nic", "up": up })).map(drop)
    }

    /// What it says of the cluster, and why.
    fn describe(&mut self) -> String {
        let ask = "crm_mon -1 --include=all; tail -n 40 /var/log/pacemaker/pacemaker.log; tail -n 5 /var/log/corosync.log \
                   /var/log/*.out";
        self.qemu.terminal.run(ask).map_or_else(|error| format!("{error:#}"), |(_, printed)| printed)
    }
}
