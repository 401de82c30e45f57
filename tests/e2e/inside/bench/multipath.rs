//! The subjects of `cargo xtask bench --multipath` in turns on maps of iSCSI paths.

use std::fs::File;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use pr_measure::multipath::{AGAIN, Command, DEVICES, FIRST, MEMORY, MEMORY_EACH, PATHS, PROCESSOR};
use pr_measure::stats::{median, order};
use pr_measure::subject::{OURS, Running, Subject};
use pr_measure::{processor_time, tree};
use qemu_pr_protocol::Client;
use scsi_persistent_reservations::{InAction, ReservationType, SenseKey, Status};

use super::storage::{self, Map, Storage};
use crate::helper::through;
use crate::node::Node;
use crate::report::{Report, known_weakness, remark, sample};
use crate::request::{Answer, Request};

const KEY: u64 = 0xbe7c_0000_0000_0001;
const TYPE: ReservationType = ReservationType::WriteExclusiveRegistrantsOnly;

/// How often a command is repeated that is answered with a unit attention: of each path one may come.
const ATTENTIONS: usize = 8;

/// How often all guests register again in a turn.
const REPEATS: usize = 3;

/// An answer that takes longer never comes. A helper that serves one command at a time needs a minute for all maps.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a guest sends, in the order of its sending, for one turn of all rows.
const CYCLE: [Command; 7] = [
    Command::Register,
    Command::ReadKeys,
    Command::RegisterAgain,
    Command::Reserve,
    Command::PreemptOwn,
    Command::Release,
    Command::Unregister,
];

/// And where only a registration is measured.
const SHORT: [Command; 2] = [Command::Register, Command::Unregister];

/// `ROUNDS CYCLES MAPS DEVICES NAME…`: how often, how many times in a turn, on how many maps at once, beside how many
/// device-mapper devices in all, and what the subjects are called.
pub fn run(report: &mut Report, words: &[&str]) -> Result<()> {
    let [rounds, cycles, maps, devices, names @ ..] = words else {
        bail!("usage: bed-inside bench-multipath ROUNDS CYCLES MAPS DEVICES NAME…")
    };
    let (rounds, cycles): (usize, usize) = (rounds.parse()?, cycles.parse()?);
    let (maps, devices): (usize, usize) = (maps.parse()?, devices.parse()?);
    let subjects: Vec<Subject> = names.iter().enumerate().map(super::subject).collect();
    let mut storage = Storage::set_up()?;
    if maps == 1 {
        return one_map(report, &subjects, rounds, cycles);
    }
    devices_beside(report, &subjects, rounds, cycles)?;
    let started = Instant::now();
    storage.grow(maps)?;
    storage::fill_up(devices)?;
    remark(&format!("{maps} maps of {PATHS} paths and {devices} devices after {} s", started.elapsed().as_secs()));
    devices_beside(report, &subjects, rounds, cycles)?;
    all_at_once(report, &subjects, rounds)
}

/// The rows of one guest on one map, on a host without another one, and on one of its paths.
fn one_map(report: &mut Report, subjects: &[Subject], rounds: usize, cycles: usize) -> Result<()> {
    let maps = storage::maps()?;
    let map = maps.first().context("no map")?;
    let path = map.paths.first().context("no path")?;
    let (map_file, path_file) = (map.map.open()?, path.open()?);
    let running: Vec<Running> = subjects.iter().map(Subject::start).collect();
    for (subject, running) in subjects.iter().zip(&running) {
        report.check(&format!("a key is on every path of the map: {}", subject.name), || {
            same_work(running, map, &map_file)
        });
    }
    for round in 0..rounds {
        for index in order(round, subjects.len()) {
            let (name, running) = (subjects[index].name.as_str(), &running[index]);
            for (load, file) in [(1, &path_file), (PATHS, &map_file)] {
                reset(map)?;
                let turn = Turn::play(running, file, &CYCLE, cycles)?;
                for command in CYCLE {
                    turn.tell(command.row(), load, name, command);
                }
                sample(PROCESSOR, load, name, turn.used);
                turn.judge(report, name, load);
            }
        }
    }
    Ok(())
}

