//! Whatever crosses a socket or a pipe between the program's own processes, and the control socket both ways: each
//! reader gets what a process may send that somebody has taken over. And what the trail makes of a command, and the
//! daemon of what the kernel says of one.

use std::{
    io::{BufRead, BufReader, PipeWriter, Read, Write},
    mem::MaybeUninit,
    net::Shutdown,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    sync::{Once, OnceLock},
    thread,
    time::Duration,
};

use pr_control::{Answer, Ask, Client, Control, Record, What};
use qemu_pr_helper::fuzzing::{
    self, MAX_VERDICT, Report, Request, Server, ToBroker, ToNames, ToResolver, Verdict, Word,
};
use qemu_pr_protocol::channel::send_with_descriptor;
use rustix::{
    io::{IoSlice, retry_on_intr},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg, shutdown, socketpair,
    },
};
use scsi_persistent_reservations::{Cdb, InAction, PersistentReserveIn, SENSE_LENGTH, Status};

use crate::Input;

/// One run. The first byte says who reads the others.
pub fn run(data: &[u8]) {
    static TALKATIVE: Once = Once::new();
    TALKATIVE.call_once(Server::be_talkative);
    let mut input = Input::new(data);
    match input.byte() % 13 {
        0 => verdict(input.rest()),
        1 => daemon_reads_a_verdict(input),
        2 => keeper_reads_a_worker(input),
        3 => broker_reads_a_request(input),
        4 => daemon_reads_names(input),
        5 => names_process_reads(input),
        6 => drop(ordered(&[(input.rest(), false)])),
        7 => tool_reads_an_answer(input),
        8 => trail_tells(input),
        10 => daemon_reads_the_resolver(input),
        11 => resolver_reads(input),
        12 => helper_reads_pieces(input),
        _ => kernel_answers(input),
    }
}

fn pair() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("a pair of sockets")
}

fn null() -> BorrowedFd<'static> {
    static NULL: OnceLock<std::fs::File> = OnceLock::new();
    NULL.get_or_init(|| std::fs::File::open("/dev/null").expect("a null device")).as_fd()
}

fn verdict(bytes: &[u8]) {
    let Some(verdict) = Verdict::parse(bytes) else { return };
    assert!(!verdict.to_string().is_empty());
    let sent = verdict.to_bytes();
    assert!(sent.len() <= MAX_VERDICT || bytes.len() > MAX_VERDICT - 4096);
    // Texts are cut and mended on their way; the second time there is nothing left to mend.
    let arrived = Verdict::parse(&sent).expect("what is sent makes sense");
    assert_eq!(Verdict::parse(&arrived.to_bytes()), Some(arrived.clone()));
    let said = match &verdict {
        Verdict::Died(said) | Verdict::NotBegun(said) | Verdict::Part(said) => said,
        Verdict::Answered(answer) => &answer.note,
        Verdict::NotMultipath | Verdict::Overdue => "",
    };
    assert!(!said.contains(char::is_control), "it would be a line of its own in the log: {said:?}");
    if let (Verdict::Answered(one), Verdict::Answered(other)) = (verdict, arrived) {
        assert_eq!((one.status, one.sense, &one.data), (other.status, other.sense.clone(), &other.data));
    }
}

