//! A shell that somebody types commands into, one after the other, and reads what they print.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// What stands before the exit status of a command that has ended.
const MARK: &str = "@@ended ";

/// The longest that a command may be silent: an emulated machine takes its time.
const PATIENCE: Duration = Duration::from_secs(300);

/// A shell with its working directory, its variables and its children.
pub struct Session {
    keyboard: Box<dyn Write + Send>,
    screen: Receiver<String>,
}

impl Session {
    /// The shell that reads commands here and prints there; standard error has to go there, too.
    pub fn new(keyboard: impl Write + Send + 'static, output: impl Read + Send + 'static) -> Self {
        let (sender, screen) = mpsc::channel();
        thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            while output.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
                line.clear();
            }
        });
        Self { keyboard: Box::new(keyboard), screen }
    }

    /// Types a command; its exit status and what it printed. `$?` means the command before it, as for anybody who types.
    ///
    /// # Errors
    /// The shell is gone or says nothing any more.
    pub fn run(&mut self, command: &str) -> Result<(i32, String), String> {
        let quoted = command.replace('\'', r"'\''");
        let line = format!(
            "(exit \"${{ended:-0}}\"); eval '{quoted}' </dev/null; ended=$?; printf '\\n{MARK}%s\\n' \"$ended\"\n"
        );
        let gone = |error| format!("'{command}': the shell is gone: {error}");
        self.keyboard.write_all(line.as_bytes()).and_then(|()| self.keyboard.flush()).map_err(gone)?;
        let mut printed = String::new();
        loop {
            let line = self.screen.recv_timeout(PATIENCE).map_err(|error| match error {
                RecvTimeoutError::Timeout => format!("'{command}' does not end; it has printed {printed}"),
                RecvTimeoutError::Disconnected => format!("'{command}': the shell has ended; it has printed {printed}"),
            })?;
            match line.strip_prefix(MARK) {
                Some(status) => return Ok((status.trim().parse().unwrap_or(-1), printed)),
                None => printed.push_str(&line),
            }
        }
    }
}
