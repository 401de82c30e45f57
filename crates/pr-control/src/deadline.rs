//! Conversations that have an end: whoever talks to a program of ours has so much time, however little it sends or takes
//! at a time.

use std::{
    io::{self, Read, Write},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use rustix::net::sockopt::{Timeout, set_socket_timeout};

/// What is left until then.
///
/// # Errors
/// Nothing is.
pub fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Reads what there is on a socket, or comes before the deadline; zero bytes are its end.
///
/// # Errors
/// Nothing has come until then, or nothing can come any more.
pub fn read<S: AsFd>(socket: &S, room: &mut [u8], deadline: Instant) -> io::Result<usize>
where
    for<'a> &'a S: Read,
{
    loop {
        set_socket_timeout(socket, Timeout::Recv, Some(left(deadline)?))?;
        match { socket }.read(room) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Writes all of it to a socket before the deadline, however slowly the other side reads.
///
/// # Errors
/// It did not take all until then, or is gone.
pub fn write<S: AsFd>(socket: &S, mut bytes: &[u8], deadline: Instant) -> io::Result<()>
where
    for<'a> &'a S: Write,
{
    while !bytes.is_empty() {
        set_socket_timeout(socket, Timeout::Send, Some(left(deadline)?))?;
        match { socket }.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(some) => bytes = bytes.get(some..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
