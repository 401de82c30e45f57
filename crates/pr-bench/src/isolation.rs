//! A healthy client beside others that wait for a device that does not answer.

use std::io;
use std::os::unix::net::UnixStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::dead::DeadDevice;
use super::figure::Figure;
use super::plan::Plan;
use pr_measure::request::{Request, device, hello, take_answer};
use pr_measure::stats::{order, quantile};
use pr_measure::subject::{Running, Subject};

/// How many commands hang.
pub const HUNG: [u32; 3] = [0, 96, 500];

/// The middle of the healthy client's latencies.
pub const MEDIAN: &str = "healthy p50 beside hung commands";
/// One in a hundred is slower.
pub const SLOWEST: &str = "healthy p99 beside hung commands";

/// So long may an answer take before it counts as none.
const NO_ANSWER: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// So long the healthy client asks for nothing first.
const WARM_UP: Duration = Duration::from_millis(200);

/// Measures at every number of hung commands.
pub fn measure(plan: &Plan, subjects: &[Subject]) -> Result<Vec<Figure>> {
    let mut figures: Vec<Figure> =
        HUNG.into_iter().flat_map(|hung| [MEDIAN, SLOWEST].map(|row| Figure::new(row, Some(hung), "µs"))).collect();
    for round in 0..plan.isolation_rounds {
        for index in order(round, subjects.len()) {
            let subject = &subjects[index];
            let values = beside(subject, plan.healthy, &figures)?;
            for (figure, value) in figures.iter_mut().zip(values) {
                figure.push(&subject.name, value);
            }
        }
    }
    Ok(figures)
}

/// One subject: p50 and p99 at every number of hung commands.
fn beside(subject: &Subject, count: usize, before: &[Figure]) -> Result<Vec<f64>> {
    let running = subject.with_room_for(HUNG[2] + 1).start();
    // Behind the helper, and so gone before it: what waits for a device does not end before the device does.
    let dead = DeadDevice::new()?;
    let mut waiting = Vec::new();
    let mut values = Vec::new();
    for (number, goal) in HUNG.into_iter().enumerate() {
        // Who did not answer once will not: five seconds each time would only be waited again.
        let silent = before[2 * number].values(&subject.name).first().is_some_and(|value| value.is_infinite());
        if silent {
            values.extend([f64::INFINITY; 2]);
            continue;
        }
        hang(&running, goal, &dead, &mut waiting)?;
        let latencies = healthy(&running, count)?;
        values.extend([0.5, 0.99].map(|part| quantile(&latencies, part).unwrap_or(f64::INFINITY)));
    }
    Ok(values)
}

/// Adds clients whose commands hang, and waits until they do: all of them, or as many as the helper takes.
fn hang(running: &Running, goal: u32, dead: &DeadDevice, waiting: &mut Vec<UnixStream>) -> Result<()> {
    let goal = usize::try_from(goal)?;
    while waiting.len() < goal {
        // A helper of one thread hangs already: it accepts, or the queue does, and greets nobody.
        let Some(client) = try_connect(running)? else { break };
        Request::In.send(&client, dead.file())?;
        waiting.push(client);
    }
    let (mut last, mut since) = (running.threads_at_a_device()?, Instant::now());
    while last < goal && since.elapsed() < Duration::from_millis(500) {
        sleep(Duration::from_millis(10));
        let now = running.threads_at_a_device()?;
        if now > last {
            (last, since) = (now, Instant::now());
        }
    }
    if goal > 0 && last == 0 {
        bail!("no command hangs: this would measure nothing");
    }
    Ok(())
}

/// A connection, unless the helper greets nobody any more.
fn try_connect(running: &Running) -> Result<Option<UnixStream>> {
    let stream = UnixStream::connect(running.socket())?;
    if !is_readable(&stream)? {
        return Ok(None);
    }
    hello(&stream)?;
    Ok(Some(stream))
}

/// The latencies of so many requests, one after the other, in microseconds; none if there is no answer.
fn healthy(running: &Running, count: usize) -> Result<Vec<f64>> {
    let device = device()?;
    let Some(client) = try_connect(running)? else { return Ok(Vec::new()) };
    let mut latencies = Vec::with_capacity(count);
    let begin = Instant::now();
    while latencies.len() < count {
        let start = Instant::now();
        Request::In.send(&client, &device)?;
        if !is_readable(&client)? {
            return Ok(Vec::new());
        }
        take_answer(&client)?;
        // What the others' coming leaves behind in the kernel is not what their waiting costs.
        if begin.elapsed() > WARM_UP {
            latencies.push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    Ok(latencies)
}

fn is_readable(stream: &UnixStream) -> io::Result<bool> {
    Ok(poll(&mut [PollFd::new(stream, PollFlags::IN)], Some(&NO_ANSWER))? > 0)
}
