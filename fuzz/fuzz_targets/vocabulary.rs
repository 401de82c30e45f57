//! See `fuzz::vocabulary`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::vocabulary::run(data));