/// The daemon hands a command over and reads what comes on the pipe, until that is closed.
fn daemon_reads_a_verdict(mut input: Input<'_>) {
    let length = usize::from(input.word() % 8193);
    let bytes = input.rest();
    let (ours, theirs) = pair();
    let daemon = ToBroker::over(ours);
    let cdb = PersistentReserveIn::new(InAction::ReadKeys, 8192).cdb();
    let mut buffer = vec![0; length];
    thread::scope(|scope| {
        let broker = scope.spawn(|| {
            let (request, reply) = next_request(&theirs);
            assert_eq!(Request::parse(&request).map(|request| request.cdb), Some(cdb));
            // A pipe holds more than a run has bytes.
            let _ = PipeWriter::from(reply).write_all(bytes);
            if Verdict::parse(&bytes[..bytes.len().min(MAX_VERDICT)]).is_none() {
                // Reading is tried again, and again there is no answer.
                drop(next_request(&theirs));
            }
        });
        let completion = daemon.execute(null(), &cdb, &[], &mut buffer);
        // Left to the scope it would only have done its work, and what it still has would look like a leak.
        broker.join().expect("the broker's part");
        match (Verdict::parse(&bytes[..bytes.len().min(MAX_VERDICT)]), completion) {
            (Some(Verdict::NotMultipath | Verdict::Part(_)), completion) => assert_eq!(completion, None),
            (Some(Verdict::Answered(answer)), Some(completion)) => {
                let good = answer.status == Status::GOOD;
                let there = if good { &answer.data[..answer.data.len().min(length)] } else { &[] };
                assert_eq!(
                    (completion.status, completion.sense, completion.data),
                    (answer.status, answer.sense, there)
                );
            }
            (Some(Verdict::NotBegun(_)), Some(completion)) => assert_eq!(completion.status, Status::BUSY),
            (_, Some(completion)) => assert_eq!(completion.status, Status::CHECK_CONDITION),
            (_, None) => panic!("the command went past multipath"),
        }
    });
}

/// As the broker takes it: bytes, and of the two descriptors the one for the verdict.
fn next_request(socket: &OwnedFd) -> (Vec<u8>, OwnedFd) {
    let mut bytes = vec![0; 16384];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [rustix::io::IoSliceMut::new(&mut bytes)];
    // libFuzzer looks at its clock by way of a signal.
    let message = retry_on_intr(|| recvmsg(socket, &mut parts, &mut control, RecvFlags::empty()));
    let length = message.expect("a request").bytes;
    bytes.truncate(length);
    let descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let mut descriptors: Vec<OwnedFd> = descriptors.flatten().collect();
    assert_eq!(descriptors.len(), 2, "the device and the pipe");
    (bytes, descriptors.pop().expect("the pipe"))
}

fn keeper_reads_a_worker(mut input: Input<'_>) {
    let length = usize::from(input.word());
    let bytes = input.take(length);
    if let Some(word) = Word::parse(bytes) {
        let arrived = Word::parse(&word.to_bytes()).expect("what is sent makes sense");
        assert_eq!(Word::parse(&arrived.to_bytes()), Some(arrived));
    }
    if let Some(report) = Report::parse(input.rest()) {
        if let Report::Note { words, .. } = &report {
            assert!(!words.contains(char::is_control), "it would be a line of its own in the log: {words:?}");
        }
        let arrived = Report::parse(&report.to_bytes()).expect("what is sent makes sense");
        assert_eq!(Report::parse(&arrived.to_bytes()), Some(arrived));
    }
}

