//! What a rule about a system call is made of.

use libc::{c_int, c_long};

use super::bpf::Test;

/// The processes, each with a list of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// The one that serves clients.
    Daemon,
    /// The same with simulated disks.
    Simulator,
    /// Those that look up names and what rules need.
    Resolver,
    /// The one that removes what the daemon may not.
    Cleanup,
    /// The ones that carry out what multipath needs.
    Broker,
}

/// A system call and the forms of it that are allowed; all where there are none.
pub type Call = (c_long, &'static [Test]);

/// This value.
pub const fn equals(argument: u8, value: c_int) -> Test {
    under(argument, -1, value)
}

/// None of these bits set.
pub const fn lacks(argument: u8, bits: c_int) -> Test {
    under(argument, bits, 0)
}

/// Under this mask, this value.
pub const fn under(argument: u8, mask: c_int, value: c_int) -> Test {
    Test { argument, mask: mask.cast_unsigned(), value: value.cast_unsigned() }
}

/// Every form.
pub const ANY: &[Test] = &[];
