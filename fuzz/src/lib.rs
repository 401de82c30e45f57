//! What the fuzzers do with the bytes that libFuzzer makes up: one module for each, with what has to hold whatever the
//! bytes are. A claim that does not hold panics; that is how libFuzzer hears of it.
#![forbid(unsafe_code)]

pub mod broker_replies;
pub mod decoder;
mod glob;
mod input;
pub mod session;
pub mod settings;
pub mod trace_patterns;
pub mod units;
pub mod vocabulary;

pub use input::Input;
