//! Messages about a device that are logged once, and not for each command: they are about what it is.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use pr_device::Identity;

/// After this a device is spoken of again: its number can be another device's by then, and logs are rotated.
const FRESH: Duration = Duration::from_secs(3600);

/// How many devices are told apart.
const REMEMBERED: usize = 256;

/// Which devices one kind of message has been said about; a new one knows of none.
#[derive(Default)]
pub struct Once(Mutex<VecDeque<(Identity, Instant)>>);

impl Once {
    /// Whether it is to be said about this device now.
    pub fn admit(&self, device: Identity) -> bool {
        self.admit_at(device, Instant::now())
    }

    fn admit_at(&self, device: Identity, now: Instant) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.retain(|(_, since)| now.saturating_duration_since(*since) < FRESH);
        if said.iter().any(|(known, _)| *known == device) {
            return false;
        }
        if said.len() >= REMEMBERED {
            said.pop_front();
        }
        said.push_back((device, now));
        true
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;
    use pr_device::Kind;

    #[test]
    fn each_device_is_spoken_of_once_an_hour() {
        let (once, start) = (Once::default(), Instant::now());
        let device = |device| Identity { kind: Kind::Block, device };
        assert!(once.admit_at(device(1), start) && once.admit_at(device(2), start));
        assert!(!once.admit_at(device(1), start + FRESH / 2));
        // A file of that number is another thing.
        assert!(once.admit_at(Identity { kind: Kind::Character, device: 1 }, start));
        assert!(once.admit_at(device(1), start + FRESH));
    }

    #[test]
    fn many_devices_take_little_memory() {
        let (once, start) = (Once::default(), Instant::now());
        let said = (0..1000).filter(|device| once.admit_at(Identity { kind: Kind::Block, device: *device }, start));
        assert_eq!(said.count(), 1000);
        assert_eq!(once.0.lock().expect("no panic").len(), REMEMBERED);
    }
}
