use crate::{Cdb, Sense, Status};

/// What came of a command: always a SCSI answer. That the command could not be delivered is one too (a CHECK
/// CONDITION with its sense), so that nothing can be mistaken for success.
///
/// ```
/// use scsi_persistent_reservations::{Completion, Sense, Status};
///
/// let conflict = Completion::status(Status::RESERVATION_CONFLICT);
/// assert_eq!((conflict.sense, conflict.data), (Sense::NONE, &[][..]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Completion<'buffer> {
    /// The SCSI status.
    pub status: Status,
    /// The sense data; empty where there is none.
    pub sense: Sense,
    /// The parameter data of a PERSISTENT RESERVE IN, never longer than its allocation length. Empty unless the
    /// status is GOOD.
    pub data: &'buffer [u8],
}

impl Completion<'_> {
    /// GOOD, with nothing to return.
    pub const GOOD: Self = Self { status: Status::GOOD, sense: Sense::NONE, data: &[] };

    /// A status that carries no sense data, such as RESERVATION CONFLICT.
    pub const fn status(status: Status) -> Self {
        Self { status, sense: Sense::NONE, data: &[] }
    }

    /// CHECK CONDITION with this sense data.
    pub const fn check_condition(sense: Sense) -> Self {
        Self { status: Status::CHECK_CONDITION, sense, data: &[] }
    }
}

/// Something that carries out persistent reservation commands: a SCSI device, a multipath map, a simulated
/// logical unit.
///
/// `D` says which one: a borrowed file descriptor for those that have one. A target that cannot deliver a command
/// answers with a [`Completion`] that says so; it has no other way to fail.
///
/// ```
/// use scsi_persistent_reservations::{Cdb, Completion, Sense, SenseCode, Status, Target};
///
/// /// A disk without persistent reservations.
/// struct Plain;
///
/// impl Target<()> for Plain {
///     fn execute<'a>(&self, _: (), _: &Cdb, _: &[u8], _: &'a mut [u8]) -> Completion<'a> {
///         Completion::check_condition(Sense::fixed(SenseCode::INVALID_OPERATION_CODE))
///     }
/// }
///
/// let cdb = Cdb::new([0x5e; 16])?;
/// assert_eq!(Plain.execute((), &cdb, &[], &mut []).status, Status::CHECK_CONDITION);
/// # Ok::<(), scsi_persistent_reservations::ParseError>(())
/// ```
pub trait Target<D> {
    /// Carries out one command and waits for its end.
    ///
    /// `parameters` is the parameter list of a PERSISTENT RESERVE OUT (empty otherwise). `buffer` is all zeros,
    /// and at least as long as the allocation length of a PERSISTENT RESERVE IN; the data of the completion lies
    /// in it.
    fn execute<'buffer>(
        &self,
        device: D,
        cdb: &Cdb,
        parameters: &[u8],
        buffer: &'buffer mut [u8],
    ) -> Completion<'buffer>;
}
