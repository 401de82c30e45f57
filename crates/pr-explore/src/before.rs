//! The logic that the map engine replaces, kept as the control of the explorer: what is found in this one is what the
//! explorer is able to find.
//!
//! Each command is a process of its own. It goes to the map, that is to the path that device-mapper uses, and then to path
//! after path until one settles it. Registrations are put on all paths by libmpathpersist, here as its releases before
//! 0.13 do that (Debian 12 and 13) with `reservation_key file`. A path that gives no answer takes all the time that the
//! command has; then the process is killed, and its parent resumes the map and takes a first key back. The kernel is one
//! without `DM_MPATH_PROBE_PATHS` (before 6.16).

use pr_multipath::{
    Answer, Budget, Class, CommandResult, Io as _, Memory, Multipathd, PathCommand, PathId, Registration, Step, Untold,
};
use scsi_persistent_reservations::{
    BasicParameters, Capabilities, Cdb, Command, InAction, OutAction, PersistentReserveIn, PersistentReserveOut,
    ReadKeys, ReadReservation, Reservation, ReservationKey, Sense, SenseCode, SenseKey, Status,
};

use crate::{
    Logic,
    play::{Play, Stop},
    world::{Suspended, id},
};

/// How often a command is sent again to a path that answers with a unit attention.
const ATTENTIONS: usize = 3;

/// Room for READ KEYS.
const ROOM: u16 = 8192;

/// The logic before the map engine.
pub struct Before;

impl Logic for Before {
    fn execute(&self, io: &mut Play<'_>, memory: &mut Memory, cdb: &Cdb, list: &[u8]) -> Result<Answer, Stop> {
        let mut session = Session::new(io, memory)?;
        // Reading changes nothing, and is not played.
        let (Command::Out(command), Ok(keys)) = (cdb.command(), BasicParameters::parse(list)) else {
            return Ok(Answer::check(SenseCode::INVALID_OPERATION_CODE));
        };
        let request = Request { cdb: *cdb, list, scope_type: command.scope_type, keys };
        match session.change(command.action(), &request) {
            Ok(answer) => Ok(answer),
            Err(End::Told(answer)) => Ok(*answer),
            Err(End::Stop(stop)) => Err(stop),
        }
    }

    /// Nothing is done when a path comes back: that is left to multipathd.
    fn reconcile(&self, _: &mut Play<'_>, _: &mut Memory) -> Result<Vec<String>, Stop> {
        Ok(Vec::new())
    }

    /// The parent of a process that has died.
    fn recover(&self, io: &mut Play<'_>, memory: &mut Memory) -> Result<Vec<String>, Stop> {
        let mut session = Session::new(io, memory)?;
        if std::mem::take(&mut session.memory.suspended) {
            session.io.resume()?;
        }
        let step = std::mem::take(&mut session.memory.step);
        session.io.keep(session.memory)?;
        // There is one try: should this process be killed as well, the answer goes out all the same.
        if let Step::Registering { new, .. } = step {
            session.undo(new.key)?;
        }
        Ok(Vec::new())
    }

    fn locks(&self) -> bool {
        false
    }
}

/// One command, taken apart.
struct Request<'a> {
    cdb: Cdb,
    list: &'a [u8],
    scope_type: u8,
    keys: BasicParameters<'a>,
}

impl Request<'_> {
    /// Whether a reservation is the sender's, by its key.
    fn owns(&self, held: Reservation) -> bool {
        !self.keys.key.is_zero() && held.key == self.keys.key
    }
}

/// Why a command ends early.
enum End {
    /// The play does.
    Stop(Stop),
    /// This came instead of what was asked for, and is told to the guest.
    Told(Box<Answer>),
}

impl From<Stop> for End {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<CommandResult> for End {
    fn from(result: CommandResult) -> Self {
        Self::Told(Box::new(result.into()))
    }
}

type Result<T, E = End> = std::result::Result<T, E>;

/// One command's dealings with a map.
struct Session<'s, 'p> {
    io: &'s mut Play<'p>,
    /// What the parent learns from the process: that the map is suspended, and that a first key is on its way.
    memory: &'s mut Memory,
    /// The paths that can be opened, whether device-mapper uses them or not.
    paths: Vec<PathId>,
}

impl<'s, 'p> Session<'s, 'p> {
    fn new(io: &'s mut Play<'p>, memory: &'s mut Memory) -> Result<Self, Stop> {
        let paths = io.paths()?.iter().filter(|path| path.open).map(|path| path.id).collect();
        Ok(Self { io, memory, paths })
    }

