//! A log of a test's own, with a file where the program has standard error.

use std::{fs::File, os::unix::fs::FileExt as _, sync::Arc};

use tracing::{Level, subscriber::with_default};

use super::{Log, Output};

/// A log, and what it has written.
pub struct Captured {
    pub log: Arc<Log>,
    file: File,
}

impl Captured {
    pub fn new() -> Self {
        let file = tempfile::tempfile().expect("a file");
        let log = Arc::new(Log::default());
        let standard_error = file.try_clone().expect("a descriptor");
        log.configure(|output| *output = Output::instead(standard_error));
        Self { log, file }
    }

    /// What this thread says meanwhile comes to this log.
    pub fn during<T>(&self, act: impl FnOnce() -> T) -> T {
        with_default(self.log.subscriber(Level::DEBUG), act)
    }

    /// All lines by now.
    pub fn text(&self) -> String {
        let length = self.file.metadata().expect("a file").len();
        let mut bytes = vec![0; usize::try_from(length).expect("a short file")];
        self.file.read_exact_at(&mut bytes, 0).expect("its text");
        String::from_utf8(bytes).expect("text")
    }

    /// How many lines have these words by now.
    pub fn count(&self, words: &str) -> usize {
        self.text().lines().filter(|line| line.contains(words)).count()
    }
}
