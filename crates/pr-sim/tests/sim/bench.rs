//! A logical unit on the bench, with three initiators on two target ports.

use std::ops::{Deref, DerefMut};

use pr_sim::{InitiatorPort, LogicalUnit, Nexus};
use scsi_persistent_reservations::{
    BasicParameters, Cdb, Completion, DataIn, InAction, MoveParameters, OutAction, PersistentReserveIn,
    PersistentReserveOut, ReservationKey, ReservationType, SenseCode, Status, TransportId,
};

pub use OutAction::{
    Clear, Preempt, PreemptAndAbort, Register, RegisterAndIgnoreExistingKey, RegisterAndMove, Release,
    ReplaceLostReservation, Reserve,
};
pub use ReservationType::{
    ExclusiveAccess, ExclusiveAccessAllRegistrants, ExclusiveAccessRegistrantsOnly, WriteExclusive,
    WriteExclusiveAllRegistrants, WriteExclusiveRegistrantsOnly,
};

pub const A: Nexus = Nexus { initiator: InitiatorPort(0x5000_0000_0000_000a), target_port: 1 };
pub const B: Nexus = Nexus { initiator: InitiatorPort(0x5000_0000_0000_000b), target_port: 1 };
pub const C: Nexus = Nexus { initiator: InitiatorPort(0x5000_0000_0000_000c), target_port: 1 };
/// The initiator of `A` through the other target port.
pub const A2: Nexus = Nexus { target_port: 2, ..A };

/// Keys that say whose they are.
pub const KA: u64 = 0xa;
pub const KB: u64 = 0xb;
pub const KC: u64 = 0xc;

/// The two types that only the holder profits from.
pub const HOLDER_ONLY: [ReservationType; 2] = [WriteExclusive, ExclusiveAccess];
/// The two types that registrants profit from, too.
pub const REGISTRANTS_ONLY: [ReservationType; 2] = [WriteExclusiveRegistrantsOnly, ExclusiveAccessRegistrantsOnly];
/// The two types that all registrants hold.
pub const ALL_REGISTRANTS: [ReservationType; 2] = [WriteExclusiveAllRegistrants, ExclusiveAccessAllRegistrants];

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: Status,
    pub sense: Option<SenseCode>,
    pub data: Vec<u8>,
}

impl Answer {
    pub const GOOD: Self = Self { status: Status::GOOD, sense: None, data: Vec::new() };
    pub const CONFLICT: Self = Self { status: Status::RESERVATION_CONFLICT, sense: None, data: Vec::new() };

    pub const fn check(sense: SenseCode) -> Self {
        Self { status: Status::CHECK_CONDITION, sense: Some(sense), data: Vec::new() }
    }
}

impl From<Completion<'_>> for Answer {
    fn from(completion: Completion<'_>) -> Self {
        Self { status: completion.status, sense: completion.sense.code(), data: completion.data.to_vec() }
    }
}

pub const INVALID_CDB: Answer = Answer::check(SenseCode::INVALID_FIELD_IN_CDB);
pub const INVALID_LIST: Answer = Answer::check(SenseCode::INVALID_FIELD_IN_PARAMETER_LIST);
pub const LIST_LENGTH: Answer = Answer::check(SenseCode::PARAMETER_LIST_LENGTH);
pub const NO_ROOM: Answer = Answer::check(SenseCode::INSUFFICIENT_REGISTRATION_RESOURCES);

pub fn keys(key: u64, service_action_key: u64) -> BasicParameters<'static> {
    BasicParameters::keys(ReservationKey(key), ReservationKey(service_action_key))
}

pub fn bytes_of(id: &TransportId<'_>) -> Vec<u8> {
    let mut bytes = vec![0; id.length()];
    id.write(&mut DataIn::new(&mut bytes));
    bytes
}

/// The TransportIDs of these initiators, one behind the other.
pub fn listed(nexuses: &[Nexus]) -> Vec<u8> {
    nexuses.iter().flat_map(|nexus| bytes_of(&nexus.initiator.sas())).collect()
}

pub struct Bench(pub LogicalUnit);

impl Deref for Bench {
    type Target = LogicalUnit;

    fn deref(&self) -> &LogicalUnit {
        &self.0
    }
}

impl DerefMut for Bench {
    fn deref_mut(&mut self) -> &mut LogicalUnit {
        &mut self.0
    }
}

