//! Where the data of a command goes.

use std::ops::{Deref, DerefMut};

use qemu_pr_protocol::MAX_DATA;

/// Room for the parameter data of any command, in memory pages that hold nothing else.
///
/// The kernel lets a device write into the caller's memory without a copy in between, and its own target (LIO) can
/// write a few bytes past the length it was given when READ FULL STATUS ends inside a descriptor. In an allocation of
/// just the right size that would hit the heap.
pub struct DataBuffer(Box<Pages>);

#[repr(C, align(4096))]
struct Pages {
    data: [u8; MAX_DATA],
    /// There to be written to by mistake.
    _slack: [u8; 4096],
}

impl Default for DataBuffer {
    fn default() -> Self {
        Self(Box::new(Pages { data: [0; MAX_DATA], _slack: [0; 4096] }))
    }
}

impl Deref for DataBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.data
    }
}

impl DerefMut for DataBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0.data
    }
}
