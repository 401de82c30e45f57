//! multipathd for a machine that has none, as far as reservations go.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How it behaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Manners {
    /// As 0.13 and newer.
    #[default]
    Willing,
    /// As 0.12 and older: it knows nothing of reservations that are held, nor of lists of paths.
    Old,
    /// It refuses everything.
    Refusing,
    /// It takes commands and never answers.
    Silent,
    /// Something else has its maps, and it says that it did not come to the command.
    Busy,
    /// It hangs up instead of answering, as one that dies.
    Dying,
    /// It says yes, with more behind it than any answer has.
    Long,
    /// Its answers come a byte at a time, for minutes.
    Trickling,
    /// It answers after so many milliseconds.
    Slow(u64),
    /// Its configuration has this key for every map.
    OtherKey(u64),
}

/// What it keeps for a map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// The key, with what was set beside it.
    pub key: Option<String>,
    /// Whether paths that come back are given it.
    pub registers: bool,
    /// The paths of which it was told that they have it.
    pub registered: Vec<String>,
    /// Whether the map holds a reservation.
    pub holds: bool,
}

/// The daemon; it ends with this.
#[derive(Debug)]
pub struct FakeMultipathd {
    path: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    manners: Manners,
    maps: BTreeMap<String, Kept>,
    heard: Vec<String>,
    ends: bool,
}

impl FakeMultipathd {
    /// One that listens there.
    pub fn at(path: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("listen as multipathd");
        let this = Self { path: path.to_owned(), state: Arc::default() };
        let state = Arc::clone(&this.state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if lock(&state).ends {
                    return;
                }
                let state = Arc::clone(&state);
                thread::spawn(move || converse(stream, &state));
            }
        });
        this
    }

    /// How it behaves from now on.
    pub fn behave(&self, manners: Manners) {
        lock(&self.state).manners = manners;
    }

    /// What it keeps for a map.
    pub fn kept(&self, map: &str) -> Kept {
        lock(&self.state).maps.get(map).cloned().unwrap_or_default()
    }

    /// What it was told since the last time, questions included.
    pub fn heard(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.state).heard)
    }
}

impl Drop for FakeMultipathd {
    fn drop(&mut self) {
        lock(&self.state).ends = true;
        // It sees that when somebody comes.
        _ = UnixStream::connect(&self.path);
        _ = std::fs::remove_file(&self.path);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Commands and answers: a length, as the machine has it, and a string with its zero.
fn converse(mut stream: UnixStream, state: &Mutex<State>) {
    let mut length = [0; size_of::<usize>()];
    while stream.read_exact(&mut length).is_ok() {
        let mut command = vec![0; usize::from_ne_bytes(length).min(4096)];
        if stream.read_exact(&mut command).is_err() {
            return;
        }
        assert_eq!(command.pop(), Some(0), "a command ends with a zero");
        let command = String::from_utf8(command).expect("a command");
        let manners = lock(state).manners;
        match manners {
            Manners::Silent => {
                lock(state).heard.push(command);
                continue;
            }
            Manners::Dying => return,
            Manners::Slow(millis) => thread::sleep(Duration::from_millis(millis)),
            _ => {}
        }
        let mut answer = match manners {
            Manners::Busy => "timeout\n\0".to_owned(),
            _ => lock(state).carry_out(&command) + "\0",
        };
        if manners == Manners::Long {
            answer.extend(std::iter::repeat_n(' ', 64 * 1024));
        }
        if manners == Manners::Trickling {
            return trickle(stream);
        }
        if stream.write_all(&[&answer.len().to_ne_bytes(), answer.as_bytes()].concat()).is_err() {
            return;
        }
    }
}

/// An answer, until whoever waits for it has gone.
fn trickle(mut stream: UnixStream) {
    let length: usize = 4096;
    let mut is_heard = stream.write_all(&length.to_ne_bytes()).is_ok();
    while is_heard {
        thread::sleep(Duration::from_millis(50));
        is_heard = stream.write_all(b" ").is_ok();
    }
}

impl State {
    fn carry_out(&mut self, command: &str) -> String {
        self.heard.push(command.to_owned());
        let words: Vec<&str> = command.split(' ').collect();
        let [verb, "map", map, rest @ ..] = &words[..] else { return "unknown command\n".to_owned() };
        if self.manners == Manners::Refusing {
            return "fail\n".to_owned();
        }
        let manners = self.manners;
        let kept = self.maps.entry((*map).to_owned()).or_default();
        match (*verb, rest) {
            ("setprkey", ["key", key]) => kept.key = Some((*key).to_owned()),
            ("unsetprkey", []) => kept.key = None,
            ("setprstatus", []) => kept.registers = true,
            ("setprstatus", ["pathlist", paths @ ..]) if manners != Manners::Old => {
                let paths = paths.join(" ");
                let Some(paths) = paths.strip_prefix('"').and_then(|paths| paths.strip_suffix('"')) else {
                    return "fail\n".to_owned();
                };
                (kept.registers, kept.registered) = (true, paths.split(' ').map(str::to_owned).collect());
            }
            ("unsetprstatus", []) => kept.registers = false,
            ("setprhold" | "unsetprhold", []) if manners != Manners::Old => kept.holds = *verb == "setprhold",
            ("getprkey", []) => {
                return match manners {
                    Manners::OtherKey(key) => format!("{key:#x}\n"),
                    _ => format!("{}\n", kept.key.as_deref().unwrap_or("none")),
                };
            }
            ("getprstatus", []) => return format!("{}\n", if kept.registers { "set" } else { "unset" }),
            _ => return "fail\n".to_owned(),
        }
        "ok\n".to_owned()
    }
}
