//! What one disk with one initiator would do, beside another node: the rules of the kernel's target (LIO), which are
//! those that every answer here is held against. Before that, they are held against such a disk themselves.

use std::fmt;

use scsi_persistent_reservations::{BasicParameters, OutAction, ReservationKey, ReservationType, SenseCode, Status};

use crate::request::{Answer, Request};

/// The two initiators of one disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Behind the map.
    Guest,
    /// The other node.
    Other,
}

impl Who {
    pub fn peer(self) -> Self {
        match self {
            Self::Guest => Self::Other,
            Self::Other => Self::Guest,
        }
    }
}

/// A PERSISTENT RESERVE OUT.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Act {
    pub action: OutAction,
    pub key: u64,
    pub other_key: u64,
    pub kind: ReservationType,
    pub persist: bool,
}

impl Act {
    pub fn new(action: OutAction, key: u64, other_key: u64, kind: ReservationType) -> Self {
        Self { action, key, other_key, kind, persist: false }
    }

    /// The bytes of it.
    pub fn request(&self) -> Request {
        let parameters = BasicParameters {
            activate_persist: self.persist,
            ..BasicParameters::keys(ReservationKey(self.key), ReservationKey(self.other_key))
        };
        let kind = (!self.action.is_register() && self.action != OutAction::Clear).then_some(self.kind);
        Request::change(self.action, kind, &parameters)
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, other, kind) = (self.key, self.other_key, self.kind.code());
        match self.action {
            OutAction::Register => write!(f, "REGISTER {key:x}->{other:x}")?,
            OutAction::RegisterAndIgnoreExistingKey => write!(f, "REGISTER-IGNORE {other:x}")?,
            OutAction::Clear => write!(f, "CLEAR {key:x}")?,
            OutAction::Preempt => write!(f, "PREEMPT {key:x}->{other:x} type {kind}")?,
            OutAction::PreemptAndAbort => write!(f, "PREEMPT-ABORT {key:x}->{other:x} type {kind}")?,
            OutAction::Reserve
            | OutAction::Release
            | OutAction::RegisterAndMove
            | OutAction::ReplaceLostReservation => {
                write!(f, "{} {key:x} type {kind}", self.action)?;
            }
        }
        if self.persist { f.write_str(" aptpl") } else { Ok(()) }
    }
}

/// An answer that the disk gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Good,
    Conflict,
    /// The target's word for an initiator without a registration: LOGICAL UNIT COMMUNICATION FAILURE.
    NotRegistered,
    /// INVALID FIELD IN PARAMETER LIST.
    Invalid,
    /// INVALID RELEASE OF PERSISTENT RESERVATION.
    OtherType,
}

const NOT_REGISTERED: SenseCode = SenseCode::new(0x2, 0x08, 0x00);

impl Told {
    /// The same as it comes from a real one.
    pub fn by(answer: &Answer) -> Option<Self> {
        match answer.status {
            Status::GOOD => Some(Self::Good),
            Status::RESERVATION_CONFLICT => Some(Self::Conflict),
            Status::CHECK_CONDITION => match answer.sense.code()? {
                NOT_REGISTERED => Some(Self::NotRegistered),
                SenseCode::INVALID_FIELD_IN_PARAMETER_LIST => Some(Self::Invalid),
                SenseCode::INVALID_RELEASE => Some(Self::OtherType),
                code if code.key == scsi_persistent_reservations::SenseKey(1) => Some(Self::Good),
                _ => None,
            },
            _ => None,
        }
    }
}

/// A reservation and its holder. Where all registrants hold it, the target has one of them in its books all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub by: Who,
    pub kind: ReservationType,
}

impl Held {
    pub fn by_all(self) -> bool {
        is_for_all(self.kind)
    }
}

fn is_for_all(kind: ReservationType) -> bool {
    matches!(kind, ReservationType::WriteExclusiveAllRegistrants | ReservationType::ExclusiveAccessAllRegistrants)
}

fn is_for_registrants(kind: ReservationType) -> bool {
    matches!(kind, ReservationType::WriteExclusiveRegistrantsOnly | ReservationType::ExclusiveAccessRegistrantsOnly)
}

/// The disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    pub guest: Option<u64>,
    pub other: Option<u64>,
    pub held: Option<Held>,
}

/// A unit attention for the initiator that did not send the command.
pub type News = Option<SenseCode>;

impl Disk {
    pub fn key(&self, who: Who) -> Option<u64> {
        match who {
            Who::Guest => self.guest,
            Who::Other => self.other,
        }
    }

    fn set(&mut self, who: Who, key: Option<u64>) {
        match who {
            Who::Guest => self.guest = key,
            Who::Other => self.other = key,
        }
    }

    /// Carries out a command.
    pub fn play(&mut self, who: Who, act: &Act) -> (Told, News) {
        let is_register = act.action.is_register();
        let own = self.key(who);
        // Asked before anything else: an initiator that does not hold it.
        let barred = self.held.is_some_and(|held| held.by != who)
            && !is_register
            && (own.is_none() || (act.action == OutAction::Reserve && !self.held.is_some_and(Held::by_all)));
        if barred {
            return (Told::Conflict, None);
        }
        match act.action {
            OutAction::Register | OutAction::RegisterAndIgnoreExistingKey => self.register(who, act),
            OutAction::Preempt | OutAction::PreemptAndAbort => self.preempt(who, act),
            OutAction::Reserve | OutAction::Release | OutAction::Clear => match own {
                None => (Told::NotRegistered, None),
                Some(own) => self.change(who, own, act),
            },
            // Never sent here.
            OutAction::RegisterAndMove | OutAction::ReplaceLostReservation => (Told::Invalid, None),
        }
    }

