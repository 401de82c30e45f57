//! The script: what a call does.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::thread::{park, sleep};
use std::time::Duration;

/// Which kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry<'a> {
    /// `libmpathpersist_init`.
    Init,
    /// `mpath_persistent_reserve_out` for the map with this device number.
    Out(&'a str),
}

/// Does what the script says, and comes back with the code to return if that is how it ends.
pub(crate) fn act(entry: Entry<'_>) -> i32 {
    let Some(path) = std::env::var_os(crate::SCRIPT) else { return 0 };
    let script = fs::read_to_string(&path)
        .unwrap_or_else(|error| give_up(&format!("cannot read the script {}: {error}", path.display())));
    let mut code = 0;
    for step in steps(&script, entry) {
        match step.split_once('=').unwrap_or((step, "")) {
            ("say", text) => complain(text.as_bytes()),
            ("garbage", count) => complain(&noise(number(count))),
            ("sleep", millis) => sleep(Duration::from_millis(number(millis))),
            ("hold", file) => {
                while !Path::new(file).exists() {
                    sleep(Duration::from_millis(1));
                }
            }
            ("hang", _) => loop {
                park();
            },
            ("return", value) => code = number(value),
            ("exit", status) => std::process::exit(number(status)),
            ("abort", _) => std::process::abort(),
            ("segfault", _) => crate::sys::segfault(),
            _ => give_up(&format!("no such step: {step}")),
        }
    }
    code
}

/// The steps of the first line that fits.
fn steps<'a>(script: &'a str, entry: Entry<'_>) -> Vec<&'a str> {
    script.lines().find_map(|line| fitting(line, entry)).unwrap_or_default()
}

fn fitting<'a>(line: &'a str, entry: Entry<'_>) -> Option<Vec<&'a str>> {
    let mut words = line.split_whitespace().peekable();
    let fits = match (words.next()?, entry) {
        ("init", Entry::Init) => true,
        // A device number has a colon and no equals sign; a step may have both.
        ("out", Entry::Out(map)) => match words.next_if(|word| word.contains(':') && !word.contains('=')) {
            Some(named) => named == map,
            None => true,
        },
        _ => false,
    };
    fits.then(|| words.collect())
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| give_up(&format!("no number: {text}")))
}

/// Bytes that are no text, with a few that are.
fn noise(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index.wrapping_mul(197) >> 3 & 0xff).try_into().unwrap_or(0)).collect()
}

fn complain(bytes: &[u8]) {
    // Whoever reads standard error may have had enough: that is no concern of a library's.
    let _ = std::io::stderr().write_all(bytes);
}

/// The script itself is wrong: an end that no test takes for an intended one.
pub(crate) fn give_up(why: &str) -> ! {
    complain(format!("fake-mpath: {why}\n").as_bytes());
    std::process::exit(99)
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_fits_counts() {
        let script = "init return=1\nout 7:3 sleep=1 exit=1\nout hold=/a:b\nout abort\n";
        assert_eq!(steps(script, Entry::Init), ["return=1"]);
        assert_eq!(steps(script, Entry::Out("7:3")), ["sleep=1", "exit=1"]);
        assert_eq!(steps(script, Entry::Out("7:30")), ["hold=/a:b"]);
        assert_eq!(steps("", Entry::Init), [""; 0]);
        assert_eq!(steps("\nout 7:1 abort\n", Entry::Out("7:2")), [""; 0]);
    }
}