fn broker_reads_a_request(mut input: Input<'_>) {
    let count = usize::from(input.byte() % 5);
    let bytes = input.rest();
    let (ours, theirs) = pair();
    let descriptors = vec![null(); count];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(count == 0 || control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    sendmsg(&ours, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).expect("a message");
    match fuzzing::receive(&theirs) {
        Ok(Some((request, device, reply))) => {
            assert!(count >= 2, "no descriptor is made up");
            let again = request.to_bytes();
            assert_eq!(again, bytes[..again.len()], "nothing is made up");
            drop((device, reply));
        }
        Ok(None) => assert!(bytes.is_empty()),
        Err(_) => assert!(count < 2 || Request::parse(bytes).is_none()),
    }
}

fn daemon_reads_names(mut input: Input<'_>) {
    let which = input.byte();
    let (ours, theirs) = pair();
    let daemon = ToNames::over(ours);
    // What does not repeat the question's number is passed over; the second message makes no sense, and so ends it.
    for bytes in [input.rest(), b"end"] {
        send(&theirs, bytes, SendFlags::empty()).expect("a message");
    }
    if let Some(text) = daemon.ask(which) {
        assert!(!text.contains(char::is_control), "it would be a line of its own in the trail: {text:?}");
        assert!(text.chars().count() < 6 * 300);
    }
}

/// The same of the resolver, in any number of messages; then the line ends.
fn daemon_reads_the_resolver(mut input: Input<'_>) {
    let (which, other) = (input.byte(), input.byte());
    let (ours, theirs) = pair();
    let daemon = ToResolver::over(ours);
    thread::scope(|scope| {
        let reader = scope.spawn(|| daemon.hear());
        let asker = scope.spawn(|| daemon.ask(which));
        while !input.is_empty() {
            let length = usize::from(input.word());
            // It has hung up if one of the messages was the end.
            let _ = send(&theirs, input.take(length), SendFlags::NOSIGNAL);
        }
        drop(theirs);
        asker.join().expect("the question");
        reader.join().expect("the end");
        daemon.ask(other);
    });
}

fn names_process_reads(input: Input<'_>) {
    asked(input, fuzzing::look_up);
}

fn resolver_reads(input: Input<'_>) {
    asked(input, fuzzing::resolve);
}

/// One of the two is asked anything, and says nothing that makes no sense.
fn asked(mut input: Input<'_>, serve: impl FnOnce(&OwnedFd)) {
    let (ours, theirs) = pair();
    while !input.is_empty() {
        let length = usize::from(input.word());
        send(&ours, input.take(length), SendFlags::empty()).expect("a message");
    }
    shutdown(&ours, rustix::net::Shutdown::Write).expect("half a socket");
    serve(&theirs);
    drop(theirs);
    let mut bytes = vec![0; 65536];
    while let Ok((length @ 1.., _)) = recv(&ours, &mut bytes[..], RecvFlags::empty()) {
        let answer: serde_json::Value = serde_json::from_slice(&bytes[..length]).expect("an answer is JSON");
        assert!(answer.get("number").is_some() && answer.get("found").is_some());
        assert!(!bytes[..length].iter().any(u8::is_ascii_control));
    }
}

/// An order in pieces, some of which come with a descriptor.
fn helper_reads_pieces(mut input: Input<'_>) {
    let mut pieces = Vec::new();
    // The socket has room for so many whatever their length.
    while !input.is_empty() && pieces.len() < 64 {
        let how = input.byte();
        let piece = input.take(usize::from(how & 0x7f));
        if !piece.is_empty() {
            pieces.push((piece, how & 0x80 != 0));
        }
    }
    let said = ordered(&pieces);
    let text: Vec<u8> = pieces.iter().flat_map(|(piece, _)| piece.iter().copied()).collect();
    let line = text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| end + 1);
    let mut at = 0;
    for (piece, has_descriptor) in &pieces {
        assert!(!has_descriptor || at >= line || said.is_empty(), "an answer to what came with a descriptor: {said:?}");
        at += piece.len();
    }
    if pieces.iter().all(|(_, has_descriptor)| !has_descriptor) {
        assert_eq!(said, ordered(&[(&text, false)]), "it depends on how it is cut");
    }
}

/// What the helper says to an order; empty if nothing.
fn ordered(pieces: &[(&[u8], bool)]) -> String {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    for (piece, has_descriptor) in pieces {
        if *has_descriptor {
            send_with_descriptor(&ours, piece, &[], writer.as_fd()).expect("room for a piece");
        } else {
            (&ours).write_all(piece).expect("room for an order");
        }
    }
    drop(writer);
    ours.shutdown(Shutdown::Write).expect("half a socket");
    fuzzing::control(theirs);
    let mut ours = BufReader::new(ours);
    let mut said = String::new();
    // It may have hung up, with something left that it did not read.
    let _ = ours.read_line(&mut said);
    let is_following = matches!(serde_json::from_str(&said), Ok(Answer::Following));
    assert_eq!(reader.read(&mut [0]).ok(), Some(0), "a descriptor is still open");
    // It was no text, or too long, or there were descriptors.
    if said.is_empty() {
        return said;
    }
    if is_following {
        follower_is_told(ours);
        return said;
    }
    let _ = ours.read_to_string(&mut said);
    // One line, which the tool understands.
    assert!(said.ends_with('\n') && said.lines().count() == 1, "{said:?}");
    let answer: Answer = serde_json::from_str(&said).expect("an answer");
    assert!(matches!(answer, Answer::Snapshot(_) | Answer::Done { .. } | Answer::Failed { .. }));
    let _ = fuzzing::switched(b"");
    said
}

