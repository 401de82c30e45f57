//! The thread that writes.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::net::UnixStream,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use pr_control::{Answer, Record};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::audit::Pending;

/// How many lines may wait. At about 150 bytes each that is 75 KiB at worst.
const QUEUE: usize = 512;

static WRITER: OnceLock<SyncSender<Entry>> = OnceLock::new();
static TRACE_FILE: OnceLock<File> = OnceLock::new();
static PROGRAM: OnceLock<String> = OnceLock::new();
static LOST: AtomicU64 = AtomicU64::new(0);
static ALL_LOST: AtomicU64 = AtomicU64::new(0);
static FOLLOWERS: Mutex<Vec<UnixStream>> = Mutex::new(Vec::new());

enum Entry {
    Message(String),
    Trace(String),
    /// Something for the audit trail.
    Audit(Pending),
    /// Everything before this is written.
    Mark(SyncSender<()>),
}

/// What stands before messages from here on.
pub fn name(program: &str) {
    // It is called once.
    let _ = PROGRAM.set(program.to_owned());
}

/// A message for standard error.
pub fn message(text: &str) {
    send(Entry::Message(line(text)));
}

fn line(text: &str) -> String {
    let program = PROGRAM.get().map_or("qemu-pr-helper", String::as_str);
    format!("{program}: {text}\n")
}

/// A line for the trace file, or standard error where there is none.
pub fn trace(line: String) {
    send(Entry::Trace(line));
}

/// Where traces go from now on.
pub fn trace_to(file: File) {
    // There is one -T file= that counts, and it is set once.
    let _ = TRACE_FILE.set(file);
}

/// Whether traces go to a file of their own.
pub fn has_trace_file() -> bool {
    TRACE_FILE.get().is_some()
}

/// Something for the audit trail.
pub fn audit(pending: Pending) {
    send(Entry::Audit(pending));
}

/// Sends the audit trail to this socket from now on, until it is closed.
pub fn follow(socket: UnixStream) -> io::Result<()> {
    // Not by an ioctl, which the sandbox keeps for disks.
    fcntl_setfl(&socket, fcntl_getfl(&socket)? | OFlags::NONBLOCK)?;
    FOLLOWERS.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
    Ok(())
}

/// How many messages, traces and records nobody took.
pub fn lost() -> u64 {
    ALL_LOST.load(Ordering::Relaxed)
}

fn send(entry: Entry) {
    match WRITER.get() {
        Some(writer) => {
            if writer.try_send(entry).is_err() {
                LOST.fetch_add(1, Ordering::Relaxed);
                ALL_LOST.fetch_add(1, Ordering::Relaxed);
            }
        }
        // Before the thread runs there are no clients that could wait.
        None => write(entry),
    }
}

fn tell(record: &Record) {
    let Ok(mut line) = serde_json::to_vec(&Answer::Record(Box::new(record.clone()))) else { return };
    line.push(b'\n');
    FOLLOWERS.lock().unwrap_or_else(PoisonError::into_inner).retain_mut(|socket| socket.write_all(&line).is_ok());
}

fn write(entry: Entry) {
    // Whoever closed standard error does not want to know; there is nowhere else to say so.
    let _ = match entry {
        Entry::Message(line) => io::stderr().write_all(line.as_bytes()),
        Entry::Trace(line) => match TRACE_FILE.get() {
            Some(mut file) => file.write_all(line.as_bytes()),
            None => io::stderr().write_all(line.as_bytes()),
        },
        Entry::Audit(pending) => match pending.resolve() {
            Some(record) => {
                tell(&record);
                io::stderr().write_all(line(&format!("audit: {record}")).as_bytes())
            }
            None => Ok(()),
        },
        Entry::Mark(done) => done.send(()).map_err(io::Error::other),
    };
}

/// Starts the thread. Until then lines are written where they arise.
///
/// # Errors
/// The system has no room for another thread.
pub fn start() -> io::Result<()> {
    let (sender, receiver) = sync_channel(QUEUE);
    thread::Builder::new().name("log".into()).stack_size(64 * 1024).spawn(move || run(&receiver))?;
    let _ = WRITER.set(sender);
    Ok(())
}

fn run(receiver: &Receiver<Entry>) {
    while let Ok(entry) = receiver.recv() {
        write(entry);
        match LOST.swap(0, Ordering::Relaxed) {
            0 => {}
            lost => write(Entry::Message(line(&format!(
                "{lost} messages were dropped: standard error or the trace file took them too slowly"
            )))),
        }
    }
}

/// Waits until what was said is written, but not for long: whoever reads it may have stopped reading.
pub fn finish() {
    let Some(writer) = WRITER.get() else { return };
    let (sender, receiver) = sync_channel(1);
    if writer.try_send(Entry::Mark(sender)).is_ok() {
        let _ = receiver.recv_timeout(Duration::from_millis(500));
    }
}
