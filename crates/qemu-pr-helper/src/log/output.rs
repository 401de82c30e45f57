//! Where things go: standard error, the journal, the trace file, the kernel's trace marker.

use std::{
    fs::File,
    os::fd::{AsFd, BorrowedFd},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    stdio::stderr,
};

use super::{
    format::{self, Level, Style},
    ftrace,
    journal::Journal,
    queue::Entry,
};

/// Lines for one place go out together, up to about this many bytes.
const BATCH: usize = 64 * 1024;

/// What an idle program may keep of its buffers.
const KEPT: usize = 4096;

/// What is seen and set from outside while the output is locked: that may be for long.
#[derive(Default)]
pub struct Progress {
    repeats: AtomicBool,
    written: AtomicU64,
}

impl Progress {
    /// Standard error is to have what the journal has, from here on.
    pub fn repeat(&self) {
        self.repeats.store(true, Ordering::Relaxed);
    }

    /// How many entries have been taken up so far: a thread that waits sees the progress.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}

/// Log destinations and their write buffers.
pub struct Output {
    /// What stands before messages.
    pub program: String,
    /// What lines on standard error look like.
    pub style: Style,
    /// The journal; standard error is for what it does not take.
    pub journal: Option<Journal>,
    /// Standard error is not the journal.
    pub apart: bool,
    /// `-T file=`; standard error where there is none.
    pub trace_file: Option<File>,
    /// `--trace-backend ftrace`, instead of standard error.
    pub marker: Option<File>,
    standard_error: BorrowedFd<'static>,
    messages: Lines,
    traces: Lines,
    lost: u64,
}

/// Lines that go out together.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    count: u64,
}

impl Lines {
    /// Adds what `write` writes; whether it is time to flush.
    fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        write(&mut self.bytes);
        self.count += 1;
        self.bytes.len() >= BATCH
    }

    /// Writes them; how many lines were lost.
    fn flush(&mut self, to: BorrowedFd<'_>) -> u64 {
        let lost = if write_all(to, &self.bytes).is_ok() { 0 } else { self.count };
        self.count = 0;
        self.bytes.clear();
        lost
    }
}

impl Default for Output {
    /// Standard error, as QEMU's C helper writes to it.
    fn default() -> Self {
        Self {
            program: String::new(),
            style: Style::Text,
            journal: None,
            apart: false,
            trace_file: None,
            marker: None,
            standard_error: stderr(),
            messages: Lines::default(),
            traces: Lines::default(),
            lost: 0,
        }
    }
}

impl Output {
    /// Writes all of it; how many lines could not be written.
    pub fn write(&mut self, entries: impl Iterator<Item = Entry>, progress: &Progress) -> u64 {
        // Asked once: it is a system call, and a fork changes it.
        let process = std::process::id();
        for entry in entries {
            progress.written.fetch_add(1, Ordering::Relaxed);
            match entry {
                Entry::Message { time_us, level, text } => {
                    self.message(time_us, level, &text, progress.repeats.load(Ordering::Relaxed));
                }
                Entry::Trace { time_us, text } => self.trace(process, time_us, &text),
                Entry::Record(_, record) => record.write(self),
                Entry::Mark(done) => {
                    self.flush();
                    // The thread that waited may have given up.
                    let _ = done.send(());
                }
            }
        }
        self.flush();
        std::mem::take(&mut self.lost)
    }

    /// Gives the memory of a flood back.
    pub fn shrink(&mut self) {
        for lines in [&mut self.messages, &mut self.traces] {
            lines.bytes.shrink_to(KEPT);
        }
    }

    fn message(&mut self, time_us: u64, level: Level, text: &str, repeats: bool) {
        let Self { program, style, journal, apart, .. } = self;
        let is_untold = journal.as_ref().is_none_or(|journal| journal.message(program, level, text).is_err());
        if is_untold || (*apart && repeats) {
            let full = self.messages.add(|out| style.message(program, time_us, level, text, out));
            self.flush_if(full);
        }
    }

    /// Writes a record of the audit log.
    pub fn record(&mut self, record: &pr_control::Record) {
        let Self { program, style, journal, .. } = self;
        if journal.as_ref().is_none_or(|journal| journal.record(program, record).is_err()) {
            let full = self.messages.add(|out| style.record(program, record, out));
            self.flush_if(full);
        }
    }

    fn trace(&mut self, process: u32, time_us: u64, text: &str) {
        if let Some(marker) = &self.marker {
            self.lost += u64::from(ftrace::write(marker, text).is_err());
        }
        let Self { program, style, journal, .. } = self;
        let full = if self.trace_file.is_some() {
            self.traces.add(|out| format::stamped(process, time_us, text, out))
        } else if self.marker.is_some()
            || journal.as_ref().is_some_and(|journal| journal.message(program, Level::Debug, text).is_ok())
        {
            false
        } else {
            self.messages.add(|out| style.trace(time_us, text, out))
        };
        self.flush_if(full);
    }

    fn flush_if(&mut self, full: bool) {
        if full {
            self.flush();
        }
    }

    /// Messages first: a trace file that hangs does not hold them up this time.
    fn flush(&mut self) {
        self.lost += self.messages.flush(self.standard_error);
        if let Some(file) = &self.trace_file {
            self.lost += self.traces.flush(file.as_fd());
        }
    }
}

/// Writes all of it, however long the other side takes.
fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            // Another process that shares it made it so.
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::from_borrowed_fd(to, PollFlags::OUT)], None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
impl Output {
    /// One whose standard error is a file of a test.
    pub fn instead(standard_error: File) -> Self {
        // As the program's own, it is there until the end.
        let standard_error: &'static File = Box::leak(Box::new(standard_error));
        Self { standard_error: standard_error.as_fd(), ..Self::default() }
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use std::io::Read;

    use super::*;

    fn traces(count: u64) -> impl Iterator<Item = Entry> {
        (0..count).map(|number| Entry::Trace { time_us: number, text: format!("event {}", "x".repeat(300)) })
    }

    #[test]
    fn a_full_device_loses_lines_and_says_how_many() {
        let full = File::options().write(true).open("/dev/full").expect("/dev/full");
        let mut output = Output { trace_file: Some(full), ..Output::default() };
        assert_eq!(output.write(traces(1000), &Progress::default()), 1000);
        assert_eq!(output.write(traces(0), &Progress::default()), 0);
    }

    #[test]
    fn what_is_taken_in_parts_arrives_whole() {
        let (mut reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK)
            .map(|(reader, writer)| (File::from(reader), File::from(writer)))
            .expect("a pipe");
        let read = std::thread::spawn(move || {
            let (mut text, mut chunk) = (Vec::new(), [0; 4096]);
            loop {
                match reader.read(&mut chunk) {
                    Ok(0) => return text,
                    Ok(count) => text.extend_from_slice(&chunk[..count]),
                    Err(_) => std::thread::yield_now(),
                }
            }
        });
        let mut output = Output { trace_file: Some(writer), ..Output::default() };
        assert_eq!(output.write(traces(1000), &Progress::default()), 0);
        output.shrink();
        drop(output);
        let text = read.join().expect("the reader");
        assert_eq!(text.split(|byte| *byte == b'\n').count(), 1001);
        assert!(text.split(|byte| *byte == b'\n').all(|line| line.is_empty() || line.ends_with(&[b'x'; 300])));
    }
}
