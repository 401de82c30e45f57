//! Attempts from inside: this test starts itself once for each of them, and enters the sandbox before it makes it.

use std::{
    env,
    ffi::CString,
    fs::{self, File},
    os::{
        fd::AsFd as _,
        unix::{ffi::OsStrExt, fs::DirBuilderExt as _},
    },
    path::Path,
    process::{Command, Output},
    thread,
};

use pr_lab::{PATH, attempt};
use rustix::fs::{AtFlags, CWD, unlinkat};

use super::*;

/// What starts a thread.
const THREAD: i32 = libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND;

const VARIABLE: &str = "QEMU_PR_HELPER_ATTEMPT";

/// What an attacker could try who executes code in a process: the system call, and its arguments.
const ATTEMPTS: [(&str, libc::c_long, [i64; 6]); 32] = [
    ("openat", libc::SYS_openat, [libc::AT_FDCWD as i64, PATH, libc::O_RDWR as i64, 0, 0, 0]),
    ("openat", libc::SYS_openat, [libc::AT_FDCWD as i64, PATH, (libc::O_CREAT | libc::O_WRONLY) as i64, 0o600, 0, 0]),
    ("openat2", libc::SYS_openat2, [libc::AT_FDCWD as i64, PATH, 0, 0, 0, 0]),
    ("memfd_create", libc::SYS_memfd_create, [PATH, 0, 0, 0, 0, 0]),
    ("renameat2", libc::SYS_renameat2, [libc::AT_FDCWD as i64, PATH, libc::AT_FDCWD as i64, PATH, 0, 0]),
    ("linkat", libc::SYS_linkat, [libc::AT_FDCWD as i64, PATH, libc::AT_FDCWD as i64, PATH, 0, 0]),
    ("fchmodat", libc::SYS_fchmodat, [libc::AT_FDCWD as i64, PATH, 0o777, 0, 0, 0]),
    ("socket", libc::SYS_socket, [libc::AF_INET as i64, libc::SOCK_STREAM as i64, 0, 0, 0, 0]),
    ("socket", libc::SYS_socket, [libc::AF_UNIX as i64, libc::SOCK_STREAM as i64, 0, 0, 0, 0]),
    ("connect", libc::SYS_connect, [0, 0, 0, 0, 0, 0]),
    ("bind", libc::SYS_bind, [0, 0, 0, 0, 0, 0]),
    ("execve", libc::SYS_execve, [PATH, 0, 0, 0, 0, 0]),
    ("execveat", libc::SYS_execveat, [libc::AT_FDCWD as i64, PATH, 0, 0, 0, 0]),
    ("clone", libc::SYS_clone, [libc::SIGCHLD as i64, 0, 0, 0, 0, 0]),
    ("clone", libc::SYS_clone, [(libc::SIGCHLD | libc::CLONE_NEWUSER) as i64, 0, 0, 0, 0, 0]),
    // A thread has no parent but its process', and the kernel gives it no user namespace either: what matters is that the filter denies it.
    ("clone", libc::SYS_clone, [(THREAD | libc::CLONE_NEWUSER) as i64, 0, 0, 0, 0, 0]),
    ("clone", libc::SYS_clone, [(libc::SIGCHLD | libc::CLONE_PARENT) as i64, 0, 0, 0, 0, 0]),
    ("clone", libc::SYS_clone, [(THREAD | libc::CLONE_NEWPID) as i64, 0, 0, 0, 0, 0]),
    ("unshare", libc::SYS_unshare, [libc::CLONE_NEWNS as i64, 0, 0, 0, 0, 0]),
    ("setns", libc::SYS_setns, [0, 0, 0, 0, 0, 0]),
    ("mount", libc::SYS_mount, [PATH, PATH, PATH, 0, 0, 0]),
    ("ptrace", libc::SYS_ptrace, [libc::PTRACE_TRACEME as i64, 0, 0, 0, 0, 0]),
    ("process_vm_writev", libc::SYS_process_vm_writev, [1, 0, 0, 0, 0, 0]),
    // FIONREAD on a pipe or a file would do no harm: any number but those on the list is too many.
    ("ioctl", libc::SYS_ioctl, [0, 0x541b, 0, 0, 0, 0]),
    ("mmap", libc::SYS_mmap, [0, 4096, 5, (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as i64, -1, 0]),
    ("kill", libc::SYS_kill, [1, 0, 0, 0, 0, 0]),
    ("setresuid", libc::SYS_setresuid, [0, 0, 0, 0, 0, 0]),
    ("rt_sigaction", libc::SYS_rt_sigaction, [libc::SIGSYS as i64, 0, 0, 8, 0, 0]),
    ("seccomp", libc::SYS_seccomp, [0, 0, 0, 0, 0, 0]),
    ("bpf", libc::SYS_bpf, [0, 0, 0, 0, 0, 0]),
    ("io_uring_setup", libc::SYS_io_uring_setup, [1, 0, 0, 0, 0, 0]),
    ("add_key", libc::SYS_add_key, [PATH, PATH, 0, 0, 0, 0]),
];

#[test]
fn attempts_from_inside_are_stopped_and_named() {
    if let Ok(what) = env::var(VARIABLE) {
        return inside(&what);
    }
    for who in ["daemon", "resolver", "cleanup"] {
        for (index, (call, ..)) in ATTEMPTS.iter().enumerate() {
            let output = start(&format!("{who} {index}"));
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(159), "{who}, attempt {index}, {call}: {output:?}");
            assert!(said.contains(&format!("({call}) is not allowed")), "{who}, attempt {index}, {call}: {said}");
        }
    }
    for (index, (call, _, arguments)) in ATTEMPTS.iter().enumerate() {
        // Files, multipathd and workers are its business; what these may be is another matter.
        let is_its_business = match *call {
            "openat" | "connect" => true,
            "clone" => arguments[0] == i64::from(libc::SIGCHLD),
            "socket" => arguments[0] == i64::from(libc::AF_UNIX),
            _ => false,
        };
        if is_its_business {
            continue;
        }
        let output = start(&format!("broker {index}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(159), "broker, attempt {index}, {call}: {output:?}");
        assert!(said.contains(&format!("({call}) is not allowed")), "broker, attempt {index}, {call}: {said}");
    }
    for who in ["daemon", "resolver", "cleanup", "broker"] {
        // That takes a system call which is on no list: the message is not to blame the list.
        let output = start(&format!("{who} abort"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(134), "{who}: {output:?}");
        assert!(said.contains("this process aborts") && !said.contains("not allowed"), "{who}: {said}");
    }
    for allowed in [
        "daemon thread",
        "simulator seek",
        "daemon remove",
        "cleanup remove",
        "resolver read",
        "resolver elsewhere",
        "log open",
        "broker reach",
    ] {
        let output = start(allowed);
        assert!(output.status.success(), "{allowed}: {output:?}");
    }
    for made in [LOCK, MADE] {
        let _ = fs::remove_file(made);
    }
    for offset in ["daemon seek", "simulator go"] {
        let output = start(offset);
        assert_eq!(output.status.code(), Some(159), "{offset}: only where a descriptor stands: {output:?}");
    }
    let output = start("daemon read");
    assert_eq!(output.status.code(), Some(159), "the daemon opens nothing, not even to read: {output:?}");
}

/// What the broker tries to make.
const LOCK: &str = "/run/qemu-pr-broker/.test";
const MADE: &str = "/run/qemu-pr-helper.test";

fn start(what: &str) -> Output {
    let test = "sandbox::tests::attempts_from_inside_are_stopped_and_named";
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(VARIABLE, what).output().unwrap()
}

fn inside(what: &str) {
    let (who, what) = what.split_once(' ').unwrap();
    let root = tempfile::tempdir().unwrap();
    let (mine, other) = (root.path().join("mine"), root.path().join("other"));
    for place in [&mine, &other] {
        fs::create_dir(place).unwrap();
        fs::write(place.join("file"), "").unwrap();
    }
    let (process, sandbox) = match who {
        "daemon" => (Process::Daemon, Sandbox::Enforce),
        "simulator" => (Process::Simulator, Sandbox::Enforce),
        "resolver" => (Process::Resolver, Sandbox::Enforce),
        "cleanup" => (Process::Cleanup, Sandbox::Enforce),
        "broker" => (Process::Broker, Sandbox::Enforce),
        "log" => (Process::Daemon, Sandbox::Log),
        other => panic!("there is no process {other}"),
    };
    has_landlock();
    if what == "reach" {
        // With the files that are really its own.
        let _ = fs::DirBuilder::new().mode(0o700).create(LOCKS);
        broker(sandbox).unwrap();
        reach(&mine.join("file"));
        std::process::exit(0);
    }
    let directory = File::open(&mine).unwrap();
    let files =
        landlock::Files { removable: &[directory.as_fd()], reachable: &[("/sys", Reach::Read)], ..Default::default() };
    enter(process, sandbox, &files).unwrap();
    match what {
        "thread" => thread::spawn(|| ()).join().unwrap(),
        "open" => drop(File::open("/dev/null").unwrap()),
        "seek" => assert_eq!(rustix::fs::tell(&directory), Ok(0)),
        "go" => drop(rustix::fs::seek(&directory, rustix::fs::SeekFrom::Start(0))),
        "abort" => std::process::abort(),
        "read" => drop(fs::read_dir("/sys/kernel").unwrap()),
        "elsewhere" => assert_eq!(File::open("/etc/passwd").is_ok(), !has_landlock()),
        "remove" => {
            let remove = |directory: &Path| unlinkat(CWD, directory.join("file"), AtFlags::empty());
            assert_eq!(remove(&other).is_ok(), !has_landlock(), "another directory's file");
            remove(&mine).unwrap();
        }
        index => {
            let (_, number, arguments) = ATTEMPTS[index.parse::<usize>().unwrap()];
            let path = CString::new(other.join("file").as_os_str().as_bytes()).unwrap();
            let result = attempt(number, arguments, &path);
            panic!("it came back with {result:?}");
        }
    }
    // What cleans up after a test would be stopped, too.
    std::process::exit(0);
}

/// What the broker can open, and what it cannot: `mine` is in none of its folders.
fn reach(mine: &Path) {
    let open = |path: &Path, writes| File::options().read(true).write(writes).open(path).is_ok();
    for path in ["/sys/class", "/proc/self/status", "/dev", LOCKS] {
        assert!(open(Path::new(path), false), "{path}");
    }
    let make = |path| File::options().create(true).append(true).open(path).is_ok();
    assert!(make(LOCK), "it makes files there");
    let writes_devices = !has_landlock() || !Path::new(MAPPER).exists();
    assert_eq!(open(Path::new("/dev/null"), true), writes_devices);
    for (path, writes) in [
        (Path::new("/etc/passwd"), false),
        (mine, false),
        (Path::new("/proc/self/comm"), true),
        (Path::new("/run"), false),
    ] {
        assert_eq!(open(path, writes), !has_landlock(), "{}", path.display());
    }
    assert_eq!(make(MADE), !has_landlock(), "no file is made in /run");
}

/// Whether this kernel has Landlock: asked for its version, it tells.
fn has_landlock() -> bool {
    const VERSION: i64 = 1;
    // Not on the list of either process; the filter would stop it.
    static THERE: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *THERE.get_or_init(|| attempt(libc::SYS_landlock_create_ruleset, [0, 0, VERSION, 0, 0, 0], c"").is_ok())
}

#[test]
fn security_md_tells_how_many_system_calls_each_process_has() {
    let text = include_str!("../../../../SECURITY.md");
    let row = text.lines().find(|line| line.starts_with("| system calls")).unwrap();
    let told: Vec<&str> = row.trim_matches('|').split('|').skip(1).map(str::trim).collect();
    let counted = [Process::Daemon, Process::Resolver, Process::Broker, Process::Cleanup]
        .map(|process| filter::count(process).to_string());
    // The lists of other architectures lack what only old programs use.
    if cfg!(target_arch = "x86_64") {
        assert_eq!(told[..4], counted);
    }
}
