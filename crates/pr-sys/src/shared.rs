//! Memory that processes share which one has forked from the other.

use std::{io, ptr, slice, sync::atomic::AtomicU64};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// So many words, all zero, which every process that is forked off from here on has too. They stay to the end.
///
/// # Errors
/// The system has no room for them.
pub fn words(count: usize) -> io::Result<&'static [AtomicU64]> {
    let length = count.checked_mul(size_of::<AtomicU64>()).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: a new mapping at a place of the kernel's choice touches no memory that is in use.
    let start =
        unsafe { mmap_anonymous(ptr::null_mut(), length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED) }?;
    // SAFETY: the mapping is so long, aligned to a page, zero at first, and never unmapped; whatever another process
    // writes there, each word is a valid one, and all access is atomic.
    Ok(unsafe { slice::from_raw_parts(start.cast(), count) })
}
