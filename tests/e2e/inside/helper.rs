//! The helper under test as a process, and conversations with it.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use qemu_pr_protocol::Client;
use rustix::process::{Pid, Signal, kill_process};

use crate::request::{Answer, Request};
use crate::wait;

/// The one under test.
pub const PROGRAM: &str = "/usr/bin/qemu-pr-helper";

/// What a loaded machine may need to start or to end a process.
const PATIENCE: Duration = Duration::from_secs(60);

/// A helper that does not answer for so long never will; longer than any LUN here hangs.
const ANSWER: Duration = Duration::from_secs(120);

/// A running helper, which never outlives this value.
pub struct Helper {
    process: Child,
    socket: PathBuf,
}

impl Drop for Helper {
    fn drop(&mut self) {
        // It has ended already, unless a check gave up on it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Helper {
    /// Starts it on a socket of this name and waits until it listens.
    pub fn start(name: &str, options: &[&str]) -> Result<Self> {
        Self::start_logging_to(name, options, Stdio::inherit())
    }

    /// The same, with its messages going somewhere else.
    pub fn start_logging_to(name: &str, options: &[&str], log: Stdio) -> Result<Self> {
        let folder = PathBuf::from("/run").join(name);
        fs::create_dir_all(&folder)?;
        Self::start_at(PROGRAM, folder.join("helper.sock"), options, log)
    }

    /// Starts any helper on any socket.
    pub fn start_at(program: &str, socket: PathBuf, options: &[&str], log: Stdio) -> Result<Self> {
        let process = Command::new(program)
            .arg("-k")
            .arg(&socket)
            .args(options)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{program} cannot be started"))?;
        let mut helper = Self { process, socket };
        wait::until("the helper's socket", PATIENCE, || {
            if let Some(status) = helper.process.try_wait()? {
                anyhow::bail!("the helper ended at once: {status}");
            }
            Ok(Client::connect(&helper.socket).ok())
        })?;
        Ok(helper)
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.process.try_wait()?)
    }

    /// Opens a connection.
    pub fn client(&self) -> Result<Client> {
        let client = Client::connect(&self.socket).context("the helper takes no connection")?;
        client.set_timeout(Some(ANSWER))?;
        Ok(client)
    }

    /// Kills it without a warning and waits until it has ended.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Asks it to end and waits until it did.
    pub fn stop(mut self) -> Result<()> {
        self.end()?;
        ensure!(!self.socket.exists(), "the helper left its socket behind");
        Ok(())
    }

    /// The same where its socket stays: in a folder in which it may remove nothing.
    pub fn end(&mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.process), Signal::TERM)?;
        let status: ExitStatus =
            wait::until("the helper's end after SIGTERM", PATIENCE, || Ok(self.process.try_wait()?))?;
        ensure!(status.success(), "expected exit status 0 after SIGTERM, came {status}");
        Ok(())
    }
}

/// Sends the command to the device through the helper.
pub fn through(client: &mut Client, device: impl AsFd, request: &Request) -> Result<Answer> {
    let reply = client.execute(device, &request.cdb, &request.parameters);
    Ok(reply.with_context(|| format!("{} through the helper", request.name))?.into())
}
