//! The programs' own lists, as filters.

use super::{
    bpf::tests::{Call, MACHINES, due, run},
    *,
};

const PROCESSES: [Process; 5] =
    [Process::Daemon, Process::Simulator, Process::Resolver, Process::Cleanup, Process::Broker];

/// Values on which a test may turn: what it asks for, a bit more, a bit less, and nothing of it.
fn telling(value: u32, mask: u32) -> impl Iterator<Item = u64> {
    let bits = (0..32).map(move |bit| value ^ (1 << bit));
    [value, value | !mask, 0, u32::MAX].into_iter().chain(bits).map(u64::from)
}

#[test]
fn every_call_on_a_list_and_every_other_one_meets_its_fate() {
    for process in PROCESSES {
        for sandbox in [Sandbox::Log, Sandbox::Enforce] {
            let (rules, otherwise) = rules(process, sandbox);
            for (machine, is_big_endian) in MACHINES {
                let program = bpf::program(machine, &rules, otherwise);
                let judge = |number, arguments| {
                    let call = Call { number, architecture: machine.architecture, arguments };
                    let verdict = run(&program, &call, is_big_endian);
                    assert_eq!(verdict, due(&rules, otherwise, &call), "{process:?}, {sandbox:?}: {call:x?}");
                };
                // x86-64 has a second set of numbers, for programs with short pointers.
                for number in (0..1000).chain(0x4000_0000..0x4000_0300).chain([u32::MAX]) {
                    judge(number, [0; 6]);
                    judge(number, [u64::MAX; 6]);
                }
                for (number, rule) in &rules {
                    for test in rule.tests {
                        for value in telling(test.value, test.mask) {
                            let mut arguments = [0x5555_5555_5555_5555; 6];
                            arguments[usize::from(test.argument)] = value;
                            judge(*number, arguments);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn clone3_does_not_exist_and_all_that_is_on_no_list_ends_the_process() {
    for process in PROCESSES {
        let (rules, otherwise) = rules(process, Sandbox::Enforce);
        let clone3 = u32::try_from(libc::SYS_clone3).unwrap();
        assert_eq!(rules[&clone3].action, NO_SUCH_CALL);
        assert_eq!(otherwise, libc::SECCOMP_RET_TRAP, "{process:?}");
    }
}
