//! libmpathpersist, opened at run time (`<mpath_persist.h>` of multipath-tools).
//!
//! The library is not safe for threads, calls `exit`, raises limits and reads its configuration once: call it only in
//! a process that does nothing else and ends afterwards.

use std::{
    ffi::{c_int, c_uint, c_void},
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

use libloading::os::unix::{Library as Shared, RTLD_LOCAL, RTLD_NOW};
use scsi_pr::{BasicParameters, OutAction};
use thiserror::Error;

use super::layout::layout;

/// The name that has not changed since 2010.
pub const FILE: &str = "libmpathpersist.so.0";

/// How much of the library's chatter is wanted: errors and warnings.
const VERBOSITY: c_int = 2;

/// `logsink`: standard error, without a time stamp.
const PLAIN: c_int = -1;

/// `MPATH_MX_TIDS`.
const MAX_TRANSPORT_IDS: usize = 32;

/// `struct prout_param_descriptor`, with room for as many TransportIDs as the library ever looks at. None is ever
/// given to it: its own use of them is a race between its threads.
#[repr(C)]
struct ParameterDescriptor {
    key: [u8; 8],
    sa_key: [u8; 8],
    obsolete_1: u32,
    sa_flags: u8,
    reserved: u8,
    obsolete_2: u16,
    private_buffer: [u8; 8192],
    num_transportid: u32,
    trnptid_list: [*mut c_void; MAX_TRANSPORT_IDS],
}

layout!(
    ParameterDescriptor, 8480, 8,
    key 0 sa_key 8 obsolete_1 16 sa_flags 20 reserved 21 obsolete_2 22 private_buffer 24 num_transportid 8216
    trnptid_list 8224
);

/// The bits of `sa_flags` are those of the parameter list.
const SA_FLAG_APTPL: u8 = 0x01;
const SA_FLAG_ALL_TG_PT: u8 = 0x04;

/// Why the library cannot be used.
#[derive(Debug, Error)]
pub enum LibraryError {
    /// It is not installed, or too old.
    #[error(
        "{FILE} of multipath-tools 0.8.6 or newer cannot be opened ({reason}); install multipath-tools \
         (device-mapper-multipath-libs on Fedora and RHEL)",
        reason = reason(.0)
    )]
    Open(#[source] libloading::Error),
    /// It does not start.
    #[error("{FILE} does not initialise; its own messages say why")]
    Init,
}

/// What the loader says, without libloading's own words around it.
fn reason(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

type Init = unsafe extern "C" fn() -> c_int;
type ReserveOut = unsafe extern "C" fn(
    fd: c_int,
    service_action: c_int,
    scope: c_int,
    kind: c_uint,
    parameters: *mut ParameterDescriptor,
    noisy: c_int,
    verbose: c_int,
) -> c_int;

/// The library, loaded.
pub struct Library(Shared);

impl Library {
    /// Opens the library without running any of it but its constructors.
    pub fn open() -> Result<Self, LibraryError> {
        // SAFETY: the library's constructors do nothing beyond their own data.
        let shared = unsafe { Shared::open(Some(FILE), RTLD_NOW | RTLD_LOCAL) }.map_err(LibraryError::Open)?;
        // SAFETY: only looked up here; its type is that of the header since 0.8.6, the first release that has it.
        unsafe { shared.get::<Init>(c"libmpathpersist_init") }.map_err(LibraryError::Open)?;
        Ok(Self(shared))
    }

    /// Roughly which release this is, as far as its symbols tell.
    pub fn release(&self) -> &'static str {
        // SAFETY: looked up and not used; any type would do.
        let has = |name| unsafe { self.0.get::<*const c_void>(name) }.is_ok();
        match (has(c"mpath_persistent_reserve_in__"), has(c"update_map_pr")) {
            (false, _) => "0.8.6 to 0.9",
            (true, true) => "0.10 to 0.12",
            (true, false) => "0.13 or newer",
        }
    }

    /// Starts the library: reads the configuration, takes stock of the host. May end the process.
    pub fn init(&self) -> Result<(), LibraryError> {
        // SAFETY: `logsink` is an int of the library's since its first release.
        if let Ok(logsink) = unsafe { self.0.get::<*mut c_int>(c"logsink") } {
            // SAFETY: it is a live, aligned int, and no other thread is there.
            unsafe { logsink.write(PLAIN) };
        }
        // SAFETY: the type is that of the header.
        let init = unsafe { self.0.get::<Init>(c"libmpathpersist_init") }.map_err(LibraryError::Open)?;
        // SAFETY: called once, in a process of its own with one thread.
        if unsafe { init() } == 0 { Ok(()) } else { Err(LibraryError::Init) }
    }

    /// Registers a key on every usable path of a map, or with a key of zero ends the registrations; the library's
    /// `MPATH_PR_…` code.
    pub fn register_and_ignore(
        &self,
        map: BorrowedFd<'_>,
        parameters: &BasicParameters<'_>,
    ) -> Result<i32, LibraryError> {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let mut descriptor = Box::new(ParameterDescriptor {
            key: parameters.key.to_bytes(),
            sa_key: parameters.service_action_key.to_bytes(),
            obsolete_1: 0,
            sa_flags: flag(parameters.activate_persist, SA_FLAG_APTPL)
                | flag(parameters.all_target_ports, SA_FLAG_ALL_TG_PT),
            reserved: 0,
            obsolete_2: 0,
            private_buffer: [0; 8192],
            num_transportid: 0,
            trnptid_list: [ptr::null_mut(); MAX_TRANSPORT_IDS],
        });
        // SAFETY: the type is that of the header, the same in every release.
        let out = unsafe { self.0.get::<ReserveOut>(c"mpath_persistent_reserve_out") }.map_err(LibraryError::Open)?;
        let action = OutAction::RegisterAndIgnoreExistingKey.code().into();
        // SAFETY: the descriptor has the header's layout (asserted above), is ours alone and lives through the call.
        Ok(unsafe { out(map.as_raw_fd(), action, 0, 0, &raw mut *descriptor, 0, VERBOSITY) })
    }
}
