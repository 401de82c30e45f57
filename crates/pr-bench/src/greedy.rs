//! A polite client beside a greedy process: a hundred connections, each of which asks again as soon as it is answered.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use pr_lab::Stranger;

use super::plan::Plan;
use pr_measure::crowd::{Crowd, Slice};
use pr_measure::request::{Request, Target, connect, device, take_answer};
use pr_measure::stats::{median, order, ratios};
use pr_measure::subject::{Running, Subject};

/// How many connections the greedy one has.
const CONNECTIONS: usize = 100;

/// What it is held to, where it is.
const LIMITS: &str = "[limits]\nrequests-per-second = 500\nburst = 1000\n";

/// Until it has used its burst up.
const WARM_UP: Duration = Duration::from_millis(500);

/// How often the polite one asks, and how many times: less than it is allowed.
const PAUSE: Duration = Duration::from_millis(4);
const TIMES: usize = 500;

/// Medians of each round, in microseconds.
#[derive(Default)]
struct Medians {
    alone: Vec<f64>,
    beside: Vec<f64>,
    /// Requests a second that the greedy one got.
    greedy: Vec<f64>,
}

/// Measures with and without limits, and prints what came of it.
pub fn run(plan: &Plan, program: &Path) -> Result<()> {
    let folder = tempfile::tempdir().context("there is no room for a settings file")?;
    let settings = folder.path().join("settings.toml");
    fs::write(&settings, LIMITS).context("the settings cannot be written")?;
    let config = settings.display().to_string();
    let bare = Subject::new("without limits", program).with(&["--audit", "off"]);
    let subjects = [bare.clone(), Subject { name: "with limits".into(), ..bare.with(&["--config", &config]) }];
    let mut medians = [Medians::default(), Medians::default()];
    for round in 0..plan.isolation_rounds {
        for index in order(round, subjects.len()) {
            measure(&subjects[index], &mut medians[index])?;
        }
    }
    println!("a polite client's median latency beside a process with {CONNECTIONS} connections that never rests:");
    for (subject, Medians { alone, beside, greedy }) in subjects.iter().zip(&medians) {
        let middle = |values: &[f64]| median(values).unwrap_or(f64::INFINITY);
        println!(
            "{:<16} alone {:.1} µs, beside it {:.1} µs ({:.2} times), which gets {:.0} requests/s",
            subject.name,
            middle(alone),
            middle(beside),
            middle(&ratios(beside, alone)),
            middle(greedy),
        );
    }
    Ok(())
}

fn measure(subject: &Subject, medians: &mut Medians) -> Result<()> {
    let running = subject.start();
    medians.alone.extend(median(&polite(&running)?));
    let greedy = Stranger::new(running.socket(), 0, 0, CONNECTIONS);
    for client in greedy.clients() {
        client.hello();
    }
    let streams: Vec<_> =
        greedy.clients().iter().map(|client| client.stream().try_clone()).collect::<Result<_, _>>()?;
    let stop = AtomicBool::new(false);
    let (latencies, slice) = thread::scope(|scope| {
        let flood = scope.spawn(|| Crowd::of(streams, &Target::nothing()?)?.ask_until(Request::In, &stop));
        thread::sleep(WARM_UP);
        let latencies = polite(&running);
        stop.store(true, Ordering::Relaxed);
        (latencies, flood.join())
    });
    medians.beside.extend(median(&latencies?));
    let Slice { requests, time } = slice.map_err(|_| anyhow!("the greedy one broke off"))??;
    medians.greedy.push(f64::from(requests) / time.as_secs_f64());
    Ok(())
}

/// The latencies of a client that rests after each request, in microseconds.
fn polite(running: &Running) -> Result<Vec<f64>> {
    let (client, device) = (connect(running.socket())?, device()?);
    let mut latencies = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        thread::sleep(PAUSE);
        let start = Instant::now();
        Request::In.send(&client, &device)?;
        take_answer(&client)?;
        latencies.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(latencies)
}
