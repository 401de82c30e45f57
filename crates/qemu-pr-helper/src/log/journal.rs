//! The journal's native protocol (systemd's `JOURNAL_NATIVE_PROTOCOL`): a datagram of fields for each entry.
//!
//! The socket is opened at the start, because later nothing can be, and only the thread that writes sends on it.

use std::{
    env, fmt,
    io::{self, Write as _},
    os::{fd::AsFd, unix::net::UnixDatagram},
    thread,
    time::Duration,
};

use pr_control::{Client, Command, Count, Device, Outcome, Record, What};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::fstat,
    io::Errno,
    net::{SendFlags, SocketAddrUnix, send, sendto},
};
use thiserror::Error;

use super::format::{Level, level_of};

const SOCKET: &str = "/run/systemd/journal/socket";

/// What all audit records have in common: `journalctl MESSAGE_ID=…` finds them.
const AUDIT_RECORD: &str = "25ba35e8d0284ab4a77232bb05dbdec0";

/// How soon to try again what it had no room for.
const AGAIN: Duration = Duration::from_millis(10);

/// The journal cannot be reached.
#[derive(Debug, Error)]
#[error(
    "cannot reach the journal at {SOCKET}: {0}; start systemd-journald, mount its socket into the container, or choose \
     another --log-format"
)]
pub struct JournalError(#[from] io::Error);

/// The socket to the journal.
pub struct Journal(UnixDatagram);

/// Whether standard error is the journal, as the service manager says (systemd.exec(5), `JOURNAL_STREAM`).
pub fn is_standard_error() -> bool {
    let Ok(named) = env::var("JOURNAL_STREAM") else { return false };
    fstat(io::stderr()).is_ok_and(|stat| format!("{}:{}", stat.st_dev, stat.st_ino) == named)
}

impl Journal {
    /// Connects to the journal.
    pub fn open() -> Result<Self, JournalError> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(SOCKET)?;
        Ok(Self(socket))
    }

    /// Sends a message.
    pub fn message(&self, program: &str, level: Level, text: &str) -> io::Result<()> {
        let mut entry = Entry::new(program, level);
        entry.field("MESSAGE", &text);
        self.send(&entry.0)
    }

    /// Sends a record of the audit log: as a sentence, and each value in a field of its own.
    pub fn record(&self, program: &str, record: &Record) -> io::Result<()> {
        let mut entry = Entry::new(program, level_of(record));
        entry.field("MESSAGE", record);
        entry.field("MESSAGE_ID", &AUDIT_RECORD);
        entry.record(record);
        self.send(&entry.0)
    }

    /// Waits while the journal is behind: this is the thread that may.
    fn send(&self, entry: &[u8]) -> io::Result<()> {
        loop {
            match send(&self.0, entry, SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let _ = poll(&mut [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::OUT)], None);
                }
                // It was restarted, with another socket at the same place.
                Err(Errno::CONNREFUSED | Errno::NOTCONN | Errno::PIPE) => return self.send_to_path(entry),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The same by name: the sandbox does not let us connect again. There is no waiting for room in this way.
    fn send_to_path(&self, entry: &[u8]) -> io::Result<()> {
        let address = SocketAddrUnix::new(SOCKET)?;
        loop {
            match sendto(&self.0, entry, SendFlags::NOSIGNAL, &address) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => thread::sleep(AGAIN),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// One datagram.
struct Entry(Vec<u8>);

impl Entry {
    fn new(program: &str, level: Level) -> Self {
        let mut entry = Self(Vec::with_capacity(512));
        entry.field("PRIORITY", &level.number());
        entry.field("SYSLOG_IDENTIFIER", &program);
        entry.field("SYSLOG_PID", &std::process::id());
        entry
    }

    /// Adds a field: always with its length, so that whatever is in the value stays in it.
    fn field(&mut self, name: &str, value: &dyn fmt::Display) {
        let out = &mut self.0;
        out.extend_from_slice(name.as_bytes());
        out.push(b'\n');
        let length_at = out.len();
        out.extend_from_slice(&[0; 8]);
        // It is written to memory.
        let _ = write!(out, "{value}");
        let length = (out.len() - length_at - 8) as u64;
        out[length_at..length_at + 8].copy_from_slice(&length.to_le_bytes());
        out.push(b'\n');
    }

    fn optional(&mut self, name: &str, value: Option<&impl fmt::Display>) {
        if let Some(value) = value {
            self.field(name, value);
        }
    }

    fn record(&mut self, Record { time_us, client, what }: &Record) {
        self.field("QEMU_PR_TIME_US", time_us);
        self.client(client);
        match what {
            What::Command { device, command, outcome, note } => {
                self.command("command", device, command, outcome);
                self.optional("QEMU_PR_NOTE", note.as_ref());
            }
            What::Refusal { device, command, outcome, reason } => {
                self.command("refusal", device, command, outcome);
                self.field("QEMU_PR_REASON", reason);
            }
            What::Reload { path, accepted, rules, reason } => {
                self.field("QEMU_PR_EVENT", &"reload");
                self.field("QEMU_PR_PATH", path);
                self.field("QEMU_PR_RESULT", &if *accepted { "accepted" } else { "refused" });
                self.optional("QEMU_PR_RULES", rules.as_ref());
                self.optional("QEMU_PR_REASON", reason.as_ref());
            }
            What::LeftOut { counts } => {
                self.field("QEMU_PR_EVENT", &"left-out");
                self.field("QEMU_PR_COUNT", &counts.iter().map(|Count { count, .. }| count).sum::<u64>());
            }
        }
    }

    fn client(&mut self, client: &Client) {
        self.field("QEMU_PR_CONNECTION", &client.connection);
        self.optional("QEMU_PR_PID", client.pid.as_ref());
        self.optional("QEMU_PR_UID", client.uid.as_ref());
        self.optional("QEMU_PR_PROGRAM", client.program.as_ref());
        self.optional("QEMU_PR_UNIT", client.unit.as_ref());
        self.optional("QEMU_PR_INNER_UNIT", client.inner_unit.as_ref());
        self.optional("QEMU_PR_VM", client.vm.as_ref());
    }

    fn command(&mut self, event: &str, device: &Device, command: &Command, outcome: &Outcome) {
        self.field("QEMU_PR_EVENT", &event);
        self.field("QEMU_PR_ACTION", &command.action);
        self.optional("QEMU_PR_TYPE", command.reservation_type.as_ref());
        self.optional("QEMU_PR_SCOPE", command.scope.as_ref());
        self.optional("QEMU_PR_KEY", command.key.as_ref());
        self.optional("QEMU_PR_SERVICE_ACTION_KEY", command.service_action_key.as_ref());
        self.field("QEMU_PR_RESULT", &outcome.status);
        self.optional("QEMU_PR_SENSE", outcome.sense.as_ref());
        self.field("QEMU_PR_MICROSECONDS", &outcome.microseconds);
        self.field("QEMU_PR_DEVICE", &device.number);
        self.optional("QEMU_PR_DEVICE_NAME", device.name.as_ref());
        self.optional("QEMU_PR_DEVICE_ID", device.by_id.as_ref());
        self.optional("QEMU_PR_WWID", device.wwid.as_ref());
        self.optional("QEMU_PR_MAP", device.map.as_ref());
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    #[test]
    fn a_value_stays_in_its_field_whatever_is_in_it() {
        let mut entry = Entry(Vec::new());
        entry.field("MESSAGE", &"two\nPRIORITY=0");
        assert_eq!(entry.0, b"MESSAGE\n\x0e\0\0\0\0\0\0\0two\nPRIORITY=0\n");
    }

    #[test]
    fn each_value_of_a_record_has_a_field_of_its_own() {
        let some = |text: &str| Some(text.to_owned());
        let device = Device {
            kind: "block".into(),
            number: "8:16".into(),
            name: some("sdb"),
            by_id: some("wwn-1"),
            wwid: some("naa.1"),
            map: some("mpatha"),
        };
        let command = Command {
            action: "PREEMPT".into(),
            reservation_type: some("write-exclusive"),
            scope: some("0x1"),
            key: some("0xa"),
            service_action_key: some("0xb"),
        };
        let outcome = Outcome { status: "CHECK CONDITION".into(), sense: some("ABORTED COMMAND"), microseconds: 99 };
        let (vm, unit, program) = (some("web"), some("machine.scope"), some("/usr/bin/qemu"));
        let inner_unit = some("inner.scope");
        let client = Client { connection: 4, pid: Some(77), uid: Some(107), program, unit, inner_unit, vm };
        let what = What::Refusal { device, command, outcome, reason: "read only".into() };
        let mut entry = Entry(Vec::new());
        entry.record(&Record { time_us: 12, client, what });
        let mut wanted = Entry(Vec::new());
        for (name, value) in [
            ("TIME_US", "12"),
            ("CONNECTION", "4"),
            ("PID", "77"),
            ("UID", "107"),
            ("PROGRAM", "/usr/bin/qemu"),
            ("UNIT", "machine.scope"),
            ("INNER_UNIT", "inner.scope"),
            ("VM", "web"),
            ("EVENT", "refusal"),
            ("ACTION", "PREEMPT"),
            ("TYPE", "write-exclusive"),
            ("SCOPE", "0x1"),
            ("KEY", "0xa"),
            ("SERVICE_ACTION_KEY", "0xb"),
            ("RESULT", "CHECK CONDITION"),
            ("SENSE", "ABORTED COMMAND"),
            ("MICROSECONDS", "99"),
            ("DEVICE", "8:16"),
            ("DEVICE_NAME", "sdb"),
            ("DEVICE_ID", "wwn-1"),
            ("WWID", "naa.1"),
            ("MAP", "mpatha"),
            ("REASON", "read only"),
        ] {
            wanted.field(&format!("QEMU_PR_{name}"), &value);
        }
        assert_eq!(String::from_utf8_lossy(&entry.0), String::from_utf8_lossy(&wanted.0));
    }
}
