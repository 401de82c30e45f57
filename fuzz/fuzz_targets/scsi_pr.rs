//! See `fuzz::scsi_pr`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::scsi_pr::run(data));
