//! `-d`: the parent ends with success when the daemon serves, and with failure when it cannot.

use std::{
    fs::File,
    io::{self, PipeReader, PipeWriter, Read, Write},
};

use pr_sandbox::Privileged;
use pr_sys::{
    process::{self, Fork},
    signal,
};
use rustix::{
    process::setsid,
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
};

/// The process that started the daemon and waits until it is up.
#[must_use]
pub struct ParentNotifier(Option<Waiting>);

/// What is needed to let go, opened while something can be opened.
struct Waiting {
    pipe: PipeWriter,
    null: File,
}

impl ParentNotifier {
    /// No process waits: this is the one that was started.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Lets go of its terminal and tells it that the daemon is up.
    ///
    /// # Errors
    /// It is gone: it was killed, and with it this start.
    pub fn ready(self) -> io::Result<()> {
        let Some(Waiting { mut pipe, null }) = self.0 else { return Ok(()) };
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
        pipe.write_all(&[1])?;
        // The last, so that there is a place to complain at until then. It is told now that all is well, so that this is
        // no reason to end.
        let _ = dup2_stderr(&null);
        Ok(())
    }
}

/// Goes on in a new process with a session of its own. The old one waits and never returns from here; what fails
/// until [`ParentNotifier::ready`] is said on its standard error, which the new one shares until then.
pub fn detach(_: &Privileged, before: &signal::Before) -> io::Result<ParentNotifier> {
    let (reader, writer) = io::pipe()?;
    match process::fork()? {
        Fork::Child => {
            drop(reader);
            setsid()?;
            let null = File::options().read(true).write(true).open("/dev/null")?;
            Ok(ParentNotifier(Some(Waiting { pipe: writer, null })))
        }
        Fork::Parent(_) => {
            drop(writer);
            // A signal ends the wait. The daemon notices when it has something to report.
            signal::restore(before);
            process::exit_now(u8::from(!is_ready(reader)))
        }
    }
}

/// Waits for the daemon's word; its end without one is a no.
fn is_ready(mut daemon: PipeReader) -> bool {
    daemon.read_exact(&mut [0]).is_ok()
}
