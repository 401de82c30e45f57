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
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
