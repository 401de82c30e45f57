//! What the engine asks of the world: commands on single paths, device-mapper, multipathd, and a place that outlives it.

use scsi_persistent_reservations::{ReservationKey, Sense, SenseCode, SenseKey, Status};

use crate::Memory;

/// A path of a map: the device number of its block device (`st_rdev`), or a name that it keeps under any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathId(pub u64);

impl PathId {
    /// What no device number has (`makedev`, sys/sysmacros.h: Linux has twelve bits of a major number).
    const SESSION: u64 = 1 << 63;

    /// A path by the session of its transport, which a disk that is removed and found again is in as before: the session's
    /// number, the channel, the target and the LUN.
    pub const fn of_session(session: u32, channel: u8, target: u8, lun: u16) -> Self {
        Self(
            Self::SESSION
                | (session as u64 & 0xff_ffff) << 32
                | (channel as u64) << 24
                | (target as u64) << 16
                | lun as u64,
        )
    }

    /// A path that was there, and is not in the map any more.
    pub(crate) fn absent(self) -> Path {
        let name = if self.0 & Self::SESSION == 0 {
            // `makedev`, sys/sysmacros.h.
            let (major, minor) = (self.0 >> 8 & 0xfff | self.0 >> 32 & !0xfff, self.0 & 0xff | self.0 >> 12 & !0xff);
            format!("{major}:{}", minor & 0xffff_ffff)
        } else {
            let [_, session @ .., channel, target, high, low] = self.0.to_be_bytes();
            let session = session.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
            format!("session{session}:{channel}:{target}:{}", u16::from_be_bytes([high, low]))
        };
        Path { id: self, name, active: false, open: false, busy: false, identity: HostSays::Nothing }
    }
}

/// A registrant as the logical unit knows it: READ FULL STATUS tells both for each registration (SPC-4 6.14.5).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The relative target port identifier.
    pub target_port: u16,
    /// The `TransportID` of the initiator port.
    pub transport_id: Vec<u8>,
}

/// Who a path is to the logical unit, as far as the host can tell without asking it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum HostSays {
    /// It cannot.
    #[default]
    Nothing,
    /// It is this one, if whoever has made the session has called it as is usual. As soon as one of the map's paths is seen
    /// to be registered by such a name, all of them are who they are said to be.
    Likely(Identity),
    /// It is this one.
    Surely(Identity),
}

/// A path of the map, as device-mapper's table and the executor see it now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// Which one.
    pub id: PathId,
    /// Its name for messages, `sda` for example.
    pub name: String,
    /// Whether device-mapper sends I/O down this path.
    pub active: bool,
    /// Whether its node can be opened.
    pub open: bool,
    /// Whether an earlier command is still out on it, long after its time: nothing can be sent to it until that is over.
    pub busy: bool,
    /// Who it is to the logical unit.
    pub identity: HostSays,
}

/// How long the answer of a path is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Budget {
    /// The share of one path, some seconds: others can do the same.
    Path,
    /// What the command itself may take: PREEMPT AND ABORT waits for other commands to end.
    Command,
}

/// A command for one path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathCommand {
    /// Where to.
    pub path: PathId,
    /// The CDB, zeros behind it.
    pub cdb: [u8; 16],
    /// The parameter list.
    pub list: Vec<u8>,
    /// How many bytes of parameter data may come back.
    pub room: usize,
    /// How long the answer is waited for.
    pub budget: Budget,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CommandResult {
    /// The SCSI status; where the device did not answer, the one that the client is to be told.
    pub status: Status,
    /// Sense data, likewise.
    pub sense: Sense,
    /// Parameter data.
    pub data: Vec<u8>,
    /// Whose word that is.
    pub fate: Fate,
}

/// How far a command came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// The device answered.
    Answered,
    /// It was sent, and nobody knows whether the device carried it out.
    Lost,
    /// It was not sent: the path is not open, or has no thread, or there was no time for it.
    Unsent,
}

impl CommandResult {
    /// A command that was carried out.
    pub const GOOD: Self = Self { status: Status::GOOD, sense: Sense::NONE, data: Vec::new(), fate: Fate::Answered };

    /// An answer of the device's.
    pub const fn status(status: Status) -> Self {
        Self { status, sense: Sense::NONE, data: Vec::new(), fate: Fate::Answered }
    }

    /// CHECK CONDITION of the device's.
    pub const fn check(code: SenseCode) -> Self {
        Self { status: Status::CHECK_CONDITION, sense: Sense::fixed(code), data: Vec::new(), fate: Fate::Answered }
    }

    /// No answer.
    pub const fn lost(code: SenseCode) -> Self {
        Self { status: Status::CHECK_CONDITION, sense: Sense::fixed(code), data: Vec::new(), fate: Fate::Lost }
    }

    /// Not sent.
    pub const fn unsent(code: SenseCode) -> Self {
        Self { status: Status::CHECK_CONDITION, sense: Sense::fixed(code), data: Vec::new(), fate: Fate::Unsent }
    }

    /// Whether the device answered.
    pub const fn is_from_device(&self) -> bool {
        matches!(self.fate, Fate::Answered)
    }

