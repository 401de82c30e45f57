//! A LUN that does not answer: a multipath map that queues because it has no path left. Everybody who asks it waits in
//! the kernel; nobody else may have to wait with them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use scsi_persistent_reservations::InAction;

use crate::helper::{Helper, through};
use crate::lun::{self, Loopback};
use crate::node::Node;
use crate::report::{Report, known_weakness, remark};
use crate::request::{Answer, Request};
use crate::tool::Tool;
use crate::wait;

/// More than the reference helper has threads for.
const STUCK: usize = 96;
const REFERENCE_THREADS: usize = 64;

/// How long the client of the healthy LUN waits for its answer. An answer takes milliseconds; the rest is for a host
/// under load.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long the reference's client waits. It is known to get no answer until the other LUN is back.
const REFERENCE_PATIENCE: Duration = Duration::from_secs(3);

/// How long everything may take that is bound to happen.
const SETTLE: Duration = Duration::from_secs(60);

/// LUN 0 stays healthy, the map over LUN 1 hangs.
pub fn run(report: &mut Report, luns: &Loopback, reference: bool) -> Result<()> {
    let healthy = &luns.lun(0)[0];
    let map = Map::create(&luns.lun(1)[0])?;
    let helper = Helper::start("hang", &[])?;

    report.check("a multipath map with a path answers through the helper", || {
        Tool::new(&helper, map.node.path()).send(&question())?.good().map(drop)
    });
    map.message("fail_path")?;
    let answers = ask_many(&helper, &map, reference)?;
    let healthy_answer = {
        let mut client = helper.client()?;
        let device = healthy.open()?;
        in_background(move || through(&mut client, device, &question()))
    };
    let started = Instant::now();
    let served = healthy_answer.recv_timeout(if reference { REFERENCE_PATIENCE } else { PATIENCE });
    let name = format!("a healthy LUN is served while {STUCK} clients wait for one that hangs");
    let waited = started.elapsed().as_millis();
    match served {
        Err(_) if reference => known_weakness(&name, &format!("no answer within {waited} ms")),
        served => report.check(&name, || {
            ensure!(answers.try_recv().is_err(), "the LUN was to hang, but it answered");
            served.with_context(|| format!("no answer within {waited} ms"))??.good().map(drop)
        }),
    }
    remark(&format!("the healthy LUN's client waited for {waited} ms"));

    map.message("reinstate_path")?;
    report.check(&format!("all {STUCK} are answered once the LUN is back"), || {
        let deadline = Instant::now() + SETTLE;
        for number in 0..STUCK {
            let left = deadline.saturating_duration_since(Instant::now());
            let answer = answers.recv_timeout(left).with_context(|| format!("only {number} were answered"))?;
            answer?.good()?;
        }
        Ok(())
    });
    report.check("the helper ends on SIGTERM after a hang", || helper.stop());
    drop(map);
    lun::run("dmsetup", &["remove", "stuck"])
}

fn question() -> Request {
    Request::read(InAction::ReadKeys)
}

/// Starts the clients of the hanging LUN; returns when all of them have asked and as many commands as the helper carries
/// out at a time are in the kernel.
fn ask_many(helper: &Helper, map: &Map, reference: bool) -> Result<Receiver<Result<Answer>>> {
    let (sender, answers) = mpsc::channel();
    let asked = Arc::new(AtomicUsize::new(0));
    for _ in 0..STUCK {
        let mut client = helper.client()?;
        let device = map.node.open()?;
        let (sender, asked) = (sender.clone(), Arc::clone(&asked));
        thread::spawn(move || {
            asked.fetch_add(1, Ordering::SeqCst);
            // Nobody listens any more if the scenario was given up.
            let _ = sender.send(through(&mut client, device, &question()));
        });
    }
    wait::until("all clients to ask", SETTLE, || Ok((asked.load(Ordering::SeqCst) == STUCK).then_some(())))?;
    let sleeping = if reference { REFERENCE_THREADS } else { STUCK };
    wait_for_sleep(helper, sleeping)?;
    if let Ok(answer) = answers.try_recv() {
        bail!("the LUN was to hang, but it answered {}", answer?);
    }
    Ok(answers)
}

/// Waits until so many of the helper's threads were seen in a sleep that no signal ends: the kernel holds their commands.
/// It looks for a path a hundred times a second, so that they are never seen all at once.
fn wait_for_sleep(helper: &Helper, count: usize) -> Result<()> {
    let mut seen = BTreeSet::new();
    wait::until(&format!("{count} of the helper's threads to be stuck"), SETTLE, || {
        for thread in fs::read_dir(format!("/proc/{}/task", helper.pid()))? {
            let thread = thread?;
            // One may end while this looks at it.
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            if stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('D')) {
                seen.insert(thread.file_name());
            }
        }
        Ok((seen.len() >= count).then_some(()))
    })
    .with_context(|| format!("only {} were", seen.len()))
}

fn in_background<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (sender, result) = mpsc::channel();
    thread::spawn(move || sender.send(act()));
    result
}

/// A multipath map with one path and no end to its patience.
struct Map {
    node: Node,
    path: String,
}

impl Map {
    fn create(below: &Node) -> Result<Self> {
        let device = fs::metadata(below.path())?.rdev();
        let path = format!("{}:{}", libc::major(device), libc::minor(device));
        let sectors = fs::read_to_string(below.path().to_string_lossy().replace("/dev/", "/sys/block/") + "/size")?;
        let table = format!("0 {} multipath 1 queue_if_no_path 0 1 1 service-time 0 1 1 {path} 1", sectors.trim());
        lun::run("dmsetup", &["create", "stuck", "--table", &table])?;
        // The kernel's own name for the first map: without udev, nobody makes /dev/mapper/stuck.
        Ok(Self { node: Node::new(PathBuf::from("/dev/dm-0")), path })
    }

    fn message(&self, what: &str) -> Result<()> {
        lun::run("dmsetup", &["message", "stuck", "0", what, &self.path])
    }
}
