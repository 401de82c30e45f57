//! Code that is there for tests alone.

use proc_macro2::{Delimiter, TokenTree};

/// How many tokens a `#[cfg(test)]` and what it is about take.
pub fn test_item(tokens: &[TokenTree]) -> Option<usize> {
    let [TokenTree::Punct(hash), TokenTree::Group(attribute), ..] = tokens else { return None };
    if hash.as_char() != '#' || attribute.to_string().replace(' ', "") != "[cfg(test)]" {
        return None;
    }
    let is_end = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        _ => false,
    };
    tokens.iter().position(is_end).map(|end| end + 1)
}
