//! What a tenant or a local user tries against the daemon and against its other clients. Each attack worked once.

#![expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]

mod names;
mod paths;
mod shares;
mod soak;
