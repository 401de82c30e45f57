//! What the lists of system calls have on one architecture and not on another.

#[cfg(target_arch = "s390x")]
use super::rule::equals;
use super::{
    bpf::Test,
    rule::{ANY, Call, Process, lacks},
};

/// Calls that some architectures have, by who may make them.
pub struct Calls {
    runtime: &'static [Call],
    daemon: &'static [Call],
    resolver: &'static [Call],
    broker: &'static [Call],
}

impl Calls {
    /// What a process may make of them.
    pub fn of(&'static self, process: Process) -> impl Iterator<Item = &'static Call> {
        let own = match process {
            Process::Daemon | Process::Simulator => self.daemon,
            Process::Resolver => self.resolver,
            // It removes files by the calls that every architecture has.
            Process::Cleanup => &[],
            Process::Broker => self.broker,
        };
        self.runtime.iter().chain(own)
    }
}

/// Which argument of `clone` has the flags: s390x has the stack first.
pub const CLONE_FLAGS: u8 = if cfg!(target_arch = "s390x") { 1 } else { 0 };

/// What `mmap` may be asked for: no memory that is code. On s390x its arguments lie in memory, where a filter does not
/// see them; the kernel itself refuses there, since Linux 6.3 (`pr_sys::sandbox::no_new_code`).
pub const MMAP: &[Test] = if cfg!(target_arch = "s390x") { ANY } else { &[lacks(2, libc::PROT_EXEC)] };

/// Those of this architecture.
#[cfg(any(target_arch = "x86_64", target_arch = "powerpc64"))]
pub const HERE: &[Calls] = &[OLD];
/// Those of this architecture.
#[cfg(target_arch = "s390x")]
pub const HERE: &[Calls] = &[OLD, SOCKETS];
/// There are none on the others.
#[cfg(not(any(target_arch = "x86_64", target_arch = "powerpc64", target_arch = "s390x")))]
pub const HERE: &[Calls] = &[];

/// What the C library calls where the kernel still has it, instead of what has replaced it.
#[cfg(any(target_arch = "x86_64", target_arch = "powerpc64", target_arch = "s390x"))]
const OLD: Calls = Calls {
    runtime: &[(libc::SYS_poll, ANY)],
    daemon: &[(libc::SYS_epoll_wait, ANY), (libc::SYS_dup2, ANY)],
    resolver: &[(libc::SYS_readlink, ANY), (libc::SYS_lstat, ANY)],
    broker: &[(libc::SYS_readlink, ANY), (libc::SYS_lstat, ANY)],
};

/// Sockets have one call, whose first argument says which it is (`<linux/net.h>`): the C library does not use the others,
/// which are newer than the kernels that it is made for. Their arguments lie in memory, where a filter does not see them:
/// what kind of socket the broker makes is its own choice there.
#[cfg(target_arch = "s390x")]
const SOCKETS: Calls = {
    const SOCKET: Test = equals(0, 1);
    const CONNECT: Test = equals(0, 3);
    const SOCKETPAIR: Test = equals(0, 8);
    const SEND: Test = equals(0, 9);
    const RECV: Test = equals(0, 10);
    const SENDTO: Test = equals(0, 11);
    const RECVFROM: Test = equals(0, 12);
    const SHUTDOWN: Test = equals(0, 13);
    const SETSOCKOPT: Test = equals(0, 14);
    const GETSOCKOPT: Test = equals(0, 15);
    const SENDMSG: Test = equals(0, 16);
    const RECVMSG: Test = equals(0, 17);
    const ACCEPT4: Test = equals(0, 18);
    Calls {
        runtime: &[],
        resolver: &[(libc::SYS_socketcall, &[SEND, RECV, SENDTO, RECVFROM, SENDMSG, RECVMSG])],
        daemon: &[(
            libc::SYS_socketcall,
            &[SEND, RECV, SENDTO, RECVFROM, SENDMSG, RECVMSG, ACCEPT4, SHUTDOWN, SETSOCKOPT, GETSOCKOPT],
        )],
        broker: &[(
            libc::SYS_socketcall,
            &[SEND, RECV, SENDTO, RECVFROM, SENDMSG, RECVMSG, SETSOCKOPT, SOCKET, SOCKETPAIR, CONNECT],
        )],
    }
};
