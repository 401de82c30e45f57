//! A running exporter, and what it says.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    openmetrics::{self, Family},
    run::PROGRAM,
};

/// The number of families for a helper that answers.
pub const FAMILIES: usize = 29;

/// Longer than the exporter keeps an answer.
pub const KEPT: Duration = Duration::from_millis(1100);

/// A running exporter.
pub struct Exporter {
    child: Child,
    pub address: SocketAddr,
}

impl Exporter {
    /// One for these helpers.
    pub fn start(controls: &[PathBuf]) -> Self {
        Self::with(controls, &[])
    }

    /// One with these words besides.
    pub fn with(controls: &[PathBuf], words: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["--listen", "127.0.0.1:0"]).args(words);
        for control in controls {
            command.arg("--control").arg(control);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("run the exporter");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        output.read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("listening on http://").and_then(|rest| rest.strip_suffix("/metrics"));
        let address = address.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("{line:?}"));
        Self { child, address }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends these bytes; all that comes.
    pub fn say(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).expect("an exporter");
        stream.write_all(bytes).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// Head and body of what is there.
    pub fn get(&self, path: &str, headers: &str) -> (String, String) {
        let answer = self.say(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
        (head.to_owned(), body.to_owned())
    }

    /// The families of its page.
    pub fn metrics(&self) -> BTreeMap<String, Family> {
        let (head, body) = self.get("/metrics", "");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        openmetrics::read(&body)
    }

    /// What it complains of before it is ended.
    pub fn end(mut self) -> String {
        self.child.kill().expect("its end");
        let mut text = String::new();
        self.child.stderr.take().expect("its complaints").read_to_string(&mut text).expect("words");
        text
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The value of a sample.
#[track_caller]
pub fn value(families: &BTreeMap<String, Family>, family: &str, labels: &[(&str, &str)]) -> f64 {
    let samples = &families.get(family).unwrap_or_else(|| panic!("no {family}")).samples;
    let same = |sample: &&openmetrics::Sample| {
        labels.iter().all(|(name, value)| sample.1.get(*name).is_some_and(|is| is == value))
    };
    let found: Vec<f64> = samples.iter().filter(same).map(|sample| sample.2).collect();
    assert_eq!(found.len(), 1, "{family} {labels:?}: {samples:?}");
    found[0]
}
