//! What each process may ask of the kernel.

use libc::c_long;

use crate::sys::{
    dm,
    sg_io::{SG_GET_VERSION_NUM, SG_IO},
};

/// Who is confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// The one that serves clients.
    Daemon,
    /// The one that looks names up.
    Names,
    /// The ones that carry out what multipath needs.
    Broker,
}

/// What an argument of a system call has to be.
#[derive(Clone, Copy)]
pub enum Argument {
    /// This value.
    Is(u8, u64),
    /// All of these bits set.
    Has(u8, u64),
    /// None of these bits set.
    Lacks(u8, u64),
    /// Under this mask, this value.
    Bits(u8, u64, u64),
}

use Argument::{Bits, Has, Is, Lacks};

/// A system call and the forms of it that are allowed; all where there are none.
pub type Call = (c_long, &'static [&'static [Argument]]);

const ANY: &[&[Argument]] = &[];

/// What every Rust program with a heap does. No memory becomes code.
const RUNTIME: &[Call] = &[
    (libc::SYS_mmap, &[&[Lacks(2, libc::PROT_EXEC as u64)]]),
    (libc::SYS_mprotect, &[&[Lacks(2, libc::PROT_EXEC as u64)]]),
    (libc::SYS_mremap, ANY),
    (libc::SYS_munmap, ANY),
    (libc::SYS_madvise, ANY),
    (libc::SYS_brk, ANY),
    (libc::SYS_futex, ANY),
    (libc::SYS_getrandom, ANY),
    (libc::SYS_clock_gettime, ANY),
    (libc::SYS_clock_nanosleep, ANY),
    (libc::SYS_nanosleep, ANY),
    (libc::SYS_restart_syscall, ANY),
    (libc::SYS_rt_sigreturn, ANY),
    (libc::SYS_rt_sigprocmask, ANY),
    (libc::SYS_sigaltstack, ANY),
    (libc::SYS_sched_yield, ANY),
    (libc::SYS_gettid, ANY),
    (libc::SYS_getpid, ANY),
    (libc::SYS_exit, ANY),
    (libc::SYS_exit_group, ANY),
    // Descriptors that are there already.
    (libc::SYS_read, ANY),
    (libc::SYS_write, ANY),
    (libc::SYS_writev, ANY),
    (libc::SYS_close, ANY),
    (libc::SYS_fstat, ANY),
    (libc::SYS_ppoll, ANY),
    (libc::SYS_recvfrom, ANY),
    (libc::SYS_recvmsg, ANY),
    (libc::SYS_sendto, ANY),
    (libc::SYS_sendmsg, ANY),
    (libc::SYS_fcntl, ANY),
];

#[cfg(target_arch = "x86_64")]
const RUNTIME_HERE: &[Call] = &[(libc::SYS_poll, ANY)];
#[cfg(not(target_arch = "x86_64"))]
const RUNTIME_HERE: &[Call] = &[];

/// What a thread needs to start another one, and no more than that: not another process.
const THREAD: u64 = (libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND) as u64;

/// Serving clients.
const DAEMON: &[Call] = &[
    // The one thing that it is for. The second asks a descriptor whether it is a SCSI device (--simulate).
    (libc::SYS_ioctl, &[&[Is(1, SG_IO)], &[Is(1, SG_GET_VERSION_NUM)]]),
    (libc::SYS_accept4, ANY),
    (libc::SYS_shutdown, ANY),
    (libc::SYS_getsockopt, ANY),
    (libc::SYS_setsockopt, ANY),
    (libc::SYS_pipe2, ANY),
    (libc::SYS_epoll_create1, ANY),
    (libc::SYS_epoll_ctl, ANY),
    (libc::SYS_epoll_pwait, ANY),
    (libc::SYS_eventfd2, ANY),
    (libc::SYS_signalfd4, ANY),
    (libc::SYS_getuid, ANY),
    // Threads of the crew. What clone3 is asked for cannot be seen from here, so it does not exist (see `apply`).
    (libc::SYS_clone, &[&[Has(0, THREAD)]]),
    (libc::SYS_clone3, ANY),
    // The two signals that glibc keeps for itself, with the first thread; no other handler is ever changed.
    (libc::SYS_rt_sigaction, &[&[Is(0, 32)], &[Is(0, 33)]]),
    (libc::SYS_set_robust_list, ANY),
    (libc::SYS_rseq, ANY),
    (libc::SYS_sched_getaffinity, ANY),
    (libc::SYS_prctl, &[&[Is(0, libc::PR_SET_NAME as u64)], &[Is(0, libc::PR_SET_VMA as u64)]]),
    // The socket, the control socket and the pidfile go at the end; Landlock holds this to their folders.
    (libc::SYS_statx, ANY),
    (libc::SYS_newfstatat, ANY),
    (libc::SYS_unlinkat, ANY),
    (libc::SYS_ftruncate, ANY),
    // A daemon lets go of its terminal when it is up.
    (libc::SYS_dup3, ANY),
];

