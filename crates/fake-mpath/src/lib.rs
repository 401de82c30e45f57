//! A libmpathpersist for tests: its entry points do what a script says, and each call is noted in a journal.
//!
//! Two environment variables name the files. Without [`SCRIPT`] every call succeeds, without [`JOURNAL`] nothing is noted.
//!
//! A script has a line for each kind of call, read again at every call; the first that fits is carried out, and
//! without one the call succeeds:
//!
//! ```text
//! init return=1
//! out 7:3 sleep=20 return=11
//! out garbage=1000000 exit=1
//! ```
//!
//! `out` may name the device number of a map. What it does, in this order of writing: `say=TEXT` and `garbage=BYTES` on
//! standard error, `sleep=MILLISECONDS`, `hold=FILE` (until that file exists), `hang`, and as its end `return=CODE`,
//! `exit=STATUS`, `abort` or `segfault`.
#![deny(unsafe_code)]

mod journal;
mod script;
mod sys;

pub use journal::{Call, Event, parse};

/// Names the script.
pub const SCRIPT: &str = "FAKE_MPATH_SCRIPT";

/// Names the journal.
pub const JOURNAL: &str = "FAKE_MPATH_JOURNAL";

/// What the shared object is called where Cargo puts it.
pub const FILE: &str = "libfake_mpath.so";
