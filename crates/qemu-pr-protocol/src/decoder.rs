use alloc::{borrow::Cow, vec::Vec};
use core::mem;

use scsi_persistent_reservations::{Cdb, Command};

use crate::{FEATURES, MAX_DATA, Violation, WIRE_CDB};

/// The helper's half of a conversation, as a state machine without I/O.
///
/// It says how many bytes it lacks ([`Decoder::needs`]); whoever drives it reads no more than those at a time.
/// Reading further could fetch the next request's descriptor together with this request's bytes, and nothing
/// would tell afterwards to whom it belongs.
///
/// `D` is the descriptor type: an owned one for a daemon, anything for a test. Between requests nothing is kept but
/// this struct.
///
/// ```
/// use qemu_pr_protocol::{Decoder, Descriptors, GREETING, Step};
/// use scsi_persistent_reservations::{InAction, PersistentReserveIn};
///
/// let mut decoder = Decoder::new();
/// assert_eq!(decoder.needs(), 4);
/// assert!(matches!(decoder.feed(&GREETING, Descriptors::None)?, Step::Negotiated));
///
/// let cdb = PersistentReserveIn::new(InAction::ReadKeys, 8).cdb();
/// let (first, last) = cdb.as_bytes().split_at(10);
/// assert!(matches!(decoder.feed(first, Descriptors::One("the disk"))?, Step::Incomplete));
/// let Step::Request(request) = decoder.feed(last, Descriptors::None)? else { unreachable!() };
/// assert_eq!((request.cdb, request.device), (cdb, "the disk"));
/// # Ok::<(), qemu_pr_protocol::Violation>(())
/// ```
#[derive(Debug)]
pub struct Decoder<D>(Stage<D>);

#[derive(Debug)]
enum Stage<D> {
    Features {
        word: [u8; 4],
        have: usize,
    },
    Cdb {
        bytes: [u8; WIRE_CDB],
        have: usize,
        device: Option<D>,
    },
    Parameters {
        cdb: Cdb,
        device: D,
        length: usize,
        pieces: Vec<u8>,
    },
    /// After a violation: what is still held is closed with the decoder, by whoever drops that.
    Broken {
        violation: Violation,
        device: Option<D>,
        more: Option<D>,
    },
}

/// The descriptors that arrived with some bytes.
#[derive(Debug)]
pub enum Descriptors<D> {
    /// None.
    None,
    /// One.
    One(D),
    /// Several. They are closed already.
    Many,
}

/// What became of the bytes that were fed in.
#[derive(Debug)]
pub enum Step<'a, D> {
    /// They are kept; the rest is still to come.
    Incomplete,
    /// The feature word is complete and agreeable.
    Negotiated,
    /// A request is complete.
    Request(Request<'a, D>),
}

/// One complete request.
///
/// ```
/// use qemu_pr_protocol::{ReplyHeader, Request};
/// use scsi_persistent_reservations::Target;
///
/// /// The bytes of the reply to a request.
/// fn reply(request: Request<'_, u32>, target: &impl Target<u32>) -> Vec<u8> {
///     let mut buffer = [0; qemu_pr_protocol::MAX_DATA];
///     let completion = target.execute(request.device, &request.cdb, &request.parameters, &mut buffer);
///     [&ReplyHeader::new(&completion).to_bytes()[..], completion.data].concat()
/// }
/// ```
#[derive(Debug)]
pub struct Request<'a, D> {
    /// The command.
    pub cdb: Cdb,
    /// The disk.
    pub device: D,
    /// The parameter list of a PERSISTENT RESERVE OUT, exactly as long as its CDB says; empty for IN. Borrowed from
    /// the bytes that were fed in unless it came in pieces.
    pub parameters: Cow<'a, [u8]>,
}

impl<D> Default for Decoder<D> {
    fn default() -> Self {
        Self(Stage::Features { word: [0; 4], have: 0 })
    }
}

impl<D> Decoder<D> {
    /// A decoder at the start of a conversation.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes the present stage lacks; never zero.
    pub fn needs(&self) -> usize {
        match &self.0 {
            Stage::Features { word, have } => word.len() - have,
            Stage::Cdb { bytes, have, .. } => bytes.len() - have,
            Stage::Parameters { length, pieces, .. } => length - pieces.len(),
            Stage::Broken { .. } => 1,
        }
    }

    /// Whether it holds a descriptor that is closed with it.
    pub fn holds_descriptor(&self) -> bool {
        match &self.0 {
            Stage::Features { .. } => false,
            Stage::Cdb { device, .. } => device.is_some(),
            Stage::Parameters { .. } => true,
            Stage::Broken { device, more, .. } => device.is_some() || more.is_some(),
        }
    }

    /// Whether a descriptor has a meaning now. Where it has none it is best not received at all.
    pub fn takes_descriptor(&self) -> bool {
        matches!(self.0, Stage::Cdb { .. })
    }

    /// Whether the client owes nothing: no part of a feature word or of a request has arrived.
    pub fn is_idle(&self) -> bool {
        matches!(self.0, Stage::Features { have: 0, .. } | Stage::Cdb { have: 0, .. })
    }

