//! The requests that are measured, and a client's half of the protocol in as few system calls as it takes.
//!
//! As a rule the descriptor is /dev/null's: `SG_IO` fails on it at once, so that what remains is the helper's own work.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use qemu_pr_protocol::{HEADER_LENGTH, MAX_DATA, channel};
use rustix::net::{RecvFlags, SendFlags, recv};

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// PERSISTENT RESERVE IN, READ KEYS, with room for eight bytes.
    In,
    /// PERSISTENT RESERVE OUT, RESERVE, with a parameter list of 24 bytes.
    Out,
    /// READ KEYS with room for eight keys.
    Keys,
    /// REGISTER AND IGNORE EXISTING KEY, which anybody may send at any time.
    Register,
}

const READ_KEYS: [u8; 16] = [0x5e, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0];
const RESERVE: [u8; 40] = {
    let mut bytes = [0; 40];
    (bytes[0], bytes[1], bytes[2], bytes[8]) = (0x5f, 1, 1, 24);
    bytes
};

const READ_EIGHT_KEYS: [u8; 16] = [0x5e, 0, 0, 0, 0, 0, 0, 0, 72, 0, 0, 0, 0, 0, 0, 0];
const REGISTER: [u8; 40] = {
    let mut bytes = [0; 40];
    (bytes[0], bytes[1], bytes[8]) = (0x5f, 6, 24);
    // The service action key is the second half of the list's first sixteen bytes.
    let (key, mut at) = (KEY.to_be_bytes(), 0);
    while at < key.len() {
        bytes[24 + at] = key[at];
        at += 1;
    }
    bytes
};

/// What [`Request::Register`] registers.
pub const KEY: u64 = 0xbe7c_0000_0000_0001;

impl Request {
    /// What it is called in the result.
    pub const fn name(self) -> &'static str {
        match self {
            Self::In => "PR IN",
            Self::Out => "PR OUT",
            Self::Keys => "READ KEYS",
            Self::Register => "REGISTER AND IGNORE EXISTING KEY",
        }
    }

    /// The CDB, and the parameter list behind it.
    const fn bytes(self) -> &'static [u8] {
        match self {
            Self::In => &READ_KEYS,
            Self::Out => &RESERVE,
            Self::Keys => &READ_EIGHT_KEYS,
            Self::Register => &REGISTER,
        }
    }

    /// Sends it with its descriptor, in one message.
    pub fn send(self, socket: impl AsFd, device: impl AsFd) -> Result<()> {
        let sent = channel::send_with_descriptor(socket, self.bytes(), &[], device.as_fd());
        match sent.context("a request cannot be sent")? {
            sent if sent == self.bytes().len() => Ok(()),
            _ => bail!("a request was sent in part only"),
        }
    }
}

/// What requests are sent to, and with it what has to come back.
#[derive(Clone)]
pub struct Target {
    file: Arc<File>,
    take: fn(BorrowedFd<'_>) -> Result<()>,
}

impl Target {
    /// A device that answers no command.
    pub fn nothing() -> Result<Self> {
        Ok(Self { file: Arc::new(device()?), take: |socket| take_answer(socket) })
    }

    /// A disk.
    pub fn disk(path: &Path) -> Result<Self> {
        let file = File::options().read(true).write(true).open(path);
        let file = file.with_context(|| format!("{} cannot be opened", path.display()))?;
        Ok(Self { file: Arc::new(file), take: take_answer_of_disk })
    }

    /// Takes the answer that is due.
    pub fn take_answer(&self, socket: impl AsFd) -> Result<()> {
        (self.take)(socket.as_fd())
    }
}

impl AsFd for Target {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Takes a disk's answer as QEMU does, the header and then the data: a helper may send both at once or one by one.
fn take_answer_of_disk(socket: BorrowedFd<'_>) -> Result<()> {
    let mut header = [0_u8; HEADER_LENGTH];
    let (length, _) = recv(socket, &mut header, RecvFlags::WAITALL).context("an answer cannot be read")?;
    let [status, size] =
        [0, 4].map(|at| header[at..at + 4].iter().fold(0, |word, byte| (word << 8) | usize::from(*byte)));
    let mut data = [0_u8; MAX_DATA];
    if length != HEADER_LENGTH || status != 0 || size > data.len() {
        bail!("{length} bytes with the status {status:#04x} and {size} bytes of data came where GOOD was due");
    }
    let data = &mut data[..size];
    if size > 0 && recv(socket, &mut *data, RecvFlags::WAITALL).context("the data cannot be read")?.0 != size {
        bail!("an answer has less data than it says");
    }
    Ok(())
}

/// Takes an answer that is there. It is a header alone: /dev/null answers no command.
pub fn take_answer(socket: impl AsFd) -> Result<()> {
    let mut answer = [0_u8; HEADER_LENGTH + 8];
    let (length, _) = recv(socket, &mut answer, RecvFlags::empty()).context("an answer cannot be read")?;
    if length != HEADER_LENGTH || answer[..4] != [0, 0, 0, 2] {
        bail!("{length} bytes came where CHECK CONDITION was due: the helpers do not do the same work");
    }
    Ok(())
}

/// Takes a greeting that is there, and answers it.
pub fn hello(socket: &UnixStream) -> Result<()> {
    let mut word = [0_u8; 4];
    let (length, _) = recv(socket, &mut word, RecvFlags::empty()).context("a greeting cannot be read")?;
    if length != word.len() {
        bail!("a client was turned away");
    }
    let sent = rustix::net::send(socket, &[0; 4], SendFlags::NOSIGNAL).context("a greeting cannot be answered")?;
    if sent == word.len() { Ok(()) } else { bail!("a greeting was answered in part only") }
}

/// A connection on which the features have been exchanged.
pub fn connect(socket: &Path) -> Result<UnixStream> {
    let stream = UnixStream::connect(socket).context("a helper does not accept a client")?;
    hello(&stream)?;
    Ok(stream)
}

/// /dev/null, open for both: a descriptor that may do everything.
pub fn device() -> Result<File> {
    File::options().read(true).write(true).open("/dev/null").context("/dev/null cannot be opened")
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn answer(status: u8, data: &[u8]) -> (UnixStream, UnixStream) {
        let (client, mut helper) = UnixStream::pair().expect("a pair");
        let mut header = [0; HEADER_LENGTH];
        (header[3], header[7]) = (status, u8::try_from(data.len()).expect("little data"));
        helper.write_all(&header).expect("a header");
        helper.write_all(data).expect("data");
        (client, helper)
    }

    #[test]
    fn a_disk_answers_good_with_data_and_nothing_less_is_taken_for_it() {
        let (client, mut helper) = answer(0, &[1; 72]);
        take_answer_of_disk(client.as_fd()).expect("an answer");
        helper.write_all(&[0; HEADER_LENGTH]).expect("the next one");
        take_answer_of_disk(client.as_fd()).expect("an answer without data");
        let (client, _helper) = answer(0x18, &[]);
        take_answer_of_disk(client.as_fd()).expect_err("a conflict");
        let (client, helper) = answer(0, &[1; 72]);
        drop(helper);
        take_answer_of_disk(client.as_fd()).expect("what was sent before the end");
        take_answer_of_disk(client.as_fd()).expect_err("the end");
    }

    #[test]
    fn a_register_names_its_key_where_the_disk_looks_for_it() {
        let bytes = Request::Register.bytes();
        assert_eq!((bytes[0], bytes[1], bytes[8]), (0x5f, 6, 24));
        assert_eq!(bytes[16..24], [0; 8], "no key is needed");
        assert_eq!(bytes[24..32], KEY.to_be_bytes());
    }
}