#[cfg(target_arch = "x86_64")]
const DAEMON_HERE: &[Call] = &[(libc::SYS_epoll_wait, ANY), (libc::SYS_unlink, ANY), (libc::SYS_dup2, ANY)];
#[cfg(not(target_arch = "x86_64"))]
const DAEMON_HERE: &[Call] = &[];

/// Reading small files.
const NAMES: &[Call] = &[
    // For reading: neither of the other access modes, nothing made, nothing cut off.
    (libc::SYS_openat, &[&[Lacks(2, (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) as u64)]]),
    (libc::SYS_readlinkat, ANY),
    (libc::SYS_statx, ANY),
    (libc::SYS_newfstatat, ANY),
    (libc::SYS_lseek, ANY),
    (libc::SYS_getdents64, ANY),
];

/// The broker: a guard, a keeper, and a worker with its threads for each map.
const BROKER: &[Call] = &[
    // Commands on the paths of a map; and what device-mapper does with the map.
    (
        libc::SYS_ioctl,
        &[
            &[Is(1, SG_IO)],
            &[Is(1, dm::DM_TABLE_STATUS)],
            &[Is(1, dm::DM_DEV_SUSPEND)],
            &[Is(1, dm::DM_TARGET_MSG)],
            &[Is(1, dm::DM_DEV_ARM_POLL)],
        ],
    ),
    // multipathd, and the workers.
    (libc::SYS_socket, &[&[Is(0, libc::AF_UNIX as u64)]]),
    (libc::SYS_socketpair, &[&[Is(0, libc::AF_UNIX as u64)]]),
    (libc::SYS_connect, ANY),
    (libc::SYS_setsockopt, ANY),
    // Paths, what sysfs has of them, and a lock for each map. Landlock says where.
    (libc::SYS_openat, &[&[Lacks(2, libc::O_TRUNC as u64)]]),
    (libc::SYS_mkdirat, ANY),
    (libc::SYS_flock, ANY),
    (libc::SYS_readlinkat, ANY),
    (libc::SYS_statx, ANY),
    (libc::SYS_newfstatat, ANY),
    (libc::SYS_getdents64, ANY),
    (libc::SYS_lseek, ANY),
    (libc::SYS_getcwd, ANY),
    // A worker for each map, its threads, and the end of either.
    (libc::SYS_clone, &[&[Has(0, THREAD)], &[Bits(0, NAME_SPACES, 0)]]),
    (libc::SYS_clone3, ANY),
    (libc::SYS_wait4, ANY),
    (libc::SYS_waitid, ANY),
    (libc::SYS_pidfd_open, ANY),
    (libc::SYS_kill, &[&[Is(1, libc::SIGKILL as u64)]]),
    (libc::SYS_tgkill, &[&[Is(2, libc::SIGUSR2 as u64)]]),
    (libc::SYS_close_range, ANY),
    (libc::SYS_set_robust_list, ANY),
    (libc::SYS_rseq, ANY),
    (libc::SYS_sched_getaffinity, ANY),
    // Those that glibc keeps for itself, and the one that ends a call which takes too long.
    (libc::SYS_rt_sigaction, &[&[Is(0, 32)], &[Is(0, 33)], &[Is(0, libc::SIGUSR2 as u64)]]),
    (
        libc::SYS_prctl,
        &[
            &[Is(0, libc::PR_SET_NAME as u64)],
            &[Is(0, libc::PR_SET_VMA as u64)],
            &[Is(0, libc::PR_SET_PDEATHSIG as u64)],
            &[Is(0, libc::PR_SET_CHILD_SUBREAPER as u64)],
        ],
    ),
    (libc::SYS_geteuid, ANY),
    (libc::SYS_getppid, ANY),
];

/// A child in another name space would be another world.
const NAME_SPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u64;

#[cfg(target_arch = "x86_64")]
const BROKER_HERE: &[Call] = &[(libc::SYS_readlink, ANY), (libc::SYS_lstat, ANY)];
#[cfg(not(target_arch = "x86_64"))]
const BROKER_HERE: &[Call] = &[];

#[cfg(target_arch = "x86_64")]
const NAMES_HERE: &[Call] = &[(libc::SYS_readlink, ANY), (libc::SYS_lstat, ANY)];
#[cfg(not(target_arch = "x86_64"))]
const NAMES_HERE: &[Call] = &[];

/// The system calls that a process may make.
pub fn calls(process: Process) -> impl Iterator<Item = Call> {
    let own = match process {
        Process::Daemon => [DAEMON, DAEMON_HERE],
        Process::Names => [NAMES, NAMES_HERE],
        Process::Broker => [BROKER, BROKER_HERE],
    };
    [RUNTIME, RUNTIME_HERE].into_iter().chain(own).flatten().copied()
}