    /// What the answer says of the command.
    pub fn class(&self) -> Class {
        const RECOVERED: SenseKey = SenseKey(0x1);
        const NOT_READY: SenseKey = SenseKey(0x2);
        const UNIT_ATTENTION: SenseKey = SenseKey(0x6);
        const NOT_SUPPORTED: SenseCode = SenseCode::new(0x5, 0x25, 0x00);
        match self.fate {
            Fate::Answered => {}
            Fate::Lost => return Class::Lost,
            Fate::Unsent => return Class::Unsent,
        }
        match self.status {
            Status::GOOD => Class::Good,
            Status::RESERVATION_CONFLICT => Class::Conflict,
            Status::BUSY | Status::TASK_SET_FULL => Class::Busy,
            Status::CHECK_CONDITION => match self.sense.code() {
                // Deferred errors (response codes 71h and 73h) speak of an earlier command.
                Some(code) if code.key == RECOVERED && self.sense.as_bytes()[0] & 1 == 0 => Class::Good,
                Some(code) if code.key == UNIT_ATTENTION => Class::UnitAttention(code),
                Some(code) if code.key == NOT_READY || code == NOT_SUPPORTED => Class::NotThisPath,
                _ => Class::Verdict,
            },
            _ => Class::Verdict,
        }
    }
}

/// What an answer says of a command. The order is the rank: of the answers of several paths the least counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Carried out. RECOVERED ERROR says that, too.
    Good,
    /// Not carried out; the device has something to tell first.
    UnitAttention(SenseCode),
    /// The logical unit's word on the command: ILLEGAL REQUEST and the like.
    Verdict,
    /// The nexus of this path may not, or is not registered with that key.
    Conflict,
    /// Not carried out, and another path may do: NOT READY, LOGICAL UNIT NOT SUPPORTED. Such a path carries no I/O.
    NotThisPath,
    /// Not carried out now: BUSY, TASK SET FULL.
    Busy,
    /// No answer: carried out or not.
    Lost,
    /// Not sent, and so not carried out; of the path nothing is known.
    Unsent,
}

impl Class {
    /// Whether the logical unit carried out a command that names the key of the path's registration: GOOD says yes,
    /// RESERVATION CONFLICT no, and nothing else says either.
    pub(crate) const fn carried_out(self) -> Option<bool> {
        match self {
            Self::Good => Some(true),
            Self::Conflict => Some(false),
            Self::UnitAttention(_) | Self::Verdict | Self::NotThisPath | Self::Busy | Self::Lost | Self::Unsent => None,
        }
    }
}

/// What multipathd is to do with returning paths of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Multipathd {
    /// Register them with this key.
    Register {
        /// The key.
        key: ReservationKey,
        /// With APTPL set.
        persist: bool,
    },
    /// Register none.
    Forget,
    /// The map holds a reservation (0.13 and newer look at this before they preempt a path that is away).
    Hold(bool),
}

/// Why multipathd has not done what it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untold {
    /// What went wrong, in words.
    pub words: String,
    /// It was away or did not answer, and is to be told again. One that refuses would do so again.
    pub again: bool,
}

/// The world, as far as one map is concerned. `Stop` ends the engine in the middle of its work, as a death does; a real
/// executor has no such thing and names [`core::convert::Infallible`].
pub trait Io {
    /// Why the engine has to stop.
    type Stop;

    /// The paths of the map now, those first that device-mapper would use first.
    ///
    /// # Errors
    /// The end of the engine, here and below.
    fn paths(&mut self) -> Result<Vec<Path>, Self::Stop>;

    /// Sends commands, all at the same time, and returns their results in the same order. No path gets two.
    fn send(&mut self, commands: &[PathCommand]) -> Result<Vec<CommandResult>, Self::Stop>;

    /// Holds back I/O on the map; false if that cannot be done or somebody else does so already.
    fn suspend(&mut self) -> Result<bool, Self::Stop>;

    /// Lets the map go on; false if it stays suspended.
    fn resume(&mut self) -> Result<bool, Self::Stop>;

    /// Has device-mapper send no I/O down a path until multipathd reinstates it; false if it does so still.
    fn fail_path(&mut self, path: PathId) -> Result<bool, Self::Stop>;

    /// Tells multipathd.
    fn multipathd(&mut self, order: Multipathd) -> Result<Result<(), Untold>, Self::Stop>;

    /// The key that multipathd registers returning paths with, zero for none; `None` if it does not answer.
    fn key_of_multipathd(&mut self) -> Result<Option<ReservationKey>, Self::Stop>;

    /// Keeps what has to survive the engine. It is kept before this returns.
    fn keep(&mut self, memory: &Memory) -> Result<(), Self::Stop>;

    /// Lets a path in transition have a moment; false when the time for the command is over.
    fn wait(&mut self) -> Result<bool, Self::Stop>;
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_sent_is_no_lost_answer_and_counts_least() {
        let [unsent, lost] = [CommandResult::unsent, CommandResult::lost].map(|of| of(SenseCode::COMMAND_TIMEOUT));
        assert_eq!((unsent.class(), lost.class()), (Class::Unsent, Class::Lost));
        assert!(lost.class() < unsent.class() && !unsent.is_from_device());
    }
}
