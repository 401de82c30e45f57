//! The two requests that are measured, and a client's half of the protocol in as few system calls as it takes.
//!
//! The descriptor is /dev/null's: `SG_IO` fails on it at once, so that what remains is the helper's own work.

use std::fs::File;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use pr_wire::HEADER_LENGTH;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, sendmsg};

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// PERSISTENT RESERVE IN, READ KEYS, with room for eight bytes.
    In,
    /// PERSISTENT RESERVE OUT, RESERVE, with a parameter list of 24 bytes.
    Out,
}

const READ_KEYS: [u8; 16] = [0x5e, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0];
const RESERVE: [u8; 40] = {
    let mut bytes = [0; 40];
    (bytes[0], bytes[1], bytes[2], bytes[8]) = (0x5f, 1, 1, 24);
    bytes
};

impl Request {
    /// What it is called in the result.
    pub const fn name(self) -> &'static str {
        match self {
            Self::In => "PR IN",
            Self::Out => "PR OUT",
        }
    }

    /// The CDB, and the parameter list behind it.
    const fn bytes(self) -> &'static [u8] {
        match self {
            Self::In => &READ_KEYS,
            Self::Out => &RESERVE,
        }
    }

    /// Sends it with its descriptor, in one message.
    pub fn send(self, socket: impl AsFd, device: impl AsFd) -> Result<()> {
        let devices = [device.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&devices));
        let sent = sendmsg(socket, &[IoSlice::new(self.bytes())], &mut control, SendFlags::NOSIGNAL);
        match sent.context("a request cannot be sent")? {
            sent if sent == self.bytes().len() => Ok(()),
            _ => bail!("a request was sent in part only"),
        }
    }
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
