use std::collections::BTreeMap;

use scsi_persistent_reservations::{Cdb, Command, Completion, ReservationKey, ReservationType, SenseCode, TransportId};

use crate::{CommandClass, InitiatorPort, Nexus, attention::UnitAttentions, out::Refusal, ports::Ports};

/// How many registrations a unit has room for, unless told otherwise.
const MAX_REGISTRATIONS: usize = 4096;

/// What is registered for one nexus.
///
/// ```
/// use pr_sim::{InitiatorPort, LogicalUnit, Nexus, Registration};
/// use scsi_persistent_reservations::{PrOut, ReservationKey};
///
/// let mut unit = LogicalUnit::default();
/// let nexus = Nexus { initiator: InitiatorPort(1), target_port: 1 };
/// let key = ReservationKey(0xabc);
/// let register = PrOut::register(ReservationKey::ZERO, key);
/// let _good = unit.execute(nexus, &register.cdb(), &register.list(), &mut []);
/// assert!(unit.registrations().eq([(nexus, Registration { key, all_target_ports: false })]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The key, never zero.
    pub key: ReservationKey,
    /// The command that made this registration made it on every target port.
    pub all_target_ports: bool,
}

/// The reservation of a logical unit.
///
/// ```
/// use pr_sim::{Held, LogicalUnit};
///
/// let held: Option<Held> = LogicalUnit::default().reservation();
/// assert_eq!(held, None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its type.
    pub kind: ReservationType,
    /// The nexus that holds it; `None` for the all-registrants types, which every registrant holds.
    pub holder: Option<Nexus>,
}

impl Held {
    pub(crate) fn new(kind: ReservationType, holder: Nexus) -> Self {
        Self { kind, holder: (!kind.is_all_registrants()).then_some(holder) }
    }
}

/// A logical unit, as far as persistent reservations go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogicalUnit {
    pub(crate) target_ports: u16,
    pub(crate) max_registrations: usize,
    /// PRGENERATION.
    pub(crate) generation: u32,
    pub(crate) registrations: BTreeMap<Nexus, Registration>,
    pub(crate) held: Option<Held>,
    /// The most recent APTPL.
    pub(crate) persists: bool,
    pub(crate) attentions: UnitAttentions,
    pub(crate) ports: Ports,
    /// Whose commands the last command aborted.
    pub(crate) aborted: Vec<Nexus>,
}

impl Default for LogicalUnit {
    /// A unit with one target port.
    fn default() -> Self {
        Self::new(1)
    }
}

impl LogicalUnit {
    /// A unit as it comes from the factory, with target ports 1 to `target_ports` and room for 4096 registrations.
    pub fn new(target_ports: u16) -> Self {
        Self {
            target_ports,
            max_registrations: MAX_REGISTRATIONS,
            generation: 0,
            registrations: BTreeMap::new(),
            held: None,
            persists: false,
            attentions: UnitAttentions::default(),
            ports: Ports::default(),
            aborted: Vec::new(),
        }
    }

    /// The same unit with room for another number of registrations.
    #[must_use]
    pub fn with_max_registrations(self, max_registrations: usize) -> Self {
        Self { max_registrations, ..self }
    }

