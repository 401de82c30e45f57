//! The work of a request without its system calls, so often as it is told: `instructions PART COUNT`. What
//! `cargo xtask bench --instructions` counts the machine's instructions of.

use std::hint::black_box;
use std::process::ExitCode;

use qemu_pr_protocol::{Decoder, Descriptors, ReplyHeader, Step};
use scsi_persistent_reservations::{Cdb, Command, Completion, Sense, SenseCode};

/// READ KEYS with room for eight bytes, and a RESERVE with its list of 24.
const READ_KEYS: [u8; 16] = [0x5e, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0];
const RESERVE: [u8; 16] = [0x5f, 1, 1, 0, 0, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, part, count] = &arguments[..] else { return ExitCode::FAILURE };
    let Ok(count) = count.parse::<u32>() else { return ExitCode::FAILURE };
    let mut decoder = Decoder::new();
    let mut work: Box<dyn FnMut() -> bool> = match part.as_str() {
        "decode-in" => Box::new(move || request(&mut decoder, &READ_KEYS, &[])),
        "decode-out" => Box::new(move || request(&mut decoder, &RESERVE, &[0; 24])),
        "understand" => Box::new(understand),
        "answer" => Box::new(answer),
        _ => return ExitCode::FAILURE,
    };
    if (0..count).all(|_| work()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A request in the pieces in which it is read, through a conversation's decoder. The descriptor is any value.
fn request(decoder: &mut Decoder<u32>, cdb: &[u8; 16], parameters: &[u8]) -> bool {
    if decoder.needs() == 4 && !matches!(decoder.feed(&[0; 4], Descriptors::None), Ok(Step::Negotiated)) {
        return false;
    }
    let step = decoder.feed(black_box(cdb), Descriptors::One(3));
    if parameters.is_empty() {
        return matches!(black_box(step), Ok(Step::Request(_)));
    }
    matches!(step, Ok(Step::Incomplete))
        && matches!(black_box(decoder.feed(black_box(parameters), Descriptors::None)), Ok(Step::Request(_)))
}

/// What the policy and the executor ask of a command.
fn understand() -> bool {
    let command = |bytes: &[u8; 16]| Cdb::new(*black_box(bytes)).ok().map(|cdb| cdb.command());
    let (read, reserve) = (command(&READ_KEYS), command(&RESERVE));
    matches!(black_box(read), Some(Command::In(read)) if read.allocation_length == 8)
        && matches!(black_box(reserve), Some(Command::Out(reserve)) if reserve.action().is_some())
}

/// A refusal and its bytes.
fn answer() -> bool {
    let refusal = Completion::check_condition(Sense::fixed(black_box(SenseCode::INVALID_OPERATION_CODE)));
    black_box(ReplyHeader::new(&refusal).to_bytes())[3] == 2
}
