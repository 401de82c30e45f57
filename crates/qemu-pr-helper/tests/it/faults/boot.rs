//! Boot, with a system call that fails.

use std::time::Duration;

use libc::{EINTR, ENOMEM, EPERM};
use pr_lab::{Call, Fault, Faults, plausible, prelude::*};
use rustix::process::Signal;

use crate::faults::stage::{Processes, Stage, all, served};

/// How a start went.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Went {
    /// It served, with everything.
    Served,
    /// It ended with this status and these words, and left nothing.
    Ended(i32, String),
    /// It did what it must not do.
    Wrong(String),
    /// The call was never made.
    Unmoved,
}

/// What may fail, and the start goes on as if nothing had happened: it was of no use, or there is another way.
const TOLERABLE: &[(&str, &str, &str)] = &[
    ("access", "/etc/ld.so.preload", "the loader: nothing is preloaded"),
    ("openat", "/etc/ld.so.cache", "the loader looks into the folders"),
    ("newfstatat", "/etc/ld.so.cache", "the loader looks into the folders"),
    ("mmap", "", "the loader, or the allocator: there is another way"),
    ("madvise", "", "memory that is of no use any more stays"),
    ("munmap", "", "the loader: memory that nobody uses"),
    ("brk", "", "the allocator maps memory instead"),
    ("openat", "/lib", "the loader looks into the next folder"),
    ("openat", "/proc/self/maps", "where the stack ends, for a message when it overflows"),
    ("newfstatat", "/proc/", "where the stack ends, for a message when it overflows"),
    ("read", "/proc/", "where the stack ends, for a message when it overflows"),
    ("sched_getaffinity", "", "where the stack ends, for a message when it overflows"),
    ("getrandom", "", "the C library's, for its heap, and names of hash tables' slots: there is another way"),
    ("prlimit64", "", "the loader asks for the size of the stack"),
    ("socket", "", "the C library asks the name service cache, and then looks itself"),
    ("connect", "/var/run/nscd/socket", "the C library asks the name service cache, and then looks itself"),
    ("newfstatat", "/", "the C library: has the name service switch changed?"),
    ("newfstatat", "/etc/nsswitch.conf", "the C library: has the name service switch changed?"),
    ("openat", "/etc/nsswitch.conf", "the C library: files it is"),
    ("read", "/etc/nsswitch.conf", "the C library: files it is"),
    ("newfstatat", "/etc/passwd", "the C library: a buffer's size"),
    ("newfstatat", "/etc/group", "the C library: a buffer's size"),
    ("lseek", "/etc/", "the C library: it is at the start anyway"),
    ("statx", "/settings", "a buffer's size"),
    ("landlock_create_ruleset", "", "a kernel without Landlock: the filters are what there is"),
    ("close_range", "", "an older kernel: one by one"),
    ("openat", "/proc/self/task", "before a fork"),
    ("newfstatat", "/proc/self/task", "the size of a buffer"),
    ("read", "anon_inode:[signalfd]", "looked at again"),
    ("dup2", "descriptor 2", "a daemon that serves goes on with the terminal it was started on"),
    ("accept4", "", "tried again after a second"),
    ("epoll_pwait", "", "waits again"),
];

/// The same of the broker, once it is ready: what fails there is tried again, or is missed by nobody as long as nothing
/// else goes wrong. To other helpers of the host it is not known then, nor kept from using a map while they do, which is
/// said with the first command on one; what dead helpers have left is not seen.
fn is_tolerable_of_the_broker(call: &Call, file: &str) -> bool {
    const LOCKS: &str = "/run/qemu-pr-broker";
    const BROKERS: &str = "/run/qemu-pr-broker/brokers";
    let of_a_map = |file: &str| file.starts_with("map-");
    match (call.name(), file) {
        // Workers whose keeper has died are buried by another process.
        ("prctl", _) => call.arguments[0] == PR_SET_CHILD_SUBREAPER,
        ("getdents64", file) => file.ends_with("/task") || file == LOCKS,
        ("openat" | "mkdirat", file) => matches!(file, "/run" | LOCKS | "qemu-pr-broker" | "brokers") || of_a_map(file),
        ("fstat", file) => file == LOCKS,
        ("flock" | "fcntl", file) => file == BROKERS,
        ("statx" | "lseek" | "read" | "pread64" | "write", file) => {
            file == BROKERS || file.strip_prefix(LOCKS).and_then(|file| file.strip_prefix('/')).is_some_and(of_a_map)
        }
        // The guard counts its threads, starts a keeper and waits for it, each again if need be. A keeper that does not
        // know its guard does not see it die.
        (call, _) => matches!(call, "clone" | "wait4" | "getppid" | "pidfd_open"),
    }
}

