//! The disk behind the paths, as far as it answers, and the log of all that was asked of it.

use std::sync::{Arc, Mutex};

pub use pr_lab::keys;
use pr_lab::{Answer, Command, Outcome, PR_IN, PR_OUT};

/// A command, without its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Out(u8),
    In(u8),
    TestUnitReady,
}

pub const READ_KEYS: Op = Op::In(0);
pub const READ_RESERVATION: Op = Op::In(1);

const OUT_NAMES: [&str; 9] = [
    "REGISTER",
    "RESERVE",
    "RELEASE",
    "CLEAR",
    "PREEMPT",
    "PREEMPT-ABORT",
    "REGISTER-IGNORE",
    "REGISTER-MOVE",
    "REPLACE-LOST",
];
const IN_NAMES: [&str; 4] = ["READ-KEYS", "READ-RESERVATION", "CAPABILITIES", "FULL-STATUS"];

/// Every command in the order in which it came: `loop1 REGISTER 0>a1`. A `+1` at the end are the flags beside the keys.
#[derive(Default)]
pub struct Log(Vec<String>);

impl Log {
    /// What there is, and an empty log again.
    pub fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.0)
    }
}

/// A disk for the laboratory: `disk` gets the minor number of the loop device and the command.
pub fn answering(
    log: Arc<Mutex<Log>>,
    mut disk: impl FnMut(u32, Op) -> Outcome + Send + 'static,
) -> impl FnMut(&Command) -> Outcome + Send + 'static {
    move |command| {
        let minor = rustix::fs::minor(command.device);
        let action = command.cdb[1] & 0x1f;
        let (op, words) = match command.cdb[0] {
            PR_OUT => (Op::Out(action), format!("{} {}", OUT_NAMES[usize::from(action)], keys_of(&command.data_out))),
            PR_IN => (Op::In(action), IN_NAMES[usize::from(action)].to_owned()),
            0 => (Op::TestUnitReady, "TEST-UNIT-READY".to_owned()),
            other => panic!("the helper sends {other:02x}"),
        };
        log.lock().expect("the log").0.push(format!("loop{minor} {words}"));
        disk(minor, op)
    }
}

fn keys_of(list: &[u8]) -> String {
    let word =
        |at: usize| list.get(at..at + 8).map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().expect("8 bytes")));
    keys_and_flags(word(0), word(8), list.get(20).copied().unwrap_or(0))
}

fn keys_and_flags(key: u64, new: u64, flags: u8) -> String {
    let flags = if flags == 0 { String::new() } else { format!(" +{flags:x}") };
    format!("{key:x}>{new:x}{flags}")
}

/// A disk that does everything, and on which nothing is reserved.
pub fn willing(_: u32, op: Op) -> Outcome {
    match op {
        READ_RESERVATION => unreserved(),
        _ => good(),
    }
}

pub fn good() -> Outcome {
    Answer::good(&[0; 8]).into()
}

pub fn conflict() -> Outcome {
    Answer::status(0x18).into()
}

pub fn check(key: u8, code: u8, qualifier: u8) -> Outcome {
    Answer::check_fixed(key, code, qualifier).into()
}

/// The path is dead: `DID_NO_CONNECT`.
pub fn dead() -> Outcome {
    Answer::host(1, 0).into()
}

/// READ RESERVATION: nobody holds one.
pub fn unreserved() -> Outcome {
    good()
}

/// READ RESERVATION: this key holds one of this type.
pub fn reserved(key: u64, kind: u8) -> Outcome {
    let mut data = [0; 24];
    data[7] = 16;
    data[8..16].copy_from_slice(&key.to_be_bytes());
    data[21] = kind;
    Answer::good(&data).into()
}

/// The same with flags: 1 is `APTPL`, 4 is `ALL_TG_PT`, 8 is `SPEC_I_PT`.
pub fn keys_with(flags: u8, key: u64, new: u64) -> [u8; 24] {
    let mut list = keys(key, new);
    list[20] = flags;
    list
}
