//! What the library's codes mean, and what to do about them.

use std::{
    env,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixStream},
    },
};

use scsi_pr::{SENSE_LENGTH, Sense, SenseCode, Status};

use super::{message::Answer, register::failure, session::Session};
use crate::{
    device::outcome,
    sys::sg_io::{self, Transfer},
};

/// multipathd's socket in the abstract namespace, in every release.
const ABSTRACT: &str = "/org/kernel/linux/storage/multipathd";

/// Its socket with a path, since 0.12.
const PATHNAME: &str = "/run/multipathd.socket";

/// The answer for a `MPATH_PR_…` code other than success (`<mpath_persist.h>`).
pub fn explain(session: &Session<'_>, code: i32) -> Answer {
    let check = |code| Answer { status: Status::CHECK_CONDITION, sense: Sense::fixed(code), ..failure(String::new()) };
    match code {
        // The library has thrown the sense data away; perhaps the map still says the same.
        2 => still_wrong(session).unwrap_or_else(|| check(SenseCode::NOT_READY)),
        3 => still_wrong(session).unwrap_or_else(|| check(SenseCode::UNRECOVERED_READ_ERROR)),
        4 => still_wrong(session).unwrap_or_else(|| check(SenseCode::INTERNAL_TARGET_FAILURE)),
        8 => still_wrong(session).unwrap_or_else(|| check(SenseCode::IO_PROCESS_TERMINATED)),
        5 => check(SenseCode::INVALID_FIELD_IN_PARAMETER_LIST),
        6 => check(SenseCode::SCSI_BUS_RESET_OCCURRED),
        7 => check(SenseCode::INVALID_OPERATION_CODE),
        11 => Answer { status: Status::RESERVATION_CONFLICT, sense: Sense::NONE, ..failure(String::new()) },
        1 => failure(
            "multipath.conf has no reservation_key for this map, or another one than the guest's; put 'reservation_key \
             file' into its defaults section and run 'multipathd reconfigure'"
                .to_owned(),
        ),
        13 => failure(multipathd()),
        code => failure(format!("libmpathpersist failed with code {code}")),
    }
}

/// What the map answers to TEST UNIT READY, unless it is ready.
fn still_wrong(session: &Session<'_>) -> Option<Answer> {
    let mut sense = [0; SENSE_LENGTH];
    let timeout = std::time::Duration::from_secs(5);
    let outcome = sg_io::execute(session.map, &[0; 6], Transfer::None, &mut sense, timeout).ok()?;
    let (status, sense) = outcome::answer(outcome, &sense);
    (status != Status::GOOD).then(|| Answer { status, sense, ..failure(String::new()) })
}

/// Why the library may have failed on its way to multipathd.
fn multipathd() -> String {
    if is_multipathd_reachable() {
        return "libmpathpersist found no usable path, or multipathd could not store the key: see 'multipath -ll' and \
                whether /etc/multipath/prkeys can be written"
            .to_owned();
    }
    format!(
        "multipathd cannot be reached; start it, or in a container make its socket reachable ({PATHNAME}, or the \
         host's network namespace for @{ABSTRACT}; MULTIPATH_SOCKET_NAME names another)"
    )
}

/// Whether anybody answers on one of multipathd's sockets.
pub fn is_multipathd_reachable() -> bool {
    let by_name = env::var_os("MULTIPATH_SOCKET_NAME");
    let path = by_name.as_deref().unwrap_or(PATHNAME.as_ref());
    let at = |address: SocketAddr| UnixStream::connect_addr(&address).is_ok();
    UnixStream::connect(path).is_ok()
        || SocketAddr::from_abstract_name(path.as_encoded_bytes().trim_ascii_start()).is_ok_and(at)
        || SocketAddr::from_abstract_name(ABSTRACT).is_ok_and(at)
}
