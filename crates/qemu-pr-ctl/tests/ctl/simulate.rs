//! `simulate`: a server of simulated disks.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::run::{PROGRAM, Run, run};

/// A running server, with a directory of its own.
pub struct Simulator {
    dir: TempDir,
    server: Child,
}

impl Simulator {
    pub fn start(words: &[&str]) -> Self {
        Self::start_with(words, &[])
    }

    /// With files of these names as its disks.
    pub fn start_with(words: &[&str], files: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        for name in files.iter().chain(&["disk"]) {
            std::fs::write(dir.path().join(name), "").expect("a file");
        }
        let mut command = Command::new(PROGRAM);
        command.arg("simulate").args(words).args(files.iter().map(|name| dir.path().join(name)));
        command.arg("--socket").arg(dir.path().join("pr.sock")).stdout(Stdio::piped());
        let mut server = command.spawn().expect("run the tool");
        let mut line = String::new();
        BufReader::new(server.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
        assert!(line.contains("listening"), "{line}");
        Self { dir, server }
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("pr.sock")
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().expect("a path in words").to_owned()
    }

    /// Runs the tool for a disk.
    pub fn ctl(&self, line: &str) -> Run {
        let disk = self.path("disk");
        let mut words: Vec<&str> = line.split(' ').collect();
        words.insert(1, &disk);
        run(&self.socket(), &words)
    }

    /// Ends it; its exit status.
    pub fn end(&mut self) -> Option<i32> {
        signal(&self.server, Signal::TERM);
        self.server.wait().expect("its end").code()
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // It may have been ended already.
        _ = self.server.kill();
        _ = self.server.wait();
    }
}

/// Sends a signal to a child that has not been waited for.
pub fn signal(child: &Child, signal: Signal) {
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(id, signal).expect("a signal");
}

#[test]
fn a_simulated_disk_keeps_its_registrations_when_their_initiator_leaves() {
    let simulator = Simulator::start(&[]);
    simulator.ctl("register --new-key 0xa").expect_done();
    simulator.ctl("register --new-key 0xb").expect_done();
    let status = simulator.ctl("status").expect_done();
    assert!(status.contains("2 registrations") && status.contains("sas:0x3000000000000002"), "{status}");
}

#[test]
fn only_the_files_that_are_named_are_disks() {
    let simulator = Simulator::start_with(&[], &["a", "b"]);
    let keys = |name: &str| run(&simulator.socket(), &["keys", &simulator.path(name)]);
    run(&simulator.socket(), &["register", &simulator.path("a"), "--new-key", "1"]).expect_done();
    assert!(keys("a").expect_done().contains("1 registration"));
    assert!(keys("b").expect_done().contains("no registrations"));
    keys("disk").expect_error(5, &["LOGICAL UNIT NOT SUPPORTED"]);
}

#[test]
fn a_signal_ends_it_and_its_socket() {
    let mut simulator = Simulator::start(&[]);
    assert_eq!(simulator.end(), Some(0));
    assert!(!simulator.socket().exists());
}

#[test]
fn a_socket_in_use_is_left_alone_and_a_stale_one_replaced() {
    let simulator = Simulator::start(&[]);
    run(&simulator.socket(), &["simulate"]).expect_error(15, &["cannot listen", "in use", "--socket"]);
    let file = simulator.path("disk");
    run(Path::new(&file), &["simulate"]).expect_error(15, &["cannot listen", "in use"]);
    let socket = simulator.path("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
    let mut server = Command::new(PROGRAM)
        .args(["simulate", "--json", "--socket", &socket])
        .stdout(Stdio::piped())
        .spawn()
        .expect("run the tool");
    let mut line = String::new();
    BufReader::new(server.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
    assert_eq!(line, format!("{{\"socket\":\"{socket}\",\"listening\":true}}\n"));
    signal(&server, Signal::INT);
    assert_eq!(server.wait().expect("its end").code(), Some(0));
}

#[test]
fn a_client_that_breaks_the_protocol_is_hung_up_on() {
    use std::{
        io::{Read as _, Write as _},
        os::unix::net::UnixStream,
    };
    let simulator = Simulator::start(&[]);
    let mut stream = UnixStream::connect(simulator.socket()).expect("a connection");
    stream.write_all(&[0, 0, 0, 1]).expect("a feature that does not exist");
    let mut rest = Vec::new();
    // What was sent and not read may turn the end into a reset.
    _ = stream.read_to_end(&mut rest);
    assert_eq!(rest, [0; 4], "the greeting and nothing more");
}
