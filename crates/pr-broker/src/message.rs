//! What the daemon, the broker's keeper and its workers say to each other. All of it stays within one host and one build
//! of the program.

use std::{fmt, time::Duration};

use scsi_persistent_reservations::{Cdb, Completion, SENSE_LENGTH, Sense, SenseCode, Status};

/// A command for the broker. Its two descriptors travel beside it: the device and the pipe for the [`Verdict`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// How long it may take in all.
    pub timeout: Duration,
    /// It is not to be carried out: it has been, by a process that died, and the answer is due when what that process has
    /// begun on the map is finished or taken back.
    pub only_recovers: bool,
    /// The command.
    pub cdb: Cdb,
    /// Its parameter list.
    pub parameters: Vec<u8>,
}

/// The longest request: a full parameter list.
pub const MAX_REQUEST: usize = 4 + 1 + 16 + qemu_pr_protocol::MAX_DATA;

/// The longest verdict: full parameter data and everything else.
pub const MAX_VERDICT: usize = qemu_pr_protocol::MAX_DATA + 4096;

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The SCSI status.
    pub status: Status,
    /// The sense data.
    pub sense: Sense,
    /// The parameter data.
    pub data: Vec<u8>,
    /// What an administrator should know about it; empty if nothing.
    pub note: String,
}

/// What the broker tells the daemon of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The device has nothing to do with multipath.
    NotMultipath,
    /// The device is a part of a disk: why a command that changes something is not for it.
    Part(String),
    /// It was carried out, or refused by the device.
    Answered(Answer),
    /// The worker that carried it out ended in the middle of it, and how.
    Died(String),
    /// The time was over.
    Overdue,
    /// It was not begun, and why.
    NotBegun(String),
}

/// What a worker tells the keeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The worker is to stay: a key of the map's user is registered, or something is left to do.
    pub stays: bool,
    /// What there is to tell.
    pub what: What,
}

/// What there is to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The command with this number has been carried out.
    Answer(u32, Answer),
    /// Something that an administrator should know.
    Note(String),
    /// Nothing.
    State,
}

impl Request {
    /// The bytes for the socket or pipe.
    pub fn to_bytes(&self) -> Vec<u8> {
        let millis = u32::try_from(self.timeout.as_millis()).unwrap_or(u32::MAX);
        [&millis.to_le_bytes()[..], &[u8::from(self.only_recovers)], self.cdb.as_bytes(), &self.parameters].concat()
    }

    /// Reads it; `None` where it makes no sense.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (millis, rest) = bytes.split_first_chunk::<4>()?;
        let ([only_recovers @ (0 | 1)], rest) = rest.split_first_chunk()? else { return None };
        let (cdb, parameters) = rest.split_first_chunk::<16>()?;
        Some(Self {
            timeout: Duration::from_millis(u32::from_le_bytes(*millis).into()),
            only_recovers: *only_recovers == 1,
            cdb: Cdb::new(*cdb).ok()?,
            parameters: parameters.to_vec(),
        })
    }
}

impl Answer {
    /// What a client is told that may try again: nothing was done, and why.
    pub fn busy(note: String) -> Self {
        Self { status: Status::BUSY, sense: Sense::NONE, data: Vec::new(), note }
    }

    /// CHECK CONDITION that the device has not made, and why.
    pub fn check(code: SenseCode, note: String) -> Self {
        Self { status: Status::CHECK_CONDITION, sense: Sense::fixed(code), data: Vec::new(), note }
    }

    /// The answer for the client, its data in the client's buffer.
    pub fn complete(self, buffer: &mut [u8]) -> Completion<'_> {
        let length = if self.status == Status::GOOD { self.data.len().min(buffer.len()) } else { 0 };
        buffer[..length].copy_from_slice(&self.data[..length]);
        Completion { status: self.status, sense: self.sense, data: &buffer[..length] }
    }

    /// The bytes for the socket or pipe.
    pub fn to_bytes(&self) -> Vec<u8> {
        // The end of a note is worth more than its beginning, and it must not push out the data.
        let note = tail(&self.note, 1024).as_bytes();
        let length = u16::try_from(note.len()).unwrap_or(0).to_le_bytes();
        [&[self.status.0][..], self.sense.as_bytes(), &length, note, &self.data].concat()
    }

    /// Reads it; `None` where it makes no sense.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (status, rest) = bytes.split_first()?;
        let (sense, rest) = rest.split_at_checked(SENSE_LENGTH)?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (note, data) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
        Some(Self { status: Status(*status), sense: Sense::from_device(sense), data: data.to_vec(), note: line(note) })
    }
}

