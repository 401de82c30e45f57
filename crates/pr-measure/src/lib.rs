//! How a helper is measured: `cargo xtask bench` does it here, and `bed-inside` in the machine that has a real LUN.
//!
//! * [`request`] has the requests as bytes, [`crowd`] any number of clients on one thread.
//! * [`subject`] is who is measured, [`turn`] what one of them did and what it took, in rounds of A B B A.
//! * [`multipath`] names what is measured on maps.
//! * [`stats`] has medians, quartiles and the order of the turns; [`processors`] who runs where.
#![deny(unsafe_code)]

pub mod crowd;
pub mod multipath;
pub mod processors;
pub mod request;
pub mod stats;
pub mod subject;
mod sys;
pub mod tree;
pub mod turn;

pub use sys::processor_time;