impl Bench {
    /// Two target ports; `A`, `B`, `C` and `A2` are logged in and nobody is registered.
    pub fn new() -> Self {
        Self::with(LogicalUnit::new(2))
    }

    /// The same with a unit of another size.
    pub fn with(unit: LogicalUnit) -> Self {
        let mut bench = Self(unit);
        for nexus in [A, B, C, A2] {
            bench.log_in(&nexus.initiator.sas(), nexus.target_port);
        }
        bench
    }

    /// These are registered, with the keys given.
    pub fn registered(registrants: &[(Nexus, u64)]) -> Self {
        let mut bench = Self::new();
        for (nexus, key) in registrants {
            bench.good(*nexus, Register, None, keys(0, *key));
        }
        bench
    }

    /// `A`, `B` and `C` are registered; `A` has reserved.
    pub fn reserved(kind: ReservationType) -> Self {
        let mut bench = Self::registered(&[(A, KA), (B, KB), (C, KC)]);
        bench.good(A, Reserve, Some(kind), keys(KA, 0));
        bench
    }

    pub fn raw(&mut self, nexus: Nexus, cdb: [u8; 16], list: &[u8]) -> Answer {
        let cdb = Cdb::new(cdb).expect("one of the two commands");
        let mut buffer = vec![0; 0x1_0000];
        self.0.execute(nexus, &cdb, list, &mut buffer).into()
    }

    /// PERSISTENT RESERVE OUT with the length of its list where it belongs.
    pub fn list(&mut self, nexus: Nexus, action: OutAction, kind: Option<ReservationType>, list: &[u8]) -> Answer {
        let length = u32::try_from(list.len()).expect("a list of a sensible length");
        self.raw(nexus, *PersistentReserveOut::new(action, kind, length).cdb().as_bytes(), list)
    }

    pub fn out(
        &mut self,
        nexus: Nexus,
        action: OutAction,
        kind: Option<ReservationType>,
        parameters: BasicParameters<'_>,
    ) -> Answer {
        let mut list = vec![0; parameters.length()];
        parameters.write(&mut DataIn::new(&mut list));
        self.list(nexus, action, kind, &list)
    }

    /// The same, and it has to succeed.
    #[track_caller]
    pub fn good(&mut self, nexus: Nexus, action: OutAction, kind: Option<ReservationType>, list: BasicParameters<'_>) {
        assert_eq!(self.out(nexus, action, kind, list), Answer::GOOD, "{action}");
    }

    /// The same, and it has to fail like this, changing nothing.
    #[track_caller]
    pub fn refuses(
        &mut self,
        answer: &Answer,
        nexus: Nexus,
        action: OutAction,
        kind: Option<ReservationType>,
        list: BasicParameters<'_>,
    ) {
        let before = self.0.clone();
        assert_eq!(self.out(nexus, action, kind, list), *answer, "{action}");
        assert_eq!(self.0, before, "a command that fails changes nothing");
    }

    pub fn move_to(&mut self, nexus: Nexus, parameters: MoveParameters<'_>) -> Answer {
        let mut list = vec![0; parameters.length()];
        parameters.write(&mut DataIn::new(&mut list));
        self.list(nexus, RegisterAndMove, None, &list)
    }

    /// The parameter data of a PERSISTENT RESERVE IN.
    #[track_caller]
    pub fn ask(&mut self, nexus: Nexus, action: InAction, allocation_length: u16) -> Vec<u8> {
        let answer = self.raw(nexus, *PersistentReserveIn::new(action, allocation_length).cdb().as_bytes(), &[]);
        assert_eq!((answer.status, answer.sense), (Status::GOOD, None), "{action}");
        answer.data
    }

    /// Who is registered, with which key.
    pub fn registrants(&self) -> Vec<(Nexus, u64)> {
        self.registrations().map(|(nexus, registration)| (nexus, registration.key.0)).collect()
    }

    /// The type of the reservation and its one holder.
    pub fn held(&self) -> Option<(ReservationType, Option<Nexus>)> {
        self.reservation().map(|held| (held.kind, held.holder))
    }

    /// The unit attentions of `A`, `B` and `C`, by their qualifiers: all of them are 6/2a or, after a reset, 6/29.
    pub fn told(&self) -> [Vec<u8>; 3] {
        [A, B, C].map(|nexus| self.unit_attentions(nexus).iter().map(|code| code.additional.qualifier).collect())
    }
}

pub const NOBODY: [Vec<u8>; 3] = [vec![], vec![], vec![]];
