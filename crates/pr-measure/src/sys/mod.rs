//! The only `unsafe` of the benchmark: another process' processor clock, to the nanosecond and with the threads that
//! have ended. /proc counts in hundredths of a second, or forgets them.
#![expect(unsafe_code, reason = "two functions of libc; each block says why it is sound")]

use std::io;
use std::time::Duration;

/// How much processor time all threads of a process have used so far, those included that have ended.
///
/// # Errors
/// There is no such process, or its clock may not be read.
pub fn processor_time(process: i32) -> io::Result<Duration> {
    let mut clock = 0;
    // SAFETY: writes one clockid_t, to a live one.
    let error = unsafe { libc::clock_getcpuclockid(process, &raw mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec, to a live one.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let number = |value: i64| u64::try_from(value).unwrap_or_default();
    Ok(Duration::from_secs(number(time.tv_sec)) + Duration::from_nanos(number(time.tv_nsec)))
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_a_process_counts_its_work_and_a_process_that_is_not_there_has_none() {
        let own = i32::try_from(std::process::id()).expect("a process number");
        let before = processor_time(own).expect("a clock");
        let mut sum = 0_u64;
        while processor_time(own).expect("a clock") < before + Duration::from_millis(2) {
            sum = std::hint::black_box(sum.wrapping_mul(31) + 1);
        }
        let mut gone = std::process::Command::new("true").spawn().expect("a child");
        gone.wait().expect("its end");
        processor_time(i32::try_from(gone.id()).expect("a process number")).expect_err("no such process");
    }
}
