//! The values of options, checked one by one. Each error names the value, the reason and the way out.

use std::{
    ffi::{CString, OsStr, OsString},
    io,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    time::Duration,
};

use pr_sandbox::Sandbox;
use pr_sys::{
    socket,
    users::{self, Group, User},
};

/// `--sandbox`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SandboxMode {
    /// No sandbox.
    Off,
    /// Deny nothing; the kernel's log has what 'enforce' would deny.
    Log,
    /// Restrict system calls only, without using Landlock (for containers that forbid it).
    Seccomp,
    /// Restrict system calls and file access.
    Enforce,
}

impl From<SandboxMode> for Sandbox {
    fn from(mode: SandboxMode) -> Self {
        match mode {
            SandboxMode::Off => Self::Off,
            SandboxMode::Log => Self::Log,
            SandboxMode::Seccomp => Self::Seccomp,
            SandboxMode::Enforce => Self::Enforce,
        }
    }
}

/// A path for the socket.
pub fn socket_path(path: OsString) -> Result<PathBuf, String> {
    let shown = path.display();
    if !path.as_bytes().starts_with(b"/") {
        return Err(format!("the socket path '{shown}' is not absolute; start it with '/'"));
    }
    let (length, limit) = (path.len(), socket::MAX_PATH);
    if length > limit {
        return Err(format!("the socket path '{shown}' is too long: {length} bytes, the limit is {limit}"));
    }
    Ok(path.into())
}

/// What stands for a helper's own socket in the path of its control socket.
const PLACEHOLDER: &[u8] = b"%s";

/// So much of the path of a control socket is left to what stands for `%s`: more than libvirt's names have.
const ROOM: usize = 64;

/// A path for the control socket, with or without a `%s`.
pub fn control_path(path: OsString) -> Result<PathBuf, String> {
    let path = socket_path(path)?;
    let (shown, bytes) = (path.display(), path.as_os_str().as_bytes());
    let Some(percent) = bytes.iter().position(|byte| *byte == b'%') else { return Ok(path) };
    let rest = &bytes[percent..];
    let stands_for_name = rest.starts_with(PLACEHOLDER) && !rest[1..].contains(&b'%') && !rest.contains(&b'/');
    if !stands_for_name {
        return Err(format!(
            "in the socket path '{shown}' a '%s' may stand for the name of -k's socket, once, in the last part, and no \
             other '%'"
        ));
    }
    let (length, limit) = (bytes.len() - PLACEHOLDER.len(), socket::MAX_PATH - ROOM);
    if length > limit {
        return Err(format!(
            "the socket path '{shown}' leaves no room for what '%s' stands for: the rest has {length} bytes, the limit is \
             {limit}"
        ));
    }
    Ok(path)
}

/// The path of the control socket of a helper that listens at `socket`, and whether helpers share its directory: then each
/// has a name of its own there.
pub fn control_of(path: &Path, socket: &Path) -> (PathBuf, bool) {
    let bytes = path.as_os_str().as_bytes();
    let place = bytes.windows(PLACEHOLDER.len()).position(|window| window == PLACEHOLDER);
    let Some(place) = place else { return (path.to_owned(), false) };
    let parts: Vec<&[u8]> = socket.iter().map(OsStrExt::as_bytes).filter(|part| *part != b"/").collect();
    let name = parts.join(&b'-');
    // The end tells more than the beginning, which is the same for all.
    let room = socket::MAX_PATH.saturating_sub(bytes.len() - PLACEHOLDER.len());
    let name = &name[name.len().saturating_sub(room)..];
    let path = [&bytes[..place], name, &bytes[place + PLACEHOLDER.len()..]].concat();
    (PathBuf::from(OsString::from_vec(path)), true)
}

/// A user by name, or by number where no user has that name.
#[expect(clippy::needless_pass_by_value, reason = "clap hands values over")]
pub fn user(name: OsString) -> Result<User, String> {
    let shown = name.display();
    match named_or_numbered(&name, users::user_id) {
        Ok(Some(id)) => Ok(User(id)),
        Ok(None) => Err(format!("invalid user '{shown}': neither a user's name nor a number below 4294967294")),
        Err(error) => Err(format!("cannot look up the user '{shown}': {error}; give its number instead")),
    }
}

/// A group by name, or by number where no group has that name.
#[expect(clippy::needless_pass_by_value, reason = "clap hands values over")]
pub fn group(name: OsString) -> Result<Group, String> {
    let shown = name.display();
    match named_or_numbered(&name, users::group_id) {
        Ok(Some(id)) => Ok(Group(id)),
        Ok(None) => Err(format!("invalid group '{shown}': neither a group's name nor a number below 4294967294")),
        Err(error) => Err(format!("cannot look up the group '{shown}': {error}; give its number instead")),
    }
}

fn named_or_numbered(name: &OsStr, look_up: fn(&std::ffi::CStr) -> io::Result<Option<u32>>) -> io::Result<Option<u32>> {
    let by_name = CString::new(name.to_owned().into_vec()).ok().filter(|name| !name.is_empty());
    let found = by_name.map_or(Ok(None), |name| look_up(&name));
    // What strtoul takes: blanks and a plus sign in front. The two highest numbers mean "none" to the kernel and
    // to setresuid; taking one of them would leave the program running as root.
    let number = || name.to_str()?.trim_start().parse().ok().filter(|id| *id < u32::MAX - 1);
    match found {
        Ok(Some(id)) => Ok(Some(id)),
        // A number needs no database.
        found => number().map_or(found, |id| Ok(Some(id))),
    }
}

/// File permissions, octal.
pub fn mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| format!("'{text}' is not a file mode; give three octal digits, 660 for example"))
}

/// How many clients to serve at a time.
pub fn connections(text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|number| (1..=1_000_000).contains(number))
        .ok_or_else(|| format!("'{text}' is not a number of connections between 1 and 1000000"))
}

/// A time in seconds, with a fraction if need be.
pub fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|seconds| (0.001..=86400.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("'{text}' is not a time in seconds between 0.001 and 86400"))
}