    fn register(&mut self, who: Who, act: &Act) -> (Told, News) {
        let checks = act.action == OutAction::Register;
        let new = (act.other_key != 0).then_some(act.other_key);
        match self.key(who) {
            None if checks && act.key != 0 => return (Told::Conflict, None),
            Some(own) if checks && act.key != own => return (Told::Conflict, None),
            _ => {}
        }
        let mut news = None;
        if let (None, Some(held)) = (new, self.held)
            && held.by == who
            && self.key(who).is_some()
        {
            let peer = self.key(who.peer());
            self.held = match peer {
                Some(_) if held.by_all() => Some(Held { by: who.peer(), ..held }),
                _ => None,
            };
            if is_for_registrants(held.kind) && peer.is_some() {
                news = Some(SenseCode::RESERVATIONS_RELEASED);
            }
        }
        self.set(who, new);
        (Told::Good, news)
    }

    fn change(&mut self, who: Who, own: u64, act: &Act) -> (Told, News) {
        let holds = |held: &Held| held.by == who || held.by_all();
        match act.action {
            OutAction::Reserve => match self.held {
                _ if act.key != own => (Told::Conflict, None),
                None => {
                    self.held = Some(Held { by: who, kind: act.kind });
                    (Told::Good, None)
                }
                Some(held) if holds(&held) && held.kind == act.kind => (Told::Good, None),
                Some(_) => (Told::Conflict, None),
            },
            OutAction::Release => match self.held {
                Some(held) if holds(&held) => {
                    if act.key != own || act.kind != held.kind {
                        return (Told::Conflict, None);
                    }
                    self.held = None;
                    let is_news = held.by_all() || is_for_registrants(held.kind);
                    let news = is_news && self.key(who.peer()).is_some();
                    (Told::Good, news.then_some(SenseCode::RESERVATIONS_RELEASED))
                }
                _ => (Told::Good, None),
            },
            _ if act.key != own => (Told::Conflict, None),
            // CLEAR.
            _ => {
                let news = self.key(who.peer()).is_some();
                *self = Self::default();
                (Told::Good, news.then_some(SenseCode::RESERVATIONS_PREEMPTED))
            }
        }
    }

    /// RELEASE by a holder with another type than it holds. The kernel's target says RESERVATION CONFLICT, and SPC asks for
    /// CHECK CONDITION, INVALID RELEASE OF PERSISTENT RESERVATION (SPC-4 5.9.11.2.2): the engine says so where the path that
    /// holds cannot be asked.
    pub fn is_released_with_another_type(&self, who: Who, act: &Act) -> bool {
        let holds = |held: Held| (held.by == who || held.by_all()) && held.kind != act.kind;
        act.action == OutAction::Release && self.key(who) == Some(act.key) && self.held.is_some_and(holds)
    }

    /// RELEASE by a registrant that does not hold the reservation, with another key than its own. The kernel's target looks
    /// at the key only where it releases something, and says GOOD; SPC asks for RESERVATION CONFLICT (SPC-4 6.15.3: the key
    /// has to be the registered one). Nothing changes either way.
    pub fn is_released_with_another_key(&self, who: Who, act: &Act) -> bool {
        act.action == OutAction::Release
            && self.key(who).is_some_and(|own| own != act.key)
            && self.held.is_some_and(|held| held.by != who && !held.by_all())
    }

    fn preempt(&mut self, who: Who, act: &Act) -> (Told, News) {
        let victim = act.other_key;
        if self.key(who) != Some(act.key) {
            return (Told::Conflict, None);
        }
        let by_all = self.held.is_some_and(Held::by_all);
        if !by_all && victim == 0 {
            return (Told::Invalid, None);
        }
        let peer_goes = self.key(who.peer()).is_some_and(|key| victim == 0 || key == victim);
        let holders_key = self.held.and_then(|held| self.key(held.by));
        if let Some(held) = self.held
            && (holders_key == Some(victim) || victim == 0)
        {
            let changes = held.kind != act.kind && victim != 0;
            if peer_goes {
                self.set(who.peer(), None);
            }
            self.held = Some(Held { by: who, kind: act.kind });
            let news = match self.key(who.peer()) {
                None if peer_goes => Some(SenseCode::REGISTRATIONS_PREEMPTED),
                Some(_) if changes => Some(SenseCode::RESERVATIONS_RELEASED),
                _ => None,
            };
            return (Told::Good, news);
        }
        let goes_too = act.key == victim;
        if !peer_goes && !goes_too {
            return (Told::Conflict, None);
        }
        if peer_goes {
            self.set(who.peer(), None);
        }
        if goes_too && !by_all {
            self.set(who, None);
        }
        (Told::Good, peer_goes.then_some(SenseCode::REGISTRATIONS_PREEMPTED))
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = |key: Option<u64>| key.map_or_else(|| "-".to_owned(), |key| format!("{key:x}"));
        write!(f, "guest {}, other {}, ", key(self.guest), key(self.other))?;
        match self.held {
            None => f.write_str("no reservation"),
            Some(held) if held.by_all() => write!(f, "type {} held by all", held.kind.code()),
            Some(held) => write!(
                f,
                "type {} held by the {}",
                held.kind.code(),
                match held.by {
                    Who::Guest => "guest",
                    Who::Other => "other",
                }
            ),
        }
    }
}