    fn change(&mut self, action: Option<OutAction>, request: &Request<'_>) -> Result<Answer> {
        match action {
            Some(OutAction::Register) => self.register(request),
            Some(OutAction::RegisterAndIgnoreExistingKey) => self.spread(&request.keys),
            Some(OutAction::Reserve) => self.reserve(request),
            Some(OutAction::Release) => self.release(request),
            Some(OutAction::Clear) => self.clear(request),
            Some(OutAction::Preempt | OutAction::PreemptAndAbort) => self.preempt(request),
            Some(OutAction::RegisterAndMove | OutAction::ReplaceLostReservation) | None => {
                Ok(Answer::check(SenseCode::INVALID_FIELD_IN_CDB))
            }
        }
    }

    fn send_once(&mut self, path: PathId, cdb: [u8; 16], list: &[u8], room: usize) -> Result<CommandResult, Stop> {
        let command = PathCommand { path, cdb, list: list.to_vec(), room, budget: Budget::Command };
        let mut results = self.io.send(&[command])?;
        let result = results.pop().unwrap_or(CommandResult::lost(SenseCode::COMMUNICATION_FAILURE));
        if is_overdue(&result) { Err(Stop::Died) } else { Ok(result) }
    }

    /// To the map: whichever path it uses now. While it is suspended the kernel says EAGAIN.
    fn send(&mut self, cdb: &Cdb, list: &[u8], room: usize) -> Result<CommandResult, Stop> {
        let is_free = self.io.world.suspended == Suspended::No;
        match self.io.world.paths.iter().position(|path| path.active).filter(|_| is_free) {
            Some(path) => self.send_once(id(path), *cdb.as_bytes(), list, room),
            None => Ok(CommandResult::lost(SenseCode::IO_PROCESS_TERMINATED)),
        }
    }

    /// To one path, past its unit attentions.
    fn send_to(&mut self, path: PathId, cdb: &Cdb, list: &[u8], room: usize) -> Result<CommandResult, Stop> {
        let mut result = self.send_once(path, *cdb.as_bytes(), list, room)?;
        for _ in 0..ATTENTIONS {
            if !is_unit_attention(&result) {
                break;
            }
            result = self.send_once(path, *cdb.as_bytes(), list, room)?;
        }
        Ok(result)
    }

    /// To the map, and while that does not settle it, to one path after the other.
    fn send_until(
        &mut self,
        cdb: &Cdb,
        list: &[u8],
        room: usize,
        settles: impl Fn(&CommandResult) -> bool,
    ) -> Result<CommandResult, Stop> {
        let mut best = self.send(cdb, list, room)?;
        if settles(&best) {
            return Ok(best);
        }
        for path in self.paths.clone() {
            let result = self.send_to(path, cdb, list, room)?;
            if settles(&result) {
                return Ok(result);
            }
            if !best.is_from_device() {
                best = result;
            }
        }
        Ok(best)
    }

    fn send_request(&mut self, request: &Request<'_>) -> Result<CommandResult, Stop> {
        self.send_until(&request.cdb, request.list, 0, settled)
    }

    fn ask(&mut self, action: InAction, room: u16) -> Result<CommandResult, Stop> {
        let cdb = PersistentReserveIn::new(action, room).cdb();
        self.send_until(&cdb, &[], room.into(), CommandResult::is_from_device)
    }

    fn reservation(&mut self) -> Result<Option<Reservation>> {
        let result = self.ask(InAction::ReadReservation, 24)?;
        let held = ReadReservation::parse(&result.data).ok().filter(|_| result.status == Status::GOOD);
        Ok(held.map(|data| data.reservation).ok_or(result)?)
    }

    /// Whether registrations persist through power loss now.
    fn persists(&mut self) -> Result<bool> {
        let result = news(self.ask(InAction::ReportCapabilities, 8)?)?;
        Ok(Capabilities::parse(&result.data).is_ok_and(|data| data.persist_through_power_loss_active))
    }

