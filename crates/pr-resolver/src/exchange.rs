//! What the daemon and a process that looks things up say to each other, whatever that is about: a question with a number,
//! and an answer with the same.

use std::os::fd::OwnedFd;

use pr_sandbox::child;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A question. Its answer repeats the number: one that comes too late must not pass for the next.
#[derive(Debug, Serialize, Deserialize)]
pub struct Question<A> {
    /// The number.
    pub number: u64,
    /// What is asked.
    pub about: A,
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer<F> {
    /// The question's number.
    pub number: u64,
    /// What was found.
    pub found: F,
}

/// Answers until the daemon is gone. `room` is that of the longest message; `send` says whether there is anybody left to
/// send to.
pub(crate) fn serve<A: DeserializeOwned, F: Serialize>(
    socket: &OwnedFd,
    room: usize,
    find: impl Fn(A) -> F,
    send: impl Fn(&[u8]) -> bool,
) {
    // Of all this room a question takes little, and what is never written to is no memory.
    let mut bytes = Vec::with_capacity(room);
    while child::receive(socket, &mut bytes) {
        let Ok(Question { number, about }) = serde_json::from_slice(&bytes) else { continue };
        if let Ok(answer) = serde_json::to_vec(&Answer { number, found: find(about) })
            && !send(&answer)
        {
            return;
        }
    }
}
