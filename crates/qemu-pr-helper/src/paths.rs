//! Files and directories of this program, by descriptor: a path is looked up once, and whatever is done after that is
//! done in the directory that was found then.
//!
//! The program starts as root, and its socket may be in a directory of another user: libvirt gives the user that QEMU
//! runs as one for each machine. So a symbolic link of another user is followed nowhere, neither on the way nor at its
//! end; `/var/run`, which is root's, is.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, RenameFlags, Stat, fchmod, fstat, fstatfs, mkdirat,
        openat, readlinkat, renameat, renameat_with, statat, unlinkat,
    },
    io::Errno,
    process::{fchdir, geteuid},
};

/// Device and inode: which file it is, so that no other file is ever removed.
pub type FileId = (u64, u64);

/// Which file this is.
pub const fn id(stat: &Stat) -> FileId {
    (stat.st_dev, stat.st_ino)
}

/// How many symbolic links are followed on one way: as many as the kernel follows.
const MAX_LINKS: usize = 40;

/// A directory and a name in it, of which nothing more is known.
#[derive(Clone, Debug)]
pub struct Entry {
    directory: Arc<OwnedFd>,
    name: OsString,
}

/// A walk along a path, from directory to directory.
struct Walk {
    at: OwnedFd,
    /// What is left of it, the next part last.
    rest: Vec<OsString>,
    links: usize,
}

impl Walk {
    fn along(path: &Path) -> io::Result<Self> {
        if path.as_os_str().is_empty() {
            return Err(Errno::NOENT.into());
        }
        let from = OsStr::new(if path.is_absolute() { "/" } else { "." });
        let mut walk = Self { at: directory(CWD, from)?, rest: Vec::new(), links: 0 };
        walk.go_along(path);
        Ok(walk)
    }

    /// Goes along this path first, from here on.
    fn go_along(&mut self, path: &Path) {
        let names = path.components().rev().filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        });
        self.rest.extend(names);
    }

    /// Follows a symbolic link.
    fn turn_to(&mut self, target: &Path) -> io::Result<()> {
        if target.is_absolute() {
            self.at = directory(CWD, OsStr::new("/"))?;
        }
        self.go_along(target);
        Ok(())
    }

    /// Goes as far as the directory that the last part is in.
    fn last(&mut self) -> io::Result<OsString> {
        loop {
            let Some(name) = self.rest.pop() else { return Err(Errno::ISDIR.into()) };
            if self.rest.is_empty() && name != ".." {
                return Ok(name);
            }
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat(&self.at, &name, flags | OFlags::DIRECTORY, Mode::empty()) {
                // Or a symbolic link.
                Err(Errno::NOTDIR) => {
                    let other = openat(&self.at, &name, flags, Mode::empty())?;
                    let target = self.target(&other)?.ok_or(Errno::NOTDIR)?;
                    self.turn_to(&target)?;
                }
                next => self.at = next?,
            }
        }
    }

    /// Where this leads, if it is a symbolic link.
    fn target(&mut self, opened: &OwnedFd) -> io::Result<Option<PathBuf>> {
        let stat = fstat(opened)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return Ok(None);
        }
        if !is_own(stat.st_uid) {
            return Err(io::Error::other(format!(
                "a symbolic link on the path belongs to another user ({}) and is not followed",
                stat.st_uid
            )));
        }
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::LOOP.into());
        }
        Ok(Some(OsString::from_vec(readlinkat(opened, "", Vec::new())?.into_bytes()).into()))
    }
}

/// Whether a user may do everything that this process may: root, or the same user.
fn is_own(user: u32) -> bool {
    user == 0 || user == geteuid().as_raw()
}

