//! What listens at a socket of the host.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// Something that listens; it ends with this.
pub struct Listener {
    path: PathBuf,
    ends: Arc<AtomicBool>,
}

impl Listener {
    /// Serves one connection after the other.
    pub fn new(path: &Path, mut serve: impl FnMut(UnixStream) + Send + 'static) -> Self {
        let listener = UnixListener::bind(path).expect("a socket");
        let ends = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&ends);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                serve(stream);
            }
        });
        Self { path: path.to_owned(), ends }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // It sees that when somebody comes.
        _ = UnixStream::connect(&self.path);
        _ = fs::remove_file(&self.path);
    }
}

/// Says nothing until the other side leaves.
pub fn wait_for_end(mut stream: &UnixStream) {
    _ = stream.read(&mut [0; 64]);
    _ = stream.read(&mut [0; 64]);
}

/// Says this, and hangs up when the other side has said something.
pub fn say(mut stream: UnixStream, words: &[u8]) {
    _ = stream.write_all(words);
    if !words.is_empty() {
        _ = stream.read(&mut [0; 64]);
    }
}
