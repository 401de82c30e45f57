//! What goes to standard output, and how wide it is.

use std::{
    borrow::Cow,
    env,
    io::{self, IsTerminal as _, Write as _},
};

use rustix::termios::tcgetwinsize;

use crate::error::Error;

/// A terminal's width, where nothing else is known.
pub const WIDTH: usize = 80;

/// Prints text.
pub fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Error::Output)
}

/// Whether standard output may be coloured: a terminal that has colours, and a person who has not refused them.
pub fn colours() -> bool {
    let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !refused && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Words behind a name, folded below themselves.
pub fn fold_behind(name: &str, text: &str) -> String {
    let marked = format!("{}{text}", "x".repeat(name.len()));
    let folded = fold(&marked, name.len());
    format!("{name}{}", folded.get(name.len()..).unwrap_or_default())
}

/// Text in lines of at most `WIDTH` columns, all but the first indented. Lines are broken at blanks; a word that is
/// too long for a line is broken where the line ends.
pub fn fold(text: &str, indent: usize) -> String {
    let mut folded = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        if column > 0 && column + 1 + word.len() > WIDTH && indent + word.len() <= WIDTH {
            column = next_line(&mut folded, indent);
        } else if column > 0 {
            folded.push(' ');
            column += 1;
        }
        while column + word.len() > WIDTH {
            let rest = word.split_off(WIDTH.saturating_sub(column).min(word.len()));
            folded.extend(word);
            column = next_line(&mut folded, indent);
            word = rest;
        }
        column += word.len();
        folded.extend(word);
    }
    folded
}

/// A value behind its name; one that is too long for a line goes on below itself.
pub fn column(name: &str, value: &str) -> String {
    let (mut text, mut column) = (name.to_owned(), name.len());
    for letter in value.chars() {
        if column == WIDTH {
            column = next_line(&mut text, name.len());
        }
        text.push(letter);
        column += 1;
    }
    text
}

/// A text of another program, without control characters, which could move the cursor or change colours.
pub fn plain(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        Cow::Owned(text.replace(char::is_control, "?"))
    } else {
        Cow::Borrowed(text)
    }
}

/// The columns of the terminal that standard output is; of anything else those of an ordinary one.
pub fn width() -> usize {
    let size = io::stdout().is_terminal().then(|| tcgetwinsize(io::stdout()).ok()).flatten();
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(WIDTH)
}

fn next_line(text: &mut String, indent: usize) -> usize {
    text.push('\n');
    text.extend(std::iter::repeat_n(' ', indent));
    indent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_folded_between_words() {
        let text = "word ".repeat(40);
        let folded = fold(&text, 4);
        assert!(folded.lines().all(|line| line.len() <= WIDTH), "{folded}");
        assert!(folded.lines().skip(1).all(|line| line.starts_with("    word")), "{folded}");
        assert_eq!(folded.split_whitespace().count(), 40);
        assert_eq!(fold("as it is", 4), "as it is");
    }

    #[test]
    fn a_long_value_goes_on_below_itself() {
        assert_eq!(column("  name  ", "value"), "  name  value");
        let text = column("  name  ", &"a".repeat(100));
        assert_eq!(text, format!("  name  {}\n        {}", "a".repeat(72), "a".repeat(28)));
    }

    #[test]
    fn a_word_that_is_too_long_is_broken() {
        let long = "a".repeat(200);
        let folded = fold(&format!("initiator {long}"), 2);
        assert!(folded.lines().all(|line| line.len() <= WIDTH), "{folded}");
        assert_eq!(folded.matches('a').count(), 201);
    }
}
