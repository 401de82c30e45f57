//! With a person at a terminal.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    process::{Command, Stdio},
};

use rustix::{
    fs::OFlags,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};

use crate::{run::PROGRAM, simulate::Simulator};

/// The two ends of a terminal: the person's and the program's.
fn terminal() -> (File, File) {
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&person).expect("its permissions");
    unlockpt(&person).expect("its lock");
    let name = ptsname(&person, Vec::new()).expect("its name").into_string().expect("words");
    let flags = i32::try_from(OFlags::NOCTTY.bits()).expect("a flag");
    let program = OpenOptions::new().read(true).write(true).custom_flags(flags).open(name).expect("the other end");
    (person.into(), program)
}

/// What the program writes until it has ended. A terminal that nobody has open any more reads as an error.
fn read_all(mut person: File) -> String {
    let (mut text, mut buffer) = (Vec::new(), [0; 1024]);
    while let Ok(length @ 1..) = person.read(&mut buffer) {
        text.extend(&buffer[..length]);
    }
    String::from_utf8(text).expect("words").replace("\r\n", "\n")
}

/// Runs the tool at a terminal where somebody has typed this; its exit status and what stands there.
fn at_terminal(
    simulator: &Simulator,
    words: &[&str],
    typed: &str,
    variables: &[(&str, &str)],
) -> (Option<i32>, String) {
    let (mut person, program) = terminal();
    person.write_all(typed.as_bytes()).expect("typed");
    let stdio = || Stdio::from(program.try_clone().expect("the terminal"));
    let mut command = Command::new(PROGRAM);
    command.args(words).arg("--socket").arg(simulator.socket()).env_remove("NO_COLOR").env("TERM", "xterm");
    command.envs(variables.iter().copied()).stdin(stdio()).stdout(stdio()).stderr(stdio());
    let mut child = command.spawn().expect("run the tool");
    drop((command, program));
    let text = read_all(person);
    (child.wait().expect("its end").code(), text)
}

#[test]
fn a_person_is_asked_before_others_lose_their_registrations() {
    let simulator = Simulator::start(&[]);
    simulator.ctl("register --new-key 0xa").expect_done();
    let disk = simulator.path("disk");
    let clear = ["clear", &disk, "--key", "0xb"];
    for (typed, code) in [("n\n", 1), ("\n", 1), ("y\n", 24)] {
        let (ended, text) = at_terminal(&simulator, &clear, typed, &[]);
        assert!(
            text.contains("one registration of another initiator would be removed. Send CLEAR anyway? [y/N]"),
            "{text}"
        );
        // Whoever says yes gets as far as the disk, which knows of no such key.
        assert_eq!(ended, Some(code), "{typed:?}: {text}");
    }
}

#[test]
fn an_error_is_folded_for_a_terminal() {
    let simulator = Simulator::start(&[]);
    let disk = simulator.path("disk");
    let (code, text) = at_terminal(&simulator, &["reserve", &disk, "--key", "1", "--type", "1"], "", &[]);
    assert_eq!(code, Some(24));
    assert!(text.lines().count() > 1 && text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn colours_are_for_those_who_want_them() {
    let simulator = Simulator::start(&[]);
    let disk = simulator.path("disk");
    let validate = ["validate", &disk, "--second", &disk];
    let (code, plain) = at_terminal(&simulator, &validate, "", &[("NO_COLOR", "1")]);
    assert_eq!(code, Some(0));
    assert!(!plain.contains('\u{1b}') && plain.lines().all(|line| line.chars().count() <= 80), "{plain}");
    let (_, coloured) = at_terminal(&simulator, &validate, "", &[]);
    assert!(coloured.contains("\u{1b}[32mok"), "{coloured}");
    let (_, dumb) = at_terminal(&simulator, &validate, "", &[("TERM", "dumb")]);
    assert!(!dumb.contains('\u{1b}'), "{dumb}");
}

#[test]
fn the_progress_bar_is_gone_when_the_numbers_are_there() {
    let simulator = Simulator::start(&[]);
    let words = ["bench", "--connections", "2", "--seconds", "0.3"];
    let (code, text) = at_terminal(&simulator, &words, "", &[("NO_COLOR", "1")]);
    assert_eq!(code, Some(0));
    // The last thing that the bar does is to erase its line.
    let last = text.rsplit("\u{1b}[2K").next().unwrap_or_default();
    assert!(last.lines().count() == 1 && last.trim().starts_with("2  ") && !last.contains('['), "{text:?}");
}
