//! The primitives, so that the model can put its own in their place.

use std::{sync::PoisonError, time::Duration};

#[cfg(not(test))]
pub use std::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};

#[cfg(test)]
pub use shuttle::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};

/// Locks. What a thread left behind that panicked is fit for use: nothing here is changed in two steps.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until it is so, but not longer than this. `mutex` is the guard's.
#[cfg(not(test))]
pub fn wait_for<'a, T>(
    bell: &Condvar,
    _mutex: &'a Mutex<T>,
    guard: MutexGuard<'a, T>,
    time: Duration,
    is_so: impl Fn(&T) -> bool,
) -> MutexGuard<'a, T> {
    bell.wait_timeout_while(guard, time, |value| !is_so(value)).unwrap_or_else(PoisonError::into_inner).0
}

/// In the model the time is over when the scheduler says so, or never: both happen.
#[cfg(test)]
pub fn wait_for<'a, T>(
    bell: &Condvar,
    mutex: &'a Mutex<T>,
    mut guard: MutexGuard<'a, T>,
    _time: Duration,
    is_so: impl Fn(&T) -> bool,
) -> MutexGuard<'a, T> {
    use shuttle::rand::Rng as _;

    if shuttle::rand::thread_rng().gen_bool(0.5) {
        while !is_so(&guard) && !IS_OVER.get() {
            guard = bell.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        return guard;
    }
    if is_so(&guard) {
        return guard;
    }
    drop(guard);
    shuttle::thread::yield_now();
    lock(mutex)
}

/// A mistake that the model makes on purpose, to see that it would be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// The last one that waits goes to work, and none waits in its place.
    LeavesNobody,
    /// A thread in reserve is counted as waiting, and does not learn of it.
    WakesNobody,
    /// One that is woken leaves the next one to be woken as well.
    StaysWoken,
    /// A thread that is not needed waits all the same, and is not counted.
    NeverParks,
}

#[cfg(test)]
thread_local! {
    /// The model's threads are all one of the system's.
    pub static MISTAKE: std::cell::Cell<Option<Mistake>> = const { std::cell::Cell::new(None) };
    /// The story is told: what would last longer is over as well.
    pub static IS_OVER: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether to make it.
#[cfg(not(test))]
pub const fn makes(_: Mistake) -> bool {
    false
}

/// Whether to make it.
#[cfg(test)]
pub fn makes(mistake: Mistake) -> bool {
    MISTAKE.get() == Some(mistake)
}