    /// Carries out a command of `nexus`.
    ///
    /// `parameters` is the parameter list of a PERSISTENT RESERVE OUT, as long as its CDB says. The parameter data
    /// of a PERSISTENT RESERVE IN goes to `buffer`, no more of it than the CDB's allocation length.
    ///
    /// The order is SPC's: a pending unit attention is reported first and nothing else is done; then a reservation
    /// may forbid the command; only then are its fields looked at.
    pub fn execute<'buffer>(
        &mut self,
        nexus: Nexus,
        cdb: &Cdb,
        parameters: &[u8],
        buffer: &'buffer mut [u8],
    ) -> Completion<'buffer> {
        if let Some(condition) = self.attention(nexus) {
            return condition;
        }
        if !self.admits(nexus, CommandClass::of(cdb.command_bytes())) {
            return Refusal::Conflict.into();
        }
        match cdb.command() {
            Command::In(command) => self.report(command, buffer),
            Command::Out(command) => {
                let outcome = self.change(nexus, command, parameters);
                self.forget_unused_names();
                outcome.map_or_else(Completion::from, |()| Completion::GOOD)
            }
        }
    }

    /// Whose commands the last command aborted: those whom a PREEMPT AND ABORT preempted. The sender itself is
    /// among them if it preempted its own registration; its PREEMPT AND ABORT is not aborted.
    pub fn aborted(&self) -> &[Nexus] {
        &self.aborted
    }

    /// Says that the port with this TransportID is there, through one of the target ports; unit attentions are kept
    /// for it from now on. (A SAS port needs no such introduction: its first command does the same.) `None` where
    /// the TransportID is of no known protocol, or there is no such target port.
    pub fn log_in(&mut self, id: &TransportId<'_>, target_port: u16) -> Option<Nexus> {
        if !self.has_target_port(target_port) {
            return None;
        }
        let nexus = Nexus { initiator: self.ports.resolve(id)?, target_port };
        self.attentions.log_in(nexus);
        Some(nexus)
    }

    /// Says that a nexus is gone for good. The unit attentions it was to be told are dropped; its registration stays,
    /// as registrations survive the loss of a nexus.
    pub fn forget(&mut self, nexus: Nexus) {
        self.attentions.forget(nexus);
        self.forget_unused_names();
    }

    /// Resets the unit: registrations and the reservation survive.
    pub fn reset(&mut self) {
        self.forget_aborted();
        self.attentions.reset();
    }

    /// Switches the unit off and on: registrations and the reservation survive if the most recent registration asked
    /// for it (APTPL). PRGENERATION starts from zero in any case.
    pub fn power_cycle(&mut self) {
        self.generation = 0;
        if !self.persists {
            self.registrations.clear();
            self.held = None;
        }
        self.reset();
        self.forget_unused_names();
    }

    /// The TransportID of an initiator port.
    pub fn transport_id(&self, port: InitiatorPort) -> TransportId<'_> {
        self.ports.transport_id(port)
    }

    /// PRGENERATION.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The registrations, in the order of READ KEYS and READ FULL STATUS.
    pub fn registrations(&self) -> impl ExactSizeIterator<Item = (Nexus, Registration)> + Clone {
        self.registrations.iter().map(|(nexus, registration)| (*nexus, *registration))
    }

    /// The reservation, if there is one.
    pub fn reservation(&self) -> Option<Held> {
        self.held
    }

    /// Whether registrations survive the next power cycle.
    pub fn persists_through_power_loss(&self) -> bool {
        self.persists
    }

    /// What a nexus is yet to be told, oldest first.
    pub fn unit_attentions(&self, nexus: Nexus) -> &[SenseCode] {
        self.attentions.pending(nexus)
    }

    pub(crate) fn has_target_port(&self, target_port: u16) -> bool {
        (1..=self.target_ports).contains(&target_port)
    }

    pub(crate) fn is_registered(&self, nexus: Nexus) -> bool {
        self.registrations.contains_key(&nexus)
    }

    /// Whether the nexus holds the reservation, alone or with all other registrants.
    pub(crate) fn holds(&self, nexus: Nexus) -> bool {
        match self.held {
            None => false,
            Some(Held { holder: Some(holder), .. }) => holder == nexus,
            Some(Held { holder: None, .. }) => self.is_registered(nexus),
        }
    }

    pub(crate) fn forget_aborted(&mut self) {
        if !self.aborted.is_empty() {
            self.aborted.clear();
            self.forget_unused_names();
        }
    }

    /// A name is in use while its port is registered, logged in, or can be asked for with [`Self::aborted`].
    fn forget_unused_names(&mut self) {
        let Self { ports, registrations, attentions, aborted, .. } = self;
        ports.retain(|initiator| {
            let through = |target_port| Nexus { initiator, target_port };
            attentions.knows(initiator)
                || registrations.range(through(0)..=through(u16::MAX)).next().is_some()
                || aborted.iter().any(|nexus| nexus.initiator == initiator)
        });
    }
}
