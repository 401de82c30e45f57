//! The server: listens, becomes unprivileged, and answers.
//!
//! Each connection has a thread; connections are limited, in all and for each address. A helper is asked at most once a
//! second, however often the metrics are read.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use pr_control::{Control, ControlError, Snapshot};
use serde::Serialize;

use crate::{
    cli::Options,
    error::Error,
    families::{self, Helper},
    http,
    openmetrics::Format,
    output, user,
};

/// More connections than monitoring systems need, which bounds the threads; and how many one address may have.
const MAX_CONNECTIONS: usize = 32;
const MAX_OF_ADDRESS: usize = 16;

/// How long a snapshot is used.
const MAX_AGE: Duration = Duration::from_secs(1);

/// How long to wait after an error of accept, such as a lack of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

struct Server {
    sources: Vec<Source>,
    /// How many each address has.
    connections: Mutex<HashMap<IpAddr, usize>>,
}

/// A helper that is asked.
struct Source {
    /// Its control socket, or a directory that will have no other.
    path: PathBuf,
    /// How long it has for its answer.
    timeout: Duration,
    label: Option<String>,
    /// Its last snapshot, and when it was taken.
    answer: Mutex<Option<(Instant, Option<Snapshot>)>>,
    /// Its last error; logged when it changes.
    error: Mutex<Option<String>>,
}

#[derive(Serialize)]
struct Ready<'a> {
    listening: SocketAddr,
    control: &'a [PathBuf],
}

/// Serves until a signal ends it.
pub fn run(options: &Options) -> Result<Infallible, Error> {
    // Only root may listen on ports below 1024.
    let failed = |error| Error::Listen { address: options.listen, error };
    let listener = TcpListener::bind(options.listen).map_err(failed)?;
    let listening = listener.local_addr().map_err(failed)?;
    let user = user::become_unprivileged(options.user.as_deref(), &options.control)?;
    let several = options.control.len() > 1;
    let sources = options.control.iter().map(|path| Source {
        path: path.clone(),
        timeout: options.timeout,
        label: several.then(|| path.display().to_string()),
        answer: Mutex::default(),
        error: Mutex::default(),
    });
    let server = Arc::new(Server { sources: sources.collect(), connections: Mutex::default() });
    for source in &server.sources {
        // A lack of permission does not go away; a helper that does not run may start.
        match (source.ask(), &user) {
            (Err(ControlError::NoPermission(control)), Some(user)) => {
                return Err(Error::UserDenied { user: user.clone(), control });
            }
            (Err(error @ ControlError::NoPermission(_)), None) => return Err(Error::Denied(error)),
            (answer, _) => source.log(&answer),
        }
    }
    if options.json {
        output::print_line(&Ready { listening, control: &options.control })?;
    } else {
        output::print(&format!("listening on http://{listening}/metrics\n"))?;
    }
    loop {
        match listener.accept() {
            Ok((stream, from)) => Server::accept(&server, stream, network(from.ip())),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// What counts as one address: in IPv6 a network of 64 bits, whose addresses a host may choose.
fn network(address: IpAddr) -> IpAddr {
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
    fn accept(exporter: &Arc<Self>, mut stream: TcpStream, from: IpAddr) {
        if !exporter.admit(from) {
            return http::reject(stream);
        }
        let served = Arc::clone(exporter);
        let thread = thread::Builder::new().spawn(move || {
            // However the connection ends, only this thread ends with it.
            let _ = http::serve(&mut stream, |format| served.page(format));
            served.release(from);
        });
        if thread.is_err() {
            exporter.release(from);
        }
    }

    /// Whether the limits admit a connection of this address.
    fn admit(&self, from: IpAddr) -> bool {
        let mut connections = lock(&self.connections);
        let has_room = connections.values().sum::<usize>() < MAX_CONNECTIONS
            && connections.get(&from).is_none_or(|count| *count < MAX_OF_ADDRESS);
        if has_room {
            *connections.entry(from).or_default() += 1;
        }
        has_room
    }

    fn release(&self, from: IpAddr) {
        let mut connections = lock(&self.connections);
        if let Some(count) = connections.get_mut(&from) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&from);
            }
        }
    }

    fn page(&self, format: Format) -> String {
        // A helper that does not answer must not delay the others.
        let helpers: Vec<Helper> = thread::scope(|scope| {
            let asked: Vec<_> = self.sources.iter().map(|source| scope.spawn(|| source.snapshot())).collect();
            let answers = asked.into_iter().map(|thread| thread.join().ok().flatten());
            let labels = self.sources.iter().map(|source| source.label.clone());
            labels.zip(answers).map(|(label, snapshot)| Helper { label, snapshot }).collect()
        });
        families::page(format, &helpers)
    }
}

impl Source {
    /// The helper's snapshot, if it answers. Threads that ask at the same time share one answer.
    fn snapshot(&self) -> Option<Snapshot> {
        let mut known = lock(&self.answer);
        if let Some((when, answer)) = &*known
            && when.elapsed() < MAX_AGE
        {
            return answer.clone();
        }
        let answer = self.ask();
        self.log(&answer);
        let answer = answer.ok();
        *known = Some((Instant::now(), answer.clone()));
        answer
    }

    /// Asks it. In a directory its socket may come and go, and be called something else the next time.
    fn ask(&self) -> Result<Snapshot, ControlError> {
        Control::find(&self.path, self.timeout)?.snapshot()
    }

    /// Logs an error that begins or ends to standard error.
    fn log(&self, answer: &Result<Snapshot, ControlError>) {
        let error = answer.as_ref().err().map(ToString::to_string);
        let mut known = lock(&self.error);
        if *known != error {
            match &error {
                Some(error) => output::log(error),
                None => output::log(&format!("the helper at {} answers", self.path.display())),
            }
            *known = error;
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
        assert_eq!((0..20).filter(|_| exporter.admit(of(1))).count(), MAX_OF_ADDRESS);
        assert!(exporter.admit(of(2)));
        exporter.release(of(1));
        assert!(exporter.admit(of(1)) && !exporter.admit(of(1)));
        assert_eq!((3..200).filter(|last| exporter.admit(of(*last))).count(), MAX_CONNECTIONS - MAX_OF_ADDRESS - 1);
        for last in 1..200 {
            (0..MAX_OF_ADDRESS).for_each(|_| exporter.release(of(last)));
        }
        assert!(lock(&exporter.connections).is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let of = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