impl Verdict {
    /// The bytes for the pipe.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::NotMultipath => vec![0],
            Self::Answered(answer) => [&[1][..], &answer.to_bytes()].concat(),
            Self::Died(how) => [&[2][..], tail(how, 1024).as_bytes()].concat(),
            Self::Overdue => vec![3],
            Self::NotBegun(why) => [&[4][..], tail(why, 1024).as_bytes()].concat(),
            Self::Part(why) => [&[5][..], tail(why, 1024).as_bytes()].concat(),
        }
    }

    /// Reads it; `None` where it makes no sense.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        Some(match bytes {
            [0] => Self::NotMultipath,
            [1, answer @ ..] => Self::Answered(Answer::parse(answer)?),
            [2, how @ ..] => Self::Died(line(how)),
            [3] => Self::Overdue,
            [4, why @ ..] => Self::NotBegun(line(why)),
            [5, why @ ..] => Self::Part(line(why)),
            _ => return None,
        })
    }
}

/// How it went.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMultipath => f.write_str("no multipath device"),
            Self::Part(_) => f.write_str("a part of a disk"),
            Self::Answered(answer) => write!(f, "answered {}", answer.status),
            Self::Died(how) => write!(f, "the worker {how}"),
            Self::Overdue => f.write_str("the time was over"),
            Self::NotBegun(why) => write!(f, "not begun: {why}"),
        }
    }
}

impl Word {
    /// The bytes for the socket.
    pub fn to_bytes(&self) -> Vec<u8> {
        let stays = u8::from(self.stays);
        match &self.what {
            What::Answer(number, answer) => [&[0, stays][..], &number.to_le_bytes(), &answer.to_bytes()].concat(),
            What::Note(note) => [&[1, stays][..], tail(note, 1024).as_bytes()].concat(),
            What::State => vec![2, stays],
        }
    }

    /// Reads it; `None` where it makes no sense.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let ([tag, stays], rest) = bytes.split_first_chunk()?;
        let what = match tag {
            0 => {
                let (number, answer) = rest.split_first_chunk()?;
                What::Answer(u32::from_le_bytes(*number), Answer::parse(answer)?)
            }
            1 => What::Note(line(rest)),
            2 if rest.is_empty() => What::State,
            _ => return None,
        };
        Some(Self { stays: *stays != 0, what })
    }
}

/// What the broker tells the daemon without being asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// For the log.
    Note {
        /// The device number of the map.
        map: u64,
        /// The words.
        words: String,
    },
    /// Something has changed in these.
    Figures(Figures),
}

/// How the broker's maps are, and what has happened to them since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Maps that a process is kept for.
    pub maps: u64,
    /// Those of them that the broker has suspended and could not resume.
    pub suspended: u64,
    /// Processes of the broker that died and were replaced.
    pub deaths: u64,
    /// Paths that had gone, or were put out of use, and have their guest's key again.
    pub restored: u64,
}

impl Report {
    /// The bytes for the socket.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Note { map, words } => [&[0][..], &map.to_le_bytes(), tail(words, 1024).as_bytes()].concat(),
            Self::Figures(Figures { maps, suspended, deaths, restored }) => {
                let figures = [maps, suspended, deaths, restored].map(|figure| figure.to_le_bytes());
                [&[1][..], figures.as_flattened()].concat()
            }
        }
    }

    /// Reads it; `None` where it makes no sense.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (0, rest) => {
                let (map, words) = rest.split_first_chunk()?;
                Some(Self::Note { map: u64::from_le_bytes(*map), words: line(words) })
            }
            (1, rest) => {
                let (figures, []) = rest.as_chunks() else { return None };
                let figures: &[[u8; 8]; 4] = figures.try_into().ok()?;
                let [maps, suspended, deaths, restored] = figures.map(u64::from_le_bytes);
                Some(Self::Figures(Figures { maps, suspended, deaths, restored }))
            }
            _ => None,
        }
    }
}

