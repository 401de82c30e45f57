//! `bench`: how many requests a second, at several numbers of connections.

use std::{
    os::fd::OwnedFd,
    panic::resume_unwind,
    path::{Path, PathBuf},
    sync::{
        RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{
    global::{Global, Run},
    ping, values,
};
use crate::{
    error::{Error, exit},
    output::{json, latency::Latency, terminal, text},
    request::Access,
    target::{self, Helper, Transport},
};

/// A descriptor that is no disk: the helper alone is measured.
const NO_DISK: &str = "/dev/null";

#[derive(Serialize)]
struct Shape<'a> {
    socket: &'a Path,
    device: Option<PathBuf>,
    runs: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    connections: usize,
    requests_per_second: f64,
    latency: Latency,
}

/// Measure requests per second and latency by number of connections
///
/// Reads only: PERSISTENT RESERVE IN on DEVICE, or without DEVICE requests that
/// the helper answers by itself.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Bench {
    /// Disk to read; without one only the helper is measured
    #[arg(value_name = "DEVICE")]
    device: Option<PathBuf>,

    /// Numbers of connections to measure with
    #[arg(
        short = 'c',
        long,
        value_name = "N,N,...",
        default_value = "1,4,16,64",
        value_delimiter = ',',
        value_parser = connections
    )]
    connections: Vec<usize>,

    /// Duration of each measurement
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = values::time)]
    seconds: Duration,
}

fn connections(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=10_000).contains(number));
    number.ok_or_else(|| "expected a number of connections from 1 to 10000".to_owned())
}

impl Run for Bench {
    fn run(&self, global: &Global) -> Result<u8, Error> {
        run(global, self)?;
        Ok(exit::GOOD)
    }
}

/// Measures at each number of connections.
fn run(global: &Global, bench: &Bench) -> Result<(), Error> {
    let path = bench.device.clone().unwrap_or_else(|| NO_DISK.into());
    let device = target::open(&path, Access::Read, global.helper.initiator)?;
    // Without a helper there is nothing to head a table for.
    drop(Transport::open(&global.helper)?);
    let title = bench
        .device
        .as_ref()
        .map_or_else(|| "requests without a disk".to_owned(), |device| format!("READ KEYS of {}", device.display()));
    if !global.json {
        terminal::print(&text::titled(&global.helper.socket, &title))?;
        terminal::print(&format!(
            "  {:>11}  {:>11}  {:>9}  {:>9}  {:>9}  {:>9}\n",
            "connections", "requests/s", "fastest", "median", "p99", "slowest"
        ))?;
    }
    let mut rows = Vec::new();
    for connections in &bench.connections {
        let row = measure(&global.helper, &device, *connections, bench.seconds)?;
        if !global.json {
            let Latency { min, median, p99, max, .. } = row.latency;
            terminal::print(&format!(
                "  {:>11}  {:>11.0}  {:>9}  {:>9}  {:>9}  {:>9}\n",
                row.connections,
                row.requests_per_second,
                short(min),
                short(median),
                short(p99),
                short(max)
            ))?;
        }
        rows.push(row);
    }
    if global.json {
        return json::print(&Shape { socket: &global.helper.socket, device: bench.device.clone(), runs: rows });
    }
    Ok(())
}

/// A thread for each connection; all of them start together.
fn measure(helper: &Helper, device: &OwnedFd, connections: usize, time: Duration) -> Result<Row, Error> {
    let mut transports = Vec::new();
    for _ in 0..connections {
        transports.push(Transport::open(helper)?);
    }
    let (gate, end, done) = (RwLock::new(()), AtomicBool::new(false), AtomicU64::new(0));
    let (times, took) = thread::scope(|scope| {
        let closed = gate.write();
        let mut clients = Vec::new();
        for transport in transports {
            let (gate, end, done) = (&gate, &end, &done);
            let client = thread::Builder::new().spawn_scoped(scope, move || {
                drop(gate.read());
                client(transport, device, end, done)
            });
            clients.push(client.map_err(|error| {
                // Those that are there already are not to go on for ever.
                end.store(true, Ordering::SeqCst);
                Error::NoThread { connections, error }
            })?);
        }
        drop(closed);
        let took = watch(connections, time, &done);
        end.store(true, Ordering::SeqCst);
        let times: Result<Vec<_>, Error> =
            clients.into_iter().map(|client| client.join().unwrap_or_else(|panic| resume_unwind(panic))).collect();
        Ok((times, took))
    })?;
    let times = times?.concat();
    let requests = u32::try_from(times.len()).unwrap_or(u32::MAX);
    Ok(Row { connections, requests_per_second: f64::from(requests) / took.as_secs_f64(), latency: Latency::new(times) })
}

fn client(
    mut transport: Transport<'_>,
    device: &OwnedFd,
    end: &AtomicBool,
    done: &AtomicU64,
) -> Result<Vec<Duration>, Error> {
    let mut times = Vec::new();
    // One request at least, however short the time is.
    while times.is_empty() || !end.load(Ordering::Relaxed) {
        times.push(ping::once(&mut transport, device)?);
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(times)
}

/// Shows how far it is; on a terminal only.
fn watch(connections: usize, time: Duration, done: &AtomicU64) -> Duration {
    const STEP: Duration = Duration::from_millis(100);
    let start = Instant::now();
    let bar = ProgressBar::new(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("  {prefix:>11}  [{bar:40}] {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(connections.to_string());
    while start.elapsed() < time {
        bar.set_position(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX));
        bar.set_message(format!("{} requests", done.load(Ordering::Relaxed)));
        thread::sleep(STEP.min(time.saturating_sub(start.elapsed())));
    }
    bar.finish_and_clear();
    start.elapsed()
}

/// A time in at most nine columns.
fn short(time: Duration) -> String {
    format!("{time:.1?}")
}
