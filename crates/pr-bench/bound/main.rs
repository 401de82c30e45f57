//! The lower bound of `cargo xtask bench`: the smallest server that speaks the protocol, `bench-bound -k PATH`.
//!
//! One thread, one level-triggered epoll set, and for each request the system calls that nobody can do without:
//! `epoll_wait`, `recvmsg`, for a PERSISTENT RESERVE OUT `recv`, `ioctl`, `close`, `sendmsg`. It is no helper: one
//! dead disk or one client that stops in the middle stops everyone, nobody's rights are looked at, and it keeps what
//! rights it was started with.
#![forbid(unsafe_code)]

mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let path = arguments.next().filter(|option| option == "-k").and_then(|_| arguments.next());
    let Some(path) = path.map(PathBuf::from) else {
        eprintln!("bench-bound: the socket is missing; try 'bench-bound -k PATH'");
        return ExitCode::FAILURE;
    };
    match serve::serve(&path) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("bench-bound: cannot serve on {}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}
