//! A client's side of a conversation as a list of chunks, and what a decoder makes of it.

use std::collections::VecDeque;

use qemu_pr_protocol::{Decoder, Descriptors, GREETING, MAX_DATA, Step, Violation};
use scsi_persistent_reservations::{
    BasicParameters, Cdb, InAction, OutAction, PersistentReserveIn, PersistentReserveOut, ReservationKey,
};

/// A descriptor of a test: any number that tells it from the others.
pub type Token = u32;

/// Bytes that are there to be read at the same time, with the descriptors that come along.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    pub bytes: Vec<u8>,
    pub tokens: Vec<Token>,
}

/// Bytes without a descriptor.
pub fn plain(bytes: impl Into<Vec<u8>>) -> Chunk {
    with(bytes, [])
}

/// Bytes with descriptors.
pub fn with(bytes: impl Into<Vec<u8>>, tokens: impl Into<Vec<Token>>) -> Chunk {
    Chunk { bytes: bytes.into(), tokens: tokens.into() }
}

/// The feature word that every client sends.
pub fn hello() -> Chunk {
    plain(GREETING)
}

/// What became of a conversation, step by step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Negotiated,
    Request {
        cdb: [u8; 16],
        device: Token,
        parameters: Vec<u8>,
    },
    /// The end: the client hung up, rightly or not, or broke the protocol.
    End(Result<(), Violation>),
}

/// The event of a request that came through whole.
pub fn request(cdb: Cdb, device: Token, parameters: impl AsRef<[u8]>) -> Event {
    Event::Request { cdb: *cdb.as_bytes(), device, parameters: parameters.as_ref().to_vec() }
}

/// A byte of a conversation and the descriptors that come with it.
pub type Sent = (u8, Vec<Token>);

/// A decoder that is being fed, and what came of it so far.
#[derive(Default)]
pub struct Player {
    decoder: Decoder<Token>,
    events: Vec<Event>,
    broken: bool,
}

impl Player {
    /// Feeds what is there to be read, in reads of at most what the decoder lacks. A byte that is not read yet keeps
    /// its descriptors.
    pub fn feed(&mut self, mut there: &[Sent]) {
        while !there.is_empty() && !self.broken {
            let needs = self.decoder.needs();
            assert!((1..=MAX_DATA).contains(&needs), "the decoder asks for {needs} bytes");
            let (now, later) = there.split_at(needs.min(there.len()));
            there = later;
            let bytes: Vec<u8> = now.iter().map(|sent| sent.0).collect();
            let tokens: VecDeque<Token> = now.iter().flat_map(|sent| &sent.1).copied().collect();
            match self.decoder.feed(&bytes, descriptors(tokens)) {
                Ok(Step::Incomplete) => {}
                Ok(Step::Negotiated) => self.events.push(Event::Negotiated),
                Ok(Step::Request(found)) => {
                    self.events.push(request(found.cdb, found.device, found.parameters));
                }
                Err(violation) => {
                    self.broken = true;
                    self.events.push(Event::End(Err(violation)));
                }
            }
        }
    }

    /// The client hangs up.
    pub fn end(mut self) -> Vec<Event> {
        if !self.broken {
            self.events.push(Event::End(self.decoder.end()));
        }
        self.events
    }
}

/// Plays a conversation to its end. The descriptors of a chunk come with its first byte, as the kernel does it.
pub fn play(chunks: impl IntoIterator<Item = Chunk>) -> Vec<Event> {
    let mut player = Player::default();
    for Chunk { bytes, mut tokens } in chunks {
        let sent: Vec<Sent> = bytes.into_iter().map(|byte| (byte, std::mem::take(&mut tokens))).collect();
        player.feed(&sent);
    }
    player.end()
}

/// The descriptors of one read, as a channel counts them.
pub fn descriptors<D>(sent: impl Into<VecDeque<D>>) -> Descriptors<D> {
    let mut sent = sent.into();
    match sent.len() {
        0 => Descriptors::None,
        1 => sent.pop_front().map_or(Descriptors::None, Descriptors::One),
        _ => Descriptors::Many,
    }
}

/// Asserts that a conversation that begins with a proper hello ends this way, after these requests.
#[track_caller]
pub fn assert_play(chunks: &[Chunk], requests: &[Event], end: Result<(), Violation>) {
    let mut expected = vec![Event::Negotiated];
    expected.extend_from_slice(requests);
    expected.push(Event::End(end));
    assert_eq!(play([&[hello()], chunks].concat()), expected, "{chunks:?}");
}

/// A PERSISTENT RESERVE IN.
pub fn read_keys(allocation_length: u16) -> Cdb {
    PersistentReserveIn::new(InAction::ReadKeys, allocation_length).cdb()
}

/// A PERSISTENT RESERVE OUT that announces so many bytes.
pub fn register(parameter_list_length: u32) -> Cdb {
    PersistentReserveOut::new(OutAction::Register, None, parameter_list_length).cdb()
}

/// A parameter list of 24 bytes.
pub fn list() -> [u8; 24] {
    BasicParameters::keys(ReservationKey::ZERO, ReservationKey(0x0102_0304_0506_0708)).to_bytes()
}

/// A parameter list of any length in which no two neighbours are equal.
pub fn long_list(length: usize) -> Vec<u8> {
    (1..=251).cycle().take(length).collect()
}

/// A decoder that has agreed on the features.
pub fn negotiated<D>() -> Decoder<D> {
    let mut decoder = Decoder::new();
    assert!(matches!(decoder.feed(&GREETING, Descriptors::None), Ok(Step::Negotiated)));
    decoder
}