fn directory(at: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    Ok(openat(at, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// A file that is open, where it is, and what it is.
pub type Opened = (File, Entry, Stat);

/// Opens a file to write to, or makes one. What is in it stays.
pub fn open(path: &Path, flags: OFlags, mode: Mode) -> io::Result<Opened> {
    let mut walk = Walk::along(path)?;
    let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
    loop {
        let name = walk.last()?;
        match openat(&walk.at, &name, flags | OFlags::NOFOLLOW, mode) {
            Err(Errno::LOOP) => {}
            opened => {
                let (file, entry) = (File::from(opened?), Entry { directory: Arc::new(walk.at), name });
                let stat = fstat(&file).inspect_err(|_| entry.remove_if_empty())?;
                let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
                // A hard link is as good as a symbolic one for leading to a file of root's.
                if is_file && stat.st_nlink > 1 && !entry.is_ours_alone()? {
                    return Err(io::Error::other(
                        "it has another hard link, and users other than root can write to the directory",
                    ));
                }
                return Ok((file, entry, stat));
            }
        }
        let link = openat(&walk.at, &name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let target = walk.target(&link)?.ok_or(Errno::LOOP)?;
        // /dev/stderr leads to one of those that are more than a name.
        if fstatfs(&link)?.f_type == PROC_SUPER_MAGIC {
            let file = File::from(openat(&walk.at, &name, flags, mode)?);
            let stat = fstat(&file)?;
            return Ok((file, Entry { directory: Arc::new(walk.at), name }, stat));
        }
        walk.turn_to(&target)?;
    }
}

/// Makes a directory that many programs use and none of them owns, unless it is there. Everybody may look into it,
/// whatever the umask.
pub fn shared_directory(path: &Path) -> io::Result<()> {
    let Entry { directory, name } = Entry::of(path)?;
    match mkdirat(&directory, &name, Mode::RWXU) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = openat(&directory, &name, flags, Mode::empty())?;
    if is_own(fstat(&made)?.st_uid) {
        fchmod(&made, Mode::from_raw_mode(0o755))?;
    }
    Ok(())
}

impl Entry {
    /// Where a path leads, as far as the directory of its last part.
    pub fn of(path: &Path) -> io::Result<Self> {
        let mut walk = Walk::along(path)?;
        let name = walk.last()?;
        Ok(Self { directory: Arc::new(walk.at), name })
    }

    /// Another name in the same directory.
    pub fn beside(&self, name: OsString) -> Self {
        Self { directory: Arc::clone(&self.directory), name }
    }

    /// The directory.
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// The name.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// What the directory is.
    pub fn directory_stat(&self) -> io::Result<Stat> {
        Ok(fstat(&self.directory)?)
    }

    /// Whether no user but root and this one may put something else in the place of what this one makes there. In a
    /// sticky directory like /tmp others may make files, and only their owner may move them.
    pub fn is_ours_alone(&self) -> io::Result<bool> {
        let stat = self.directory_stat()?;
        let (is_open, is_sticky) = (stat.st_mode & 0o022 != 0, stat.st_mode & 0o1000 != 0);
        Ok(is_own(stat.st_uid) && (!is_open || is_sticky))
    }

    /// What is there; a symbolic link is what it is.
    pub fn stat(&self) -> rustix::io::Result<Stat> {
        statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Opens what is there, to be talked about and not to be read.
    pub fn handle(&self) -> rustix::io::Result<OwnedFd> {
        openat(&self.directory, &self.name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
    }

    /// Moves it to another name of the same directory, where nothing is.
    pub fn rename(&self, to: &Self) -> rustix::io::Result<()> {
        renameat_with(&self.directory, &self.name, &to.directory, &to.name, RenameFlags::NOREPLACE)
    }

    /// Moves it over whatever has another name of the same directory.
    pub fn replace(&self, what: &Self) -> rustix::io::Result<()> {
        renameat(&self.directory, &self.name, &what.directory, &what.name)
    }

    /// Has two names of one directory change places.
    pub fn exchange(&self, with: &Self) -> rustix::io::Result<()> {
        renameat_with(&self.directory, &self.name, &with.directory, &with.name, RenameFlags::EXCHANGE)
    }

    /// Removes it, unless it is gone or another file by now.
    pub fn remove(&self, file: FileId) -> rustix::io::Result<()> {
        match self.stat() {
            Ok(stat) if id(&stat) == file => unlinkat(&self.directory, &self.name, AtFlags::empty()),
            _ => Ok(()),
        }
    }

    /// Takes away what this start may have made.
    pub fn remove_if_empty(&self) {
        if let Ok(stat) = self.stat()
            && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && stat.st_size == 0
        {
            let _ = self.remove(id(&stat));
        }
    }

    /// The names in the directory.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let entries = rustix::fs::Dir::new(openat(&self.directory, ".", flags, Mode::empty())?)?;
        entries.map(|entry| Ok(OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned())).collect()
    }

    /// Does something for which there is no call that takes a directory, with its name. To be used while there is one
    /// thread: the working directory is all threads'.
    pub fn inside<T>(&self, act: impl FnOnce(&OsStr) -> io::Result<T>) -> io::Result<T> {
        let here = match directory(CWD, OsStr::new(".")) {
            // To one that this process may not enter there is no way back.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => directory(CWD, OsStr::new("/")),
            here => here,
        }?;
        fchdir(&self.directory)?;
        let done = act(&self.name);
        fchdir(&here)?;
        done
    }
}
