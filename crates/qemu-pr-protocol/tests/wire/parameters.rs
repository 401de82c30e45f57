//! Parameter lists.

use std::{borrow::Cow, rc::Rc};

use qemu_pr_protocol::{Decoder, Descriptors, MAX_DATA, Step, Violation};

use crate::script::{assert_play, descriptors, list, long_list, negotiated, plain, read_keys, register, request, with};

#[test]
fn a_parameter_list_may_come_with_its_cdb_or_behind_it() {
    let cdb = register(24);
    let wanted = [request(cdb, 7, list())];
    assert_play(&[with([&cdb.as_bytes()[..], &list()].concat(), [7])], &wanted, Ok(()));
    assert_play(&[with(*cdb.as_bytes(), [7]), plain(list())], &wanted, Ok(()));
}

#[test]
fn a_parameter_list_may_come_in_any_pieces() {
    let cdb = register(24);
    let wanted = [request(cdb, 7, list())];
    for size in 1..=24 {
        let mut chunks = vec![with(*cdb.as_bytes(), [7])];
        chunks.extend(list().chunks(size).map(plain));
        assert_play(&chunks, &wanted, Ok(()));
    }
}

#[test]
fn a_parameter_list_may_be_anything_up_to_the_limit_long() {
    for length in [0, 1, 23, 24, 25, MAX_DATA] {
        let cdb = register(u32::try_from(length).expect("a small number"));
        let chunks = [with(*cdb.as_bytes(), [7]), plain(long_list(length))];
        assert_play(&chunks, &[request(cdb, 7, long_list(length))], Ok(()));
    }
}

#[test]
fn a_longer_parameter_list_is_a_violation_before_it_is_sent() {
    for length in [8193, 0xffff] {
        assert_play(&[with(*register(length).as_bytes(), [7])], &[], Err(Violation::TooLong(length)));
    }
}

#[test]
fn a_length_beyond_sixteen_bits_is_a_violation() {
    // Both ends have always used the lower half. Whoever sets the upper one will send another number of bytes than a
    // helper that ignores it reads, and the rest would be taken for the next request.
    for length in [0x0001_0000, 0x0001_0018, 0x0100_0018, u32::MAX] {
        assert_play(&[with(*register(length).as_bytes(), [7])], &[], Err(Violation::TooLong(length)));
    }
}

#[test]
fn descriptors_on_a_parameter_list_are_dropped() {
    let cdb = register(24);
    for tokens in [vec![8], vec![8, 9], (8..=260).collect()] {
        let chunks = [
            with(*cdb.as_bytes(), [7]),
            with(&list()[..10], tokens.clone()),
            with(&list()[10..], tokens),
            with(*read_keys(8).as_bytes(), [10]),
        ];
        assert_play(&chunks, &[request(cdb, 7, list()), request(read_keys(8), 10, [])], Ok(()));
    }
}

#[test]
fn a_descriptor_on_the_parameter_list_alone_comes_too_late() {
    let chunks = [plain(*register(24).as_bytes()), with(list(), [7])];
    assert_play(&chunks, &[], Err(Violation::NoDescriptor));
}

#[test]
fn a_list_in_one_piece_is_not_copied_and_one_in_pieces_is() {
    let mut decoder = negotiated();
    for (pieces, copied) in [(1, false), (2, true), (24, true)] {
        start(&mut decoder, ());
        let list = list();
        let mut chunks = list.chunks(24 / pieces).peekable();
        while let Some(chunk) = chunks.next() {
            let step = decoder.feed(chunk, Descriptors::None).expect("a part of a list");
            match step {
                Step::Request(found) => {
                    assert!(chunks.peek().is_none(), "a request before its end");
                    assert_eq!(matches!(found.parameters, Cow::Owned(_)), copied, "{pieces} pieces");
                    assert_eq!(*found.parameters, list);
                }
                _ => assert!(chunks.peek().is_some(), "no request at the end"),
            }
        }
    }
}

#[test]
fn a_list_says_how_much_of_it_is_missing() {
    let mut decoder = negotiated();
    start(&mut decoder, ());
    for missing in (1..=24).rev() {
        assert_eq!((decoder.needs(), decoder.is_idle(), decoder.takes_descriptor()), (missing, false, false));
        decoder.feed(&[0], Descriptors::None).expect("a byte of a list");
    }
    assert_eq!((decoder.needs(), decoder.is_idle(), decoder.takes_descriptor()), (16, true, true));
}

#[test]
fn after_a_request_nothing_of_it_is_kept() {
    let mut decoder = negotiated::<Rc<()>>();
    let fresh = format!("{decoder:?}");
    let device = Rc::new(());
    for pieces in [1, 3] {
        start(&mut decoder, Rc::clone(&device));
        assert_eq!(Rc::strong_count(&device), 2, "the descriptor of an unfinished request is held");
        let list = list();
        for chunk in list.chunks(24 / pieces) {
            let more = descriptors([Rc::clone(&device)]);
            // The request, and with it the descriptor, is dropped at once.
            drop(decoder.feed(chunk, more).expect("a part of a list"));
        }
        assert_eq!(Rc::strong_count(&device), 1, "{pieces} pieces");
        assert_eq!(format!("{decoder:?}"), fresh);
    }
}

#[test]
fn after_a_violation_nothing_is_kept() {
    let device = Rc::new(());
    let one = || Descriptors::One(Rc::clone(&device));
    let broken = [
        (vec![(plain([0x5e; 4]), one()), (plain([0; 4]), one())], Violation::TooManyDescriptors),
        (vec![(plain([0x5e; 4]), one()), (plain([0; 4]), Descriptors::Many)], Violation::TooManyDescriptors),
        (vec![(plain([0x12; 16]), one())], Violation::NotPersistentReserve(0x12)),
        (vec![(plain(*register(8193).as_bytes()), one())], Violation::TooLong(8193)),
    ];
    for (chunks, violation) in broken {
        let mut decoder = negotiated();
        let ends: Vec<_> = chunks.into_iter().map(|(chunk, more)| decoder.feed(&chunk.bytes, more).err()).collect();
        assert_eq!(ends.last(), Some(&Some(violation)));
    }
    assert_eq!(Rc::strong_count(&device), 1);
}

/// Feeds a CDB that announces 24 bytes.
fn start<D>(decoder: &mut Decoder<D>, device: D) {
    let cdb = register(24);
    assert!(matches!(decoder.feed(cdb.as_bytes(), Descriptors::One(device)), Ok(Step::Incomplete)));
}

#[test]
fn a_parameter_list_in_pieces_takes_the_memory_of_one_list() {
    let list = long_list(MAX_DATA);
    let mut decoder = negotiated();
    let cdb = register(u32::try_from(list.len()).expect("a small number"));
    decoder.feed(cdb.as_bytes(), Descriptors::One(7)).expect("a CDB");
    let (end, start) = list.split_last().expect("a list");
    for piece in start.chunks(1000) {
        assert!(matches!(decoder.feed(piece, Descriptors::None), Ok(Step::Incomplete)));
    }
    let step = decoder.feed(std::slice::from_ref(end), Descriptors::None).expect("a request");
    let Step::Request(request) = step else { panic!("{step:?}") };
    let Cow::Owned(parameters) = request.parameters else { panic!("it came in pieces") };
    assert_eq!((parameters.capacity(), &parameters), (MAX_DATA, &list));
}
