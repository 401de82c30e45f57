//! The broker: a process that keeps the rights that multipath needs, and forks a child for each command.
//!
//! It has one thread and does nothing that could block: it takes requests, starts children, waits for them, kills
//! those that take too long, and passes on what they say. Commands for one map run one after the other, in the order
//! in which they came; those for different maps run side by side.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io::{self, PipeReader, Read},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
    pipe::{PipeFlags, pipe_with},
    process::{Pid, PidfdFlags, Resource, Signal, WaitId, WaitIdOptions, getrlimit, kill_process, pidfd_open, waitid},
};

use super::{
    child,
    map::{Kind, classify},
    message::{Answer, MAX_REQUEST, Request, Verdict, tail},
};
use crate::{
    config::{DESCRIPTORS_EACH, OWN_DESCRIPTORS},
    device::{multipath::change::invalid, part},
    sys::{
        dm,
        process::{self, Fork},
    },
};

/// More commands than this for one map cannot be meant seriously: each connection has one at a time.
const MAX_QUEUE: usize = 4096;

/// What a pipe holds, in bytes.
const PIPE: u64 = 64 * 1024;

/// What the broker has open for a command: the device and the pipe for the verdict.
const DESCRIPTORS_A_COMMAND: u64 = 2;

/// And for a child: its process and two pipes.
const DESCRIPTORS_A_CHILD: u64 = 3;

/// A request on its way.
struct Job {
    request: Request,
    device: OwnedFd,
    reply: OwnedFd,
    /// The map's device number.
    map: u64,
    deadline: Instant,
    /// What to say once the remains of a dead child are taken back; that is what is left to do then.
    outcome: Option<Verdict>,
}

impl Job {
    /// Says what came of it.
    fn answer(&self, verdict: &Verdict) {
        send(&self.reply, self.outcome.as_ref().unwrap_or(verdict));
    }
}

/// A child at work.
struct Child {
    job: Job,
    pid: Pid,
    pidfd: OwnedFd,
    answer: PipeReader,
    said: PipeReader,
    overdue: bool,
}

/// Serves the daemon behind `control` until it is gone and all children are.
pub fn serve(control: &OwnedFd) {
    let limit = getrlimit(Resource::Nofile).current;
    let mut broker = Broker { children: Vec::new(), queues: HashMap::new(), most_children: most_children(limit) };
    let mut open = true;
    while open || !broker.children.is_empty() {
        broker.wait(open.then_some(control));
        broker.reap();
        while open {
            match receive(control) {
                Ok(Some((request, device, reply))) => broker.take(request, device, reply),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::OutOfMemory
                    ) =>
                {
                    break;
                }
                // A message that makes no sense is lost with its descriptors; whoever sent it sees its pipe end.
                Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::ConnectionReset) => {}
                // The daemon is gone; or the socket is of no use any more, and asking it again would never end.
                Ok(None) | Err(_) => {
                    open = false;
                    broker.forget_waiting();
                }
            }
        }
        broker.kill_overdue();
        broker.start_next();
    }
}

/// How many children may be at work at once. The daemon lives under the same limit and sends as many commands as it has
/// connections; what they need is set aside, so that no command is ever lost for want of a descriptor, and the rest is
/// the children's.
fn most_children(limit: Option<u64>) -> usize {
    let Some(limit) = limit else { return usize::MAX };
    let room = limit.saturating_sub(OWN_DESCRIPTORS);
    let children = (room - room / DESCRIPTORS_EACH * DESCRIPTORS_A_COMMAND) / DESCRIPTORS_A_CHILD;
    usize::try_from(children).unwrap_or(usize::MAX).max(1)
}

