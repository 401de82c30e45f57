//! Rules about system calls as the program that the kernel runs for each of them: classic BPF (`<linux/filter.h>`,
//! `<linux/seccomp.h>`).
//!
//! The numbers of the calls are searched by halves. Every piece of the program ends by returning, so that pieces are put
//! one behind the other and a test only ever skips the piece for the case that it holds.

use std::collections::BTreeMap;

use libc::sock_filter;

/// What an argument of a system call has to be. The kernel looks at 32 bits of each argument that is tested here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Test {
    /// Which of the six.
    pub argument: u8,
    /// The bits that count.
    pub mask: u32,
    /// What they have to be.
    pub value: u32,
}

/// What becomes of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule<'a> {
    /// One of these has to hold, unless there are none.
    pub tests: &'a [Test],
    /// What is returned to the kernel then (`SECCOMP_RET_…`).
    pub action: u32,
}

/// Where programs run: what `struct seccomp_data` has there.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// The kernel's word for the architecture (`AUDIT_ARCH_…`).
    pub architecture: u32,
    /// How far into an argument its lower half is.
    lower_half: u32,
}

impl Machine {
    /// One of this word, and byte order.
    pub const fn new(architecture: u32, is_big_endian: bool) -> Self {
        Self { architecture, lower_half: if is_big_endian { 4 } else { 0 } }
    }

    /// The one that this is built for, where it has filters.
    pub const fn here() -> Option<Self> {
        // The machine's number in ELF files, that it has 64 bits, and that the least significant byte comes first.
        let machine = if cfg!(target_arch = "x86_64") {
            libc::EM_X86_64
        } else if cfg!(target_arch = "aarch64") {
            libc::EM_AARCH64
        } else if cfg!(target_arch = "riscv64") {
            libc::EM_RISCV
        } else if cfg!(target_arch = "powerpc64") {
            libc::EM_PPC64
        } else if cfg!(target_arch = "s390x") {
            libc::EM_S390
        } else {
            return None;
        };
        let is_big_endian = cfg!(target_endian = "big");
        let order = if is_big_endian { 0 } else { 0x4000_0000 };
        Some(Self::new(machine as u32 | 0x8000_0000 | order, is_big_endian))
    }
}

/// The places of a call's number, of the architecture's word and of the first argument in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The code of an instruction, made of its parts.
#[expect(clippy::cast_possible_truncation, reason = "they are all below 256")]
const fn code(parts: u32) -> u16 {
    parts as u16
}

/// Loads a word of `struct seccomp_data`.
const LOAD: u16 = code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS);
/// Keeps some of its bits.
const AND: u16 = code(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K);
/// Goes on elsewhere.
const SKIP: u16 = code(libc::BPF_JMP | libc::BPF_JA);
/// Whether it is this value.
const IS: u16 = code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K);
/// Whether it is this value or a greater one.
const IS_FROM: u16 = code(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K);
/// The end.
const RETURN: u16 = code(libc::BPF_RET | libc::BPF_K);

/// The program for these rules, by the numbers of the calls. What no rule is about, or no test of its rule fits, is
/// `otherwise`; a call of another architecture, which has other numbers, ends the process.
pub fn program(machine: Machine, rules: &BTreeMap<u32, Rule<'_>>, otherwise: u32) -> Vec<sock_filter> {
    let body = [vec![statement(LOAD, NUMBER)], search(machine, &spans(rules, otherwise), otherwise)].concat();
    let foreign = vec![statement(RETURN, libc::SECCOMP_RET_KILL_PROCESS)];
    let mut program = vec![statement(LOAD, ARCHITECTURE)];
    program.extend(branch(IS, machine.architecture, body, foreign));
    program
}

/// All numbers, as spans that begin at a number and that one rule is about.
fn spans<'a>(rules: &BTreeMap<u32, Rule<'a>>, otherwise: u32) -> Vec<(u32, Rule<'a>)> {
    let rest = Rule { tests: &[], action: otherwise };
    let mut spans = vec![(0, rest)];
    let mut add = |start: u32, rule: Rule<'a>| {
        spans.pop_if(|(last, _)| *last == start);
        if spans.last().is_none_or(|(_, last)| *last != rule) {
            spans.push((start, rule));
        }
    };
    for (number, rule) in rules {
        add(*number, *rule);
        if let Some(next) = number.checked_add(1) {
            add(next, rest);
        }
    }
    spans
}

/// Finds the span of the number that is loaded, and does what its rule says.
fn search(machine: Machine, spans: &[(u32, Rule<'_>)], otherwise: u32) -> Vec<sock_filter> {
    let (lower, upper) = spans.split_at(spans.len() / 2);
    match (lower, upper) {
        ([], []) => vec![statement(RETURN, otherwise)],
        ([], [(_, rule), ..]) => decide(machine, rule, otherwise),
        (_, [(start, _), ..]) => {
            branch(IS_FROM, *start, search(machine, upper, otherwise), search(machine, lower, otherwise))
        }
        (_, []) => search(machine, lower, otherwise),
    }
}

/// Returns what a rule says.
fn decide(machine: Machine, rule: &Rule<'_>, otherwise: u32) -> Vec<sock_filter> {
    let action = vec![statement(RETURN, rule.action)];
    if rule.tests.is_empty() {
        return action;
    }
    let mut program = vec![statement(RETURN, otherwise)];
    for test in rule.tests.iter().rev() {
        let place = ARGUMENTS + 8 * u32::from(test.argument) + machine.lower_half;
        let mut piece = vec![statement(LOAD, place)];
        if test.mask != u32::MAX {
            piece.push(statement(AND, test.mask));
        }
        piece.extend(branch(IS, test.value, action.clone(), program));
        program = piece;
    }
    program
}

/// One piece if the test holds, the other one if not.
fn branch(test: u16, value: u32, holds: Vec<sock_filter>, fails: Vec<sock_filter>) -> Vec<sock_filter> {
    let jump = |jt, jf| sock_filter { code: test, jt, jf, k: value };
    let mut program = match u8::try_from(holds.len()) {
        Ok(length) => vec![jump(0, length)],
        // A test skips no more than 255 instructions.
        Err(_) => vec![jump(1, 0), statement(SKIP, u32::try_from(holds.len()).unwrap_or(u32::MAX))],
    };
    program.extend(holds);
    program.extend(fails);
    program
}

const fn statement(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
#[path = "bpf_tests.rs"]
pub mod tests;