    fn has_key(&mut self, key: ReservationKey) -> Result<bool> {
        let result = self.ask(InAction::ReadKeys, ROOM)?;
        let data = ReadKeys::parse(&result.data).ok().filter(|_| result.status == Status::GOOD);
        let has = data.map(|data| data.is_truncated() || data.keys().any(|other| other == key));
        Ok(has.ok_or(result)?)
    }

    /// Whether the key is registered, by the logical unit's word: it is changed into itself.
    fn proves_key(&mut self, key: ReservationKey) -> Result<bool> {
        let same = BasicParameters { activate_persist: self.persists()?, ..BasicParameters::keys(key, key) };
        let result = self.send(&out(OutAction::Register, 0), &same.to_bytes(), 0)?;
        Ok(news(result)?.status == Status::GOOD)
    }

    fn register(&mut self, request: &Request<'_>) -> Result<Answer> {
        let BasicParameters { key, service_action_key: new, activate_persist, .. } = request.keys;
        let is_first = key.is_zero() && !new.is_zero() && !self.has_key(new)?;
        let result = if key.is_zero() || request.keys.initiator_ports.is_some() {
            self.send_until(&request.cdb, request.list, 0, CommandResult::is_from_device)?
        } else {
            let same = BasicParameters { activate_persist, ..BasicParameters::keys(key, key) };
            self.send_until(&out(OutAction::Register, request.scope_type), &same.to_bytes(), 0, settled)?
        };
        if result.status != Status::GOOD || (key.is_zero() && new.is_zero()) {
            return Ok(result.into());
        }
        if !is_first {
            return self.spread(&request.keys);
        }
        self.memory.step = Step::Registering { before: None, new: Registration { key: new, ..Registration::NONE } };
        self.io.keep(self.memory)?;
        let answer = self.spread(&request.keys)?;
        if answer.status != Status::GOOD {
            self.undo(new)?;
        }
        self.memory.step = Step::Idle;
        self.io.keep(self.memory)?;
        Ok(answer)
    }

    /// Takes a key back from the paths that have it.
    fn undo(&mut self, key: ReservationKey) -> Result<(), Stop> {
        let list = BasicParameters::keys(key, ReservationKey::ZERO).to_bytes();
        for path in self.paths.clone() {
            self.send_to(path, &out(OutAction::Register, 0), &list, 0)?;
        }
        Ok(())
    }

    /// The library: REGISTER AND IGNORE EXISTING KEY on each path that its own check finds usable, all at once.
    fn spread(&mut self, keys: &BasicParameters<'_>) -> Result<Answer> {
        const STANDBY: SenseCode = SenseCode::new(0x2, 0x04, 0x0b);
        let BasicParameters { service_action_key: new, activate_persist: persist, .. } = *keys;
        // multipathd stores the key first. It goes by it from the registration on, if not before.
        let goes_by_a_key = self.io.world.daemon.key.is_some();
        if !new.is_zero() {
            if let Err(Untold { words: complaint, .. }) =
                self.io.multipathd(Multipathd::Register { key: new, persist })?
            {
                return Ok(failure(complaint));
            }
            if !goes_by_a_key {
                self.io.world.daemon.key = None;
            }
        }
        let mut usable = Vec::new();
        for path in self.paths.clone() {
            let mut state = self.send_once(path, [0; 16], &[], 0)?;
            for _ in 0..ATTENTIONS {
                if is_unit_attention(&state) {
                    state = self.send_once(path, [0; 16], &[], 0)?;
                }
            }
            if state.status == Status::GOOD || state.sense.code() == Some(STANDBY) {
                usable.push(path);
            }
        }
        if usable.is_empty() {
            return Ok(failure("libmpathpersist found no usable path".to_owned()));
        }
        let cdb = *out(OutAction::RegisterAndIgnoreExistingKey, 0).as_bytes();
        let list = keys.to_bytes().to_vec();
        let command =
            |path: &PathId| PathCommand { path: *path, cdb, list: list.clone(), room: 0, budget: Budget::Command };
        let mut results = self.io.send(&usable.iter().map(command).collect::<Vec<_>>())?;
        for (path, result) in usable.iter().zip(&mut results) {
            for _ in 0..ATTENTIONS {
                if is_unit_attention(result) {
                    *result = self.send_once(*path, cdb, &list, 0)?;
                }
            }
        }
        if results.iter().any(is_overdue) {
            return Err(Stop::Died.into());
        }
        if let Some(bad) = results.iter().find(|result| result.class() != Class::Good) {
            // The library tells little more than the sense key.
            return Ok(match bad.class() {
                Class::Conflict => Answer::CONFLICT,
                Class::NotThisPath => Answer::check(SenseCode::NOT_READY),
                Class::Verdict => Answer::check(SenseCode::INVALID_FIELD_IN_PARAMETER_LIST),
                _ => failure("libmpathpersist failed with code 15".to_owned()),
            });
        }
        // Whether multipathd has heard of it is not looked at.
        let _ = self.io.multipathd(if new.is_zero() {
            Multipathd::Forget
        } else {
            Multipathd::Register { key: new, persist }
        })?;
        Ok(Answer::GOOD)
    }