/// One message from the daemon; `None` when it is gone.
pub fn receive(control: &OwnedFd) -> io::Result<Option<(Request, OwnedFd, OwnedFd)>> {
    let mut bytes = [0; MAX_REQUEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let length = recvmsg(control, &mut [io::IoSliceMut::new(&mut bytes)], &mut ancillary, flags)?.bytes;
    if length == 0 {
        return Ok(None);
    }
    let mut descriptors = ancillary.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    match (Request::parse(&bytes[..length]), descriptors.next(), descriptors.next()) {
        (Some(request), Some(device), Some(reply)) => Ok(Some((request, device, reply))),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

struct Broker {
    children: Vec<Child>,
    queues: HashMap<u64, VecDeque<Job>>,
    most_children: usize,
}

impl Broker {
    /// Waits until something happens or a deadline passes.
    fn wait(&self, control: Option<&OwnedFd>) {
        let descriptors = control.into_iter().chain(self.children.iter().map(|child| &child.pidfd));
        let mut set: Vec<PollFd<'_>> =
            descriptors.map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)).collect();
        let running = self.children.iter().filter(|child| !child.overdue).map(|child| child.job.deadline);
        let waiting = self.queues.values().flatten().map(|job| job.deadline);
        let timeout = running.chain(waiting).min().map(|deadline| {
            // A little past it, or it would not have passed.
            deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1)
        });
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let _ = poll(&mut set, timeout.as_ref());
    }

    fn take(&mut self, request: Request, device: OwnedFd, reply: OwnedFd) {
        let map = match classify(device.as_fd()) {
            Ok(Kind::Map(map)) => map,
            Ok(Kind::OnMap(name)) if matches!(request.cdb.command(), scsi_pr::Command::Out(_)) => {
                let note = format!(
                    "the disk is a part of map {name}, and the command would reach one path of it only; \
                                    give the guest the whole map"
                );
                let refusal = Answer { note, ..invalid(scsi_pr::SenseCode::INVALID_OPERATION_CODE) };
                return send(&reply, &Verdict::Answered(refusal));
            }
            Ok(Kind::OnMap(_)) => return send(&reply, &Verdict::NotMultipath),
            Ok(Kind::Other) => return send(&reply, &other(&request, device.as_fd())),
            Err(error) => {
                return send(&reply, &Verdict::NoChild(format!("cannot tell whether this is a map: {error}")));
            }
        };
        let queue = self.queues.entry(map.device).or_default();
        if queue.len() >= MAX_QUEUE {
            return send(&reply, &Verdict::NoChild("too many commands wait for this map".to_owned()));
        }
        let deadline = Instant::now() + request.timeout;
        queue.push_back(Job { request, device, reply, map: map.device, deadline, outcome: None });
    }

    /// Starts the first command of each map that has none under way, as far as there is room for children: first what
    /// a dead child has left, then what has to be done soonest.
    fn start_next(&mut self) {
        let mut busy: HashSet<u64> = self.children.iter().map(|child| child.job.map).collect();
        while self.children.len() < self.most_children
            && let Some(job) = self.next_job(&busy)
        {
            match start(job) {
                Ok(child) => {
                    busy.insert(child.job.map);
                    self.children.push(child);
                }
                Err(failed) => failed.0.answer(&Verdict::NoChild(failed.1.to_string())),
            }
        }
        self.queues.retain(|_, queue| !queue.is_empty());
    }

    /// Takes the next command that may start.
    fn next_job(&mut self, busy: &HashSet<u64>) -> Option<Job> {
        let urgency = |queue: &VecDeque<Job>| queue.front().map(|job| (job.outcome.is_none(), job.deadline));
        let free = self.queues.iter_mut().filter(|(map, queue)| !busy.contains(*map) && !queue.is_empty());
        free.min_by_key(|(_, queue)| urgency(queue)).and_then(|(_, queue)| queue.pop_front())
    }

    /// Passes on what children said that have ended.
    fn reap(&mut self) {
        for child in std::mem::take(&mut self.children) {
            match child.ended() {
                None => self.children.push(child),
                Some((verdict, true)) if child.job.outcome.is_none() => self.take_back(child.job, verdict),
                Some((verdict, _)) => child.job.answer(&verdict),
            }
        }
    }

    /// The daemon is gone, and with it every client: what has not begun is not wanted any more.
    fn forget_waiting(&mut self) {
        for queue in self.queues.values_mut() {
            queue.retain(|job| job.outcome.is_some());
        }
    }

    /// A child died between a key on one path and a key on all: before anything else happens to the map, another one
    /// takes the key back.
    fn take_back(&mut self, job: Job, verdict: Verdict) {
        let deadline = Instant::now() + job.request.timeout;
        self.queues.entry(job.map).or_default().push_front(Job { deadline, outcome: Some(verdict), ..job });
    }

    fn kill_overdue(&mut self) {
        let now = Instant::now();
        for child in self.children.iter_mut().filter(|child| !child.overdue && child.job.deadline <= now) {
            // Its process number is its own until it is reaped.
            let _ = kill_process(child.pid, Signal::KILL);
            child.overdue = true;
        }
        for queue in self.queues.values_mut() {
            queue.retain(|job| {
                let in_time = job.deadline > now;
                if !in_time {
                    job.answer(&Verdict::Overdue);
                }
                in_time
            });
        }
    }
}

/// Starts a child for a command.
fn start(job: Job) -> Result<Child, Box<(Job, io::Error)>> {
    // Neither pipe may ever block the child, and the broker reads them when it has ended: their 64 KiB are room for
    // the answer, and for the beginning of what a chatty library says.
    let pipes = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
        .and_then(|answer| Ok((answer, pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?)));
    let ((answer, answer_to), (said, said_to)) = match pipes {
        Ok(pipes) => pipes,
        Err(error) => return Err(Box::new((job, error.into()))),
    };
    match process::fork() {
        Err(error) => Err(Box::new((job, error))),
        Ok(Fork::Child) => {
            // The library writes to standard error whatever it likes. All else is other children's: a pipe that this
            // one kept open would look to the daemon as if there were more to come.
            let _ = rustix::stdio::dup2_stderr(&said_to);
            if let Err(error) = process::close_all_but(&[job.device.as_fd(), answer_to.as_fd()]) {
                eprintln!("cannot close what other commands have open: {error}");
                process::exit_now(1);
            }
            match job.outcome {
                None => child::run(&job.request, &job.device, answer_to.into()),
                Some(_) => child::undo(&job.request, &job.device),
            }
            process::exit_now(0)
        }
        Ok(Fork::Parent(pid)) => match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Child { job, pid, pidfd, answer: answer.into(), said: said.into(), overdue: false }),
            Err(error) => {
                // Without it the child's end could not be seen.
                let _ = kill_process(pid, Signal::KILL);
                let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
                Err(Box::new((job, error.into())))
            }
        },
    }
}

