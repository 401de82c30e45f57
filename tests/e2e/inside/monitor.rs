//! A QEMU's monitor (QMP).

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::wait;

/// An emulated machine takes its time.
const PATIENCE: Duration = Duration::from_secs(300);

/// The line to a QEMU.
pub struct Monitor {
    commands: UnixStream,
    answers: BufReader<UnixStream>,
}

/// Has a QEMU that is about to be started listen at a socket of this name, which is returned.
pub fn listen(command: &mut Command, name: &str) -> PathBuf {
    let socket = PathBuf::from(format!("/run/{name}.monitor"));
    let _ = fs::remove_file(&socket);
    command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", socket.display()));
    socket
}

impl Monitor {
    /// Waits for a QEMU to listen.
    pub fn connect(socket: &Path, qemu: &mut Child) -> Result<Self> {
        let stream = wait::until("QEMU's monitor", Duration::from_secs(60), || {
            if let Some(status) = qemu.try_wait()? {
                bail!("QEMU ended at once: {status}");
            }
            Ok(UnixStream::connect(socket).ok())
        })?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut monitor = Self { answers: BufReader::new(stream.try_clone()?), commands: stream };
        // It greets.
        monitor.line()?;
        monitor.execute("qmp_capabilities", &json!({}))?;
        Ok(monitor)
    }

    /// Has it do something, and returns what it answers.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        writeln!(self.commands, "{}", json!({ "execute": command, "arguments": arguments }))?;
        loop {
            let mut line = self.line().with_context(|| command.to_owned())?;
            if !line["error"].is_null() {
                bail!("{command}: {}", line["error"]["desc"]);
            }
            // Events come in between.
            if !line["return"].is_null() {
                return Ok(line["return"].take());
            }
        }
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        ensure!(self.answers.read_line(&mut line)? > 0, "QEMU is gone");
        Ok(serde_json::from_str(&line)?)
    }
}
