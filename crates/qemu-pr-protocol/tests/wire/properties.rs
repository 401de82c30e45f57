//! What holds for any conversation.

use proptest::{collection::vec, prelude::*};
use qemu_pr_protocol::MAX_DATA;

use crate::script::{Event, Player, Sent, Token, long_list, read_keys, register};

fn config() -> ProptestConfig {
    ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() }
}

/// A read boundary after every so many bytes; in the end the rest at once.
fn play_in_pieces(stream: &[Sent], sizes: &[usize]) -> Vec<Event> {
    let mut player = Player::default();
    let mut rest = stream;
    for size in sizes {
        let (now, later) = rest.split_at((*size).min(rest.len()));
        player.feed(now);
        rest = later;
    }
    player.feed(rest);
    player.end()
}

/// Mostly what a proper client sends.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let change = |length: usize| {
        let cdb = register(u32::try_from(length).expect("a small number"));
        [&cdb.as_bytes()[..], &long_list(length)].concat()
    };
    prop_oneof![
        4 => (0..=8192u16).prop_map(|length| read_keys(length).as_bytes().to_vec()),
        4 => (0..=64usize).prop_map(change),
        1 => prop_oneof![Just(8191), Just(8192)].prop_map(change),
        1 => prop_oneof![8193..=0x1_0018u32, any::<u32>()].prop_map(|length| register(length).as_bytes().to_vec()),
        1 => vec(any::<u8>(), 16),
    ]
}

/// Where in a message descriptors are: mostly one, somewhere in the CDB.
fn descriptors() -> impl Strategy<Value = Vec<(usize, Token)>> {
    let somewhere = (prop_oneof![5 => 0..16usize, 1 => 0..64usize], any::<Token>());
    prop_oneof![12 => vec(somewhere.clone(), 1), 1 => vec(somewhere, 0..=3)]
}

fn hello() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![9 => Just(vec![0; 4]), 1 => vec(any::<u8>(), 4)]
}

/// A stream of bytes and descriptors, perhaps cut short.
fn conversation() -> impl Strategy<Value = Vec<Sent>> {
    let messages = vec((message(), descriptors()), 0..6);
    (hello(), messages, prop_oneof![3 => Just(0), 1 => 0..40usize]).prop_map(|(hello, messages, cut)| {
        let mut stream: Vec<Sent> = hello.into_iter().map(|byte| (byte, Vec::new())).collect();
        for (bytes, descriptors) in messages {
            let start = stream.len();
            stream.extend(bytes.into_iter().map(|byte| (byte, Vec::new())));
            for (at, token) in descriptors {
                let place = (start + at).min(stream.len() - 1);
                stream[place].1.push(token);
            }
        }
        stream.truncate(stream.len().saturating_sub(cut));
        stream
    })
}

/// Any bytes, with descriptors here and there. Half of them get past the hello, and some of those past the CDB.
fn noise() -> impl Strategy<Value = Vec<Sent>> {
    let cdb = vec(any::<u8>(), 12).prop_map(|rest| [&[0x5f][..], &rest[..4], &[0; 3], &rest[4..]].concat());
    let start = prop_oneof![Just(Vec::new()), Just(vec![0; 4]), cdb.prop_map(|cdb| [&[0; 4][..], &cdb].concat())];
    (start, vec(any::<u8>(), 0..400), vec((0..60usize, any::<Token>()), 0..6)).prop_map(|(start, noise, tokens)| {
        let mut stream: Vec<Sent> = start.into_iter().chain(noise).map(|byte| (byte, Vec::new())).collect();
        for (at, token) in tokens {
            if let Some(sent) = stream.get_mut(at) {
                sent.1.push(token);
            }
        }
        stream
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn how_a_conversation_is_cut_into_reads_changes_nothing(
        stream in conversation(),
        sizes in vec(prop_oneof![3 => 1..20usize, 1 => 1..5000usize], 0..60),
    ) {
        prop_assert_eq!(play_in_pieces(&stream, &sizes), play_in_pieces(&stream, &[]));
    }

    #[test]
    fn a_conversation_may_come_byte_by_byte(stream in conversation()) {
        let one_by_one = vec![1; stream.len()];
        prop_assert_eq!(play_in_pieces(&stream, &one_by_one), play_in_pieces(&stream, &[]));
    }

    // That no read ever wants more than `MAX_DATA` bytes is asserted by the player, for every test here.
    #[test]
    fn noise_is_survived_and_makes_no_request_beyond_the_limits(stream in noise(), sizes in vec(1..40usize, 0..60)) {
        let events = play_in_pieces(&stream, &sizes);
        prop_assert_eq!(&events, &play_in_pieces(&stream, &[]));
        for event in &events {
            if let Event::Request { cdb, parameters, .. } = event {
                prop_assert!(matches!(cdb[0], 0x5e | 0x5f));
                prop_assert!(parameters.len() <= MAX_DATA);
            }
        }
        prop_assert!(matches!(events.last(), Some(Event::End(_))));
    }

    #[test]
    fn every_request_has_a_descriptor_that_was_sent_and_the_list_that_its_cdb_announces(stream in conversation()) {
        for event in play_in_pieces(&stream, &[]) {
            if let Event::Request { cdb, device, parameters } = event {
                prop_assert!(stream.iter().any(|(_, tokens)| tokens.contains(&device)));
                let announced = if cdb[0] == 0x5f { usize::from(u16::from_be_bytes([cdb[7], cdb[8]])) } else { 0 };
                prop_assert_eq!(parameters.len(), announced);
            }
        }
    }
}
