//! The listening socket: where its path comes from, and whose it is.
//!
//! The socket is bound and listens under a temporary name and gets its real one by a rename: the path appears when
//! connections are accepted, and not before. What stands at that path already is looked at: only a socket that nobody
//! answers is replaced.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            fs::{MetadataExt, PermissionsExt},
        },
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::{
    fs::{CWD, FileType, RenameFlags, chown, fcntl_getfl, fcntl_setfl, renameat_with},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, getsockname, listen, socket_with, sockopt},
    process::Gid,
};
use thiserror::Error;
use tracing::warn;

use super::{
    Privileged,
    cleanup::{Cleanup, FileId, id},
};
use crate::{sys, values::Group};

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

/// A path of ours with our socket at it.
struct Place {
    path: PathBuf,
    /// Where the socket is until it is published.
    temporary: Option<PathBuf>,
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
    pub fn bind(_: &Privileged, path: &Path, mode: Option<u32>, group: Option<Group>) -> Result<Self, ListenError> {
        // Before anything is made: a start that cannot succeed leaves no trace.
        examine(path)?;
        let socket = stream_socket().map_err(ListenError::Create)?;
        let temporary = temporary_name(path);
        let at = |error| ListenError::Bind { path: path.to_owned(), error };
        bind_beside(socket.as_fd(), &temporary).map_err(at)?;
        let file = fs::symlink_metadata(&temporary).map(|metadata| id(&metadata)).map_err(|error| {
            // Nobody else chooses this name.
            let _ = fs::remove_file(&temporary);
            at(error)
        })?;
        let this = Self {
            socket,
            place: Some(Place { path: path.to_owned(), temporary: Some(temporary.clone()), file, cleanup: None }),
        };
        let refused = |what| {
            let path = path.to_owned();
            move |error| ListenError::Permissions { path, what, error }
        };
        if let Some(Group(gid)) = group {
            let gid = Gid::from_raw(gid);
            chown(&temporary, None, Some(gid)).map_err(|error| refused("group")(error.into()))?;
        }
        if let Some(mode) = mode {
            fs::set_permissions(&temporary, fs::Permissions::from_mode(mode)).map_err(refused("mode"))?;
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

    /// The path and which file it is, where it is ours.
    pub fn file(&self) -> Option<(&Path, FileId)> {
        self.place.as_ref().map(|place| (place.path.as_path(), place.file))
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

    /// Removes the path, if our socket is still there. New clients find nobody.
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
        let failed = |error: rustix::io::Errno| ListenError::Publish { path: self.path.clone(), error: error.into() };
        // More than one round only when somebody else works on the same path.
        for _ in 0..8 {
            match renameat_with(CWD, &temporary, CWD, &self.path, RenameFlags::NOREPLACE) {
                Err(rustix::io::Errno::EXIST) => {}
                // A file system without RENAME_NOREPLACE: the examination has to do.
                Err(rustix::io::Errno::INVAL) => {
                    examine(&self.path)?;
                    rustix::fs::rename(&temporary, &self.path).map_err(failed)?;
                    self.temporary = None;
                    return Ok(());
                }
                result => {
                    result.map_err(failed)?;
                    self.temporary = None;
                    return Ok(());
                }
            }
            let Some(stale) = examine(&self.path)? else { continue };
            // Swapped, not overwritten: if it is another file by now, it goes back unharmed. The path comes first, so that
            // the last that a watcher hears of it is that a file has come: KubeVirt's virt-handler goes by that.
            let swap = || renameat_with(CWD, &self.path, CWD, &temporary, RenameFlags::EXCHANGE);
            if swap().is_err() {
                continue;
            }
            let found = fs::symlink_metadata(&temporary).map(|metadata| id(&metadata)).ok();
            if found == Some(stale) {
                let _ = fs::remove_file(&temporary);
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
        let path = self.temporary.as_ref().unwrap_or(&self.path);
        let removed = self.cleanup.as_ref().and_then(|cleanup| cleanup.remove(path));
        let removed = removed.unwrap_or_else(|| remove(path, self.file));
        if let Err(error) = removed {
            warn!("cannot remove the socket {}: {error}; the next start will replace it", path.display());
        }
    }
}

/// Removes a file, unless it is gone or another one by now.
fn remove(path: &Path, file: FileId) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if id(&metadata) == file => fs::remove_file(path),
        _ => Ok(()),
    }
}

/// Looks at what stands at the path: nothing (`None`), or a socket that nobody answers (which one). Everything else is
/// somebody's and an error.
fn examine(path: &Path) -> Result<Option<FileId>, ListenError> {
    let unknown = |error| ListenError::Unknown { path: path.to_owned(), error };
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ListenError::Bind { path: path.to_owned(), error }),
    };
    let what = match FileType::from_raw_mode(metadata.mode()) {
        FileType::Socket => {
            return match connect(path) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(Some(id(&metadata))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                // Somebody listens and has no room for one more client just now.
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
fn connect(path: &Path) -> io::Result<String> {
    let socket = stream_socket()?;
    sys::socket::connect(socket.as_fd(), path.as_os_str())?;
    let who = sockopt::socket_peercred(&socket).map(|peer| format!(" (process {})", peer.pid.as_raw_nonzero()));
    Ok(who.unwrap_or_default())
}

/// Binds to a name in the directory of the path. It can be too long for an address where the path itself is not; then
/// it is reached through the directory's descriptor.
fn bind_beside(socket: BorrowedFd<'_>, name: &Path) -> io::Result<()> {
    if name.as_os_str().len() <= sys::socket::MAX_PATH {
        return sys::socket::bind(socket, name.as_os_str());
    }
    let directory = fs::File::open(name.parent().unwrap_or(Path::new("/")))?;
    let base = name.file_name().unwrap_or_default();
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(base);
    sys::socket::bind(socket, short.as_os_str())
}

/// A name in the same directory that no other process chooses, not even one with our number in another container.
fn temporary_name(path: &Path) -> PathBuf {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    let unique = format!("{}-{nanos:x}", std::process::id());
    let mut telling = OsString::from(".");
    telling.push(path.file_name().unwrap_or_default());
    telling.push(format!(".{unique}"));
    let telling = path.with_file_name(telling);
    // This is the name that `ss` will show; it says whose socket it is where there is room for that.
    if telling.as_os_str().len() <= sys::socket::MAX_PATH {
        telling
    } else {
        path.with_file_name(format!(".pr-helper.{unique}"))
    }
}
