use std::{
    fmt, io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use pr_device::{Kind, outcome};
use pr_sys::sg_io::{self, Outcome, Transfer};
use scsi_persistent_reservations::{
    Cdb, Command, Completion, OutAction, SENSE_LENGTH, Sense, SenseCode, Status, Target,
};
use tracing::{Level, field, trace};

use super::{
    Device,
    no_scsi::{self, NoScsi},
};
use crate::audit::Audit;

/// Carries out commands with the `SG_IO` ioctl on the descriptor itself.
pub struct SgIo {
    timeout: Duration,
    /// Tells of devices that take no commands.
    pub no_scsi: NoScsi,
}

/// The waits between tries while a device-mapper device is suspended: about a second in all.
const SUSPENDED_WAITS: [u64; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

impl SgIo {
    /// An executor whose commands may take `timeout`.
    pub fn new(timeout: Duration, audit: Arc<Audit>) -> Self {
        Self { timeout, no_scsi: NoScsi::new(audit) }
    }

    /// How long a command may take: PREEMPT AND ABORT waits for the other side's commands to end.
    pub fn timeout_for(&self, cdb: &Cdb) -> Duration {
        let aborts = matches!(cdb.command(), Command::Out(out) if out.action() == Some(OutAction::PreemptAndAbort));
        if aborts { self.timeout * 2 } else { self.timeout }
    }

    /// Sends a command that may take so long, again while device-mapper says that the device is suspended. With the result
    /// of the ioctl itself. The data goes to the start of `buffer`.
    fn send(
        device: Device<'_>,
        cdb: &Cdb,
        parameters: &[u8],
        buffer: &mut [u8],
        timeout: Duration,
    ) -> (CommandResult, io::Result<Outcome>) {
        let length = match cdb.command() {
            Command::In(command) => usize::from(command.allocation_length).min(buffer.len()),
            Command::Out(_) => 0,
        };
        let mut sense = [0; SENSE_LENGTH];
        let mut once = || {
            let transfer = match cdb.command() {
                Command::In(_) if length > 0 => Transfer::FromDevice(&mut buffer[..length]),
                Command::Out(_) if !parameters.is_empty() => Transfer::ToDevice(parameters),
                Command::In(_) | Command::Out(_) => Transfer::None,
            };
            sg_io::execute(device.descriptor, cdb.command_bytes(), transfer, &mut sense, timeout)
        };
        let mut result = once();
        for wait in SUSPENDED_WAITS {
            if !is_suspended(device.identity.kind, &result) {
                break;
            }
            thread::sleep(Duration::from_millis(wait));
            result = once();
        }
        let answer = match &result {
            Ok(outcome) => {
                let (status, sense) = outcome::answer(*outcome, &sense);
                let resid = usize::try_from(outcome.resid).unwrap_or(0);
                let data = if status == Status::GOOD { length.saturating_sub(resid) } else { 0 };
                CommandResult { status, sense, data }
            }
            Err(error) => {
                let (status, sense) = outcome::errno_failure(error).parts();
                CommandResult { status, sense, data: 0 }
            }
        };
        (answer, result)
    }
}

/// The result of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CommandResult {
    status: Status,
    sense: Sense,
    /// How many bytes of data there are.
    data: usize,
}

impl Target<Device<'_>> for SgIo {
    fn execute<'buffer>(
        &self,
        device: Device<'_>,
        cdb: &Cdb,
        parameters: &[u8],
        buffer: &'buffer mut [u8],
    ) -> Completion<'buffer> {
        let timeout = self.timeout_for(cdb);
        trace!(
            target: "pr_helper_command_sent",
            client = device.client, device = %device.identity.number(), timeout_ms = timeout.as_millis()
        );
        let start = tracing::enabled!(target: "pr_helper_command_done", Level::TRACE).then(Instant::now);
        let (result, kernel) = Self::send(device, cdb, parameters, buffer, timeout);
        if let Some(start) = start {
            trace_done(device.client, &result, &kernel, start);
        }
        if let Err(error) = &kernel
            && no_scsi::says(error)
        {
            self.no_scsi.tell(device.identity, error);
            // A disk that has no such command says this; the same of an ioctl would be worth another try to a guest.
            if device.identity.kind == Kind::Block && error.raw_os_error() == Some(libc::ENOTTY) {
                return Completion::check_condition(Sense::fixed(SenseCode::INVALID_OPERATION_CODE));
            }
        }
        Completion { status: result.status, sense: result.sense, data: &buffer[..result.data] }
    }
}

/// Status and sense are the answer to the guest, the rest is what they were made of.
fn trace_done(client: u64, result: &CommandResult, kernel: &io::Result<Outcome>, start: Instant) {
    let CommandResult { status, sense, .. } = result;
    let outcome = kernel.as_ref().ok();
    trace!(
        target: "pr_helper_command_done",
        client, %status, %sense,
        host = outcome.map(|outcome| field::display(Byte(outcome.host_status))),
        driver = outcome.map(|outcome| field::display(Byte(outcome.driver_status))),
        residual = outcome.map(|outcome| outcome.resid),
        error = kernel.as_ref().err().map(field::display),
        microseconds = start.elapsed().as_micros()
    );
}

/// A host or driver byte as the kernel's headers write it.
struct Byte(u16);

impl fmt::Display for Byte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#04x}", self.0)
    }
}

/// `EAGAIN` is device-mapper's word for "suspended, come back soon": the command has not been sent. No other block
/// device uses it, and nothing but a block device can be one of device-mapper's.
fn is_suspended(kind: Kind, result: &io::Result<Outcome>) -> bool {
    kind == Kind::Block && matches!(result, Err(error) if error.raw_os_error() == Some(libc::EAGAIN))
}
