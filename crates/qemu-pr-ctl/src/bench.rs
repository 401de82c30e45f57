//! `bench`: how many requests a second, at several numbers of connections.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::{
    cli::{Bench, Options},
    error::Error,
    link::{self, Link},
    out, ping,
    request::Access,
    show,
    times::Times,
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
    latency: Times,
}

/// Measures at each number of connections.
pub fn run(options: &Options, bench: &Bench) -> Result<(), Error> {
    let path = bench.device.clone().unwrap_or_else(|| NO_DISK.into());
    let device = link::device(&path, Access::Read)?;
    // Without a helper there is nothing to head a table for.
    drop(Link::open(&options.socket, options.patience())?);
    let title = bench
        .device
        .as_ref()
        .map_or_else(|| "requests without a disk".to_owned(), |device| format!("READ KEYS of {}", device.display()));
    if !options.json {
        out::print(&show::titled(&options.socket, &title))?;
        out::print(&format!(
            "  {:>11}  {:>11}  {:>9}  {:>9}  {:>9}  {:>9}\n",
            "connections", "requests/s", "fastest", "median", "p99", "slowest"
        ))?;
    }
    let mut rows = Vec::new();
    for connections in &bench.connections {
        let row = measure(options, &device, *connections, bench.seconds)?;
        if !options.json {
            let Times { min, median, p99, max, .. } = row.latency;
            out::print(&format!(
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
    if options.json {
        return out::json(&Shape { socket: &options.socket, device: bench.device.clone(), runs: rows });
    }
    Ok(())
}

/// A thread for each connection; all of them start together.
fn measure(options: &Options, device: &OwnedFd, connections: usize, time: Duration) -> Result<Row, Error> {
    let mut links = Vec::new();
    for _ in 0..connections {
        links.push(Link::open(&options.socket, options.patience())?);
    }
    let (gate, end, done) = (RwLock::new(()), AtomicBool::new(false), AtomicU64::new(0));
    let (times, took) = thread::scope(|scope| {
        let closed = gate.write();
        let mut clients = Vec::new();
        for link in links {
            let (gate, end, done) = (&gate, &end, &done);
            let client = thread::Builder::new().spawn_scoped(scope, move || {
                drop(gate.read());
                client(link, device, end, done)
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
            clients.into_iter().map(|client| client.join().unwrap_or(Err(Error::NoInitiator))).collect();
        Ok((times, took))
    })?;
    let times = times?.concat();
    let requests = u32::try_from(times.len()).unwrap_or(u32::MAX);
    Ok(Row { connections, requests_per_second: f64::from(requests) / took.as_secs_f64(), latency: Times::new(times) })
}

fn client(mut link: Link<'_>, device: &OwnedFd, end: &AtomicBool, done: &AtomicU64) -> Result<Vec<Duration>, Error> {
    let mut times = Vec::new();
    // One request at least, however short the time is.
    while times.is_empty() || !end.load(Ordering::Relaxed) {
        times.push(ping::once(&mut link, device)?);
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
