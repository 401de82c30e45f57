//! The host that is looked at: its files below a root directory, which in a container, and in tests, is another than `/`.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::fs::{major, minor};

/// A host, as far as it may be looked at.
pub struct Host {
    root: PathBuf,
    /// What the user of this process may not look at.
    unseen: RefCell<BTreeSet<&'static str>>,
}

impl Host {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), unseen: RefCell::default() }
    }

    /// Where a file of the host is for this process.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// What the host calls a file of this process.
    pub fn shown(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).map_or_else(|_| path.to_owned(), |path| Path::new("/").join(path))
    }

    /// What a file says, without blanks around it.
    pub fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        let bytes = fs::read(self.path(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// The names in a directory, in order.
    pub fn names(&self, directory: impl AsRef<Path>) -> Vec<String> {
        self.list(directory).unwrap_or_default()
    }

    /// The same, or why there are none.
    pub fn list(&self, directory: impl AsRef<Path>) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(self.path(directory))?;
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        Ok(names)
    }

    /// The output of one of the host's programs, if it succeeds.
    pub fn output(&self, program: &str, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new(self.path("/usr/bin").join(program));
        command.args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).stderr(Stdio::null());
        let output = command.output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Whether systemd manages the host (`sd_booted(3)`).
    pub fn has_systemd(&self) -> bool {
        self.path("/run/systemd/system").is_dir()
    }

    /// Notes that something could not be looked at.
    pub fn could_not_see(&self, what: &'static str) {
        self.unseen.borrow_mut().insert(what);
    }

    /// What could not be looked at.
    pub fn unseen(&self) -> Vec<&'static str> {
        self.unseen.borrow().iter().copied().collect()
    }

    /// The kernel's name of the block device with a number.
    pub fn block_device(&self, number: u64) -> Option<String> {
        let link = self.path(format!("/sys/dev/block/{}:{}", major(number), minor(number)));
        Some(fs::read_link(link).ok()?.file_name()?.to_str()?.to_owned())
    }

    /// An attribute of a block device.
    pub fn attribute(&self, device: &str, name: &str) -> Option<String> {
        self.text(format!("/sys/block/{device}/{name}"))
    }

    /// The kernel's name of the disk that a path leads to.
    pub fn disk_at(&self, path: &Path) -> Option<String> {
        let name = fs::canonicalize(self.path(path)).ok()?.file_name()?.to_str()?.to_owned();
        self.path("/sys/block").join(&name).exists().then_some(name)
    }
}

/// Whether an error is a lack of rights.
pub fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}
