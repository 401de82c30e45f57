//! Who may do what while a reservation stands: every [`Operation`] by every initiator under every type.
//!
//! In each [`Case`] the first two initiators have registered, and the first one has reserved unless there is no reservation;
//! the third one is not registered. One of them does one thing. What is answered, and what all three read afterwards, is
//! computed here from the rules of SPC-4 (5.13: which commands a reservation admits, RESERVE, RELEASE, REGISTER, CLEAR and
//! PREEMPT by a holder, by another registrant and by others).
//!
//! open-iscsi-pgr-validate, a test suite for targets, has 95 tests in nine classes of registration and reservation. They ask
//! the same, and this is where:
//!
//! | there | tests | here |
//! |---|---|---|
//! | registering, by two initiators | 2 | how each case begins |
//! | the keys as each of three reads them, and no keys | 4 | how each case ends, [`Operation::Clear`] |
//! | unregistering; REGISTER again; REGISTER AND IGNORE | 3 | [`Operation::Unregister`], [`Operation::RegisterAgain`], [`Operation::Ignore`] without a reservation |
//! | for each of six types: RESERVE | 6 | how each case begins |
//! | the reservation as each of three reads it | 18 | how each case ends |
//! | RELEASE by the holder, and by another registrant | 12 | [`Operation::Release`] by the first and the second |
//! | unregistering by the holder, by another registrant, and for all registrants by both | 14 | [`Operation::Unregister`], [`Operation::UnregisterBoth`] |
//! | READ and WRITE by each of three | 36 | [`Operation::ReadBlock`], [`Operation::WriteBlock`] |
//!
//! ```
//! use pr_conformance::{Operation, Initiator, cases};
//! use scsi_persistent_reservations::{ReservationKey, ReservationType};
//!
//! let cases = cases([1, 2, 3].map(ReservationKey));
//! let fenced = cases.iter().find(|case| {
//!     case.kind == Some(ReservationType::WriteExclusive)
//!         && (case.who, case.operation) == (Initiator::Three, Operation::WriteBlock)
//! });
//! assert_eq!(fenced.map(|case| case.steps[3].expect.to_string()).as_deref(), Some("RESERVATION CONFLICT"));
//! ```

use scsi_persistent_reservations::{InAction, ReservationKey, ReservationType};

use crate::{
    Command, Expect,
    Initiator::{self, One, Three, Two},
    Step,
    sequences::{ANY_LENGTH, NONE, abort, clear, free, held, ignore, keys, preempt, register, release, reserve, step},
};

/// What an initiator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// READ.
    ReadBlock,
    /// WRITE, with what it may have read.
    WriteBlock,
    /// REPORT CAPABILITIES, which is always admitted, as reading keys and the reservation is.
    Capabilities,
    /// RESERVE with the type that is held, or with any.
    Reserve,
    /// RESERVE with another type.
    ReserveOther,
    /// RELEASE.
    Release,
    /// RELEASE with a type that is not held.
    ReleaseOther,
    /// RELEASE with a key that is not the sender's.
    ReleaseWrongKey,
    /// REGISTER as one that is not registered.
    RegisterAgain,
    /// REGISTER with another key than its own.
    ChangeWrongKey,
    /// REGISTER from its own key to another.
    Change,
    /// REGISTER AND IGNORE EXISTING KEY.
    Ignore,
    /// REGISTER with the key zero.
    Unregister,
    /// The same, by another registrant as well.
    UnregisterBoth,
    /// CLEAR.
    Clear,
    /// PREEMPT of the other registrant, by its key.
    Preempt,
    /// PREEMPT AND ABORT of it.
    PreemptAndAbort,
    /// PREEMPT of a key that nobody has.
    PreemptUnknown,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::ReadBlock,
        Self::WriteBlock,
        Self::Capabilities,
        Self::Reserve,
        Self::ReserveOther,
        Self::Release,
        Self::ReleaseOther,
        Self::ReleaseWrongKey,
        Self::RegisterAgain,
        Self::ChangeWrongKey,
        Self::Change,
        Self::Ignore,
        Self::Unregister,
        Self::UnregisterBoth,
        Self::Clear,
        Self::Preempt,
        Self::PreemptAndAbort,
        Self::PreemptUnknown,
    ];
}

/// One thing that one initiator does under one type.
#[derive(Clone, Debug)]
pub struct Case {
    /// The type of the reservation, if there is one.
    pub kind: Option<ReservationType>,
    /// Who does it.
    pub who: Initiator,
    /// What.
    pub operation: Operation,
    /// What comes before it, the operation, and what all three read.
    pub steps: Vec<Step>,
}

