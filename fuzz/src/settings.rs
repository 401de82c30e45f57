//! The settings file: it is read, or there is one line that says where it is wrong.

use qemu_pr_helper::fuzzing::Read;

use crate::glob;

/// Names that patterns are tried on.
const NAMES: [&str; 6] =
    ["", "libvirtd.service", "/machine.slice/x.scope", "/dev/disk/by-id/wwn-0x5000", "system_u:object_r:c1", "sda"];

/// One run.
pub fn run(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match Read::new(text) {
        Ok(read) => accepted(text, &read),
        Err(error) => refused(text, &error),
    }
}

fn accepted(text: &str, read: &Read) {
    let again = Read::new(text).map(|again| again.in_words());
    assert_eq!(again, Ok(read.in_words()), "the same text means the same");
    assert!(read.warnings().iter().all(|warning| !warning.contains(char::is_control)), "{:?}", read.warnings());
    for pattern in read.patterns() {
        for name in NAMES.into_iter().chain([pattern.as_str()]) {
            let expected = glob::fits(pattern.as_str().as_bytes(), name.as_bytes());
            assert_eq!(pattern.matches(name), expected, "{pattern} on {name}");
        }
    }
}

fn refused(text: &str, error: &str) {
    assert!(!error.contains(char::is_control), "one line: {error:?}");
    let mut parts = error.splitn(4, ':');
    assert_eq!(parts.next(), Some("p"), "it names the file: {error}");
    let mut number = || parts.next().and_then(|number| number.parse::<usize>().ok()).filter(|number| *number > 0);
    let (line, column) = (number().expect("it has a line"), number().expect("it has a column"));
    let there = text.split('\n').nth(line - 1).expect("the line is in the text");
    assert!(column <= there.chars().count() + 1, "{column} is in the line {there:?}");
    assert!(parts.next().is_some_and(|problem| problem.len() > 5), "it says what is wrong: {error}");
}
