//! The C side: the names, types and layouts of `<mpath_persist.h>`, and the only `unsafe` of this crate.
#![expect(unsafe_code, reason = "a C library is spoken to by symbols and pointers; each block says why it is sound")]

use std::ffi::{c_int, c_uint, c_void};
use std::mem::offset_of;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicI32, AtomicU32};

use crate::journal::{Call, Event, note};
use crate::script::{Entry, act, give_up};

/// `MPATH_PR_FILE_ERROR`.
const FILE_ERROR: c_int = 12;

/// `mpath_mx_alloc_len`: an override for allocation lengths.
#[unsafe(export_name = "mpath_mx_alloc_len")]
pub static MX_ALLOC_LEN: AtomicU32 = AtomicU32::new(0);

/// `logsink`: where messages go.
#[unsafe(export_name = "logsink")]
pub static LOGSINK: AtomicI32 = AtomicI32::new(0);

/// The beginning of `struct prout_param_descriptor`, up to what is asked of it here.
#[repr(C)]
pub struct OutParameters {
    key: [u8; 8],
    sa_key: [u8; 8],
    obsolete_1: u32,
    sa_flags: u8,
    reserved: u8,
    obsolete_2: u16,
    private_buffer: [u8; 8192],
    num_transportid: u32,
}

const _: () = {
    assert!(size_of::<OutParameters>() == 8220 && align_of::<OutParameters>() == 4);
    assert!(offset_of!(OutParameters, sa_key) == 8 && offset_of!(OutParameters, sa_flags) == 20);
    assert!(offset_of!(OutParameters, private_buffer) == 24 && offset_of!(OutParameters, num_transportid) == 8216);
};

/// `int libmpathpersist_init(void)`
#[unsafe(no_mangle)]
pub extern "C" fn libmpathpersist_init() -> c_int {
    act(Entry::Init)
}

/// `int libmpathpersist_exit(void)`
#[unsafe(no_mangle)]
pub extern "C" fn libmpathpersist_exit() -> c_int {
    0
}

/// `int mpath_persistent_reserve_in(int fd, int rq_servact, struct prin_resp *resp, int noisy, int verbose)`
///
/// Nothing may come here: the helper asks the disk itself.
#[unsafe(no_mangle)]
pub extern "C" fn mpath_persistent_reserve_in(
    _fd: c_int,
    _action: c_int,
    _response: *mut c_void,
    _noisy: c_int,
    _verbose: c_int,
) -> c_int {
    give_up("mpath_persistent_reserve_in was called")
}

/// `int mpath_persistent_reserve_out(int fd, int rq_servact, int rq_scope, unsigned int rq_type,
/// struct prout_param_descriptor *paramp, int noisy, int verbose)`
///
/// # Safety
/// `parameters` points at a whole `struct prout_param_descriptor`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpath_persistent_reserve_out(
    fd: c_int,
    action: c_int,
    scope: c_int,
    kind: c_uint,
    parameters: *mut OutParameters,
    _noisy: c_int,
    _verbose: c_int,
) -> c_int {
    let Some(map) = device(fd) else { return FILE_ERROR };
    // SAFETY: the caller's promise; it lives through the call and nobody writes to it meanwhile.
    let parameters = unsafe { &*parameters };
    note(&Event::Begin(Call {
        process: std::process::id(),
        map: map.clone(),
        action,
        scope,
        kind,
        key: u64::from_be_bytes(parameters.key),
        new_key: u64::from_be_bytes(parameters.sa_key),
        flags: parameters.sa_flags,
        transport_ids: parameters.num_transportid,
    }));
    let code = act(Entry::Out(&map));
    note(&Event::Return { map, code });
    code
}

/// The device number behind a descriptor; the library cares for block devices alone.
fn device(fd: c_int) -> Option<String> {
    if fd < 0 {
        return None;
    }
    // SAFETY: the number is not negative, and it is the caller's for the time of the call.
    let file = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned().ok()?;
    let data = std::fs::File::from(file).metadata().ok()?;
    let number = std::os::unix::fs::MetadataExt::rdev(&data);
    let is_block = std::os::unix::fs::FileTypeExt::is_block_device(&data.file_type());
    is_block.then(|| format!("{}:{}", libc::major(number), libc::minor(number)))
}

/// Ends the process as a wild pointer does.
pub(crate) fn segfault() -> ! {
    // SAFETY: the handler of the runtime goes, so that the signal has its plain effect; no pointer is followed.
    unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
    // SAFETY: a signal to this thread, whose only effect is the end of the process.
    unsafe { libc::raise(libc::SIGSEGV) };
    give_up("survived a SIGSEGV")
}