/// A registration, beside all the device-mapper devices that there are.
fn devices_beside(report: &mut Report, subjects: &[Subject], rounds: usize, cycles: usize) -> Result<()> {
    let maps = storage::maps()?;
    let map = maps.first().context("no map")?;
    let file = map.map.open()?;
    let load = u32::try_from(storage::devices()?)?;
    let running: Vec<Running> = subjects.iter().map(Subject::start).collect();
    for round in 0..rounds {
        for index in order(round, subjects.len()) {
            let (name, running) = (subjects[index].name.as_str(), &running[index]);
            reset(map)?;
            let turn = Turn::play(running, &file, &SHORT, cycles)?;
            turn.tell(DEVICES, load, name, Command::Register);
            turn.judge(report, name, PATHS);
        }
    }
    Ok(())
}

/// A guest on each map.
fn all_at_once(report: &mut Report, subjects: &[Subject], rounds: usize) -> Result<()> {
    let maps = storage::maps()?;
    let files = maps.iter().map(|map| map.map.open()).collect::<Result<Vec<File>>>()?;
    let load = u32::try_from(maps.len())?;
    for round in 0..rounds {
        for index in order(round, subjects.len()) {
            let name = subjects[index].name.as_str();
            for map in &maps {
                reset(map)?;
            }
            let running = subjects[index].with_room_for(load).start();
            let mut clients = Vec::new();
            for _ in &maps {
                let client = Client::connect(running.socket()).context("it takes no connection")?;
                client.set_timeout(Some(PATIENCE))?;
                clients.push(client);
            }
            let request = Request::register_anyhow(KEY);
            sample(FIRST, load, name, milliseconds(at_once(&mut clients, &files, &request)?));
            for _ in 0..REPEATS {
                sample(AGAIN, load, name, milliseconds(at_once(&mut clients, &files, &request)?));
            }
            report.check(&format!("every map has its key on every path: {name}"), || {
                maps.iter().try_for_each(expect_keys)
            });
            memory(&running, load, name)?;
            at_once(&mut clients, &files, &Request::register_anyhow(0))?;
        }
    }
    Ok(())
}

/// Each client sends the command to its own map, and all wait for their answers; until the last has it.
fn at_once(clients: &mut [Client], files: &[File], request: &Request) -> Result<Duration> {
    let started = Instant::now();
    for (client, file) in clients.iter_mut().zip(files) {
        client.send(file, &request.cdb, &request.parameters).context("a request cannot be sent")?;
    }
    for client in clients.iter_mut() {
        let answer: Answer = client.receive().context("an answer does not come")?.into();
        answer.good()?;
    }
    Ok(started.elapsed())
}

/// What a helper's processes take.
fn memory(running: &Running, load: u32, name: &str) -> Result<()> {
    let (mut all, mut own, mut workers) = (0.0, 0.0, 0.0);
    for process in running.processes() {
        let memory = tree::memory_of(process)?;
        all += memory.proportional;
        if tree::name_of(process)? == "qemu-pr-map" {
            own += memory.private;
            workers += 1.0;
        }
    }
    sample(MEMORY, load, name, all);
    if workers > 0.0 {
        sample(MEMORY_EACH, load, name, own / workers);
    }
    Ok(())
}

/// What is compared has to be the same.
fn same_work(running: &Running, map: &Map, file: &File) -> Result<()> {
    reset(map)?;
    let mut client = client(running)?;
    send(&mut client, file, &Request::register(0, KEY))?.good()?;
    expect_keys(map)?;
    send(&mut client, file, &Request::register(KEY, 0))?.good().map(drop)
}

fn expect_keys(map: &Map) -> Result<()> {
    let path = map.paths.first().context("no path")?;
    let keys = path.directly(&Request::read(InAction::ReadKeys))?.keys()?;
    ensure!(keys == vec![KEY; map.paths.len()], "{} has the keys {keys:#x?}", map.map.path().display());
    Ok(())
}

