//! See `fuzz::scsi_persistent_reservations`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::scsi_persistent_reservations::run(data));
