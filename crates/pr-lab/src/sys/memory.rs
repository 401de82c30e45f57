//! Another process' memory.

use std::io;

/// Reads `length` bytes at `address` of process (or thread) `id`.
pub(crate) fn read(id: i32, address: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0_u8; length];
    if length == 0 {
        return Ok(bytes);
    }
    let here = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: length };
    let there = libc::iovec { iov_base: pointer(address), iov_len: length };
    // SAFETY: `here` is exactly the live vector; `there` is only an address in the other process, which the kernel checks.
    let count = unsafe { libc::process_vm_readv(id, &raw const here, 1, &raw const there, 1, 0) };
    complete(count, length).map(|()| bytes)
}

/// Writes `bytes` at `address` of process (or thread) `id`.
pub(crate) fn write(id: i32, address: u64, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let here = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let there = libc::iovec { iov_base: pointer(address), iov_len: bytes.len() };
    // SAFETY: `here` is exactly the live slice and is only read; `there` is only an address in the other process, which the
    // kernel checks.
    let count = unsafe { libc::process_vm_writev(id, &raw const here, 1, &raw const there, 1, 0) };
    complete(count, bytes.len())
}

fn pointer(address: u64) -> *mut libc::c_void {
    std::ptr::without_provenance_mut(usize::try_from(address).expect("an address of this machine's width"))
}

fn complete(count: libc::ssize_t, expected: usize) -> io::Result<()> {
    match usize::try_from(count) {
        Err(_) => Err(io::Error::last_os_error()),
        Ok(done) if done < expected => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) => Ok(()),
    }
}
