//! `simulate`: a server of simulated disks.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use pr_sim::{InitiatorPort, Mark};
use qemu_pr_protocol::Client;
use rustix::process::{Pid, Signal, kill_process};
use scsi_persistent_reservations::{PrOut, ReservationKey, Status};
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
fn an_initiator_with_a_name_is_the_same_in_the_next_run() {
    let simulator = Simulator::start(&[]);
    let ctl = |line: &str| simulator.ctl(line);
    plays_two_hosts(&ctl);
    let status = ctl("status").expect_done();
    assert!(status.contains("sas:0x38000000"), "the address of an initiator with a name: {status}");
}

/// Two hosts with names, each of whose commands is a run of its own.
pub fn plays_two_hosts(ctl: &dyn Fn(&str) -> Run) {
    ctl("register --new-key 0xa --as alpha").expect_done();
    ctl("register --new-key 0xb --as beta").expect_done();
    ctl("register --new-key 0xa --as alpha").expect_error(24, &["CONFLICT"]);
    ctl("reserve --key 0xa --type 5 --as alpha").expect_done();
    ctl("reserve --key 0xb --type 5 --as beta").expect_error(24, &["CONFLICT"]);
    ctl("preempt --key 0xb --victim 0xa --type 5 --yes --as beta").expect_done();
    ctl("keys --as alpha").expect_error(6, &["REGISTRATIONS PREEMPTED"]);
    ctl("reserve --key 0xa --type 5 --as alpha").expect_error(24, &["CONFLICT"]);
    ctl("reserve --key 0xb --type 5").expect_error(24, &["CONFLICT"]);
    assert!(ctl("keys").expect_done().ends_with("\n  0xb\n"));
}

#[test]
fn one_name_is_one_initiator_and_there_are_only_so_many() {
    let simulator = Simulator::start(&[]);
    for name in 0..256 {
        simulator.ctl(&format!("keys --as {name}")).expect_done();
    }
    simulator.ctl("keys --as 256").expect_error(3, &["INTERNAL TARGET FAILURE"]);
    simulator.ctl("keys --as 255").expect_done();
    simulator.ctl("keys").expect_done();
}

#[test]
fn a_real_disk_knows_no_names() {
    let simulator = Simulator::start(&[]);
    for direct in [&["--direct"][..], &[]] {
        let words = [&["keys", "/dev/null", "--as", "alpha"][..], direct].concat();
        run(&simulator.socket(), &words).expect_error(1, &["/dev/null is a device", "omit --as"]);
    }
    assert_eq!(run(&simulator.socket(), &["keys", "/dev/null", "--as", ""]).code, Some(1));
}

#[test]
fn an_offset_that_is_no_mark_names_no_initiator() {
    let simulator = Simulator::start(&[]);
    let mut client = Client::connect(simulator.socket()).expect("a helper");
    let mut disk = File::options().read(true).write(true).open(simulator.path("disk")).expect("the disk");
    let mut register = |disk: &mut File, offset, old, new| {
        disk.seek(SeekFrom::Start(offset)).expect("an offset");
        let register = PrOut::register(ReservationKey(old), ReservationKey(new));
        client.execute(disk, &register.cdb(), &register.list()).expect("an answer").status
    };
    assert_eq!(register(&mut disk, 0, 0, 1), Status::GOOD);
    assert_eq!(register(&mut disk, 512, 1, 2), Status::GOOD, "the same initiator");
    let alpha = Mark { initiator: Some(InitiatorPort::named("alpha")), medium: None };
    let alpha = alpha.to_number().expect("a mark");
    assert_eq!(register(&mut disk, alpha, 2, 3), Status::RESERVATION_CONFLICT, "another one");
    assert_eq!(register(&mut disk, alpha, 0, 3), Status::GOOD);
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