/// `<linux/prctl.h>`.
const PR_SET_CHILD_SUBREAPER: u64 = 36;

fn is_tolerable(Fault { call, errno }: &Fault, daemon: &str) -> bool {
    // Nobody knows then whether there is Landlock, and what is promised where it is must not be left out.
    if call.name() == "landlock_create_ruleset" && *errno == EPERM {
        return false;
    }
    let file = call.file.as_deref().unwrap_or_default();
    // Those that the daemon has started have longer names than it has.
    if call.process.len() > daemon.len() && is_tolerable_of_the_broker(call, file) {
        return true;
    }
    TOLERABLE.iter().any(|(name, about, _)| *name == call.name() && file.contains(about))
}

/// What the standard library says when a new thread has no room for a signal stack. It ends the program then.
const NO_SIGNAL_STACK: [&str; 3] = ["alternative stack", "failed to initiate panic", "fatal runtime error"];

fn start_with(fault: &Fault, daemon: bool, promised: &Processes) -> Went {
    let stage = Stage::new(daemon);
    let faults = Faults::from_start(fault.clone());
    let helper = stage.launch(&faults).spawn();
    let ended = || stage.is_over(&helper);
    let decided = within(PATIENCE, || ended() || (stage.socket().exists() && faults.has_failed()));
    if !decided && !faults.has_failed() {
        return Went::Unmoved;
    }
    if !decided {
        return Went::Wrong(format!("it hangs, saying {:?}", helper.stderr()));
    }
    if !within(PATIENCE, || ended() || stage.processes(&helper) == *promised) {
        let processes = stage.processes(&helper);
        return Went::Wrong(format!("it serves with less than promised: {processes:#?}, saying {:?}", helper.stderr()));
    }
    // It listens before its walls are up, so that a start can still fail under the first client's hands.
    if !ended()
        && let Err(wrong) = served(&stage, &helper)
        && !within(PATIENCE, ended)
    {
        return Went::Wrong(wrong);
    }
    let said_to_end = !ended();
    stage.end(&helper, Signal::TERM);
    if !within(PATIENCE, ended) {
        return Went::Wrong("it does not end".to_owned());
    }
    let code = helper.finish();
    let gone = within(PATIENCE, || stage.bed().processes().iter().all(|process| !process.is_alive()));
    let left = stage.left();
    match (gone, left.is_empty(), code.code()) {
        (true, true, 0) if said_to_end => Went::Served,
        (true, true, code_) => Went::Ended(code_, code.stderr),
        _ => Went::Wrong(format!("it ended and left {left:?} (processes: {}), saying {:?}", !gone, code.stderr)),
    }
}

/// Why this is not how it should have gone.
fn complaint(fault: &Fault, daemon: &str, is_ours: bool, went: &Went) -> Option<String> {
    let is_interruption = fault.errno == EINTR;
    match went {
        Went::Served if is_interruption || is_tolerable(fault, daemon) => None,
        Went::Served => Some("it goes on as if nothing had happened".to_owned()),
        // However it ends: the sandbox knows nothing of how the standard library aborts.
        Went::Ended(code, said)
            if *code != 0 && fault.errno == ENOMEM && NO_SIGNAL_STACK.iter().any(|text| said.contains(text)) =>
        {
            None
        }
        Went::Ended(code, said) if is_ours => {
            let mut lines = said.lines().filter(|line| !line.contains("--help' for more information"));
            let is_told = matches!((lines.next(), lines.next()), (Some(line), None)
                if line.starts_with("qemu-pr-helper: ") && !line.contains("internal error"));
            let is_orderly = *code == 1 && is_told && !is_interruption;
            (!is_orderly).then(|| format!("it ended with {code}, saying {said:?}"))
        }
        // Not ours yet: the loader, and the runtime.
        Went::Ended(code, _) => (*code == 0).then(|| "it ended with success".to_owned()),
        Went::Wrong(wrong) if fault.errno == ENOMEM && NO_SIGNAL_STACK.iter().any(|text| wrong.contains(text)) => None,
        Went::Wrong(wrong) => Some(wrong.clone()),
        Went::Unmoved => None,
    }
}