/// No key, no reservation, nothing to report on any path.
fn reset(map: &Map) -> Result<()> {
    for path in &map.paths {
        path.settle()?;
        path.directly(&Request::register_anyhow(0))?.good()?;
    }
    map.paths.iter().try_for_each(Node::settle)
}

fn client(running: &Running) -> Result<Client> {
    let client = Client::connect(running.socket()).context("it takes no connection")?;
    client.set_timeout(Some(PATIENCE))?;
    Ok(client)
}

/// Sends a command as a guest does, which repeats it after a unit attention.
fn send(client: &mut Client, file: &File, request: &Request) -> Result<Answer> {
    let mut answer = through(client, file, request)?;
    for _ in 0..ATTENTIONS {
        if answer.status != Status::CHECK_CONDITION || answer.sense.code().is_none_or(|it| it.key != SenseKey(0x6)) {
            break;
        }
        answer = through(client, file, request)?;
    }
    Ok(answer)
}

fn request(command: Command) -> Request {
    match command {
        Command::ReadKeys => Request::read_up_to(InAction::ReadKeys, 72),
        Command::Register => Request::register(0, KEY),
        Command::RegisterAgain => Request::register_anyhow(KEY),
        Command::Reserve => Request::reserve(KEY, TYPE),
        Command::PreemptOwn => Request::preempt(KEY, KEY, TYPE),
        Command::Release => Request::release(KEY, TYPE),
        Command::Unregister => Request::register(KEY, 0),
    }
}

/// What came of a command in one turn.
struct Row {
    command: Command,
    request: Request,
    /// In microseconds.
    times: Vec<f64>,
    /// What was answered that was not GOOD.
    refused: Option<Answer>,
}

/// A subject's turn on one device.
struct Turn {
    rows: Vec<Row>,
    /// The processor time of one of each of the commands, in microseconds.
    used: f64,
}

impl Turn {
    /// Sends all commands, one after the other, so many times. The first time is for nothing: processes start.
    fn play(running: &Running, file: &File, commands: &[Command], cycles: usize) -> Result<Self> {
        let row =
            |command: &Command| Row { command: *command, request: request(*command), times: Vec::new(), refused: None };
        let mut rows: Vec<Row> = commands.iter().map(row).collect();
        let mut client = client(running)?;
        let (mut processes, mut before) = (Vec::new(), Duration::ZERO);
        for cycle in 0..=cycles {
            for row in &mut rows {
                let started = Instant::now();
                let answer = send(&mut client, file, &row.request)?;
                let took = started.elapsed();
                if answer.status != Status::GOOD {
                    row.refused.get_or_insert(answer);
                } else if cycle > 0 {
                    row.times.push(microseconds(took));
                }
            }
            // Those that carry the map's commands out are there by now.
            if cycle == 0 {
                processes = running.processes();
                before = used(&processes)?;
            }
        }
        let used = microseconds(used(&processes)?.saturating_sub(before)) / f64::from(u32::try_from(cycles)?);
        Ok(Self { rows, used })
    }

    fn row(&self, command: Command) -> Option<&Row> {
        self.rows.iter().find(|row| row.command == command)
    }

    /// Tells the middle one of a command's times.
    fn tell(&self, row: &str, load: u32, name: &str, command: Command) {
        if let Some(time) = self.row(command).and_then(|row| median(&row.times)) {
            sample(row, load, name, time);
        }
    }

    /// What is not GOOD was not measured. Of this project's helper everything is GOOD.
    fn judge(&self, report: &mut Report, name: &str, load: u32) {
        for row in &self.rows {
            let Some(answer) = &row.refused else { continue };
            let what = format!("{} is GOOD with {load} paths: {name}", row.command.row());
            match name {
                OURS => report.check(&what, || bail!("{answer}")),
                _ => known_weakness(&what, &answer.to_string()),
            }
        }
    }
}

fn used(processes: &[i32]) -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for process in processes {
        sum += processor_time(*process)?;
    }
    Ok(sum)
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