    fn reserve(&mut self, request: &Request<'_>) -> Result<Answer> {
        let result = self.send_request(request)?;
        if result.status != Status::RESERVATION_CONFLICT {
            return Ok(result.into());
        }
        // Every path that answers says no. If the reservation is ours all the same, its path is away.
        match self.reservation() {
            Ok(Some(held)) if held.scope_type == request.scope_type && request.owns(held) => {
                let note = "the reservation is held already, by a path that is away";
                Ok(if self.proves_key(request.keys.key)? { noted(Answer::GOOD, note) } else { result.into() })
            }
            Err(End::Told(answer)) if answer.status == Status::CHECK_CONDITION && is_attention(&answer.sense) => {
                Ok(*answer)
            }
            Err(End::Stop(stop)) => Err(stop.into()),
            _ => Ok(result.into()),
        }
    }

    fn release(&mut self, request: &Request<'_>) -> Result<Answer> {
        let held = self.reservation()?.filter(|held| !held.key.is_zero());
        let Some(held) = held else { return Ok(self.send_request(request)?.into()) };
        if !request.owns(held) {
            return self.release_of_others(request);
        }
        let mut result = self.send(&request.cdb, request.list, 0)?;
        let mut conflict = None;
        let mut paths = self.paths.clone().into_iter();
        loop {
            match result.status {
                Status::GOOD if self.left()? == Some(held) => {}
                Status::GOOD => return Ok(Answer::GOOD),
                Status::RESERVATION_CONFLICT => conflict = Some(result),
                _ if result.is_from_device() => return Ok(result.into()),
                _ => {}
            }
            let Some(path) = paths.next() else { break };
            result = self.send_to(path, &request.cdb, request.list, 0)?;
        }
        match conflict {
            Some(conflict) => Ok(conflict.into()),
            // All paths that answer are GOOD, and still the reservation stands: the one that holds it is away.
            None => self.release_away(request, held),
        }
    }

    /// The kernel's own target looks at the key only on the path that holds.
    fn release_of_others(&mut self, request: &Request<'_>) -> Result<Answer> {
        let result = self.send_request(request)?;
        if result.status != Status::GOOD {
            return Ok(result.into());
        }
        for path in self.paths.clone() {
            let result = self.send_to(path, &request.cdb, request.list, 0)?;
            if result.status == Status::RESERVATION_CONFLICT {
                return Ok(if self.proves_key(request.keys.key)? { Answer::GOOD } else { result.into() });
            }
        }
        Ok(Answer::GOOD)
    }

    /// The reservation that a RELEASE left. That it is released is no news for the guest.
    fn left(&mut self) -> Result<Option<Reservation>> {
        for _ in &self.paths.clone() {
            match self.reservation() {
                Err(End::Told(told)) if told.sense.code() == Some(SenseCode::RESERVATIONS_RELEASED) => {}
                now => return now,
            }
        }
        self.reservation()
    }

    fn clear(&mut self, request: &Request<'_>) -> Result<Answer> {
        let result = self.send_request(request)?;
        if result.status != Status::GOOD {
            return Ok(result.into());
        }
        // multipathd has to forget the keys.
        let notes = self.spread(&BasicParameters::keys(ReservationKey::ZERO, ReservationKey::ZERO))?.notes;
        Ok(Answer { notes, ..Answer::GOOD })
    }

