//! What listens where a helper's control socket would be, and answers what a test wants.

use std::{
    fs::{self, Permissions},
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use pr_control::{
    Answer, Ask, BUCKETS, Client, Connection, Device, Failure, InFlight, Named, REQUEST_RESULTS, Requests, Snapshot,
    Totals,
};
use tempfile::TempDir;

/// A control socket without a helper, in a directory of its own that any user may look into.
pub struct ControlStandIn {
    dir: TempDir,
    asked: Arc<Mutex<Vec<Ask>>>,
    ending: Arc<AtomicBool>,
}

impl ControlStandIn {
    /// Answers each question with these lines, and hangs up.
    pub fn answering(answer: impl Fn(&Ask) -> Vec<Answer> + Send + Sync + 'static) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        let serve = move |stream: UnixStream| {
            let mut line = String::new();
            // A client that leaves without a word is one that only looks whether somebody listens.
            if BufReader::new(&stream).read_line(&mut line).is_ok_and(|length| length > 0) {
                let ask: Ask = serde_json::from_str(&line).expect("a question");
                heard.lock().unwrap_or_else(PoisonError::into_inner).push(ask.clone());
                for answer in answer(&ask) {
                    let line = serde_json::to_string(&answer).expect("JSON") + "\n";
                    // The client may have left.
                    let _ = (&stream).write_all(line.as_bytes());
                }
            }
        };
        Self::new(asked, serve)
    }

    /// Answers [`Ask::Snapshot`] with this one, and does whatever else it is asked for.
    pub fn telling(snapshot: Snapshot) -> Self {
        Self::answering(move |ask| match ask {
            Ask::Snapshot => vec![Answer::Snapshot(Box::new(snapshot.clone()))],
            Ask::Log => vec![Answer::Following],
            Ask::Trace { .. } | Ask::Reload { .. } => vec![Answer::Done { warnings: Vec::new() }],
        })
    }

    /// Does this with each connection, in a thread of its own.
    pub fn serving(serve: impl Fn(UnixStream) + Send + Sync + 'static) -> Self {
        Self::new(Arc::default(), serve)
    }

    fn new(asked: Arc<Mutex<Vec<Ask>>>, serve: impl Fn(UnixStream) + Send + Sync + 'static) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("a directory for all");
        let listener = UnixListener::bind(dir.path().join("control")).expect("a socket");
        fs::set_permissions(dir.path().join("control"), Permissions::from_mode(0o666)).expect("a socket for all");
        let ending = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&ending);
        let serve = Arc::new(serve);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let serve = Arc::clone(&serve);
                thread::spawn(move || serve(stream));
            }
        });
        Self { dir, asked, ending }
    }

    /// Where it listens.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("control")
    }

    /// The directory that the socket is in.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it has been asked, in order.
    pub fn asked(&self) -> Vec<Ask> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for ControlStandIn {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        // Whom it waits for.
        let _ = UnixStream::connect(self.path());
    }
}

/// A helper that has seen something of everything that can be told.
pub fn eventful_snapshot() -> Snapshot {
    let client = |connection, vm: Option<&str>| Client {
        connection,
        pid: Some(4242),
        uid: Some(64_055),
        program: Some("/usr/bin/qemu-system-x86_64".into()),
        unit: Some("machine-qemu\\x2d1\\x2dweb1.scope".into()),
        inner_unit: None,
        vm: vm.map(Into::into),
    };
    let device = Device { kind: "block".into(), number: "8:16".into(), name: Some("sdb".into()), ..Device::default() };
    let in_flight = |for_us, map: Option<&str>| {
        let device = Device { map: map.map(Into::into), ..device.clone() };
        Some(InFlight { action: "PREEMPT AND ABORT".into(), device: Some(device), for_us })
    };
    let failure =
        Failure { action: "RESERVE".into(), status: "RESERVATION CONFLICT".into(), sense: None, ago_us: 312_000_000 };
    let requests = |action: &str, result: usize, bucket: usize, count: u64| {
        let mut buckets = vec![0; BUCKETS.len() + 1];
        buckets[bucket] = count;
        Requests { action: action.into(), result: REQUEST_RESULTS[result].into(), buckets, sum_us: count * 800 }
    };
    let named = |name: &str, count| Named { name: name.into(), count };
    Snapshot {
        version: "0.2.0".into(),
        pid: 4242,
        started_us: 1_700_000_000_000_001,
        uptime_us: 273_600_000_000,
        max_connections: 1024,
        totals: Totals {
            accepted: 37,
            turned_away: 5,
            over_limit: 8,
            paused: 21,
            overdue: 2,
            multipath_commands: 19,
            multipath_in_flight: 1,
            multipath_failures: 3,
            multipath_notes: 6,
            multipath_maps: 4,
            multipath_suspended: 1,
            multipath_deaths: 2,
            multipath_restored: 9,
            audit_records: 112,
            audit_left_out: 900,
            without_names: 1,
            messages_lost: 7,
        },
        requests: vec![
            requests("READ KEYS", 0, 4, 1200),
            requests("REGISTER", 0, 16, 14),
            requests("RESERVE", 1, 5, 12),
            requests("OTHER OUT", 2, 0, 1),
        ],
        violations: vec![named("unknown-features", 2), named("a \"quoted\" \\ rule\n", 1)],
        refusals: vec![named("read-only-descriptor", 4)],
        connections: vec![
            Connection {
                client: client(7, Some("web1")),
                age_us: 7_512_000_000,
                requests: 120,
                ..Connection::default()
            },
            Connection {
                client: client(19, None),
                age_us: 61_000_000,
                requests: 7,
                in_flight: in_flight(31_500_000, None),
                last_failure: Some(failure),
                closing_us: None,
            },
            Connection {
                client: Client { connection: 20, ..Client::default() },
                age_us: 812,
                requests: 1,
                in_flight: in_flight(2_250_000, Some("mpatha")),
                last_failure: None,
                closing_us: None,
            },
        ],
        trace: vec!["pr_helper_command".into(), "pr_helper_reply".into()],
        settings: None,
    }
}