/// All cases, with these keys; the third one is for the initiator that is not registered, and for changes.
pub fn cases(keys: [ReservationKey; 3]) -> Vec<Case> {
    let kinds = [None].into_iter().chain(ReservationType::ALL.map(Some));
    let all = kinds.flat_map(|kind| [One, Two, Three].map(|who| (kind, who)));
    all.flat_map(|(kind, who)| Operation::ALL.map(|operation| case(keys, kind, who, operation))).collect()
}

/// The disk as it has to be.
#[derive(Clone)]
struct Disk {
    keys: [ReservationKey; 3],
    /// Who is registered, with what.
    registered: [Option<ReservationKey>; 3],
    /// Who reserved; nobody where all registrants hold it.
    held: Option<(Option<Initiator>, ReservationType)>,
}

/// A type of another kind.
fn other(kind: Option<ReservationType>) -> ReservationType {
    match kind {
        Some(ReservationType::WriteExclusiveRegistrantsOnly) => ReservationType::ExclusiveAccess,
        _ => ReservationType::WriteExclusiveRegistrantsOnly,
    }
}

impl Disk {
    fn key(&self, who: Initiator) -> ReservationKey {
        self.registered[who as usize].unwrap_or(NONE)
    }

    fn is_registered(&self, who: Initiator) -> bool {
        self.registered[who as usize].is_some()
    }

    fn holds(&self, who: Initiator) -> bool {
        self.is_registered(who) && self.held.is_some_and(|(holder, _)| holder.is_none_or(|holder| holder == who))
    }

    fn admits(&self, who: Initiator, writes: bool) -> bool {
        self.held.is_none_or(|(_, kind)| {
            let is_open = !writes && !kind.excludes_readers();
            is_open || self.holds(who) || kind.admits_registrants() && self.is_registered(who)
        })
    }

    /// A registration ends, and with it what its initiator holds alone, or what all hold as the last of them.
    fn remove(&mut self, who: Initiator) {
        self.registered[who as usize] = None;
        let is_last = self.registered.iter().all(Option::is_none);
        if self.held.is_some_and(|(holder, _)| holder.map_or(is_last, |holder| holder == who)) {
            self.held = None;
        }
    }

    /// Carries an operation out: what is sent, and what has to be answered.
    fn does(&mut self, who: Initiator, operation: Operation) -> (Command, Expect) {
        let (own, [one, two, three]) = (self.key(who), self.keys);
        let sent = if self.is_registered(who) { own } else { three };
        let kind = self.held.map_or(ReservationType::WriteExclusive, |(_, kind)| kind);
        let other = other(self.held.map(|(_, kind)| kind));
        let (victim, victims) = if who == One { (Two, two) } else { (One, one) };
        let permitted = |is| if is { Expect::Good } else { Expect::Conflict };
        // Linux' target has another refusal for an initiator that is not registered.
        let (is_registered, refusal) = (self.is_registered(who), Expect::Refusal);
        match operation {
            Operation::ReadBlock => (Command::ReadBlock, permitted(self.admits(who, false))),
            Operation::WriteBlock => (Command::WriteBlock, permitted(self.admits(who, true))),
            Operation::Capabilities => {
                (Command::Read(InAction::ReportCapabilities, ANY_LENGTH), Expect::GoodIfSupported)
            }
            Operation::Reserve | Operation::ReserveOther => {
                let kind = if operation == Operation::Reserve { kind } else { other };
                let is_same = self.holds(who) && self.held.is_some_and(|(_, held)| held == kind);
                let expect = match (is_registered, self.held) {
                    (false, _) => refusal,
                    (true, None) => {
                        self.held = Some((Some(who).filter(|_| !kind.is_all_registrants()), kind));
                        Expect::Good
                    }
                    (true, Some(_)) => permitted(is_same),
                };
                (reserve(sent, kind), expect)
            }
            Operation::Release => {
                if self.holds(who) {
                    self.held = None;
                }
                (release(sent, kind), if is_registered { Expect::Good } else { refusal })
            }
            // SPC has an error of its own for it, and Linux' target a conflict. Who holds nothing releases nothing.
            Operation::ReleaseOther => {
                let releases_nothing = is_registered && !self.holds(who);
                (release(sent, other), if releases_nothing { Expect::Good } else { refusal })
            }
            Operation::ReleaseWrongKey => {
                let wrong = if who == Three { two } else { three };
                let expect = match (is_registered, self.holds(who)) {
                    (false, _) => refusal,
                    (true, true) => Expect::Conflict,
                    // Linux' target does not look at the key of one who holds nothing.
                    (true, false) => Expect::ConflictOrNothing,
                };
                (release(wrong, kind), expect)
            }
            Operation::RegisterAgain => {
                if !is_registered {
                    self.registered[who as usize] = Some(three);
                }
                (register(NONE, three), permitted(!is_registered))
            }
            Operation::ChangeWrongKey => (register(victims, three), Expect::Conflict),
            Operation::Change => {
                if is_registered {
                    self.registered[who as usize] = Some(three);
                }
                (register(sent, three), permitted(is_registered))
            }
            Operation::Ignore => {
                self.registered[who as usize] = Some(three);
                (ignore(three), Expect::Good)
            }
            // Nobody with no key stays nobody.
            Operation::Unregister | Operation::UnregisterBoth => {
                self.remove(who);
                (register(own, NONE), Expect::Good)
            }
            Operation::Clear => {
                if is_registered {
                    *self = Self { registered: [None; 3], held: None, ..self.clone() };
                }
                (clear(sent), if is_registered { Expect::Good } else { refusal })
            }
            Operation::Preempt | Operation::PreemptAndAbort => {
                if is_registered {
                    let takes = self.held.is_some_and(|(holder, _)| holder == Some(victim));
                    self.remove(victim);
                    if takes {
                        self.held = Some((Some(who), kind));
                    }
                }
                let command = if operation == Operation::Preempt { preempt } else { abort };
                (command(sent, victims, kind), if is_registered { Expect::Good } else { refusal })
            }
            Operation::PreemptUnknown => {
                let unknown = ReservationKey(three.0 ^ 0xff00);
                (preempt(sent, unknown, kind), if is_registered { Expect::Conflict } else { refusal })
            }
        }
    }