    fn preempt(&mut self, request: &Request<'_>) -> Result<Answer> {
        let BasicParameters { key, service_action_key: victim, .. } = request.keys;
        if victim != key && !victim.is_zero() {
            return Ok(self.send_request(request)?.into());
        }
        let persist = self.persists()?;
        self.suspended(|session| {
            let mut answer = Answer::from(session.on_one_path(request)?);
            if answer.status == Status::GOOD {
                answer.notes = session.register_again(key, persist)?;
            }
            Ok(answer)
        })
    }

    /// A path that is away holds the reservation: another one takes it over, and releases it.
    fn release_away(&mut self, request: &Request<'_>, held: Reservation) -> Result<Answer> {
        let key = request.keys.key;
        let keys = BasicParameters::keys(key, key);
        let take = Request { cdb: out(OutAction::Preempt, held.scope_type), list: &keys.to_bytes(), keys, ..*request };
        let persist = self.persists()?;
        self.suspended(|session| {
            let taken = session.on_one_path(&take)?;
            if taken.status != Status::GOOD {
                return Ok(noted(taken.into(), "the path that holds the reservation is away"));
            }
            let released = session.on_one_path(request)?;
            Ok(Answer { notes: session.register_again(key, persist)?, ..released.into() })
        })
    }

    fn on_one_path(&mut self, request: &Request<'_>) -> Result<CommandResult, Stop> {
        let mut best = None;
        for path in self.paths.clone() {
            let mut result = self.send_to(path, &request.cdb, request.list, 0)?;
            if !result.is_from_device() {
                // To this path the command means the same once more; to the next one its key would be gone.
                result = self.send_to(path, &request.cdb, request.list, 0)?;
            }
            if settled(&result) {
                return Ok(result);
            }
            best = best.filter(|best: &CommandResult| best.is_from_device()).or(Some(result));
        }
        best.map_or_else(|| self.send(&request.cdb, request.list, 0), Ok)
    }

    /// Gives the key to every path again; what did not work, in words.
    fn register_again(&mut self, key: ReservationKey, persist: bool) -> Result<Vec<String>> {
        let keys = BasicParameters { activate_persist: persist, ..BasicParameters::keys(ReservationKey::ZERO, key) };
        let mut notes = Vec::new();
        for path in self.paths.clone() {
            let cdb = out(OutAction::RegisterAndIgnoreExistingKey, 0);
            let result = self.send_to(path, &cdb, &keys.to_bytes(), 0)?;
            if result.status != Status::GOOD {
                notes.push(format!("path{} has lost the key {key}: {}", path.0, result.status));
            }
        }
        Ok(notes)
    }

    /// device-mapper takes it for done when it is told to suspend a map that is suspended.
    fn suspended(&mut self, work: impl FnOnce(&mut Self) -> Result<Answer>) -> Result<Answer> {
        self.memory.suspended = true;
        self.io.keep(self.memory)?;
        self.io.suspend()?;
        let answer = work(self)?;
        self.io.resume()?;
        self.memory.suspended = false;
        self.io.keep(self.memory)?;
        Ok(answer)
    }
}

fn out(action: OutAction, scope_type: u8) -> Cdb {
    PersistentReserveOut { service_action: action.code(), scope_type, parameter_list_length: 24 }.cdb()
}

fn failure(note: String) -> Answer {
    Answer { notes: vec![note], ..Answer::check(SenseCode::COMMUNICATION_FAILURE) }
}

fn noted(answer: Answer, note: &str) -> Answer {
    Answer { notes: vec![note.to_owned()], ..answer }
}

/// The logical unit answered, and it was not that this path is unknown to it.
fn settled(result: &CommandResult) -> bool {
    result.is_from_device() && result.status != Status::RESERVATION_CONFLICT
}

fn is_unit_attention(result: &CommandResult) -> bool {
    result.status == Status::CHECK_CONDITION && is_attention(&result.sense)
}

fn is_attention(sense: &Sense) -> bool {
    sense.code().is_some_and(|code| code.key == SenseKey(6))
}

/// A unit attention is told once: it is passed on.
fn news(result: CommandResult) -> Result<CommandResult> {
    if is_unit_attention(&result) { Err(result.into()) } else { Ok(result) }
}

/// No answer came in all the time that there was.
fn is_overdue(result: &CommandResult) -> bool {
    !result.is_from_device() && result.sense.code() == Some(SenseCode::COMMAND_TIMEOUT)
}
