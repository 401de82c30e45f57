//! What a connection's thread is doing, for those who look from outside while it is stuck in it.

use std::{
    os::fd::{AsRawFd, BorrowedFd},
    sync::{
        LazyLock,
        atomic::{AtomicI32, AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use scsi_pr::{Cdb, Command, PersistentReserveIn, PersistentReserveOut};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A command under way. The numbers may be of two different commands for a moment; that is good enough for a message.
#[derive(Default)]
pub struct Flight {
    /// Milliseconds since the program started, plus one; zero while there is none.
    since: AtomicU64,
    is_out: AtomicU8,
    service_action: AtomicU8,
    device: AtomicI32,
}

impl Flight {
    /// A command goes to its device.
    pub fn begin(&self, cdb: &Cdb, device: BorrowedFd<'_>) {
        let (is_out, service_action) = match cdb.command() {
            Command::In(command) => (0, command.service_action),
            Command::Out(command) => (1, command.service_action),
        };
        self.is_out.store(is_out, Ordering::Relaxed);
        self.service_action.store(service_action, Ordering::Relaxed);
        self.device.store(device.as_raw_fd(), Ordering::Relaxed);
        let now = u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.since.store(now.saturating_add(1), Ordering::Release);
    }

    /// It is back.
    pub fn end(&self) {
        self.since.store(0, Ordering::Release);
    }

    /// What is under way, for how long, and on which device.
    pub fn describe(&self) -> Option<String> {
        let since = self.since.load(Ordering::Acquire).checked_sub(1)?;
        let took = START.elapsed().saturating_sub(Duration::from_millis(since)).as_secs_f64();
        let code = self.service_action.load(Ordering::Relaxed);
        let action = if self.is_out.load(Ordering::Relaxed) == 0 {
            let command = PersistentReserveIn { service_action: code, allocation_length: 0 };
            command.action().map(|action| action.to_string())
        } else {
            let command = PersistentReserveOut { service_action: code, scope_type: 0, parameter_list_length: 0 };
            command.action().map(|action| action.to_string())
        };
        let action = action.unwrap_or_else(|| format!("service action {code:#04x}"));
        let device = crate::sys::process::describe(self.device.load(Ordering::Relaxed));
        let device = device.unwrap_or_else(|| "an unknown device".to_owned());
        Some(format!("{action} on {device} has been hanging for {took:.1} s"))
    }
}
