//! Starting a helper in a world of one's choice.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::Resource;

use crate::bed::MARK;
use crate::sys::child::{World, shape};
use crate::sys::notify::Which;
use crate::{Bed, Faults, Finished, Helper, Mapper, Outcome, SgIo};

/// What a standard stream of the helper is.
#[derive(Debug)]
pub enum Stream {
    /// /dev/null.
    Null,
    /// Collected by the test.
    Collected,
    /// Not open at all.
    Closed,
    /// This.
    Fd(OwnedFd),
}

/// Whose number `LISTEN_PID` holds.
#[derive(Debug, Clone)]
pub enum ListenPid {
    /// The helper's own.
    Own,
    /// This text.
    Is(String),
}

/// The environment variable with arguments for each of our helpers, before those of the test: `cargo xtask sanitize`
/// has some.
const ARGUMENTS: &str = "PR_LAB_OURS_ARGS";

type Device = Box<dyn FnMut(&crate::Command) -> Outcome + Send>;

/// A helper about to be started.
#[must_use]
pub struct Launch {
    program: PathBuf,
    is_ours: bool,
    dir: PathBuf,
    socket: Option<PathBuf>,
    argv0: Option<OsString>,
    wrapper: Vec<OsString>,
    args: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    listen_pid: Option<ListenPid>,
    streams: [Stream; 3],
    world: World,
    device: Option<Device>,
    faults: Option<Faults>,
    mapper: Option<Mapper>,
}

