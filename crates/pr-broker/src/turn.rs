//! What one thread has at a time, and others wait for no longer than they like.

use std::{
    ops::{Deref, DerefMut},
    sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError},
    time::Instant,
};

/// A [`Mutex`] that is waited for until a time.
pub struct Turn<T> {
    value: Mutex<T>,
    queue: Queue,
}

/// Those that wait.
struct Queue {
    length: Mutex<usize>,
    next: Condvar,
}

/// It is this thread's.
pub struct Taken<'a, T> {
    value: MutexGuard<'a, T>,
    // Dropped after the guard: whoever is woken finds it free.
    _end: End<'a>,
}

struct End<'a>(&'a Queue);

impl<T> Turn<T> {
    /// Nobody has it yet.
    pub const fn new(value: T) -> Self {
        Self { value: Mutex::new(value), queue: Queue { length: Mutex::new(0), next: Condvar::new() } }
    }

    /// Waits until it is to be had; `None` if it is not until then.
    pub fn take(&self, until: Instant) -> Option<Taken<'_, T>> {
        if let Some(taken) = self.try_to_take() {
            return Some(taken);
        }
        let mut length = self.queue.length();
        *length += 1;
        let taken = loop {
            // Whoever gives it back from here on has to wait for the length, and so finds this thread in the queue.
            if let Some(taken) = self.try_to_take() {
                break Some(taken);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break None;
            }
            (length, _) = self.queue.next.wait_timeout(length, left).unwrap_or_else(PoisonError::into_inner);
        };
        *length -= 1;
        taken
    }

    fn try_to_take(&self) -> Option<Taken<'_, T>> {
        let value = match self.value.try_lock() {
            Ok(value) => value,
            Err(TryLockError::Poisoned(value)) => value.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(Taken { value, _end: End(&self.queue) })
    }
}

impl Queue {
    fn length(&self) -> MutexGuard<'_, usize> {
        self.length.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        // Nobody is told for nothing: that is a system call.
        if *self.0.length() > 0 {
            self.0.next.notify_one();
        }
    }
}

impl<T> Deref for Taken<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Taken<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use std::{thread, time::Duration};

    use super::*;

    #[test]
    fn it_is_one_threads_at_a_time_and_whoever_waits_gets_it() {
        let turn = Turn::new((0, false));
        let minute = || Instant::now() + Duration::from_secs(60);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let mut taken = turn.take(minute()).expect("it is given back soon");
                        assert!(!std::mem::replace(&mut taken.1, true), "two have it");
                        taken.0 += 1;
                        thread::yield_now();
                        taken.1 = false;
                    }
                });
            }
        });
        assert_eq!(turn.take(minute()).map(|taken| taken.0), Some(4000));
    }

    #[test]
    fn it_is_not_waited_for_longer_than_that() {
        let turn = Turn::new(());
        let taken = turn.take(Instant::now());
        assert!(taken.is_some(), "what is free is not waited for");
        assert!(turn.take(Instant::now() + Duration::from_millis(1)).is_none());
        drop(taken);
        assert!(turn.take(Instant::now()).is_some());
    }

    #[test]
    fn a_thread_that_panics_gives_it_back() {
        let turn = Turn::new(());
        let panicked = thread::scope(|scope| {
            scope
                .spawn(|| {
                    let _taken = turn.take(Instant::now());
                    panic!("on purpose");
                })
                .join()
        });
        assert!(panicked.is_err() && turn.take(Instant::now()).is_some());
    }
}
