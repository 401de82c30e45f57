//! `-T`: values, patterns and events files, beside a plain model of each.

use qemu_pr_helper::fuzzing::{events, matches, switched, take_apart};

use crate::{Input, glob};

/// One run. The first byte says what the others are.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 3 {
        0 => value(input.rest()),
        1 => {
            let pattern = input.rest();
            let name = pattern
                .iter()
                .position(|byte| *byte == b' ')
                .map_or(&b"pr_helper_reply"[..], |at| pattern.get(at + 1..).unwrap_or_default());
            let pattern = pattern.split(|byte| *byte == b' ').next().unwrap_or_default();
            assert_eq!(matches(pattern, name), glob::fits(pattern, name));
        }
        _ => file(input.rest()),
    }
}

/// What a value comes to: pattern, events file, trace file; `None` where something is wrong with it.
type Parts = Option<[Option<Vec<u8>>; 3]>;

fn value(value: &[u8]) {
    // No argument has one, and the model below uses it.
    if value.contains(&0) {
        return;
    }
    let found = take_apart(value);
    if let Err(error) = &found {
        assert!(!error.is_empty());
    }
    assert_eq!(found.ok(), model(value), "-T {}", value.escape_ascii());
}

fn model(value: &[u8]) -> Parts {
    let text = value.iter().map(|byte| char::from(*byte)).collect::<String>().replace(",,", "\0");
    let mut parts: Vec<_> = text.split(',').map(|part| part.replace('\0', ",")).collect();
    if parts.last().is_some_and(String::is_empty) {
        parts.pop();
    }
    let mut option = [None, None, None];
    for (number, part) in parts.iter().enumerate() {
        let (name, value) = match part.split_once('=') {
            Some(named) => named,
            None if number == 0 => ("enable", part.as_str()),
            None => return None,
        };
        let place = ["enable", "events", "file"].iter().position(|known| *known == name)?;
        if place == 0 && matches!(value, "help" | "?") {
            return None;
        }
        option[place] = Some(value.chars().map(|c| u8::try_from(c).expect("it was one byte")).collect());
    }
    Some(option)
}

fn file(text: &[u8]) {
    let mut on: Vec<&str> = Vec::new();
    let mut unknown = 0;
    for line in text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
        if line.is_empty() || line[0] == b'#' {
            continue;
        }
        let pattern = line.strip_prefix(b"-").unwrap_or(line);
        let meant: Vec<&str> = events().filter(|name| glob::fits(pattern, name.as_bytes())).collect();
        on.retain(|name| !meant.contains(name));
        if !line.starts_with(b"-") {
            on.extend(&meant);
        }
        unknown += usize::from(meant.is_empty() && !pattern.contains(&b'*') && !pattern.contains(&b'?'));
    }
    let (mut enabled, warnings) = switched(text);
    on.sort_unstable();
    enabled.sort_unstable();
    assert_eq!((enabled, warnings.len()), (on, unknown));
}
