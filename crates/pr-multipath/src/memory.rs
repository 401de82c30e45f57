//! What has to be known of a map from one command to the next, and after the death of whoever carries them out.

use scsi_persistent_reservations::{ReservationKey, SenseCode};

use crate::{Identity, PathId};

/// A registration as the map's user made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Registration {
    /// The key; zero for none.
    pub key: ReservationKey,
    /// APTPL was set.
    pub persist: bool,
    /// `ALL_TG_PT` was set.
    pub all_target_ports: bool,
}

impl Registration {
    /// None.
    pub const NONE: Self = Self { key: ReservationKey::ZERO, persist: false, all_target_ports: false };
}

/// What is known of the user's registration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum User {
    /// Nothing: no command of this map was seen yet.
    #[default]
    Unknown,
    /// There is none.
    Unregistered,
    /// This one.
    Registered(Registration),
}

/// What is being done to the map. Anything but [`Step::Idle`] is found by a successor only after a death.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Step {
    /// Nothing.
    #[default]
    Idle,
    /// A registration is on its way to the paths.
    Registering {
        /// What was there before; `None` if that is not known.
        before: Option<ReservationKey>,
        /// What is to be there.
        new: Registration,
    },
    /// RESERVE, RELEASE, CLEAR, or PREEMPT of another key: one path's business.
    Changing,
    /// The user's own key is preempted on one path and given back to the others.
    Preempting {
        /// The registration that is given back.
        own: Registration,
    },
}

/// What other registrants are told of a change.
pub(crate) const CHANGES: [SenseCode; 3] =
    [SenseCode::RESERVATIONS_PREEMPTED, SenseCode::RESERVATIONS_RELEASED, SenseCode::REGISTRATIONS_PREEMPTED];

/// How many keys of the past are remembered for each path.
pub const LEFTOVERS: usize = 4;

/// What is known of one path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathMemory {
    /// Which one.
    pub id: PathId,
    /// Who it is to the logical unit, once that is known.
    pub identity: Option<Identity>,
    /// Keys that the user has given up and that may still be registered through this path, at most [`LEFTOVERS`]; the user's
    /// own is among them if the path gave no answer to its registration and may carry it out at any time.
    pub leftovers: Vec<ReservationKey>,
    /// Unit attentions that this path has yet to tell, and that the user knows of: sense key, code, qualifier.
    pub expected: Vec<[u8; 3]>,
    /// Whether the path may lack the user's key, or have a leftover one: it is looked at before it is trusted.
    pub unsettled: bool,
}

impl PathMemory {
    /// The path has this to tell, and the user knows it.
    pub fn expect(&mut self, code: SenseCode) {
        let code = code.to_bytes();
        if !self.expected.contains(&code) {
            self.expected.truncate(LEFTOVERS - 1);
            self.expected.push(code);
        }
    }

    /// Whether the user knew of this; it is told once.
    pub fn takes_expected(&mut self, code: SenseCode) -> bool {
        let code = code.to_bytes();
        let at = self.expected.iter().position(|expected| *expected == code);
        at.map(|at| self.expected.remove(at)).is_some()
    }

    /// A key may have stayed behind. What becomes of it is no news to the user, who has given it up.
    pub fn leave_over(&mut self, key: ReservationKey) {
        if key.is_zero() {
            return;
        }
        if !self.leftovers.contains(&key) {
            self.leftovers.truncate(LEFTOVERS - 1);
            self.leftovers.insert(0, key);
        }
        self.expect_changes();
    }

    /// The path may have to report what becomes of a registration that the user has given up.
    pub fn expect_changes(&mut self) {
        for code in CHANGES {
            self.expect(code);
        }
    }

    /// The path has the user's registration, and so no other one.
    pub fn settled(&mut self) {
        self.unsettled = false;
        self.leftovers.clear();
    }
}

/// What is known of a map.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Memory {
    /// The user's registration.
    pub user: User,
    /// What is being done.
    pub step: Step,
    /// The map is suspended, by us.
    pub suspended: bool,
    /// The paths that were ever seen.
    pub paths: Vec<PathMemory>,
    /// A unit attention that the user is to be told with its next command: sense key, additional sense code, qualifier.
    pub news: Option<[u8; 3]>,
    /// multipathd has not heard of the user's registration, or of its end: it was away.
    pub multipathd_is_outdated: bool,
    /// The keys that multipathd may have for the map, at most [`LEFTOVERS`]. It may register any path with one of them.
    pub multipathd_keys: Vec<ReservationKey>,
    /// Where multipathd has not heard: PRGENERATION when all paths were seen to have the user's key, less the registrations
    /// that others had.
    pub count_when_complete: Option<u32>,
}

impl Memory {
    /// What is known of a path; it is there from now on.
    pub fn path(&mut self, id: PathId) -> &mut PathMemory {
        let known = self.paths.iter().position(|path| path.id == id);
        let at = known.unwrap_or_else(|| {
            self.paths.push(PathMemory {
                id,
                identity: None,
                leftovers: Vec::new(),
                expected: Vec::new(),
                unsettled: true,
            });
            self.paths.len() - 1
        });
        &mut self.paths[at]
    }

    /// multipathd may have this key from now on.
    pub fn multipathd_may_have(&mut self, key: ReservationKey) {
        if !key.is_zero() && !self.multipathd_keys.contains(&key) {
            self.multipathd_keys.truncate(LEFTOVERS - 1);
            self.multipathd_keys.insert(0, key);
        }
    }

    /// Something is left to do, whether the user sends commands or not.
    pub fn is_unfinished(&self) -> bool {
        let leaves_keys = self.paths.iter().any(|path| !path.leftovers.is_empty());
        self.step != Step::Idle || self.suspended || self.multipathd_is_outdated || leaves_keys
    }

    /// The paths that are to get the user's key before they are trusted, with that key: they have gone, or were put out of
    /// use.
    pub fn to_restore(&self) -> Vec<(PathId, ReservationKey)> {
        let unsettled = self.paths.iter().filter(|path| path.unsettled);
        unsettled.filter_map(|path| Some((path.id, self.key()?))).collect()
    }

    /// How many of these have got it.
    pub fn restored(&self, paths: &[(PathId, ReservationKey)]) -> usize {
        let has = |(id, key): &&(PathId, ReservationKey)| {
            self.key() == Some(*key) && self.paths.iter().any(|path| path.id == *id && !path.unsettled)
        };
        paths.iter().filter(has).count()
    }

    /// Keys that multipathd may give to any path, and that the user does not have.
    pub fn outdated_keys(&self) -> Vec<ReservationKey> {
        let own = self.key();
        self.multipathd_keys.iter().copied().filter(|key| self.multipathd_is_outdated && Some(*key) != own).collect()
    }

    /// The key that the user is known to have.
    pub fn key(&self) -> Option<ReservationKey> {
        match self.user {
            User::Registered(registration) => Some(registration.key),
            User::Unknown | User::Unregistered => None,
        }
    }
}