impl Launch {
    pub(crate) fn new(bed: &Bed) -> Self {
        Self {
            program: bed.subject().program().to_path_buf(),
            is_ours: bed.subject().is_ours(),
            dir: bed.dir().to_path_buf(),
            socket: Some(bed.socket()),
            argv0: None,
            wrapper: Vec::new(),
            args: Vec::new(),
            environment: Vec::new(),
            listen_pid: None,
            streams: [Stream::Null, Stream::Collected, Stream::Collected],
            world: World::default(),
            device: None,
            faults: None,
            mapper: None,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Adds arguments when the subject is ours: options that the reference does not have.
    pub fn ours(self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        if self.is_ours { self.args(args) } else { self }
    }

    /// Listens at another place than the bed's socket.
    pub fn at(mut self, socket: impl AsRef<Path>) -> Self {
        self.socket = Some(socket.as_ref().to_path_buf());
        self
    }

    /// Adds no `-k`: the arguments are all there is.
    pub fn bare(mut self) -> Self {
        self.socket = None;
        self
    }

    /// Starts under another name.
    pub fn argv0(mut self, name: impl AsRef<OsStr>) -> Self {
        self.argv0 = Some(name.as_ref().to_owned());
        self
    }

    /// Starts by way of another program, which takes the helper and its arguments as its last arguments.
    pub fn by(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(OsString::from).collect();
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Sets `LISTEN_FDS` and `LISTEN_PID`, as systemd does.
    pub fn activated(mut self, fds: &str, pid: ListenPid) -> Self {
        self.listen_pid = Some(pid);
        self.env("LISTEN_FDS", fds)
    }

    /// Replaces standard input, output or error.
    pub fn stream(mut self, number: usize, stream: Stream) -> Self {
        self.streams[number] = stream;
        self
    }

    /// Sets the file mode creation mask.
    pub fn umask(mut self, mask: u32) -> Self {
        self.world.umask = Some(mask);
        self
    }

    /// Sets a resource limit, soft and hard.
    pub fn limit(mut self, resource: Resource, value: u64) -> Self {
        self.world.limits.push((resource, value));
        self
    }

    /// Hands over a descriptor under this number.
    pub fn fd(mut self, fd: impl Into<OwnedFd>, number: RawFd) -> Self {
        let high = fcntl_dupfd_cloexec(fd.into(), 100).expect("move a descriptor out of the way");
        self.world.descriptors.push((high, number));
        self
    }

    /// Answers the helper's `SG_IO` ioctls.
    pub fn device(mut self, device: impl FnMut(&crate::Command) -> Outcome + Send + 'static) -> Self {
        self.device = Some(Box::new(device));
        self
    }

    /// Answers its ioctls for device-mapper.
    pub fn mapper(mut self, mapper: &Mapper) -> Self {
        self.mapper = Some(mapper.clone());
        self
    }

    /// Has its system calls recorded, or one of them fail.
    pub fn faults(mut self, faults: &Faults) -> Self {
        self.faults = Some(faults.clone());
        self
    }

    /// Starts the helper and waits until it greets.
    #[track_caller]
    pub fn start(self) -> Helper {
        let helper = self.spawn();
        helper.await_greeting();
        helper
    }

    /// Starts something that ends by itself, and waits for that.
    #[track_caller]
    pub fn run(self) -> Finished {
        self.spawn().finish()
    }

    /// Starts the helper and waits for nothing.
    #[track_caller]
    pub fn spawn(mut self) -> Helper {
        let mut command = self.command();
        let collected = self.collect(&mut command);
        let device = self.divert();
        shape(&mut command, std::mem::take(&mut self.world));
        let child = command.spawn().unwrap_or_else(|error| panic!("start {}: {error}", self.program.display()));
        // The command keeps the child's ends of everything: nothing of it may stay open here.
        drop(command);
        let [stdout, stderr] = collected;
        Helper::new(child, self.socket, stdout, stderr, device)
    }

    /// Has the child send what makes its system calls wait, and a thread here that answers them.
    fn divert(&mut self) -> Option<SgIo> {
        let which = self.faults.as_ref().map_or(Which::SgIo, Faults::which);
        let device = match self.device.take() {
            None if self.faults.is_none() => return None,
            device => device.unwrap_or_else(|| Box::new(|_| Outcome::Errno(libc::ENOTTY))),
        };
        let (test, child) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("a socket pair");
        // A number that the helper does not come to.
        let child = if which == Which::SgIo { child } else { fcntl_dupfd_cloexec(child, 500).expect("move it away") };
        self.world.divert = Some((which, child));
        Some(SgIo::answering(test, device, self.faults.take(), self.mapper.take()))
    }

    fn command(&mut self) -> Command {
        let mut words = std::mem::take(&mut self.wrapper);
        if let Some(pid) = self.listen_pid.take() {
            // A shell knows its own number before the exec, which keeps it.
            let pid = match pid {
                ListenPid::Own => "$$".to_owned(),
                ListenPid::Is(text) => format!("'{text}'"),
            };
            let script = format!("LISTEN_PID={pid}; export LISTEN_PID; exec \"$0\" \"$@\"");
            words.extend(["/bin/sh".into(), "-c".into(), script.into()]);
        }
        words.push(self.program.clone().into_os_string());
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words);
        if self.is_ours
            && let Ok(args) = std::env::var(ARGUMENTS)
        {
            command.args(args.split_whitespace());
        }
        if let Some(socket) = &self.socket {
            command.arg("-k").arg(socket);
        }
        command.args(&self.args).current_dir(&self.dir).env(MARK, &self.dir);
        for variable in
            ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "POSIXLY_CORRECT", "LD_LIBRARY_PATH"]
        {
            command.env_remove(variable);
        }
        command.envs(self.environment.drain(..));
        if let Some(name) = &self.argv0 {
            command.arg0(name);
        }
        command
    }

    fn collect(&mut self, command: &mut Command) -> [Text; 2] {
        let collected = [Text::default(), Text::default()];
        for (number, stream) in self.streams.iter_mut().enumerate() {
            let stdio = match std::mem::replace(stream, Stream::Null) {
                Stream::Null => Stdio::null(),
                Stream::Fd(fd) => fd.into(),
                Stream::Closed => {
                    self.world.closed.push(i32::try_from(number).expect("a small number"));
                    Stdio::null()
                }
                Stream::Collected => {
                    let (reader, writer) = io::pipe().expect("a pipe");
                    collected[number - 1].follow(OwnedFd::from(reader));
                    writer.into()
                }
            };
            match number {
                0 => command.stdin(stdio),
                1 => command.stdout(stdio),
                _ => command.stderr(stdio),
            };
        }
        collected
    }
}

/// What a helper has written to a stream so far, and whether it may write more.
#[derive(Debug, Clone, Default)]
pub(crate) struct Text {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Arc<Mutex<Option<thread::JoinHandle<()>>>>,
}

impl Text {
    fn follow(&self, reader: OwnedFd) {
        let (bytes, mut reader) = (Arc::clone(&self.bytes), File::from(reader));
        let follower = thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut chunk) {
                bytes.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&chunk[..count]);
            }
        });
        *self.reader.lock().expect("the reader's place") = Some(follower);
    }

    /// Everything up to now.
    pub(crate) fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Everything, once the last writer has gone.
    pub(crate) fn whole(&self) -> String {
        if let Some(reader) = self.reader.lock().expect("the reader's place").take() {
            _ = reader.join();
        }
        self.so_far()
    }
}
