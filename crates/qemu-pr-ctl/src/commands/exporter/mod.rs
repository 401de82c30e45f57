//! `exporter`: serves the figures of helpers to monitoring systems, so that the helper, which has privileges, never
//! opens a network port. This has none, and asks by the control socket like anybody else.
//!
//! A thread serves a connection, and there are few of them, and fewer of one address. A helper is asked once a second at
//! the most, however many pages are asked for.

mod families;
mod http;
mod openmetrics;
mod user;

use std::{
    collections::HashMap,
    io::{self, Write as _},
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use pr_control::{Control, ControlError, Snapshot};
use serde::Serialize;

use self::{families::Helper, openmetrics::Format};
use super::global::{Global, Run};
use crate::{
    error::Error,
    output::{json, terminal},
    target::DEFAULT_CONTROL,
};

/// More than monitoring systems need; a bound on threads. And how many of these may be one address'.
const MAX_CONNECTIONS: usize = 32;
const EACH: usize = 16;

/// How old an answer may be.
const FRESH: Duration = Duration::from_secs(1);

/// What the system lacks (descriptors, memory) may be there again after this.
const PAUSE: Duration = Duration::from_millis(100);

struct Server {
    sources: Vec<Source>,
    /// How many each address has.
    connections: Mutex<HashMap<IpAddr, usize>>,
}

/// A helper that is asked.
struct Source {
    control: Control,
    label: Option<String>,
    /// What it said last, and when.
    answer: Mutex<Option<(Instant, Option<Snapshot>)>>,
    /// What was the matter with it last; told when it changes.
    trouble: Mutex<Option<String>>,
}

#[derive(Serialize)]
struct Ready<'a> {
    listening: SocketAddr,
    control: &'a [PathBuf],
}

/// Serve the metrics of helpers to Prometheus over HTTP
#[derive(Debug, Args)]
#[command(after_long_help = EXPORTER)]
pub struct Exporter {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9437", value_parser = address)]
    listen: SocketAddr,

    /// User to run as if started as root [default: nobody]
    #[arg(long, value_name = "USER")]
    user: Option<String>,

    /// Control socket of a helper; may be repeated
    #[arg(long, value_name = "PATH", default_value = DEFAULT_CONTROL)]
    control: Vec<PathBuf>,
}

const EXPORTER: &str = "\
Pages:
  /metrics  OpenMetrics text; text/plain gets that of Prometheus 0.0.4
  /healthz  answers ok as long as the exporter runs
  /         a list of these pages

For a helper that does not answer, qemu_pr_helper_up is 0. With several
--control every metric has a label helper with the path of its socket.

The exporter only needs access to the control socket: start the helper with
--control-group GROUP, and the exporter as a member of that group. If it is
started as root it changes to USER before it serves requests, and keeps the
groups of the control sockets.
";

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected an IP address and a port, such as 127.0.0.1:9437 or [::1]:9437".to_owned())
}

impl Run for Exporter {
    fn run(&self, global: &Global) -> Result<u8, Error> {
        serve(global, self)
    }
}

/// Serves until a signal ends it.
fn serve(global: &Global, exporter: &Exporter) -> Result<u8, Error> {
    // Root may listen on ports that nobody else may.
    let failed = |error| Error::ListenTcp { address: exporter.listen, error };
    let listener = TcpListener::bind(exporter.listen).map_err(failed)?;
    let listening = listener.local_addr().map_err(failed)?;
    let user = user::become_unprivileged(exporter.user.as_deref(), &exporter.control)?;
    let several = exporter.control.len() > 1;
    let sources = exporter.control.iter().map(|path| Source {
        control: Control::new(path, global.helper.control_timeout()),
        label: several.then(|| path.display().to_string()),
        answer: Mutex::default(),
        trouble: Mutex::default(),
    });
    let server = Arc::new(Server { sources: sources.collect(), connections: Mutex::default() });
    for source in &server.sources {
        // Whoever may not ask now never may. A helper that is not there may come.
        match (source.control.snapshot(), &user) {
            (Err(ControlError::NoPermission(control)), Some(user)) => {
                return Err(Error::UserDenied { user: user.clone(), control });
            }
            (Err(error @ ControlError::NoPermission(_)), None) => return Err(Error::Control(error)),
            (answer, _) => source.note(&answer),
        }
    }
    if global.json {
        json::print_line(&Ready { listening, control: &exporter.control })?;
    } else {
        terminal::print(&format!("listening on http://{listening}/metrics\n"))?;
    }
    loop {
        match listener.accept() {
            Ok((stream, from)) => Server::take(&server, stream, whose(from.ip())),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// Whose an address is: one has as many in IPv6 as it likes.
fn whose(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    /// Serves a connection in a thread of its own, if there is room for one.
    fn take(exporter: &Arc<Self>, mut stream: TcpStream, from: IpAddr) {
        if !exporter.begin(from) {
            return http::turn_away(stream);
        }
        let served = Arc::clone(exporter);
        let thread = thread::Builder::new().spawn(move || {
            // The end of a conversation, in whatever way, is the end of this thread and nothing more.
            let _ = http::converse(&mut stream, |format| served.page(format));
            served.end(from);
        });
        if thread.is_err() {
            exporter.end(from);
        }
    }

    /// Whether there is room for a connection of this address.
    fn begin(&self, from: IpAddr) -> bool {
        let mut connections = lock(&self.connections);
        let has_room = connections.values().sum::<usize>() < MAX_CONNECTIONS
            && connections.get(&from).is_none_or(|count| *count < EACH);
        if has_room {
            *connections.entry(from).or_default() += 1;
        }
        has_room
    }

    fn end(&self, from: IpAddr) {
        let mut connections = lock(&self.connections);
        if let Some(count) = connections.get_mut(&from) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&from);
            }
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
    /// The helper's answer, where there is one. Who asks while another does waits for that answer.
    fn ask(&self) -> Option<Snapshot> {
        let mut known = lock(&self.answer);
        if let Some((when, answer)) = &*known
            && when.elapsed() < FRESH
        {
            return answer.clone();
        }
        let answer = self.control.snapshot();
        self.note(&answer);
        let answer = answer.ok();
        *known = Some((Instant::now(), answer.clone()));
        answer
    }

    /// Says on standard error when something begins or ends to be the matter.
    fn note(&self, answer: &Result<Snapshot, ControlError>) {
        let trouble = answer.as_ref().err().map(ToString::to_string);
        let mut known = lock(&self.trouble);
        if *known != trouble {
            let words = match &trouble {
                Some(trouble) => trouble.clone(),
                None => format!("the helper at {} answers", self.control.path().display()),
            };
            // There is nobody left to tell if even this cannot be written.
            let _ = writeln!(io::stderr(), "qemu-pr-ctl: {}", terminal::plain(&words));
            *known = trouble;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_some_of_the_connections_and_others_theirs() {
        let exporter = Server { sources: Vec::new(), connections: Mutex::default() };
        let of = |last: u8| IpAddr::from([192, 0, 2, last]);
        assert_eq!((0..20).filter(|_| exporter.begin(of(1))).count(), EACH);
        assert!(exporter.begin(of(2)));
        exporter.end(of(1));
        assert!(exporter.begin(of(1)) && !exporter.begin(of(1)));
        assert_eq!((3..200).filter(|last| exporter.begin(of(*last))).count(), MAX_CONNECTIONS - EACH - 1);
        for last in 1..200 {
            (0..EACH).for_each(|_| exporter.end(of(last)));
        }
        assert!(lock(&exporter.connections).is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let of = |text: &str| whose(text.parse().expect("an address"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
