//! The client sends no more.

use qemu_pr_protocol::{Decoder, Descriptors, GREETING, Violation};

use crate::script::{Chunk, Event, hello, list, plain, play, read_keys, register, request, with};

#[test]
fn a_conversation_may_end_before_it_begins() {
    assert_eq!(play([]), [Event::End(Ok(()))]);
}

#[test]
fn a_conversation_may_end_after_the_hello_and_after_each_request_only() {
    let (ask, change) = (read_keys(8), register(24));
    let whole = [
        (&[0; 4][..], vec![]),
        (ask.as_bytes(), vec![1]),
        (change.as_bytes(), vec![2]),
        (&list(), vec![]),
        (ask.as_bytes(), vec![3]),
    ];
    let events = [Event::Negotiated, request(ask, 1, []), request(change, 2, list()), request(ask, 3, [])];
    let rightly = [0, 4, 20, 60, 76];
    for sent in 0..=76 {
        let mut left = sent;
        let mut chunks: Vec<Chunk> = Vec::new();
        for (bytes, tokens) in &whole {
            let length = left.min(bytes.len());
            left -= length;
            if length > 0 {
                chunks.push(with(&bytes[..length], tokens.clone()));
            }
        }
        let end = if rightly.contains(&sent) { Ok(()) } else { Err(Violation::Truncated) };
        let done = [4, 20, 60, 76].iter().filter(|complete| **complete <= sent).count();
        let expected = [&events[..done], &[Event::End(end)]].concat();
        assert_eq!(play(chunks), expected, "after {sent} bytes");
    }
}

#[test]
fn a_descriptor_without_the_rest_of_its_request_does_not_make_one() {
    assert_eq!(play([hello(), with([0x5e], [1])]), [Event::Negotiated, Event::End(Err(Violation::Truncated))]);
}

#[test]
fn a_violation_says_in_words_what_was_wrong() {
    for (violation, words) in [
        (Violation::UnknownFeatures(0x11), "0x00000011"),
        (Violation::NoDescriptor, "o file descriptor"),
        (Violation::TooManyDescriptors, "ore than one file descriptor"),
        (Violation::NotPersistentReserve(0x12), "operation code 0x12"),
        (Violation::TooLong(65560), "65560 bytes of data"),
        (Violation::TooLong(65560), "limit is 8192"),
        (Violation::Truncated, "in the middle of a request"),
        (Violation::Surplus, "ore bytes than the request lacks"),
    ] {
        assert!(violation.to_string().contains(words), "{violation}");
    }
}

#[test]
fn what_follows_a_violation_is_not_read() {
    let chunks = [hello(), plain([0; 16]), with(*read_keys(8).as_bytes(), [1])];
    assert_eq!(play(chunks), [Event::Negotiated, Event::End(Err(Violation::NoDescriptor))]);
}

#[test]
fn each_violation_has_the_name_of_its_rule() {
    let violations = [
        (Violation::UnknownFeatures(1), "unknown-features"),
        (Violation::NoDescriptor, "no-descriptor"),
        (Violation::TooManyDescriptors, "too-many-descriptors"),
        (Violation::NotPersistentReserve(0), "not-persistent-reserve"),
        (Violation::TooLong(8193), "too-long"),
        (Violation::Truncated, "truncated"),
        (Violation::Surplus, "surplus"),
    ];
    assert_eq!(violations.map(|(violation, _)| Violation::RULES[violation.rule()]), violations.map(|(_, name)| name));
}

/// A decoder at each stage, with what it holds there.
fn decoders() -> Vec<(Decoder<u32>, bool)> {
    let begun = |fed: &[(&[u8], Option<u32>)]| {
        let mut decoder = Decoder::new();
        for (bytes, token) in fed {
            decoder.feed(bytes, token.map_or(Descriptors::None, Descriptors::One)).expect("a proper client");
        }
        decoder
    };
    let cdb = register(24);
    let (hello, cdb) = (&GREETING[..], cdb.as_bytes());
    vec![
        (begun(&[]), false),
        (begun(&[(&hello[..3], None)]), false),
        (begun(&[(hello, None)]), false),
        (begun(&[(hello, None), (&cdb[..7], Some(1))]), true),
        (begun(&[(hello, None), (cdb, Some(1))]), true),
        (begun(&[(hello, None), (cdb, Some(1)), (&list()[..23], None)]), true),
    ]
}

#[test]
fn bytes_beyond_those_that_are_needed_are_refused_at_every_stage() {
    for (mut decoder, holds) in decoders() {
        let surplus = vec![0; decoder.needs() + 1];
        assert_eq!(decoder.feed(&surplus, Descriptors::None).err(), Some(Violation::Surplus), "{decoder:?}");
        assert_eq!(decoder.holds_descriptor(), holds, "{decoder:?}");
        assert_eq!(decoder.end(), Err(Violation::Surplus));
    }
    // A descriptor that came with them is closed with the decoder.
    let (mut decoder, _) = decoders().swap_remove(2);
    assert_eq!(decoder.feed(&[0; 17], Descriptors::One(1)).err(), Some(Violation::Surplus));
    assert!(decoder.holds_descriptor());
}

#[test]
fn after_a_violation_every_call_returns_it() {
    let mut decoder = Decoder::<u32>::new();
    let violation = Violation::UnknownFeatures(1);
    for _ in 0..3 {
        assert_eq!(decoder.feed(&[0, 0, 0, 1], Descriptors::None).err(), Some(violation));
        assert_eq!(decoder.end(), Err(violation));
        assert!(!decoder.is_idle() && !decoder.takes_descriptor());
    }
}
