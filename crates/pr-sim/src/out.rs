//! PERSISTENT RESERVE OUT: what every service action has in common (SPC-4 6.15).

use scsi_persistent_reservations::{
    BASIC_LENGTH, BasicParameters, Completion, OutAction, ParseError, PersistentReserveOut, ReservationKey, Sense,
    SenseCode, Status,
};

use crate::{LogicalUnit, Nexus};

/// Why a command changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// RESERVATION CONFLICT.
    Conflict,
    /// CHECK CONDITION.
    Check(SenseCode),
}

impl From<Refusal> for Completion<'_> {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Conflict => Self::status(Status::RESERVATION_CONFLICT),
            Refusal::Check(code) => check(code),
        }
    }
}

impl From<SenseCode> for Refusal {
    fn from(code: SenseCode) -> Self {
        Self::Check(code)
    }
}

/// CHECK CONDITION with this code.
pub(crate) const fn check(code: SenseCode) -> Completion<'static> {
    Completion::check_condition(Sense::fixed(code))
}

impl LogicalUnit {
    /// Carries out a PERSISTENT RESERVE OUT that no reservation forbids.
    pub(crate) fn change(
        &mut self,
        nexus: Nexus,
        command: PersistentReserveOut,
        parameters: &[u8],
    ) -> Result<(), Refusal> {
        let list = usize::try_from(command.parameter_list_length)
            .ok()
            .and_then(|length| parameters.get(..length))
            .filter(|list| list.len() >= BASIC_LENGTH)
            .ok_or(SenseCode::PARAMETER_LIST_LENGTH)?;
        let action = command.action().ok_or(SenseCode::INVALID_FIELD_IN_CDB)?;

        if action == OutAction::RegisterAndMove {
            self.register_and_move(nexus, list)?;
        } else {
            let parameters = basic_parameters(action, list)?;
            self.dispatch(nexus, action, command, &parameters)?;
        }
        // RESERVE and RELEASE register nothing, so the counter of changes to registrations stands still.
        if !matches!(action, OutAction::Reserve | OutAction::Release) {
            self.generation = self.generation.wrapping_add(1);
        }
        Ok(())
    }

    fn dispatch(
        &mut self,
        nexus: Nexus,
        action: OutAction,
        command: PersistentReserveOut,
        parameters: &BasicParameters<'_>,
    ) -> Result<(), Refusal> {
        if action.uses_scope_and_type() && !command.scope().is_logical_unit() {
            return Err(SenseCode::INVALID_FIELD_IN_CDB.into());
        }
        let kind = || command.reservation_type().ok_or(SenseCode::INVALID_FIELD_IN_CDB);
        match action {
            OutAction::Register | OutAction::RegisterAndIgnoreExistingKey => self.register(nexus, action, parameters),
            OutAction::Reserve => self.reserve(nexus, kind()?, parameters.key),
            // A type that SPC does not name is not the type of the reservation; RELEASE has an answer for that.
            OutAction::Release => self.release(nexus, command.reservation_type(), parameters.key),
            OutAction::Clear => self.clear(nexus, parameters.key),
            OutAction::Preempt => self.preempt(nexus, kind()?, parameters).map(|_| ()),
            OutAction::PreemptAndAbort => {
                self.aborted = self.preempt(nexus, kind()?, parameters)?;
                Ok(())
            }
            // This unit never loses its reservations, so there are none to replace (RLR_C is zero), and
            // REGISTER AND MOVE has a parameter list of its own.
            OutAction::ReplaceLostReservation | OutAction::RegisterAndMove => {
                Err(SenseCode::INVALID_FIELD_IN_CDB.into())
            }
        }
    }

    /// The nexus has to be registered with this key. For every service action that registers nothing.
    pub(crate) fn prove(&self, nexus: Nexus, key: ReservationKey) -> Result<(), Refusal> {
        match self.registrations.get(&nexus) {
            Some(registration) if registration.key == key => Ok(()),
            _ => Err(Refusal::Conflict),
        }
    }

    /// Tells all registrants but `except` of a condition.
    pub(crate) fn tell_other_registrants(&mut self, except: Nexus, condition: SenseCode) {
        for nexus in self.registrations.keys().filter(|nexus| **nexus != except) {
            self.attentions.establish(*nexus, condition);
        }
    }
}

/// Reads the parameter list of an action other than REGISTER AND MOVE; it has its 24 bytes at least.
fn basic_parameters(action: OutAction, list: &[u8]) -> Result<BasicParameters<'_>, Refusal> {
    // With 24 bytes there, only a list of TransportIDs can be wrong, so an error means that SPEC_I_PT is set.
    match BasicParameters::parse(list) {
        Ok(parameters) if parameters.initiator_ports.is_none() => match list.len() {
            BASIC_LENGTH => Ok(parameters),
            _ => Err(SenseCode::PARAMETER_LIST_LENGTH.into()),
        },
        _ if action != OutAction::Register => Err(SenseCode::INVALID_FIELD_IN_PARAMETER_LIST.into()),
        Ok(parameters) => Ok(parameters),
        Err(ParseError::TooShort) => Err(SenseCode::PARAMETER_LIST_LENGTH.into()),
        Err(_) => Err(SenseCode::INVALID_FIELD_IN_PARAMETER_LIST.into()),
    }
}