    /// What all three read.
    fn reads(&self) -> Vec<Step> {
        let registered: Vec<ReservationKey> = self.registered.iter().copied().flatten().collect();
        let mut steps = Vec::new();
        for who in [One, Two, Three] {
            steps.push(keys(who, &registered));
            steps.push(match self.held {
                None => free(who),
                Some((holder, kind)) => held(who, holder.map_or(NONE, |holder| self.key(holder)), kind),
            });
        }
        steps
    }
}

fn case(keys: [ReservationKey; 3], kind: Option<ReservationType>, who: Initiator, operation: Operation) -> Case {
    let [one, two, _] = keys;
    let mut disk = Disk { keys, registered: [Some(one), Some(two), None], held: None };
    let mut steps = vec![
        step(One, "registers", register(NONE, one), Expect::Good),
        step(Two, "registers", register(NONE, two), Expect::Good),
    ];
    if let Some(kind) = kind {
        disk.held = Some((Some(One).filter(|_| !kind.is_all_registrants()), kind));
        steps.push(step(One, "reserves", reserve(one, kind), Expect::Good));
    }
    let (command, expect) = disk.does(who, operation);
    steps.push(step(who, "does it", command, expect));
    if operation == Operation::UnregisterBoth {
        let second = if who == Two { One } else { Two };
        let (command, expect) = disk.does(second, operation);
        steps.push(step(second, "does it as well", command, expect));
    }
    steps.extend(disk.reads());
    Case { kind, who, operation, steps }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use pr_sim::{InitiatorPort, LogicalUnit, Medium, Nexus};
    use qemu_pr_protocol::Reply;
    use scsi_persistent_reservations::{Completion, PersistentReserveIn};

    use super::*;
    use crate::{Judge, Verdict};

    fn all() -> Vec<Case> {
        cases([0xa1, 0xb2, 0xc3].map(ReservationKey))
    }

    #[test]
    fn a_disk_does_in_each_case_what_has_to_be_done() {
        for Case { kind, who, operation, steps } in all() {
            let mut unit = LogicalUnit::default();
            let mut judge = Judge::default();
            for (number, step) in (1..).zip(&steps) {
                let nexus = Nexus { initiator: InitiatorPort(step.initiator.number().into()), target_port: 1 };
                let report = judge.play(step, |command| {
                    let mut buffer = [0; 8192];
                    let Completion { status, sense, data } = match command {
                        Command::Change(change) => unit.execute(nexus, &change.cdb(), &change.list(), &mut []),
                        Command::Read(action, length) => {
                            unit.execute(nexus, &PersistentReserveIn::new(*action, *length).cdb(), &[], &mut buffer)
                        }
                        Command::ReadBlock => unit.access(nexus, Medium::Read),
                        Command::WriteBlock => unit.access(nexus, Medium::Write),
                    };
                    Ok::<_, String>(Reply { status, sense, data: data.to_vec() })
                });
                let place = format!("{kind:?}, {who:?} {operation:?}, step {number}");
                assert_eq!(report.verdict, Verdict::Ok, "{place}: {} not {}", report.received, report.expected);
            }
        }
    }

    #[test]
    fn each_of_the_other_suites_95_tests_is_a_case_or_how_cases_begin_and_end() {
        let all = all();
        let is_there = |kind, who, operation| {
            all.iter().any(|case| (case.kind, case.who, case.operation) == (kind, who, operation))
        };
        // Both registered at the beginning; what three of them read at the end, with keys and without.
        let mut found = 2 + 4;
        for operation in [Operation::Unregister, Operation::RegisterAgain, Operation::Ignore] {
            found += usize::from(is_there(None, One, operation));
        }
        for kind in ReservationType::ALL {
            // Reserved at the beginning, read by three at the end.
            found += 1 + 3;
            for (who, operation) in [Operation::Release, Operation::Unregister]
                .into_iter()
                .flat_map(|operation| [(One, operation), (Two, operation)])
            {
                found += usize::from(is_there(Some(kind), who, operation));
            }
            found += usize::from(kind.is_all_registrants() && is_there(Some(kind), One, Operation::UnregisterBoth));
            for who in [One, Two, Three] {
                found += usize::from(is_there(Some(kind), who, Operation::ReadBlock));
                found += usize::from(is_there(Some(kind), who, Operation::WriteBlock));
            }
        }
        assert_eq!((found, all.len()), (95, 7 * 3 * 18));
    }

    #[test]
    fn what_is_expected_is_what_the_standard_says() {
        use ReservationType::{
            ExclusiveAccess as Ea, ExclusiveAccessAllRegistrants as Eaar, WriteExclusive as We,
            WriteExclusiveRegistrantsOnly as Wero,
        };

        let all = all();
        let due = |kind: ReservationType, who, operation| {
            let case = all.iter().find(|case| (case.kind, case.who, case.operation) == (Some(kind), who, operation));
            case.map(|case| case.steps[3].expect.to_string()).expect("a case")
        };
        for (kind, who, operation, expected) in [
            (We, Two, Operation::ReadBlock, "GOOD"),
            (We, Two, Operation::WriteBlock, "RESERVATION CONFLICT"),
            (Ea, Three, Operation::ReadBlock, "RESERVATION CONFLICT"),
            (Wero, Two, Operation::WriteBlock, "GOOD"),
            (Wero, Three, Operation::WriteBlock, "RESERVATION CONFLICT"),
            (Eaar, Two, Operation::ReadBlock, "GOOD"),
            (Eaar, Three, Operation::ReadBlock, "RESERVATION CONFLICT"),
            (Wero, Two, Operation::Reserve, "RESERVATION CONFLICT"),
            (Eaar, Two, Operation::Reserve, "GOOD"),
            (Ea, Two, Operation::Release, "GOOD"),
            (Ea, One, Operation::ReleaseWrongKey, "RESERVATION CONFLICT"),
        ] {
            assert_eq!(due(kind, who, operation), expected, "{kind:?}, {who:?} {operation:?}");
        }
        let end = |kind, who, operation| {
            let case = all.iter().find(|case| (case.kind, case.who, case.operation) == (Some(kind), who, operation));
            let steps = &case.expect("a case").steps;
            [steps.len() - 2, steps.len() - 1].map(|step| steps[step].expect.to_string())
        };
        assert_eq!(end(Ea, One, Operation::Unregister), ["0xb2", "no reservation"]);
        assert_eq!(end(Eaar, One, Operation::Unregister), ["0xb2", "held by all, type 8"]);
        assert_eq!(end(Eaar, One, Operation::UnregisterBoth), ["no keys", "no reservation"]);
        assert_eq!(end(Wero, Two, Operation::Preempt), ["0xb2", "held by 0xb2, type 5"]);
        assert_eq!(end(Wero, One, Operation::Change), ["0xc3 0xb2", "held by 0xc3, type 5"]);
        assert_eq!(end(Ea, Two, Operation::Release), ["0xa1 0xb2", "held by 0xa1, type 3"]);
        assert_eq!(end(Eaar, Two, Operation::Release), ["0xa1 0xb2", "no reservation"]);
    }
}