fn follower_is_told(mut ours: BufReader<UnixStream>) {
    let record = Record { time_us: 1, client: Client::default(), what: What::LeftOut { counts: Vec::new() } };
    fuzzing::offer(&record);
    let mut told = String::new();
    ours.read_line(&mut told).expect("text");
    let Ok(Answer::Record(answer)) = serde_json::from_str(&told) else { panic!("no record: {told:?}") };
    assert_eq!(*answer, record);
    // Whoever is gone is forgotten with the next one.
    drop(ours);
    fuzzing::offer(&record);
}

fn tool_reads_an_answer(mut input: Input<'_>) {
    static HELPER: OnceLock<(UnixListener, Control)> = OnceLock::new();
    let (listener, control) = HELPER.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("fuzz-control-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        (UnixListener::bind(&path).expect("a socket"), Control::new(path, Duration::from_secs(30)))
    });
    let which = input.byte();
    let cut = usize::from(input.word());
    let bytes = input.rest();
    thread::scope(|scope| {
        let helper = scope.spawn(|| {
            let (mut socket, _) = listener.accept().expect("the tool");
            let mut line = String::new();
            BufReader::new(&socket).read_line(&mut line).expect("a question");
            assert!(serde_json::from_str::<Ask>(&line).is_ok());
            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            // It may have heard enough.
            let _ = socket.write_all(first).and_then(|()| socket.write_all(second));
        });
        let error = match which % 3 {
            0 => control.snapshot().err(),
            1 => control.order(&Ask::Trace { patterns: Vec::new() }).err(),
            _ => match control.follow() {
                Ok(mut records) => records.find_map(Result::err),
                Err(error) => Some(error),
            },
        };
        helper.join().expect("the helper's part");
        if let Some(error) = error {
            assert!(!error.to_string().is_empty());
        }
    });
}

/// A record is one line in each of its forms, and what followers get of it is what it was.
fn trail_tells(mut input: Input<'_>) {
    let (status, refused, length) = (input.byte(), input.byte(), usize::from(input.byte()));
    let Some(cdb) = input.take(16).first_chunk().and_then(|bytes| Cdb::new(*bytes).ok()) else { return };
    let sense = input.take(length);
    let refusal = (refused & 1 == 1).then_some("the rule \"x\" denies it");
    let (record, lines) = fuzzing::recorded(cdb, input.rest(), status, sense, refusal).expect("a record");
    for line in &lines {
        let text = str::from_utf8(line).ok().and_then(|line| line.strip_suffix('\n')).expect("a line");
        assert!(!text.contains(char::is_control), "{text:?}");
    }
    assert_eq!(serde_json::from_slice::<Record>(&lines[2]).ok(), Some(record.clone()));
    let answer = serde_json::to_vec(&Answer::Record(Box::new(record.clone()))).expect("JSON");
    assert_eq!(serde_json::from_slice::<Answer>(&answer).ok(), Some(Answer::Record(Box::new(record))));
}

/// What is not known to be GOOD is not reported as GOOD, and a conflict never as anything else.
fn kernel_answers(mut input: Input<'_>) {
    let (status, host, driver, written) = (input.byte(), input.word(), input.word(), input.byte());
    let mut sense = [0xee; SENSE_LENGTH];
    let said = input.take(SENSE_LENGTH);
    sense[..said.len()].copy_from_slice(said);
    let (told, what) = fuzzing::answered(status, host, driver, &sense, written);
    if told == Status::GOOD {
        // DRIVER_SENSE alone says no more than that there are sense data.
        assert!(status == 0 && host == 0 && matches!(driver, 0 | 8), "{status:#x} {host:#x} {driver:#x}");
    }
    if status == Status::RESERVATION_CONFLICT.0 {
        assert_eq!(told, Status::RESERVATION_CONFLICT);
    }
    if host == 0 && driver == 0 {
        let written = usize::from(written).min(SENSE_LENGTH);
        assert_eq!((told.0, &what.as_bytes()[..written]), (status, &sense[..written]));
        assert!(what.as_bytes()[written..].iter().all(|byte| *byte == 0), "nothing that was not written");
    }
}
