//! From the start of the process to its first greeting.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::figure::Figure;
use super::plan::Plan;
use pr_measure::stats::order;
use pr_measure::subject::Subject;

/// The row.
pub const ROW: &str = "start to first greeting";

/// So long between two looks for the socket: short against any start.
const LOOK: Duration = Duration::from_micros(50);

/// So long between one subject's end and the next one's start: a helper's other processes notice by themselves that it
/// is gone, and their ending is not to count as the next one's start.
const REST: Duration = Duration::from_millis(10);

/// Starts every subject many times.
pub fn measure(plan: &Plan, subjects: &[Subject]) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let mut figure = Figure::new(ROW, None, "ms");
    for round in 0..=plan.starts {
        for index in order(round, subjects.len()) {
            let subject = &subjects[index];
            let socket = folder.path().join(format!("{round}-{index}"));
            let time = once(subject, &socket)?;
            // The first start reads the program from the disk.
            if round > 0 {
                figure.push(&subject.name, time.as_secs_f64() * 1e3);
            }
        }
    }
    Ok(vec![figure])
}

fn once(subject: &Subject, socket: &Path) -> Result<Duration> {
    let mut command = Command::new(&subject.program);
    command.arg("-k").arg(socket).args(&subject.options);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| format!("{} cannot be started", subject.program.display()))?;
    let greeted = greeting(socket, start);
    let time = start.elapsed();
    child.kill()?;
    child.wait()?;
    sleep(REST);
    greeted.with_context(|| format!("{} does not greet", subject.program.display()))?;
    Ok(time)
}

fn greeting(socket: &Path, start: Instant) -> Result<()> {
    loop {
        if let Ok(mut stream) = UnixStream::connect(socket) {
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            stream.read_exact(&mut [0; 4])?;
            return Ok(());
        }
        if start.elapsed() > Duration::from_secs(10) {
            bail!("its socket does not appear");
        }
        sleep(LOOK);
    }
}
