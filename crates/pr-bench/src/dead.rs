//! A device that takes a command and never answers, on any machine: a file of a FUSE file system whose server reads
//! no more. A thread that sends it an ioctl, or closes it, waits in the kernel, as for a disk that is gone, and only for that
//! file: other commands go their usual way. This daemon sends nothing to what is no device, and waits when it closes it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// From <linux/fuse.h>: requests, and how long their head is.
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const INIT: u32 = 26;
const HEAD: usize = 40;

/// How often the server looks whether it is still needed.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// The device.
pub struct DeadDevice {
    // First: closing it ends the waiting of all threads. Closing the file before that would wait for ever.
    _server: File,
    file: File,
}

impl DeadDevice {
    /// Mounts the file system on a file, opens that, and lets nothing be seen of it afterwards.
    pub fn new() -> Result<Self> {
        let server = File::options().read(true).write(true).open("/dev/fuse").context("/dev/fuse cannot be opened")?;
        let folder = tempfile::tempdir()?;
        let place = folder.path().join("dead");
        File::create(&place)?;
        let number = std::os::fd::AsRawFd::as_raw_fd(&server);
        let options = std::ffi::CString::new(format!("fd={number},rootmode=100600,user_id=0,group_id=0"))?;
        mount("dead", &place, "fuse", MountFlags::NOSUID | MountFlags::NODEV, Some(options.as_c_str()))
            .context("a FUSE file system cannot be mounted; run this as root")?;
        let opened = opened(&server, &place);
        unmount(&place, UnmountFlags::DETACH).context("the FUSE file system cannot be unmounted")?;
        Ok(Self { file: opened?, _server: server })
    }

    /// What a client sends.
    pub const fn file(&self) -> &File {
        &self.file
    }
}

/// Opens the file, with its own server at work meanwhile.
fn opened(server: &File, place: &Path) -> Result<File> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let work = scope.spawn(|| serve(server, &done));
        let file = File::options().read(true).write(true).open(place);
        // The kernel keeps what this asks for, so that no fstat of a helper waits.
        let known = file.as_ref().map(File::metadata);
        done.store(true, Ordering::Relaxed);
        let work = work.join();
        known.ok().transpose().context("the dead device cannot be looked at")?;
        let Ok(work) = work else { bail!("the server of the dead device broke off") };
        work.context("the server of the dead device failed")?;
        file.context("the dead device cannot be opened")
    })
}

/// Answers what opening a file takes, until it is open.
fn serve(mut server: &File, done: &AtomicBool) -> Result<()> {
    let mut request = vec![0; 1 << 17];
    loop {
        let waiting = poll(&mut [PollFd::new(server, PollFlags::IN)], Some(&LOOK))? > 0;
        if !waiting && done.load(Ordering::Relaxed) {
            return Ok(());
        }
        if waiting {
            let length = server.read(&mut request)?;
            server.write_all(&answer(request.get(..length.max(HEAD)).context("a request is cut")?)?)?;
        }
    }
}

/// The answer to one request: its length, an error, its number, and what it asks for.
fn answer(request: &[u8]) -> Result<Vec<u8>> {
    let code = u32::from_ne_bytes(request[4..8].try_into()?);
    let number = &request[8..16];
    let content = match code {
        // Version 7.31, and writes of a page: nothing else is wanted.
        INIT => words(64, &[(0, 7), (4, 31), (20, 4096)]),
        // Good for a day; the root's number, the mode of a regular file, one name.
        GETATTR => words(104, &[(0, 86_400), (16, 1), (76, 0o100_600), (80, 1)]),
        // No handle, no flags.
        OPEN => words(16, &[]),
        _ => return Ok([&16_u32.to_ne_bytes()[..], &(-libc::ENOSYS).to_ne_bytes(), number].concat()),
    };
    let length = u32::try_from(16 + content.len())?;
    Ok([&length.to_ne_bytes()[..], &[0; 4], number, &content].concat())
}

/// So many bytes of zeros, with these 32-bit words at these places.
fn words(length: usize, words: &[(usize, u32)]) -> Vec<u8> {
    let mut bytes = vec![0; length];
    for (place, word) in words {
        bytes[*place..place + 4].copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_sends_it_a_command_waits_until_it_is_gone_and_whoever_only_looks_does_not() {
        let device = DeadDevice::new().expect("a device");
        let file = device.file().try_clone().expect("another descriptor");
        assert!(file.metadata().expect("what it is").is_file());
        // Any request that the server would have to answer.
        let waiting = thread::spawn(move || rustix::fs::fstatfs(&file).map(|_| ()));
        thread::sleep(std::time::Duration::from_millis(50));
        assert!(!waiting.is_finished());
        drop(device);
        waiting.join().expect("a thread").expect_err("a device that is gone");
    }
}