    /// Takes the next bytes, at most [`Decoder::needs`] of them, and the descriptors that came with them.
    ///
    /// # Errors
    ///
    /// Where the client breaks the protocol, and where there are more bytes than that. The decoder is of no use then: it
    /// holds what descriptors it had, and every further call returns the same error.
    pub fn feed<'a>(&mut self, bytes: &'a [u8], descriptors: Descriptors<D>) -> Result<Step<'a, D>, Violation> {
        match mem::replace(&mut self.0, Stage::next_request()) {
            Stage::Features { word, have } => self.features(word, have, bytes),
            Stage::Cdb { bytes: cdb, have, device } => {
                // A request has one descriptor, on whichever of its bytes.
                let too_many = Violation::TooManyDescriptors;
                match (device, descriptors) {
                    (device, Descriptors::None) => self.cdb(cdb, have, device, bytes),
                    (None, Descriptors::One(device)) => self.cdb(cdb, have, Some(device), bytes),
                    (device, Descriptors::One(more)) => self.broken(device, Some(more), too_many),
                    (device, Descriptors::Many) => self.broken(device, None, too_many),
                }
            }
            Stage::Parameters { cdb, device, length, pieces } => self.parameters(cdb, device, length, pieces, bytes),
            Stage::Broken { violation, device, more } => self.broken(device, more, violation),
        }
    }

    fn broken<T>(&mut self, device: Option<D>, more: Option<D>, violation: Violation) -> Result<T, Violation> {
        self.0 = Stage::Broken { violation, device, more };
        Err(violation)
    }

    /// The client sends no more. That is fine between requests only.
    ///
    /// # Errors
    ///
    /// Within a request or the feature word; after a violation it is that one.
    pub fn end(&self) -> Result<(), Violation> {
        match self.0 {
            Stage::Broken { violation, .. } => Err(violation),
            _ if self.is_idle() => Ok(()),
            _ => Err(Violation::Truncated),
        }
    }

    fn features<'a>(&mut self, mut word: [u8; 4], have: usize, bytes: &[u8]) -> Result<Step<'a, D>, Violation> {
        let Some(have) = fill(&mut word, have, bytes) else { return self.broken(None, None, Violation::Surplus) };
        if have < word.len() {
            self.0 = Stage::Features { word, have };
            return Ok(Step::Incomplete);
        }
        match u32::from_be_bytes(word) {
            features if features & !FEATURES == 0 => Ok(Step::Negotiated),
            features => self.broken(None, None, Violation::UnknownFeatures(features)),
        }
    }

    fn cdb<'a>(
        &mut self,
        mut cdb: [u8; WIRE_CDB],
        have: usize,
        device: Option<D>,
        bytes: &[u8],
    ) -> Result<Step<'a, D>, Violation> {
        let Some(have) = fill(&mut cdb, have, bytes) else { return self.broken(device, None, Violation::Surplus) };
        if have < cdb.len() {
            self.0 = Stage::Cdb { bytes: cdb, have, device };
            return Ok(Step::Incomplete);
        }
        let Some(device) = device else { return self.broken(None, None, Violation::NoDescriptor) };
        let violation = Violation::NotPersistentReserve(cdb[0]);
        let Ok(cdb) = Cdb::new(cdb) else { return self.broken(Some(device), None, violation) };
        let length = match parameter_length(&cdb) {
            Ok(length) => length,
            Err(violation) => return self.broken(Some(device), None, violation),
        };
        if length == 0 {
            return Ok(Step::Request(Request { cdb, device, parameters: Cow::Borrowed(&[]) }));
        }
        self.0 = Stage::Parameters { cdb, device, length, pieces: Vec::new() };
        Ok(Step::Incomplete)
    }

    fn parameters<'a>(
        &mut self,
        cdb: Cdb,
        device: D,
        length: usize,
        mut pieces: Vec<u8>,
        bytes: &'a [u8],
    ) -> Result<Step<'a, D>, Violation> {
        // The usual case: the list comes in one piece and is used where it lies.
        if pieces.is_empty() && bytes.len() == length {
            return Ok(Step::Request(Request { cdb, device, parameters: Cow::Borrowed(bytes) }));
        }
        if bytes.len() > length - pieces.len() {
            return self.broken(Some(device), None, Violation::Surplus);
        }
        pieces.reserve_exact(length - pieces.len());
        pieces.extend_from_slice(bytes);
        if pieces.len() == length {
            return Ok(Step::Request(Request { cdb, device, parameters: Cow::Owned(pieces) }));
        }
        self.0 = Stage::Parameters { cdb, device, length, pieces };
        Ok(Step::Incomplete)
    }
}

impl<D> Stage<D> {
    fn next_request() -> Self {
        Self::Cdb { bytes: [0; WIRE_CDB], have: 0, device: None }
    }
}

/// How many bytes follow the CDB. PERSISTENT RESERVE OUT has 32 bits of length where both ends of this protocol have
/// always used the lower 16; a client that sets the upper ones means another stream than we would read.
pub(crate) fn parameter_length(cdb: &Cdb) -> Result<usize, Violation> {
    let within = |length: u32| match usize::try_from(length) {
        Ok(length) if length <= MAX_DATA => Ok(length),
        _ => Err(Violation::TooLong(length)),
    };
    match cdb.command() {
        Command::In(command) => within(command.allocation_length.into()).map(|_| 0),
        Command::Out(command) => within(command.parameter_list_length),
    }
}

/// Copies bytes behind those that are there; how many are there then, or `None` if there is no room for all of them.
pub(crate) fn fill(to: &mut [u8], have: usize, bytes: &[u8]) -> Option<usize> {
    let end = have + bytes.len();
    to.get_mut(have..end)?.copy_from_slice(bytes);
    Some(end)
}
