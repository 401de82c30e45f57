//! The decoder of `qemu-pr-protocol`: the same requests and the same violation however the bytes are cut into reads.
//!
//! The input is three bytes of descriptors' places, one that seeds some cuts, and the bytes of a conversation.

use qemu_pr_protocol::{Decoder, Descriptors, MAX_DATA, Step, Violation};

use crate::Input;

/// What a decoder makes of a conversation, or has to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Negotiated,
    Request { cdb: [u8; 16], descriptor: usize, parameters: Vec<u8> },
    End(Result<(), Violation>),
}

/// A byte, and how many descriptors come with it. A descriptor is called by the place of its byte.
type Sent = (u8, usize);

/// One run.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let places = [input.byte(), input.byte(), input.byte()];
    let seed = usize::from(input.byte());
    let mut stream: Vec<Sent> = input.rest().iter().map(|byte| (*byte, 0)).collect();
    // Zero is no descriptor: most conversations have just one at the start of the first CDB.
    for place in places.into_iter().filter(|place| *place > 0) {
        if let Some(sent) = stream.get_mut(usize::from(place)) {
            sent.1 += 1;
        }
    }
    let expected = naive(&stream);
    assert_eq!(play(&stream, &[]), expected, "in one piece");
    assert_eq!(play(&stream, &vec![1; stream.len()]), expected, "byte by byte");
    // At every place in a short conversation; in a long one that would take longer than it is worth.
    let cuts = (16 * 1024 / stream.len().max(1)).max(8);
    for cut in (0..stream.len()).step_by(stream.len() / cuts + 1) {
        assert_eq!(play(&stream, &[cut]), expected, "cut at {cut}");
    }
    let sizes: Vec<usize> = (0..stream.len()).map(|number| 1 + (number * 7 + seed) % (seed % 23 + 1)).collect();
    assert_eq!(play(&stream, &sizes), expected, "cut into {sizes:?}");
}

/// What is to come of a conversation, said as simply as possible.
fn naive(stream: &[Sent]) -> Vec<Event> {
    let mut events = Vec::new();
    let end = conversation(stream, &mut events);
    events.push(Event::End(end));
    events
}

fn conversation(stream: &[Sent], events: &mut Vec<Event>) -> Result<(), Violation> {
    let whole = |length: usize, at: usize| match stream.len().saturating_sub(at) {
        0 => Ok(false),
        left if left < length => Err(Violation::Truncated),
        _ => Ok(true),
    };
    if !whole(4, 0)? {
        return Ok(());
    }
    let word = stream[..4].iter().fold(0, |word, sent| word << 8 | u32::from(sent.0));
    if word != 0 {
        return Err(Violation::UnknownFeatures(word));
    }
    events.push(Event::Negotiated);
    let mut at = 4;
    loop {
        let there = &stream[at..stream.len().min(at + 16)];
        let descriptors = there.iter().map(|sent| sent.1).sum::<usize>();
        if descriptors > 1 {
            return Err(Violation::TooManyDescriptors);
        }
        if !whole(16, at)? {
            return Ok(());
        }
        let cdb: [u8; 16] = std::array::from_fn(|index| there[index].0);
        let place = there.iter().position(|sent| sent.1 > 0).ok_or(Violation::NoDescriptor)?;
        let (length, follows) = match cdb[0] {
            0x5e => (u32::from(cdb[7]) << 8 | u32::from(cdb[8]), false),
            0x5f => (cdb[5..9].iter().fold(0, |length, byte| length << 8 | u32::from(*byte)), true),
            other => return Err(Violation::NotPersistentReserve(other)),
        };
        if length > 8192 {
            return Err(Violation::TooLong(length));
        }
        let list = at + 16;
        let length = if follows { length as usize } else { 0 };
        if stream.len() < list + length {
            return Err(Violation::Truncated);
        }
        let parameters = stream[list..list + length].iter().map(|sent| sent.0).collect();
        events.push(Event::Request { cdb, descriptor: at + place, parameters });
        at = list + length;
    }
}

/// What the decoder makes of it where there is so much to read at a time, and in the end all the rest.
fn play(stream: &[Sent], sizes: &[usize]) -> Vec<Event> {
    let mut decoder = Decoder::new();
    let mut events = Vec::new();
    let mut at = 0;
    let ends = sizes.iter().scan(0, |end, size| {
        *end += size;
        Some((*end).min(stream.len()))
    });
    for end in ends.chain([stream.len()]) {
        while at < end {
            let needs = decoder.needs();
            assert!((1..=MAX_DATA).contains(&needs), "it asks for {needs} bytes");
            assert!(!decoder.takes_descriptor() || needs <= 16, "a read could fetch the next request's descriptor");
            let read = &stream[at..end.min(at + needs)];
            let bytes: Vec<u8> = read.iter().map(|sent| sent.0).collect();
            let descriptors = if decoder.takes_descriptor() { count(read, at) } else { Descriptors::None };
            at += read.len();
            match decoder.feed(&bytes, descriptors) {
                Ok(Step::Incomplete) => {}
                Ok(Step::Negotiated) => events.push(Event::Negotiated),
                Ok(Step::Request(request)) => events.push(Event::Request {
                    cdb: *request.cdb.as_bytes(),
                    descriptor: request.device,
                    parameters: request.parameters.into_owned(),
                }),
                Err(violation) => {
                    events.push(Event::End(Err(violation)));
                    return events;
                }
            }
        }
    }
    events.push(Event::End(decoder.end()));
    events
}

fn count(read: &[Sent], at: usize) -> Descriptors<usize> {
    let place = read.iter().position(|sent| sent.1 > 0).map(|place| at + place);
    match (place, read.iter().map(|sent| sent.1).sum::<usize>()) {
        (Some(place), 1) => Descriptors::One(place),
        (Some(_), _) => Descriptors::Many,
        (None, _) => Descriptors::None,
    }
}
