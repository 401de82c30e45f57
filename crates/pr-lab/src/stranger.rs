//! Clients that are another process, and maybe another user.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};

use crate::Raw;
use crate::sys::child::connect_from;

/// A process that has connected to a helper. Its ends of the connections are the test's, but whoever asks the kernel
/// hears of this process. Killed and reaped when dropped.
#[derive(Debug)]
pub struct Stranger {
    child: Child,
    clients: Vec<Raw>,
}

impl Stranger {
    /// A process of this user and group, without other groups, that connects so many times and then does nothing.
    #[track_caller]
    pub fn new(socket: &Path, user: u32, group: u32, connections: usize) -> Self {
        let address = SocketAddrUnix::new(socket).expect("a path that fits");
        let make = || socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
        let sockets: Vec<_> = (0..connections).map(|_| make().expect("a socket")).collect();
        let theirs = sockets.iter().map(|socket| socket.try_clone().expect("a descriptor")).collect();
        let mut command = {
            use std::os::unix::process::CommandExt;
            let mut command = Command::new("sleep");
            command.arg("infinity").stdin(Stdio::null()).stdout(Stdio::null()).uid(user).gid(group);
            command
        };
        connect_from(&mut command, theirs, address);
        let child = command.spawn().unwrap_or_else(|error| panic!("connect to {}: {error}", socket.display()));
        let clients = sockets.into_iter().map(|socket| Raw::from_stream(socket.into())).collect();
        Self { child, clients }
    }

    /// One that has exchanged features on its only connection.
    #[track_caller]
    pub fn greeted(socket: &Path, user: u32, group: u32) -> Self {
        let stranger = Self::new(socket, user, group, 1);
        stranger.client().hello();
        stranger
    }

    /// Its only connection, or the first one.
    pub fn client(&self) -> &Raw {
        &self.clients[0]
    }

    /// Its connections.
    pub fn clients(&self) -> &[Raw] {
        &self.clients
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
