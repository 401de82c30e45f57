//! Programs, run by a reading of the kernel's rules that is written for this alone.

use proptest::prelude::*;

use super::*;

/// `SECCOMP_RET_…` of no particular meaning.
const YES: u32 = libc::SECCOMP_RET_ALLOW;
const NO: u32 = libc::SECCOMP_RET_TRAP;

/// Two machines that differ in what can differ.
pub const MACHINES: [(Machine, bool); 2] =
    [(Machine::new(0xc000_003e, false), false), (Machine::new(0x8000_0016, true), true)];

/// A system call as the kernel shows it to a filter.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub number: u32,
    pub architecture: u32,
    pub arguments: [u64; 6],
}

impl Call {
    /// `struct seccomp_data` in a byte order.
    fn bytes(&self, is_big_endian: bool) -> Vec<u8> {
        let word = |word: u32| if is_big_endian { word.to_be_bytes() } else { word.to_le_bytes() };
        let long = |long: u64| if is_big_endian { long.to_be_bytes() } else { long.to_le_bytes() };
        let mut bytes = [word(self.number), word(self.architecture)].concat();
        bytes.extend(long(0x7f00_1234_5678_9abc));
        bytes.extend(self.arguments.iter().flat_map(|argument| long(*argument)));
        bytes
    }
}

/// Runs a program to its end. What the kernel's checker does not let in is a failure of the test.
pub fn run(program: &[sock_filter], call: &Call, is_big_endian: bool) -> u32 {
    assert!(program.len() <= 4096, "the kernel takes 4096 instructions, not {}", program.len());
    let data = call.bytes(is_big_endian);
    let (mut at, mut accumulator) = (0, 0_u32);
    loop {
        let instruction = program[at];
        at += 1;
        let skip = |holds: bool| usize::from(if holds { instruction.jt } else { instruction.jf });
        match instruction.code {
            0x20 => {
                let place = usize::try_from(instruction.k).unwrap();
                assert!(place.is_multiple_of(4), "the kernel loads aligned words");
                let word: [u8; 4] = data[place..place + 4].try_into().unwrap();
                accumulator = if is_big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) };
            }
            0x54 => accumulator &= instruction.k,
            0x05 => at += usize::try_from(instruction.k).unwrap(),
            0x15 => at += skip(accumulator == instruction.k),
            0x35 => at += skip(accumulator >= instruction.k),
            0x06 => return instruction.k,
            other => panic!("no instruction has the code {other:#x}"),
        }
    }
}

/// What is due, by the rules themselves.
pub fn due(rules: &BTreeMap<u32, Rule<'_>>, otherwise: u32, call: &Call) -> u32 {
    let fits = |test: &Test| {
        let lower = u32::try_from(call.arguments[usize::from(test.argument)] & 0xffff_ffff).unwrap();
        lower & test.mask == test.value
    };
    match rules.get(&call.number) {
        Some(rule) if rule.tests.is_empty() || rule.tests.iter().any(fits) => rule.action,
        _ => otherwise,
    }
}

fn a_test() -> impl Strategy<Value = Test> {
    let mask = prop_oneof![Just(u32::MAX), Just(4), Just(0xff00), any::<u32>()];
    (0_u8..6, mask, any::<u32>()).prop_map(|(argument, mask, value)| Test { argument, mask, value: value & mask })
}

/// Numbers that lie close together, and at both ends.
fn a_number() -> impl Strategy<Value = u32> {
    prop_oneof![20 => 0_u32..600, 1 => Just(u32::MAX), 1 => Just(u32::MAX - 1), 1 => any::<u32>()]
}

fn a_list() -> impl Strategy<Value = BTreeMap<u32, (Vec<Test>, u32)>> {
    let action = prop_oneof![4 => Just(YES), 1 => Just(libc::SECCOMP_RET_ERRNO | 0x26), 1 => Just(NO)];
    let tests = prop_oneof![2 => Just(Vec::new()), 1 => proptest::collection::vec(a_test(), 1..5)];
    proptest::collection::btree_map(a_number(), (tests, action), 0..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_program_says_what_the_rules_say(
        list in a_list(),
        calls in proptest::collection::vec((a_number(), any::<[u64; 6]>(), any::<prop::sample::Index>()), 200),
    ) {
        let rules: BTreeMap<_, _> =
            list.iter().map(|(number, (tests, action))| (*number, Rule { tests, action: *action })).collect();
        for (machine, is_big_endian) in MACHINES {
            let program = program(machine, &rules, NO);
            for &(number, mut arguments, index) in &calls {
                // Most random arguments pass no test: every other call has one that does.
                let tests = rules.get(&number).map(|rule| rule.tests).unwrap_or_default();
                if !tests.is_empty() && arguments[0] % 2 == 0 {
                    let test = index.get(tests);
                    let argument = &mut arguments[usize::from(test.argument)];
                    *argument = *argument & !u64::from(test.mask) | u64::from(test.value);
                }
                let call = Call { number, architecture: machine.architecture, arguments };
                prop_assert_eq!(run(&program, &call, is_big_endian), due(&rules, NO, &call), "{:x?}", call);
            }
        }
    }

    #[test]
    fn another_architectures_calls_end_the_process(number: u32, architecture: u32) {
        let rules = BTreeMap::from([(number, Rule { tests: &[], action: YES })]);
        for (machine, is_big_endian) in MACHINES {
            prop_assume!(architecture != machine.architecture);
            let call = Call { number, architecture, arguments: [0; 6] };
            let verdict = run(&program(machine, &rules, NO), &call, is_big_endian);
            prop_assert_eq!(verdict, libc::SECCOMP_RET_KILL_PROCESS);
        }
    }
}

#[test]
fn the_upper_half_of_an_argument_does_not_count() {
    let tests = [Test { argument: 5, mask: u32::MAX, value: 7 }];
    let rules = BTreeMap::from([(3, Rule { tests: &tests, action: YES })]);
    for (machine, is_big_endian) in MACHINES {
        let program = program(machine, &rules, NO);
        for (argument, verdict) in [(7, YES), (0xffff_ffff_0000_0007, YES), (0x0000_0007_0000_0000, NO)] {
            let call = Call { number: 3, architecture: machine.architecture, arguments: [0, 0, 0, 0, 0, argument] };
            assert_eq!(run(&program, &call, is_big_endian), verdict, "{argument:#x}, big endian: {is_big_endian}");
        }
    }
}

#[test]
fn neighbours_with_the_same_fate_are_one_span() {
    let allowed = Rule { tests: &[], action: YES };
    let rules: BTreeMap<_, _> = (10..20).map(|number| (number, allowed)).collect();
    let starts: Vec<u32> = spans(&rules, NO).iter().map(|(start, _)| *start).collect();
    assert_eq!(starts, [0, 10, 20]);
}

#[test]
fn this_architecture_has_the_word_that_the_kernel_has_for_it() {
    // <linux/audit.h>
    let word = match std::env::consts::ARCH {
        "x86_64" => Some(0xc000_003e),
        "aarch64" => Some(0xc000_00b7),
        "riscv64" => Some(0xc000_00f3),
        "powerpc64" if cfg!(target_endian = "little") => Some(0xc000_0015),
        "s390x" => Some(0x8000_0016),
        _ => None,
    };
    assert_eq!(Machine::here().map(|machine| machine.architecture), word);
}
