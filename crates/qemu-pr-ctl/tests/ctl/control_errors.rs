//! Control sockets that cannot be used, and those that do not answer like a helper.

use std::{
    fs::{self, Permissions},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixListener, process::CommandExt as _},
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use pr_control::{Answer, Snapshot};
use pr_lab::{ControlStandIn, eventful_snapshot};
use serde_json::Value;

use crate::run::{PROGRAM, finished, run_control};

const ASKS: [&[&str]; 5] = [&["state"], &["log"], &["trace", "list"], &["trace", "enable", "x"], &["reload"]];

/// Each command gets this error.
fn expect_error(control: &Path, code: i32, words: &[&str]) {
    for ask in ASKS {
        run_control(control, &[ask, &["--timeout", "1"]].concat()).expect_error(code, words);
    }
}

#[test]
fn a_control_socket_that_is_not_there_is_said_to_be_missing() {
    let dir = tempfile::tempdir().expect("a directory");
    expect_error(
        &dir.path().join("missing"),
        15,
        &["cannot connect to the control socket", "missing: No such file", "--control"],
    );
}

#[test]
fn a_control_socket_without_a_helper_is_said_to_be_left_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("stale");
    drop(UnixListener::bind(&path).expect("a socket"));
    expect_error(&path, 15, &["cannot connect to the control socket", "stale: Connection refused"]);
}

#[test]
fn a_file_is_not_taken_for_a_control_socket() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("file");
    fs::write(&path, "").expect("a file");
    expect_error(&path, 15, &["file: not a socket", "--control"]);
}

#[test]
fn a_control_socket_of_root_is_forbidden_to_others() {
    let helper = ControlStandIn::telling(Snapshot::default());
    fs::set_permissions(helper.path(), Permissions::from_mode(0o600)).expect("a private socket");
    let program = helper.dir().join("qemu-pr-ctl");
    let copied = Command::new("cp").arg(PROGRAM).arg(&program).status().expect("run cp");
    assert!(copied.success(), "a copy of the tool");
    let mut command = Command::new(program);
    command.args(["state", "--control"]).arg(helper.path()).uid(65_534).gid(65_534);
    let run = finished(command.output().expect("run the tool as another user"));
    run.expect_error(15, &["Permission denied", "--control-group"]);
}

#[test]
fn a_helper_that_hangs_up_is_said_to() {
    // At once, and with the question unread.
    expect_error(&ControlStandIn::serving(drop).path(), 99, &["closed the connection before it answered"]);
    let whole = serde_json::to_string(&Answer::Snapshot(Box::new(eventful_snapshot()))).expect("JSON");
    let half = whole.get(..whole.len() / 2).expect("a half").to_owned();
    let helper = ControlStandIn::serving(move |mut stream| {
        BufReader::new(&stream).read_line(&mut String::new()).expect("a question");
        stream.write_all(half.as_bytes()).expect("half an answer");
    });
    expect_error(&helper.path(), 99, &["closed the connection before it answered"]);
}

#[test]
fn a_helper_that_never_answers_is_not_waited_for_for_ever() {
    let silent = ControlStandIn::serving(|mut stream| _ = stream.read_to_end(&mut Vec::new()));
    expect_error(&silent.path(), 33, &["no answer at the control socket", "within 1s"]);
    // One that goes on and on never answers, either.
    let endless = ControlStandIn::serving(|mut stream| {
        while stream.write_all(b" ").is_ok() {
            thread::sleep(Duration::from_millis(10));
        }
    });
    run_control(&endless.path(), &["state", "--timeout", "1"]).expect_error(33, &["no answer at the control socket"]);
}

#[test]
fn a_helper_that_accepts_nobody_is_not_waited_for_for_ever() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("full");
    let _listener = UnixListener::bind(&path).expect("a socket");
    // The queue of connections is full, and none is accepted.
    let full = || run_control(&path, &["state", "--timeout", "1"]);
    let waiting: Vec<_> = (0..4096).map_while(|_| nonblocking(&path)).collect();
    assert!(!waiting.is_empty());
    full().expect_error(33, &["no answer at the control socket", "within 1s"]);
}

/// A connection, if there is room for one more to wait.
fn nonblocking(path: &Path) -> Option<rustix::fd::OwnedFd> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None).expect("a socket");
    connect(&socket, &SocketAddrUnix::new(path).expect("an address")).ok().map(|()| socket)
}

#[test]
fn what_does_not_answer_like_a_helper_is_none() {
    for line in ["{\"answer\":\"what\"}\n", "\u{1b}[2J\n", "\n", "HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let other = ControlStandIn::serving(move |mut stream| {
            BufReader::new(&stream).read_line(&mut String::new()).expect("a question");
            stream.write_all(line.as_bytes()).expect("an answer");
        });
        let run = run_control(&other.path(), &["state"]);
        assert!(!run.stderr.contains('\u{1b}'), "{run:?}");
        run.expect_error(97, &["invalid answer at the control socket"]);
    }
    // A proper answer, but to another question.
    let confused = ControlStandIn::answering(|_| vec![Answer::Lost { count: 1 }]);
    expect_error(&confused.path(), 97, &["invalid answer"]);
}

#[test]
fn programs_are_told_what_went_wrong() {
    let dir = tempfile::tempdir().expect("a directory");
    for (ask, lines) in [(&["state"][..], 6), (&["log"], 1), (&["state", "--watch"], 1)] {
        let run = run_control(&dir.path().join("missing"), &[ask, &["--json"]].concat());
        let json: Value = serde_json::from_str(&run.stdout).expect("JSON");
        assert_eq!((&json["error"]["kind"], &json["error"]["exit"]), (&"no-socket".into(), &15.into()), "{json}");
        assert!(run.code == Some(15) && run.stdout.lines().count() >= lines, "{run:?}");
        assert!(lines > 1 || run.stdout.lines().count() == 1, "{run:?}");
    }
}

#[test]
fn a_folder_means_the_only_control_socket_in_it() {
    let helper = ControlStandIn::telling(Snapshot::default());
    let dir = tempfile::tempdir().expect("a directory");
    let expect = |words: &[&str]| run_control(dir.path(), &["state"]).expect_error(15, words);
    expect(&["no control socket in", "--control"]);
    // Neither other files nor sockets on their way are any.
    fs::write(dir.path().join("file"), "").expect("a file");
    drop(UnixListener::bind(dir.path().join(".web1.123")).expect("a socket"));
    expect(&["no control socket in"]);

    let front = UnixListener::bind(dir.path().join("web1")).expect("a socket");
    let back = helper.path();
    let serve = move || {
        let (asker, _) = front.accept().expect("somebody who asks");
        let mut question = String::new();
        BufReader::new(&asker).read_line(&mut question).expect("a question");
        let mut helper = std::os::unix::net::UnixStream::connect(back).expect("the helper");
        helper.write_all(question.as_bytes()).expect("the question");
        let mut answer = String::new();
        BufReader::new(&helper).read_line(&mut answer).expect("an answer");
        (&asker).write_all(answer.as_bytes()).expect("the answer");
        front
    };
    let served = thread::spawn(serve);
    run_control(dir.path(), &["state"]).expect_done();
    let _front = served.join().expect("one answer");

    let _other = UnixListener::bind(dir.path().join("db1")).expect("a socket");
    for words in [&["state"][..], &["log"], &["trace", "list"], &["reload"]] {
        run_control(dir.path(), words).expect_error(15, &["several control sockets", "with --control: db1, web1"]);
    }
}
