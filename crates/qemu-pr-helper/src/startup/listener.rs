//! The listening socket: where its path comes from, and whose it is.
//!
//! The socket is bound and listens under a temporary name and gets its real one by a rename: the path appears when
//! connections are accepted, and not before. What stands at that path already is looked at: only a socket on which
//! no process listens is replaced.
//!
//! All of that happens in one directory, which is looked up once. It may be another user's, who may put anything in the
//! place of anything there; so nothing that this program may do is done to a name: the mode is the socket's before there
//! is one, and the group is given to what was opened and looked at.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use pr_sandbox::Privileged;
use pr_sys::{self, users::Group};
use rustix::{
    fs::{AtFlags, FileType, Mode, Stat, chownat, fchmod, fcntl_getfl, fcntl_setfl, fstat},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, getsockname, listen, socket_with, sockopt},
    process::{Gid, Pid, geteuid, test_kill_process, umask},
};
use thiserror::Error;
use tracing::warn;

use super::cleanup::Cleanup;
use crate::paths::{Entry, FileId, id};

/// How many clients may wait to be accepted. (The C helper has room for one.)
const BACKLOG: i32 = 1024;

/// Why there is no listening socket.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The socket cannot be made at all.
    #[error("cannot create a Unix socket: {0}")]
    Create(#[source] io::Error),
    /// The directory does not take it.
    #[error("cannot bind the socket {}: {error}; check that its directory exists and can be written", .path.display())]
    Bind { path: PathBuf, error: io::Error },
    /// Another user's directory, for what is to be ours alone.
    #[error(
        "users other than root can write to the directory {} and replace the socket; choose another directory, or make it \
         root's alone (chown root, chmod go-w)",
        .path.display()
    )]
    Directory { path: PathBuf },
    /// There is another file in its place.
    #[error("another file has replaced the new socket in the directory of {}", .path.display())]
    Exchanged { path: PathBuf },
    /// Its permissions.
    #[error("cannot set the {what} of the socket {}: {error}", .path.display())]
    Permissions { path: PathBuf, what: &'static str, error: io::Error },
    /// Something else stands there.
    #[error("{} exists and is {what}, not a socket; move it away or choose another path with -k", .path.display())]
    NotASocket { path: PathBuf, what: &'static str },
    /// Another program serves there.
    #[error("{} is in use: another program{who} accepts connections there; stop it or choose another path with -k", .path.display())]
    InUse { path: PathBuf, who: String },
    /// What stands there cannot be examined.
    #[error("cannot tell whether the socket {} is in use: {error}; remove it if no helper runs", .path.display())]
    Unknown { path: PathBuf, error: io::Error },
    /// The rename.
    #[error("cannot put the socket in place at {}: {error}", .path.display())]
    Publish { path: PathBuf, error: io::Error },
    /// Another program works on the same path at the same time.
    #[error("{} keeps changing: another program is starting there; try again", .path.display())]
    Race { path: PathBuf },
    /// The descriptor from systemd is no socket.
    #[error("socket activation failed: descriptor 3 is not a socket: {0}")]
    NotActivated(#[source] io::Error),
    /// The descriptor from systemd does not listen.
    #[error("socket activation failed: descriptor 3 is a socket that does not listen; use ListenStream= and Accept=no")]
    NotListening,
}

/// A listening socket.
pub struct Listener {
    socket: OwnedFd,
    place: Option<Place>,
}

/// What is wanted of a socket.
#[derive(Clone, Copy, Default)]
pub struct Permissions {
    /// Its mode, whatever the umask.
    pub mode: Option<u32>,
    /// Its group.
    pub group: Option<Group>,
    /// No user but root and this one may be able to put another one in its place.
    pub alone: bool,
}

/// A path of ours with our socket at it.
struct Place {
    path: PathBuf,
    entry: Entry,
    /// Where the socket is until it is published.
    temporary: Option<Entry>,
    file: FileId,
    /// Who removes it, if this process may not.
    cleanup: Option<Arc<Cleanup>>,
}

impl Listener {
    /// Takes the socket that systemd listens on.
    pub fn activated(socket: OwnedFd) -> Result<Self, ListenError> {
        let listens = sockopt::socket_acceptconn(&socket).map_err(|error| ListenError::NotActivated(error.into()))?;
        if !listens {
            return Err(ListenError::NotListening);
        }
        // Another thread may be faster at accepting; then there is nothing to wait for.
        let nonblocking = fcntl_getfl(&socket).and_then(|flags| {
            rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
            fcntl_setfl(&socket, flags | rustix::fs::OFlags::NONBLOCK)
        });
        nonblocking.map_err(|error| ListenError::NotActivated(error.into()))?;
        Ok(Self { socket, place: None })
    }

    /// Makes a socket that listens beside `path`, ready to be published there.
    pub fn bind(_: &Privileged, path: &Path, permissions: Permissions) -> Result<Self, ListenError> {
        let at = |error| ListenError::Bind { path: path.to_owned(), error };
        let entry = Entry::of(path).map_err(at)?;
        if permissions.alone && !entry.is_ours_alone().map_err(at)? {
            return Err(ListenError::Directory { path: path.parent().unwrap_or(path).to_owned() });
        }
        // Before anything is made: a start that cannot succeed leaves no trace.
        examine(&entry, path)?;
        remove_abandoned(&entry).map_err(at)?;
        let refused =
            |what| move |error: Errno| ListenError::Permissions { path: path.to_owned(), what, error: error.into() };
        let socket = stream_socket().map_err(ListenError::Create)?;
        let temporary = temporary_name(&entry);
        // The kernel makes the file with the mode that the socket has.
        if let Some(mode) = permissions.mode {
            fchmod(&socket, Mode::from_raw_mode(mode)).map_err(refused("mode"))?;
        }
        let (made, file) = bind(socket.as_fd(), &temporary, permissions.mode.is_some()).map_err(at)?;
        let place = Place { path: path.to_owned(), entry, temporary: Some(temporary), file: id(&file), cleanup: None };
        let this = Self { socket, place: Some(place) };
        if !is_our_socket(&file) {
            return Err(ListenError::Exchanged { path: path.to_owned() });
        }
        if let Some(Group(gid)) = permissions.group {
            chownat(&made, "", None, Some(Gid::from_raw(gid)), AtFlags::EMPTY_PATH).map_err(refused("group"))?;
        }
        listen(&this.socket, BACKLOG).map_err(|error| at(error.into()))?;
        Ok(this)
    }

    /// Gives the socket its real name. An activated one has it already.
    pub fn publish(mut self) -> Result<Self, ListenError> {
        if let Some(place) = &mut self.place {
            place.publish()?;
        }
        Ok(self)
    }

    /// The socket.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The path, where it is ours.
    pub fn path(&self) -> Option<&Path> {
        self.place.as_ref().map(|place| place.path.as_path())
    }

    /// Where it is and which file, where it is ours.
    pub fn file(&self) -> Option<(&Entry, FileId)> {
        self.place.as_ref().map(|place| (&place.entry, place.file))
    }

    /// Where this process is to remove it.
    pub fn removable(&self) -> Option<&Entry> {
        self.place.as_ref().filter(|place| place.cleanup.is_none()).map(|place| &place.entry)
    }

    /// Leaves the removal of the path to another process.
    pub fn leave_to(&mut self, cleanup: &Arc<Cleanup>) {
        if let Some(place) = &mut self.place {
            place.cleanup = Some(Arc::clone(cleanup));
        }
    }

    /// Where clients connect. What systemd listens on may have no path.
    pub fn address(&self) -> PathBuf {
        let named = || match getsockname(&self.socket).map(SocketAddrUnix::try_from) {
            Ok(Ok(address)) => address.path_bytes().map(|path| OsStr::from_bytes(path).into()),
            _ => None,
        };
        self.path().map(Into::into).or_else(named).unwrap_or_else(|| "unnamed".into())
    }

    /// Removes the path, if our socket is still there. New clients are refused.
    pub fn withdraw(&mut self) {
        self.place = None;
    }

    /// Whether this process alone has the socket, so that it may shut it down. systemd keeps an activated one.
    pub fn is_ours(&self) -> bool {
        self.place.is_some()
    }
}

impl Place {
    fn publish(&mut self) -> Result<(), ListenError> {
        let Some(temporary) = self.temporary.clone() else { return Ok(()) };
        let failed = |error: Errno| ListenError::Publish { path: self.path.clone(), error: error.into() };
        // More than one round only when another program works on the same path.
        for _ in 0..8 {
            match temporary.rename(&self.entry) {
                Err(Errno::EXIST) => {}
                // A file system without RENAME_NOREPLACE: the examination has to do.
                Err(Errno::INVAL) => {
                    examine(&self.entry, &self.path)?;
                    temporary.replace(&self.entry).map_err(failed)?;
                    self.temporary = None;
                    return Ok(());
                }
                result => {
                    result.map_err(failed)?;
                    self.temporary = None;
                    return Ok(());
                }
            }
            let Some(stale) = examine(&self.entry, &self.path)? else { continue };
            // Swapped, not overwritten: if it is another file by now, it goes back unharmed. The path comes first, so that
            // the last that a watcher hears of it is that a file has come: KubeVirt's virt-handler goes by that.
            let swap = || self.entry.exchange(&temporary);
            if swap().is_err() {
                continue;
            }
            let found = temporary.stat().map(|stat| id(&stat)).ok();
            if found == Some(stale) {
                let _ = temporary.remove(stale);
                self.temporary = None;
                return Ok(());
            }
            swap().map_err(failed)?;
        }
        Err(ListenError::Race { path: self.path.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let removed = self.cleanup.as_ref().and_then(|cleanup| cleanup.remove(self.file));
        let entry = self.temporary.as_ref().unwrap_or(&self.entry);
        let removed = removed.unwrap_or_else(|| Ok(entry.remove(self.file)?));
        if let Err(error) = removed {
            warn!("cannot remove the socket {}: {error}; the next start will replace it", self.path.display());
        }
    }
}

/// Looks at what stands at the path: nothing (`None`), or a socket on which no process listens (which one). Everything else
/// is in use and an error.
fn examine(entry: &Entry, path: &Path) -> Result<Option<FileId>, ListenError> {
    let unknown = |error| ListenError::Unknown { path: path.to_owned(), error };
    let stat = match entry.stat() {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(ListenError::Bind { path: path.to_owned(), error: error.into() }),
    };
    let what = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Socket => {
            return match connect(entry) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(Some(id(&stat))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                // A process listens and has no room for one more client just now.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => in_use(path, String::new()),
                Err(error) => Err(unknown(error)),
                Ok(who) => in_use(path, who),
            };
        }
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::RegularFile => "a regular file",
        _ => "a device or pipe",
    };
    Err(ListenError::NotASocket { path: path.to_owned(), what })
}

fn in_use(path: &Path, who: String) -> Result<Option<FileId>, ListenError> {
    Err(ListenError::InUse { path: path.to_owned(), who })
}

fn stream_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

/// Connects without waiting; says who answered.
fn connect(entry: &Entry) -> io::Result<String> {
    let socket = stream_socket()?;
    entry.inside(|name| pr_sys::socket::connect(socket.as_fd(), name))?;
    let who = sockopt::socket_peercred(&socket).map(|peer| format!(" (process {})", peer.pid.as_raw_nonzero()));
    Ok(who.unwrap_or_default())
}

/// Binds to a name, and opens what has come of it. `exactly` is whether the umask has no say in its mode.
fn bind(socket: BorrowedFd<'_>, entry: &Entry, exactly: bool) -> io::Result<(OwnedFd, Stat)> {
    let before = exactly.then(|| umask(Mode::empty()));
    let bound = entry.inside(|name| pr_sys::socket::bind(socket, name));
    if let Some(before) = before {
        umask(before);
    }
    let made = bound.and_then(|()| {
        let made = entry.handle()?;
        let stat = fstat(&made)?;
        Ok((made, stat))
    });
    if made.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::AddrInUse)
        && let Ok(stat) = entry.stat()
    {
        // No other program chooses this name.
        let _ = entry.remove(id(&stat));
    }
    made
}

fn is_our_socket(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Socket && stat.st_uid == geteuid().as_raw()
}

/// What the names of temporary sockets begin with where that of the socket is too long.
const SHORT: &str = "pr-helper";

/// A name in the same directory that no other process chooses, not even one with our number in another container.
fn temporary_name(entry: &Entry) -> Entry {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    let name = |what: &OsStr| {
        let end = format!(".{}-{nanos:x}", std::process::id());
        [OsStr::new("."), what, OsStr::new(&end)].into_iter().collect::<OsString>()
    };
    // This is the name that `ss` will show; it says whose socket it is where there is room for that.
    let telling = name(entry.name());
    let fits = telling.len() <= pr_sys::socket::MAX_PATH;
    entry.beside(if fits { telling } else { name(OsStr::new(SHORT)) })
}

/// Whose temporary name this is: the number of the process, if it is one.
fn maker(name: &OsStr, socket: &OsStr) -> Option<i32> {
    let rest = name.as_bytes().strip_prefix(b".")?;
    let rest = rest.strip_prefix(socket.as_bytes()).or_else(|| rest.strip_prefix(SHORT.as_bytes()))?;
    let (process, nanos) = str::from_utf8(rest.strip_prefix(b".")?).ok()?.split_once('-')?;
    let is_ours = u32::from_str_radix(nanos, 16).is_ok();
    process.parse().ok().filter(|process| is_ours && *process > 0)
}

/// Removes what starts have left that were killed before their sockets had their names.
fn remove_abandoned(entry: &Entry) -> io::Result<()> {
    let names = match entry.names() {
        // Who may not look for them leaves them.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
        names => names?,
    };
    for name in names {
        let Some(process) = maker(&name, entry.name()).and_then(Pid::from_raw) else { continue };
        // In a container the one before this may have had the same number.
        let is_over = process == rustix::process::getpid() || test_kill_process(process) == Err(Errno::SRCH);
        let temporary = entry.beside(name);
        if is_over
            && let Ok(stat) = temporary.stat()
            && is_our_socket(&stat)
            && connect(&temporary).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        {
            let _ = temporary.remove(id(&stat));
        }
    }
    Ok(())
}
