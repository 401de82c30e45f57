//! What the programs can say, read from their sources as the compiler reads them.
//!
//! Taken are the texts of errors (`#[error("…")]`), of messages (`warn!("…")` and its like), and every other text that
//! has words in it: a text that reaches nobody, or that is no message, has to be named in `messages.rs`. So a message
//! cannot be forgotten, whatever way it takes to the outside.

use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::Lit;

use crate::{root, test_code::test_item};

/// A text in a source file.
#[expect(clippy::struct_field_names, reason = "it is what the text is called everywhere")]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text {
    /// The file, below `crates/`.
    pub file: String,
    /// What it says, each part that is filled in at run time as `…`.
    pub text: String,
    /// Whether it is an error's or a message's; the others may be anything.
    pub is_message: bool,
}

/// What is shipped: the programs, and the libraries whose texts they print.
#[rustfmt::skip]
const CRATES: &[&str] = &[
    "pr-broker",
    "pr-conformance",
    "pr-control",
    "pr-device",
    "pr-multipath",
    "pr-resolver",
    "pr-sandbox",
    "pr-sim",
    "pr-sys",
    "qemu-pr-protocol",
    "qemu-pr-ctl",
    "qemu-pr-exporter",
    "qemu-pr-helper",
    "scsi-persistent-reservations",
];

/// The macros whose text is a message. `trace!` is not among them: its events have no text.
const MACROS: [&str; 4] = ["error", "warn", "info", "debug"];

/// Every text of every file.
pub fn texts() -> Vec<Text> {
    let mut texts = Vec::new();
    for name in CRATES {
        collect(&root().join("crates").join(name).join("src"), &mut texts);
    }
    texts.sort();
    texts.dedup();
    texts
}

fn collect(folder: &Path, texts: &mut Vec<Text>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.file_stem().is_some_and(|stem| stem == "fuzzing" || stem == "model") {
            // Entry points for fuzzers, and the model of the worker pool: never in what is shipped.
            continue;
        }
        if path.is_dir() {
            collect(&path, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !name.ends_with("tests.rs") {
            let source = fs::read_to_string(&path).expect("a source file");
            let tokens = source.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let file = path.strip_prefix(root().join("crates")).expect("a file below it").display().to_string();
            walk(tokens, &file, false, texts);
        }
    }
}

fn walk(tokens: TokenStream, file: &str, in_message: bool, texts: &mut Vec<Text>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut index = 0;
    // Within a message's macro the first text is the message; the others are parts of it.
    let mut first = in_message;
    while index < tokens.len() {
        let rest = &tokens[index..];
        if let Some(skipped) = test_item(rest) {
            index += skipped;
            continue;
        }
        match rest {
            [TokenTree::Punct(hash), TokenTree::Group(attribute), ..]
                if hash.as_char() == '#' && attribute.delimiter() == Delimiter::Bracket =>
            {
                error_attribute(attribute.stream(), file, texts);
                index += 2;
                continue;
            }
            // `#![…]`, and with it the documentation of a file.
            [TokenTree::Punct(hash), TokenTree::Punct(bang), TokenTree::Group(_), ..]
                if hash.as_char() == '#' && bang.as_char() == '!' =>
            {
                index += 3;
                continue;
            }
            [TokenTree::Ident(name), TokenTree::Punct(bang), TokenTree::Group(arguments), ..]
                if bang.as_char() == '!' && MACROS.contains(&name.to_string().as_str()) =>
            {
                walk(arguments.stream(), file, true, texts);
                index += 3;
                continue;
            }
            [TokenTree::Group(group), ..] => walk(group.stream(), file, false, texts),
            [TokenTree::Literal(literal), ..] => {
                if let Lit::Str(text) = Lit::new(literal.clone()) {
                    add(&text.value(), file, first, texts);
                    first = false;
                }
            }
            _ => {}
        }
        index += 1;
    }
}

/// `#[error("…")]`; other attributes are for the compiler, or are help.
fn error_attribute(attribute: TokenStream, file: &str, texts: &mut Vec<Text>) {
    let tokens: Vec<TokenTree> = attribute.into_iter().collect();
    if let [TokenTree::Ident(name), TokenTree::Group(arguments)] = &tokens[..]
        && name == "error"
        && let Some(TokenTree::Literal(literal)) = arguments.stream().into_iter().next()
        && let Lit::Str(text) = Lit::new(literal)
    {
        add(&text.value(), file, true, texts);
    }
}

fn add(text: &str, file: &str, is_message: bool, texts: &mut Vec<Text>) {
    let text = normalised(text);
    // What has no words is a place to fill something in; what has one alone is a name, unless it is a message.
    let words = text.split_whitespace().filter(|word| word.chars().filter(char::is_ascii_alphabetic).count() > 1);
    if words.count() > usize::from(!is_message) {
        texts.push(Text { file: file.to_owned(), text, is_message });
    }
}

/// A format string as its readers see it: `…` for each part that is filled in, and blanks between the words.
pub fn normalised(format: &str) -> String {
    let mut text = String::new();
    let mut left = format;
    while let Some(at) = left.find(['{', '}']) {
        let (before, from) = left.split_at(at);
        text.push_str(before);
        if let Some(rest) = from.strip_prefix("{{").or_else(|| from.strip_prefix("}}")) {
            text.push(from.chars().next().unwrap_or_default());
            left = rest;
        } else {
            let end = from.find('}').map_or(from.len(), |end| end + 1);
            text.push('…');
            left = &from[end..];
        }
    }
    text.push_str(left);
    while text.contains("……") {
        text = text.replace("……", "…");
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
