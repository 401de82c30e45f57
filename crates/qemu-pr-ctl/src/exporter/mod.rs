//! `exporter`: serves the figures of helpers to monitoring systems, so that the helper, which has privileges, never
//! opens a network port. This has none, and asks by the control socket like anybody else.
//!
//! A thread serves a connection, and there are few of them. Each page is made of fresh answers.

mod families;
mod http;
mod openmetrics;
mod user;

use std::{
    io::{self, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use pr_control::{Control, ControlError, Snapshot};
use serde::Serialize;

use self::{families::Helper, openmetrics::Format};
use crate::{
    cli::{self, Options},
    out,
    trouble::Trouble,
};

/// A command that a disk has been at for longer is one that hangs, in microseconds.
pub const HUNG_US: u64 = 5_000_000;

/// More than monitoring systems need; a bound on threads.
const MAX_CONNECTIONS: usize = 16;

/// What the system lacks (descriptors, memory) may be there again after this.
const PAUSE: Duration = Duration::from_millis(100);

struct Exporter {
    sources: Vec<Source>,
    connections: AtomicUsize,
}

/// A helper that is asked.
struct Source {
    control: Control,
    label: Option<String>,
    /// What was the matter with it last; told when it changes.
    trouble: Mutex<Option<String>>,
}

#[derive(Serialize)]
struct Ready<'a> {
    listening: SocketAddr,
    control: &'a [PathBuf],
}

/// Serves until a signal ends it.
pub fn run(options: &Options, exporter: &cli::Exporter) -> Result<(), Trouble> {
    // Root may listen on ports that nobody else may.
    let failed = |error| Trouble::ListenTcp { address: exporter.listen, error };
    let listener = TcpListener::bind(exporter.listen).map_err(failed)?;
    let listening = listener.local_addr().map_err(failed)?;
    let user = user::become_unprivileged(exporter.user.as_deref(), &exporter.control)?;
    let several = exporter.control.len() > 1;
    let sources = exporter.control.iter().map(|path| Source {
        control: Control::new(path, options.control_patience()),
        label: several.then(|| path.display().to_string()),
        trouble: Mutex::default(),
    });
    let server = Arc::new(Exporter { sources: sources.collect(), connections: AtomicUsize::new(0) });
    for source in &server.sources {
        // Whoever may not ask now never may. A helper that is not there may come.
        match (source.control.snapshot(), &user) {
            (Err(ControlError::NoPermission(control)), Some(user)) => {
                return Err(Trouble::UserDenied { user: user.clone(), control });
            }
            (Err(error @ ControlError::NoPermission(_)), None) => return Err(Trouble::Control(error)),
            (answer, _) => source.note(&answer),
        }
    }
    if options.json {
        out::json_line(&Ready { listening, control: &exporter.control })?;
    } else {
        out::print(&format!("listening on http://{listening}/metrics\n"))?;
    }
    loop {
        match listener.accept() {
            Ok((stream, _)) => Exporter::take(&server, stream),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

impl Exporter {
    /// Serves a connection in a thread of its own, if there is room for one.
    fn take(exporter: &Arc<Self>, mut stream: TcpStream) {
        if exporter.connections.fetch_add(1, Ordering::SeqCst) >= MAX_CONNECTIONS {
            exporter.connections.fetch_sub(1, Ordering::SeqCst);
            return http::turn_away(stream);
        }
        let served = Arc::clone(exporter);
        let thread = thread::Builder::new().spawn(move || {
            // The end of a conversation, in whatever way, is the end of this thread and nothing more.
            let _ = http::converse(&mut stream, |format| served.page(format));
            served.connections.fetch_sub(1, Ordering::SeqCst);
        });
        if thread.is_err() {
            exporter.connections.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn page(&self, format: Format) -> String {
        // One that does not answer must not keep the others from being told of.
        let helpers: Vec<Helper> = thread::scope(|scope| {
            let asked: Vec<_> = self.sources.iter().map(|source| scope.spawn(|| source.ask())).collect();
            let answers = asked.into_iter().map(|thread| thread.join().ok().flatten());
            let labels = self.sources.iter().map(|source| source.label.clone());
            labels.zip(answers).map(|(label, snapshot)| Helper { label, snapshot }).collect()
        });
        families::page(format, &helpers)
    }
}

impl Source {
    /// The helper's answer, where there is one.
    fn ask(&self) -> Option<Snapshot> {
        let answer = self.control.snapshot();
        self.note(&answer);
        answer.ok()
    }

    /// Says on standard error when something begins or ends to be the matter.
    fn note(&self, answer: &Result<Snapshot, ControlError>) {
        let trouble = answer.as_ref().err().map(ToString::to_string);
        let mut known = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != trouble {
            let words = match &trouble {
                Some(trouble) => trouble.clone(),
                None => format!("the helper at {} answers", self.control.path().display()),
            };
            // There is nobody left to tell if even this cannot be written.
            let _ = writeln!(io::stderr(), "qemu-pr-ctl: {}", out::plain(&words));
            *known = trouble;
        }
    }
}
