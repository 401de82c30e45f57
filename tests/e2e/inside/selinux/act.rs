//! What is forbidden, tried: each act is denied and logged while SELinux is enforced, and works when it is not.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode};

use anyhow::{Result, bail, ensure};

use super::domain::{self, GUEST};
use super::{CONTROL, SOCKET};
use crate::host::command::{sh, try_sh};
use crate::node::Node;
use crate::report::Report;

/// Somebody who has logged in, and may not do what a guest may.
const USER: &str = "system_u:system_r:user_t:s0";

/// The package's services.
const HELPER: &str = "system_u:system_r:qemu_pr_helper_t:s0";
const BROKER: &str = "system_u:system_r:qemu_pr_broker_t:s0";

/// One act: what it is, who does it, the words for the program that does it, and the class and the permission that are
/// denied.
type Attempt<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str);

/// The exit status of an act that was refused.
const REFUSED: u8 = 13;

/// Tries them all.
pub fn run(report: &mut Report, disk: &Node) -> Result<()> {
    sh(&format!("restorecon -F {}", disk.path().display()))?;
    let connect = format!("connect={SOCKET}");
    let control = format!("connect={CONTROL}");
    let open = format!("open={}", disk.path().display());
    let attempts: &[Attempt<'_>] = &[
        ("a user's program does not connect to QEMU's socket", USER, &connect, "sock_file", "write"),
        ("a guest does not connect to the control socket", GUEST, &control, "sock_file", "write"),
        ("a guest does not connect to the broker", GUEST, "connect-packets", "sock_file", "write"),
        ("a helper does not read /etc/shadow", HELPER, "read=/etc/shadow", "file", "read"),
        ("a helper makes no socket of a network", HELPER, "listen", "tcp_socket", "create"),
        ("a helper does not open a disk", HELPER, &open, "blk_file", "open"),
        ("a helper does not write elsewhere in /run", HELPER, "write=/run/by-a-helper", "dir", "write"),
        ("a helper starts no program", HELPER, "start", "file", "execute_no_trans"),
        ("a broker does not read /etc/shadow", BROKER, "read=/etc/shadow", "file", "read"),
        ("a broker makes no socket of a network", BROKER, "listen", "tcp_socket", "create"),
        ("a broker does not write elsewhere in /run", BROKER, "write=/run/by-a-broker", "dir", "write"),
        ("a broker starts no program", BROKER, "start", "file", "execute_no_trans"),
    ];
    for (name, context, words, class, permission) in attempts {
        report.check(name, || {
            let before = domain::count()?;
            ensure!(!works(context, words)?, "it was not denied");
            let denied = domain::denials(before)?;
            let scontext = format!("scontext={context}");
            let is_this = |line: &String| {
                line.contains(&scontext)
                    && line.contains(&format!("tclass={class} "))
                    && line.split(['{', '}']).nth(1).is_some_and(|all| all.split(' ').any(|it| it == *permission))
            };
            ensure!(denied.iter().any(is_this), "the log has {denied:?}");
            Ok(())
        });
    }
    report.check("each of these works where SELinux is permissive", || {
        sh("setenforce 0")?;
        let tried: Result<Vec<bool>> = attempts.iter().map(|(_, context, words, ..)| works(context, words)).collect();
        sh("setenforce 1")?;
        for ((name, ..), works) in attempts.iter().zip(tried?) {
            ensure!(works, "{name}, and not because of SELinux");
        }
        Ok(())
    });
    Ok(())
}

/// Has a program of a domain do something; whether it was allowed to.
fn works(context: &str, words: &str) -> Result<bool> {
    // A guest as the user whom these sockets belong to: it is not their mode that keeps it away.
    let user =
        if context == GUEST { "setpriv --reuid qemu-pr-helper --regid qemu-pr-helper --clear-groups" } else { "" };
    let command = format!("{user} runcon {context} /usr/local/bin/bed-inside act {words}");
    let (_, printed) = try_sh(&format!("{command}; echo \"status $?\""))?;
    match printed.rsplit("status ").next().and_then(|status| status.trim().parse().ok()) {
        Some(0) => Ok(true),
        Some(REFUSED) => Ok(false),
        _ => bail!("{context} {words}: {printed}"),
    }
}

/// One act, in this process: it works, is refused, or fails in another way.
pub fn act(words: &str) -> ExitCode {
    let (act, on) = words.split_once('=').unwrap_or((words, ""));
    let done = match act {
        "connect" => UnixStream::connect(on).map(drop),
        "connect-packets" => connect_packets(),
        "read" => fs::read(on).map(drop),
        "open" => OpenOptions::new().read(true).open(on).map(drop),
        "write" => File::create(on).map(drop),
        "listen" => TcpListener::bind("127.0.0.1:0").map(drop),
        "start" => Command::new("/proc/self/exe").args(["act", "nothing"]).status().map(drop),
        "nothing" => Ok(()),
        _ => Err(io::Error::from(ErrorKind::InvalidInput)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => ExitCode::from(REFUSED),
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// To the broker's socket, which keeps the bounds of messages.
fn connect_packets() -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket};
    let socket = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None)?;
    Ok(connect(&socket, &SocketAddrUnix::new(super::BROKER_SOCKET)?)?)
}