/// Text from another process as part of one line in the log.
fn line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).replace(char::is_control, " ")
}

/// The last part of a text, at most so many bytes.
pub fn tail(text: &str, length: usize) -> &str {
    let mut start = text.len().saturating_sub(length);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_what_arrives() {
        let cdb = scsi_persistent_reservations::PersistentReserveIn::new(
            scsi_persistent_reservations::InAction::ReadKeys,
            64,
        )
        .cdb();
        for only_recovers in [false, true] {
            let request = Request { timeout: Duration::from_secs(30), only_recovers, cdb, parameters: vec![7; 24] };
            assert_eq!(Request::parse(&request.to_bytes()), Some(request));
        }
        let answer = Answer {
            status: Status::CHECK_CONDITION,
            sense: Sense::fixed(SenseCode::COMMUNICATION_FAILURE),
            data: vec![1, 2, 3],
            note: "häh".to_owned(),
        };
        for verdict in [
            Verdict::NotMultipath,
            Verdict::Answered(answer.clone()),
            Verdict::Died("died of signal 9".to_owned()),
            Verdict::Part("it is a part of sda".to_owned()),
            Verdict::Overdue,
            Verdict::NotBegun("no room".to_owned()),
        ] {
            assert_eq!(Verdict::parse(&verdict.to_bytes()), Some(verdict));
        }
        for what in [What::Answer(7, answer), What::Note("said".to_owned()), What::State] {
            for stays in [false, true] {
                let word = Word { stays, what: what.clone() };
                assert_eq!(Word::parse(&word.to_bytes()), Some(word));
            }
        }
        let figures = Figures { maps: 5, suspended: 1, deaths: 300, restored: 1 << 40 };
        for report in [Report::Note { map: 7, words: "said".to_owned() }, Report::Figures(figures)] {
            assert_eq!(Report::parse(&report.to_bytes()), Some(report));
        }
    }

    #[test]
    fn nonsense_is_nothing() {
        for bytes in [&[][..], &[9], &[0, 0], &[1], &[1, 0], &[3, 0]] {
            assert_eq!(Verdict::parse(bytes), None, "{bytes:?}");
        }
        for bytes in [&[][..], &[0], &[0, 0], &[0, 0, 1, 2, 3], &[2, 0, 0], &[9, 0]] {
            assert_eq!(Word::parse(bytes), None, "{bytes:?}");
        }
        for bytes in [&[][..], &[0; 8], &[1; 32], &[1; 34], &[2; 33]] {
            assert_eq!(Report::parse(bytes), None, "{bytes:?}");
        }
        assert_eq!(Request::parse(&[0; 20]), None);
        assert_eq!(Request::parse(&[2; 21]), None);
        assert_eq!(Answer::parse(&[0; 98]), None);
    }

    #[test]
    fn what_another_process_says_is_no_line_of_its_own_in_the_log() {
        let said = |bytes: &[u8]| match Verdict::parse(bytes) {
            Some(Verdict::Died(said) | Verdict::NotBegun(said)) => said,
            Some(Verdict::Answered(answer)) => answer.note,
            other => panic!("{other:?}"),
        };
        assert_eq!(said(b"\x02a\nb\x1b[2J"), "a b [2J");
        assert_eq!(said(b"\x04a\r"), "a ");
        let answer = Answer { status: Status::GOOD, sense: Sense::NONE, data: vec![], note: "a\nb".to_owned() };
        assert_eq!(said(&Verdict::Answered(answer).to_bytes()), "a b");
    }

    #[test]
    fn a_long_note_keeps_its_end_and_the_data() {
        let note = format!("{}the end", "ä".repeat(2000));
        let answer = Answer { status: Status::GOOD, sense: Sense::NONE, data: vec![5; 8192], note };
        let bytes = Verdict::Answered(answer).to_bytes();
        assert!(bytes.len() <= MAX_VERDICT);
        let Some(Verdict::Answered(answer)) = Verdict::parse(&bytes) else { panic!("no answer") };
        assert!(answer.note.ends_with("the end") && answer.data == [5; 8192]);
    }
}