impl Child {
    /// What became of the child, if it has ended, and whether it left a key on some of the paths.
    fn ended(&self) -> Option<(Verdict, bool)> {
        let status = match waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(None) => return None,
            Ok(Some(status)) => status,
            Err(error) => return Some((Verdict::NoChild(error.to_string()), false)),
        };
        let told = Told::parse(&read_all(&self.answer));
        if told.suspended {
            let _ = dm::control().and_then(|control| dm::resume(&control, self.job.map));
        }
        let said = printable(&read_all(&self.said));
        let number = |number: Option<i32>| number.and_then(|number| u8::try_from(number).ok()).unwrap_or(u8::MAX);
        let verdict = match told.answer {
            Some(answer) if status.exit_status() == Some(0) => Verdict::Answered(with(answer, &said)),
            _ if self.overdue => Verdict::Overdue,
            _ if status.exited() => Verdict::Exited(number(status.exit_status()), said),
            _ => Verdict::Killed(number(status.terminating_signal()), said),
        };
        // Who has answered has settled it before.
        let begun = told.begun && !matches!(verdict, Verdict::Answered(_));
        Some((verdict, begun))
    }
}

/// What a child has told on its pipe.
pub struct Told {
    /// The map is still suspended.
    pub suspended: bool,
    /// A first key is on one path, and may not be on the others.
    pub begun: bool,
    /// The answer, if it came to that.
    pub answer: Option<Answer>,
}

impl Told {
    /// Reads it: markers first, then the answer.
    pub fn parse(told: &[u8]) -> Self {
        let markers = told.iter().position(|byte| *byte == child::ANSWER).unwrap_or(told.len());
        let last_of = |pair: [u8; 2]| told[..markers].iter().rfind(|marker| pair.contains(marker));
        Self {
            suspended: last_of([child::SUSPENDED, child::RESUMED]) == Some(&child::SUSPENDED),
            begun: last_of([child::BEGUN, child::SETTLED]) == Some(&child::BEGUN),
            answer: told.get(markers + 1..).and_then(Answer::parse),
        }
    }
}

/// What the library said explains a failure; after success it is chatter.
fn with(mut answer: Answer, said: &str) -> Answer {
    if !answer.note.is_empty() && !said.is_empty() {
        answer.note = format!("{} (libmpathpersist: {said})", answer.note);
    }
    answer
}

/// The end of what the library said as part of one line in the log, which a terminal may be shown.
pub fn printable(said: &[u8]) -> String {
    let lines = String::from_utf8_lossy(said).trim_end().replace('\n', " / ");
    tail(&lines.replace(char::is_control, " "), 400).to_owned()
}

fn read_all(pipe: &PipeReader) -> Vec<u8> {
    let mut bytes = Vec::new();
    // It has ended, so this is all; a grandchild that holds the pipe open makes it WouldBlock instead of waiting, and
    // one that goes on writing does not make it more than a pipe holds.
    let _ = pipe.take(PIPE).read_to_end(&mut bytes);
    bytes
}

/// What there is to say about a device that has nothing to do with multipath.
fn other(request: &Request, device: BorrowedFd<'_>) -> Verdict {
    if matches!(request.cdb.command(), scsi_pr::Command::In(_)) {
        return Verdict::NotMultipath;
    }
    match part::look_up(device) {
        Ok(None) => Verdict::NotMultipath,
        Ok(Some(reason)) => Verdict::Part(reason),
        Err(error) => Verdict::NoChild(format!("cannot tell whether this is a part of a disk: {error}")),
    }
}

fn send(reply: &OwnedFd, verdict: &Verdict) {
    // The daemon made this pipe for one verdict; if it does not wait any more, so be it.
    while let Err(Errno::INTR) = rustix::io::write(reply, &verdict.to_bytes()) {}
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use super::*;

    #[test]
    fn a_command_of_every_connection_and_all_children_fit_below_the_limit() {
        for limit in [40, 64, 1024, 4096, 8192] {
            let commands = (limit - OWN_DESCRIPTORS) / DESCRIPTORS_EACH;
            let children = u64::try_from(most_children(Some(limit))).unwrap();
            let needed = OWN_DESCRIPTORS + DESCRIPTORS_A_COMMAND * commands + DESCRIPTORS_A_CHILD * children;
            assert!(children > 0 && needed <= limit, "{children} children need {needed} of {limit}");
        }
        assert_eq!(most_children(Some(4096)), 452);
        assert_eq!(most_children(Some(0)), 1);
    }

    #[test]
    fn a_socket_that_is_of_no_use_ends_the_broker() {
        serve(&std::fs::File::open("/dev/null").unwrap().into());
    }
}
