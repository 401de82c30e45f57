//! User Mode Linux: a kernel as a process of this host, without any translation. It takes a tenth of the time that an
//! emulated machine takes, and has one processor and no Landlock.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use pr_dev::packages;
use rustix::fs::{StatVfsMountFlags, statvfs};

use crate::kernel::Kernel;
use crate::machine::Start;

/// The loader that Debian's program asks for: the host's own, which may be too old for it.
const LOADER: &[u8] = b"/lib64/ld-linux-x86-64.so.2\0";

/// Its own one, in the working directory. The loader cannot be given the program as an argument instead: the kernel would
/// find its heap behind the loader and take all addresses up to there for memory.
const OWN_LOADER: &[u8] = b"./ld-linux-x86-64.so.2\0";

/// Where its package has its C library.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Where it keeps the machine's memory, unless told otherwise.
const SHARED_MEMORY: &str = "/dev/shm";

/// Finds the unpacked kernel, fetching it first if need be.
pub fn unpack() -> Result<Kernel> {
    let packages = packages::unpack_user_mode_linux()?;
    let program = packages.join(LIBRARIES).join("linux");
    if !fs::exists(&program)? {
        let mut content = fs::read(packages.join("usr/bin/linux.uml"))?;
        let at = content.windows(LOADER.len()).position(|bytes| bytes == LOADER);
        let at = at.context("the program of user-mode-linux names no loader")?;
        content[at..at + OWN_LOADER.len()].copy_from_slice(OWN_LOADER);
        let unfinished = program.with_extension(std::process::id().to_string());
        fs::write(&unfinished, content)?;
        fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o755))?;
        fs::rename(unfinished, &program)?;
    }
    Kernel::read(&packages.join("usr/lib/uml/modules"), program)
}

/// Its command line. The driver program's line is standard output, the kernel's console standard error.
pub fn command(start: &Start<'_>) -> Result<Command> {
    let folder = start.kernel.image.parent().context("a program in no directory")?;
    let scratch = scratch(start.console);
    fs::create_dir_all(&scratch)?;
    // Whoever ends this program, by whatever signal, ends the machine with it. The libraries are for that alone.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "env"]);
    command.arg(argument("LD_LIBRARY_PATH=", &fs::canonicalize(folder)?)).arg("./linux");
    command.arg(format!("mem={}M", start.memory()));
    command.arg(argument("initrd=", &fs::canonicalize(start.image)?));
    command.arg(argument("uml_dir=", &fs::canonicalize(&scratch)?));
    for (number, disk) in start.disks.iter().enumerate() {
        let content = fs::canonicalize(&disk.path)?;
        if start.kind.installs_package() {
            // What is written goes to a file of its own, which goes with the machine.
            let file = fs::canonicalize(&scratch)?.join(format!("written{number}"));
            let mut written = argument(&format!("ubd{number}="), &file);
            written.push(",");
            written.push(content);
            command.arg(written);
        } else {
            // Whoever uses it writes elsewhere.
            command.arg(argument(&format!("ubd{number}r="), &content));
        }
    }
    // The first serial line and the console; there is nothing else.
    command.args(["ssl0=null,fd:1", "ssl=null", "con0=null,fd:2", "con=null", "console=tty0"]);
    // Programs in it run under a seccomp filter, which is faster than ptrace, where the host has that.
    command.args(["seccomp=auto", "noreboot", "panic=-1", "loglevel=4"]);
    if start.kind.is_distribution() {
        // As in Debian's other kernels.
        command.arg("security=apparmor");
    }
    command.arg(start.argument());
    command.current_dir(folder);
    // All machines of a bed keep theirs there.
    if !holds(Path::new(SHARED_MEMORY), start.memory() * start.beside) {
        command.env("TMPDIR", fs::canonicalize(&scratch)?);
    }
    Ok(command)
}

/// Its own directory, beside the file that has its console.
fn scratch(console: &Path) -> PathBuf {
    console.with_extension("uml")
}

/// Removes what it leaves there.
pub fn clean_up(console: &Path) -> Result<()> {
    let scratch = scratch(console);
    if fs::exists(&scratch)? {
        fs::remove_dir_all(scratch)?;
    }
    Ok(())
}

fn argument(name: &str, path: &Path) -> OsString {
    let mut argument = OsString::from(name);
    argument.push(path);
    argument
}

/// Whether a file system has room for a machine's memory and lets programs be run from it. Container engines give
/// /dev/shm 64 MB, and may mount it `noexec`.
fn holds(file_system: &Path, megabytes: usize) -> bool {
    statvfs(file_system).is_ok_and(|is| {
        let free = is.f_bavail.saturating_mul(is.f_frsize) >> 20;
        free >= megabytes as u64 && !is.f_flag.contains(StatVfsMountFlags::NOEXEC)
    })
}
