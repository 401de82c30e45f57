//! See `fuzz::broker_replies`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::broker_replies::run(data));
