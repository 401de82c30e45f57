//! Names with `*` for any number of characters and `?` for one.

use std::fmt;

use crate::wildcard;

/// A pattern for names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// The pattern as it is written.
    pub const fn new(pattern: String) -> Self {
        Self(pattern)
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a name fits, all of it.
    pub fn matches(&self, name: &str) -> bool {
        wildcard::matches(self.0.as_bytes(), name.as_bytes())
    }

    /// Whether a path fits, part by part: nothing in the pattern stands for a slash but a slash.
    pub fn matches_path(&self, path: &str) -> bool {
        let (mut patterns, mut parts) = (self.0.split('/'), path.split('/'));
        loop {
            match (patterns.next(), parts.next()) {
                (None, None) => return true,
                (Some(pattern), Some(part)) if wildcard::matches(pattern.as_bytes(), part.as_bytes()) => {}
                _ => return false,
            }
        }
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
