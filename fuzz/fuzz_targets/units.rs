//! See `fuzz::units`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::units::run(data));
