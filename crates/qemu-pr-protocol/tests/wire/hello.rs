//! The feature word.

use qemu_pr_protocol::{Decoder, Descriptors, FEATURES, GREETING, Violation};

use crate::script::{Chunk, Event, plain, play, read_keys, request, with};

#[test]
fn the_helper_offers_no_features() {
    assert_eq!((FEATURES, GREETING), (0, [0; 4]));
}

#[test]
fn a_client_that_wants_no_features_is_welcome() {
    let whole = vec![plain([0; 4])];
    let byte_by_byte = vec![plain([0]); 4];
    let halves = vec![plain([0, 0]), plain([0, 0])];
    for chunks in [whole, byte_by_byte, halves] {
        assert_eq!(play(chunks), [Event::Negotiated, Event::End(Ok(()))]);
    }
}

#[test]
fn a_feature_that_does_not_exist_ends_the_conversation() {
    for features in [1, 0x80, 0x100, 0x0001_0000, 0x8000_0000, u32::MAX] {
        for size in [4, 1] {
            let chunks: Vec<Chunk> = features.to_be_bytes().chunks(size).map(plain).collect();
            assert_eq!(play(chunks), [Event::End(Err(Violation::UnknownFeatures(features)))]);
        }
    }
}

#[test]
fn descriptors_on_the_hello_are_dropped() {
    for tokens in [vec![1], vec![1, 2], (1..=253).collect()] {
        let chunks = [with([0; 4], tokens), with(*read_keys(8).as_bytes(), [7])];
        assert_eq!(play(chunks), [Event::Negotiated, request(read_keys(8), 7, []), Event::End(Ok(()))]);
    }
}

#[test]
fn a_descriptor_on_a_hello_with_a_request_behind_it_is_lost_to_the_request() {
    let together = [&GREETING[..], read_keys(8).as_bytes()].concat();
    assert_eq!(play([with(together, [1])]), [Event::Negotiated, Event::End(Err(Violation::NoDescriptor))]);
}

#[test]
fn a_hello_says_how_much_of_it_is_missing() {
    let mut decoder = Decoder::<()>::new();
    assert!(!decoder.takes_descriptor(), "a descriptor has no meaning yet");
    for missing in (1..=4).rev() {
        assert_eq!((decoder.needs(), decoder.is_idle()), (missing, missing == 4));
        decoder.feed(&[0], Descriptors::None).expect("a zero byte");
    }
    assert_eq!((decoder.needs(), decoder.is_idle(), decoder.takes_descriptor()), (16, true, true));
}

#[test]
fn after_unknown_features_no_request_is_decoded() {
    let mut decoder = Decoder::new();
    assert!(decoder.feed(&[0, 0, 0, 1], Descriptors::None).is_err());
    let cdb = read_keys(8);
    let mut rest = &cdb.as_bytes()[..];
    while !rest.is_empty() {
        let (now, later) = rest.split_at(decoder.needs().min(rest.len()));
        rest = later;
        let step = decoder.feed(now, Descriptors::One(7));
        assert!(step.is_err(), "{step:?}");
    }
    assert_eq!(decoder.end(), Err(Violation::UnknownFeatures(1)));
}