fn every_call_fails_once(daemon: bool, is_wanted: impl Fn(&Call) -> bool + Sync) {
    let (calls, promised) = recorded(daemon);
    let first = if daemon { "0" } else { "" };
    let main = calls.iter().position(|call| call.name() == "rt_sigprocmask").expect("the program's first call");
    let faults: Vec<(bool, Fault)> = calls
        .into_iter()
        .enumerate()
        .filter(|(_, call)| is_wanted(call))
        .flat_map(|(at, call)| {
            let errnos = plausible(&call, first);
            errnos.iter().map(move |errno| (at > main, Fault { errno: *errno, call: call.clone() }))
        })
        .collect();
    let total = faults.len();
    let results = all(faults, |(is_ours, fault)| {
        // Threads take turns as they like: now and then a call is made one time less.
        let went = (0..3).map(|_| start_with(&fault, daemon, &promised)).find(|went| *went != Went::Unmoved);
        let went = went.unwrap_or(Went::Unmoved);
        let complaint =
            complaint(&fault, first, is_ours, &went).map(|wrong| format!("{} = {}: {wrong}", fault.call, fault.errno));
        (went, complaint)
    });
    let count = |is_it: fn(&Went) -> bool| results.iter().filter(|(went, _)| is_it(went)).count();
    let (served, ended) = (count(|went| *went == Went::Served), count(|went| matches!(went, Went::Ended(..))));
    let unmoved = count(|went| *went == Went::Unmoved);
    println!("{total} faults: {served} starts served, {ended} ended, {unmoved} never came to it");
    let complaints: Vec<String> = results.into_iter().filter_map(|(_, complaint)| complaint).collect();
    assert!(complaints.is_empty(), "{} of {total}:\n{}", complaints.len(), complaints.join("\n"));
    assert!(unmoved * 20 <= total, "{unmoved} of {total} calls were not made again");
    assert!(ended > 0, "nothing fails");
}

/// Every call of a start, and what the helper's processes are when nothing has failed.
fn recorded(daemon: bool) -> (Vec<Call>, Processes) {
    let stage = Stage::new(daemon);
    let faults = Faults::recorded();
    let helper = stage.launch(&faults).spawn();
    eventually("its socket is there", || stage.socket().exists());
    let mut last = 0;
    eventually("it is idle", || {
        std::thread::sleep(Duration::from_millis(100));
        std::mem::replace(&mut last, faults.count()) == faults.count()
    });
    faults.end();
    served(&stage, &helper).expect("it serves when nothing fails");
    let promised = stage.processes(&helper);
    stage.end(&helper, Signal::TERM);
    (faults.calls(), promised)
}

#[test]
fn a_call_of_the_daemons_start_fails() {
    every_call_fails_once(false, |call| call.process.is_empty());
}

#[test]
fn a_call_of_its_companions_start_fails() {
    every_call_fails_once(false, |call| !call.process.is_empty());
}

#[test]
fn a_call_on_the_way_to_the_background_fails() {
    let calls = ["pipe2", "clone", "chdir", "dup2", "dup3", "openat", "read", "write", "wait4"];
    every_call_fails_once(true, |call| {
        let file = call.file.as_deref().unwrap_or_default();
        let is_about_it = ["", "/dev/null"].contains(&file) || file.starts_with("pipe:") || file.starts_with("desc");
        ["", "0"].contains(&call.process.as_str()) && calls.contains(&call.name()) && is_about_it
    });
}
