//! Random conversations, held with both helpers: the answers must be the same to the byte.
//!
//! Requests are well formed more often than not, so that most conversations get somewhere before they break. Left out is what the
//! original is known to do wrong (see `weaknesses`): lengths beyond bytes 7 and 8, read-only descriptors, unknown host bytes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::Mutex;

use pr_lab::prelude::*;

use crate::OURS;

/// How many conversations a seed gives.
const CONVERSATIONS: usize = 400;

/// xorshift64: the same conversations every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> usize {
        usize::try_from((self.next() >> 16) % bound).expect("a small number")
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }
}

/// A part of a conversation: bytes that go out in one message with so many descriptors.
type Part = (Vec<u8>, usize);

/// One request, in parts.
fn request(random: &mut Random) -> Vec<Part> {
    const LENGTHS: [u16; 12] = [0, 1, 7, 8, 24, 25, 64, 255, 256, 8191, 8192, 8193];
    let mut cdb: Vec<u8> = (0..16).map(|_| random.byte()).collect();
    cdb[0] = if random.one_in(2) { PR_IN } else { PR_OUT };
    if random.one_in(40) {
        cdb[0] = random.byte();
    }
    let mut length = LENGTHS[random.below(12)];
    if length > 8192 && !random.one_in(8) {
        length = 24;
    }
    cdb[7..9].copy_from_slice(&length.to_be_bytes());
    // NACA: docs/differences-from-c.md, 27.
    cdb[9] &= !4;
    if cdb[0] == PR_OUT {
        cdb[5..7].fill(0);
    }
    let descriptors = if random.one_in(20) { random.below(4) } else { 1 };
    let mut parts = vec![(cdb.clone(), descriptors)];
    if random.one_in(4) {
        let at = 1 + random.below(15);
        let first = random.below(2);
        parts = vec![
            (cdb[..at].to_vec(), if first == 0 { descriptors } else { 0 }),
            (cdb[at..].to_vec(), if first == 0 { 0 } else { descriptors }),
        ];
    }
    if cdb[0] == PR_OUT {
        let list: Vec<u8> = (0..length).map(|_| random.byte()).collect();
        let at = if random.one_in(4) { random.below(u64::from(length) + 1) } else { 0 };
        parts.extend([(list[..at].to_vec(), 0), (list[at..].to_vec(), 0)]);
    }
    parts.retain(|(bytes, _)| !bytes.is_empty());
    parts
}

fn conversation(random: &mut Random) -> Vec<Part> {
    let mut features = vec![0; 4];
    if random.one_in(30) {
        features[random.below(4)] = random.byte();
    }
    let mut parts = vec![(features, 0)];
    for _ in 0..=random.below(5) {
        parts.extend(request(random));
    }
    if random.one_in(10) {
        let (bytes, _) = parts.last_mut().expect("a part");
        bytes.truncate(random.below(bytes.len() as u64));
    }
    parts.retain(|(bytes, _)| !bytes.is_empty());
    parts
}

/// A device whose answer depends on nothing but the command.
fn device(command: &Command) -> Outcome {
    const HOST_BYTES: [u16; 8] = [1, 2, 3, 4, 5, 8, 14, 16];
    const ERRNOS: [i32; 6] = [libc::EINVAL, libc::EIO, libc::ENOMEM, libc::EBADE, libc::EDOM, libc::ENODATA];
    let choice = command.cdb[2];
    let length = usize::from(u16::from_be_bytes([command.cdb[7], command.cdb[8]]));
    match choice % 8 {
        0 => Outcome::Errno(ERRNOS[usize::from(choice / 8) % 6]),
        1 => Answer::host(HOST_BYTES[usize::from(choice / 8) % 8], 0).into(),
        2 => Answer::check_fixed(choice / 16, command.cdb[3], command.cdb[4]).into(),
        3 => Answer::status([0x04, 0x08, 0x18, 0x28, 0x30, 0x40][usize::from(choice / 8) % 6]).into(),
        _ => Answer::good(&vec![command.cdb[9]; length.min(usize::from(choice) * 40)]).into(),
    }
}

/// Everything that the helper says to these parts.
fn hold(helper: &Helper, parts: &[Part]) -> Vec<u8> {
    let client = Raw::connect(helper.socket());
    let file = null();
    for (bytes, descriptors) in parts {
        // The helper may have hung up.
        if client.try_send_with(bytes, &vec![file.as_fd(); *descriptors]).is_err() {
            break;
        }
    }
    _ = client.stream().shutdown(std::net::Shutdown::Write);
    let mut said = Vec::new();
    match client.stream().read_to_end(&mut said) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => {
            let threads: Vec<_> =
                helper.process().threads().into_iter().map(|mut thread| thread.remove("State")).collect();
            let (device, errors) = (helper.device().count(), helper.stderr());
            panic!("{error} after {said:02x?} to {parts:02x?}; {device} commands so far, threads {threads:?}: {errors}")
        }
        _ => said,
    }
}

/// Makes replies comparable: sense counts only with CHECK CONDITION.
fn transcript(said: &[u8]) -> String {
    let mut text = String::new();
    let Some(mut rest) = said.get(4..) else { return format!("{said:?}") };
    while let Some((head, tail)) = rest.split_at_checked(104) {
        let status = u32::from_be_bytes(head[..4].try_into().expect("four bytes"));
        let size = u32::from_be_bytes(head[4..8].try_into().expect("four bytes")) as usize;
        let (payload, tail) = tail.split_at_checked(size).expect("a whole payload");
        let sense = if status == 2 { &head[8..26] } else { &[] };
        writeln!(text, "status {status:#x}, {size} bytes {:02x?}, sense {sense:02x?}", payload.first())
            .expect("a string");
        assert!(payload.iter().all(|byte| Some(byte) == payload.first()), "a payload of one value");
        rest = tail;
    }
    assert!(rest.is_empty(), "half a reply: {rest:02x?}");
    text
}

#[test]
fn random_conversations_get_the_same_answers() {
    let told: Mutex<BTreeMap<(u64, usize), String>> = Mutex::default();
    let answered = Mutex::new(0);
    both(OURS, |bed| {
        let helper = bed.launch().arg("-q").device(device).start();
        let idle = helper.settled_descriptors();
        for seed in [1, 0x9e37_79b9_7f4a_7c15, 20_260_101] {
            let mut random = Random(seed);
            for number in 0..CONVERSATIONS {
                let parts = conversation(&mut random);
                let text = transcript(&hold(&helper, &parts));
                *answered.lock().unwrap() += text.lines().count();
                let first = told.lock().unwrap().entry((seed, number)).or_insert_with(|| text.clone()).clone();
                assert_eq!(text, first, "seed {seed}, conversation {number}: {parts:02x?}");
            }
        }
        helper.await_descriptors(idle);
    });
    assert!(answered.into_inner().unwrap() > 2000, "the conversations get somewhere");
}
