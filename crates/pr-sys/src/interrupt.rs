//! Calls that the kernel ends only with a signal.

use std::{
    mem, ptr,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

/// Used for nothing else: the daemon's other processes block or ignore it.
const SIGNAL: libc::c_int = libc::SIGUSR2;

extern "C" fn nothing(_: libc::c_int) {}

/// Makes a call, and has the kernel end it with `EINTR` if it takes longer than this. Until it returns it is told so
/// again and again: a signal that comes before the call waits has no effect.
pub fn within<T>(limit: Duration, call: impl FnOnce() -> T) -> T {
    // SAFETY: zeros are a valid value: no flags (so that calls are not made again), an empty mask.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    let handler: extern "C" fn(libc::c_int) = nothing;
    action.sa_sigaction = handler as usize;
    // SAFETY: the action is complete, and its handler does nothing at all.
    unsafe { libc::sigaction(SIGNAL, &raw const action, ptr::null_mut()) };
    let (process, this) = (rustix::process::getpid().as_raw_pid(), rustix::thread::gettid().as_raw_pid());
    let (done, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let watch = move || {
            let mut wait = limit;
            while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                // SAFETY: sends a signal, which the handler above takes, to a thread of this process. It is there as
                // long as the scope is, which waits for this one.
                unsafe { libc::syscall(libc::SYS_tgkill, process, this, SIGNAL) };
                wait = Duration::from_millis(20);
            }
        };
        // Without room for another thread the call takes as long as it takes.
        let _ = thread::Builder::new().spawn_scoped(scope, watch);
        let result = call();
        drop(done);
        result
    })
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_call_that_would_wait_for_ever_ends() {
        let (mut reader, _writer) = std::io::pipe().unwrap();
        let error = within(Duration::from_millis(10), || reader.read(&mut [0])).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::Interrupted);
    }

    #[test]
    fn a_call_in_time_has_its_result() {
        assert_eq!(within(Duration::from_secs(60), || 7), 7);
    }
}
