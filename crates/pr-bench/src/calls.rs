//! System calls for each request, counted by strace.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use pr_lab::Process;
use rustix::process::{Pid, Signal, kill_process};

use super::figure::Figure;
use super::plan::Plan;
use pr_measure::crowd::Crowd;
use pr_measure::request::{Request, Target};
use pr_measure::subject::Subject;

/// With so many clients: one, so that every request is waited for, as QEMU's are.
const CLIENTS: u32 = 1;

/// The row of a request.
pub fn row(request: Request) -> String {
    format!("system calls per {}", request.name())
}

/// Each call's share in a request.
pub type Shares = BTreeMap<String, f64>;

/// Counts for both requests; the figures, and which calls they are by row and subject.
pub fn measure(plan: &Plan, subjects: &[Subject]) -> Result<(Vec<Figure>, BTreeMap<String, Shares>)> {
    let (mut figures, mut detail) = (Vec::new(), BTreeMap::new());
    for request in [Request::In, Request::Out] {
        let mut figure = Figure::new(&row(request), None, "calls");
        for subject in subjects {
            let shares = count(subject, request, plan.traced)?;
            figure.push(&subject.name, shares.values().sum());
            detail.insert(format!("{}, {}", row(request), subject.name), shares);
        }
        figures.push(figure);
    }
    Ok((figures, detail))
}

fn count(subject: &Subject, request: Request, requests: u32) -> Result<Shares> {
    let running = subject.start();
    let mut crowd = Crowd::connect(running.socket(), CLIENTS, &Target::nothing()?)?;
    crowd.ask_times(request, 200)?;
    let folder = tempfile::tempdir()?;
    let result = folder.path().join("calls");
    let mut strace = attach(running.process(), &result, &folder.path().join("complaints"))?;
    let asked = crowd.ask_times(request, requests);
    if let Some(strace) = i32::try_from(strace.id()).ok().and_then(Pid::from_raw) {
        // It writes its table when it is told to leave.
        kill_process(strace, Signal::INT)?;
    }
    strace.wait()?;
    let asked = asked?.requests;
    let table = fs::read_to_string(&result).context("strace wrote no table")?;
    Ok(parse(&table).into_iter().map(|(call, count)| (call, f64::from(count) / f64::from(asked))).collect())
}

/// Starts strace on every thread of a process and waits until it has hold of them.
fn attach(process: i32, result: &Path, complaints: &Path) -> Result<Child> {
    let mut strace = Command::new("/usr/bin/strace");
    strace.args(["-f", "-c", "-U", "calls,name", "-p", &process.to_string(), "-o"]).arg(result);
    strace.stdout(Stdio::null()).stderr(File::create(complaints)?);
    let mut strace = strace.spawn().context("strace cannot be started")?;
    let start = Instant::now();
    let held = |thread: &BTreeMap<String, String>| thread.get("TracerPid").is_some_and(|tracer| tracer != "0");
    while !Process::new(process).threads().iter().all(held) {
        if start.elapsed() > Duration::from_secs(20) {
            strace.kill()?;
            strace.wait()?;
            bail!("strace does not get hold of process {process}: {}", fs::read_to_string(complaints)?.trim_end());
        }
        sleep(Duration::from_millis(5));
    }
    Ok(strace)
}

/// The table's two columns; the line of the total is left out.
fn parse(table: &str) -> Vec<(String, u32)> {
    let line = |line: &str| {
        let (count, call) = line.trim().split_once(char::is_whitespace)?;
        Some((call.trim().to_owned(), count.parse().ok()?))
    };
    table.lines().filter_map(line).filter(|(call, _)| call != "total").collect()
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_strace_is_read_without_its_frame_and_its_total() {
        let table = "    calls syscall\n--------- ----------------\n     2000 recvmsg\n       12 epoll_wait\n\
                     --------- ----------------\n     2012 total\n";
        assert_eq!(parse(table), [("recvmsg".to_owned(), 2000), ("epoll_wait".to_owned(), 12)]);
    }
}
