//! One command from its arrival to its answer, and what every command's way has in common.

use scsi_persistent_reservations::{
    BasicParameters, Capabilities, Cdb, Command, InAction, OutAction, ParseError, PersistentReserveIn,
    PersistentReserveOut, PrOut, ReservationKey, Sense, SenseCode, Status,
};

use crate::{
    Budget, Class, CommandResult, Io, Memory, Multipathd, Path, PathId, Registration, Step, Untold, User,
    ask::{REPEATS, is_in_transition},
    survey::Survey,
};

/// Room for parameter data: what QEMU's protocol has room for (`PR_HELPER_DATA_SIZE`).
const ROOM: usize = 8192;

/// What the user of the map is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The SCSI status.
    pub status: Status,
    /// Sense data.
    pub sense: Sense,
    /// Parameter data.
    pub data: Vec<u8>,
    /// What an administrator should know, a sentence each: the path, the key, what is left.
    pub notes: Vec<String>,
}

impl Answer {
    /// Status and sense data, nothing else.
    pub const fn status(status: Status) -> Self {
        Self { status, sense: Sense::NONE, data: Vec::new(), notes: Vec::new() }
    }

    /// GOOD.
    pub const GOOD: Self = Self::status(Status::GOOD);
    /// RESERVATION CONFLICT.
    pub const CONFLICT: Self = Self::status(Status::RESERVATION_CONFLICT);

    /// CHECK CONDITION.
    pub const fn check(code: SenseCode) -> Self {
        Self { status: Status::CHECK_CONDITION, sense: Sense::fixed(code), data: Vec::new(), notes: Vec::new() }
    }

    /// GOOD, or RECOVERED ERROR, which says that it was carried out as well.
    pub(crate) fn is_done(&self) -> bool {
        const RECOVERED: scsi_persistent_reservations::SenseKey = scsi_persistent_reservations::SenseKey(0x1);
        self.status == Status::GOOD || self.sense.code().is_some_and(|code| code.key == RECOVERED)
    }

    /// NOT READY: another path may do.
    fn is_not_this_path(&self) -> bool {
        const NOT_READY: scsi_persistent_reservations::SenseKey = scsi_persistent_reservations::SenseKey(0x2);
        self.status == Status::CHECK_CONDITION && self.sense.code().is_some_and(|code| code.key == NOT_READY)
    }

    /// The command could not be carried out as a whole, and why: LOGICAL UNIT COMMUNICATION FAILURE.
    pub(crate) fn failure(note: String) -> Self {
        Self { notes: vec![note], ..Self::check(SenseCode::COMMUNICATION_FAILURE) }
    }
}

impl From<CommandResult> for Answer {
    fn from(result: CommandResult) -> Self {
        Self { status: result.status, sense: result.sense, data: result.data, notes: Vec::new() }
    }
}

/// Carries out a PERSISTENT RESERVE command for the user of a map.
///
/// # Errors
/// What stops the engine, see [`Io::Stop`].
pub fn execute<I: Io>(io: &mut I, memory: &mut Memory, cdb: &Cdb, list: &[u8]) -> Result<Answer, I::Stop> {
    let mut engine = Engine::new(io, memory)?;
    if let Some(answer) = engine.news()? {
        return Ok(answer);
    }
    if engine.memory.step != Step::Idle {
        engine.finish()?;
        if engine.memory.step != Step::Idle && matches!(cdb.command(), Command::Out(_)) {
            return Ok(Answer {
                notes: engine.notes,
                ..Answer::failure(
                    "no path says how far an earlier command came, whose process has died; repeat the command once a \
                     path works"
                        .to_owned(),
                )
            });
        }
    }
    let mut answer = match cdb.command() {
        Command::In(command) => engine.read(cdb, command.allocation_length)?,
        Command::Out(command) => engine.change(cdb, command, list)?,
    };
    if let Some(news) = engine.memory.news
        && answer.sense.code().is_some_and(|told| told.to_bytes() == news)
    {
        // Another path had the same to tell.
        engine.memory.news = None;
        engine.keep()?;
    }
    answer.notes.append(&mut engine.notes);
    Ok(answer)
}

/// A PERSISTENT RESERVE OUT, taken apart.
pub(crate) struct Request<'a> {
    /// As it came.
    pub cdb: Cdb,
    /// As it came.
    pub list: &'a [u8],
    /// Scope and type, as they came.
    pub scope_type: u8,
    /// What the list says.
    pub parameters: BasicParameters<'a>,
    /// How long the logical unit may take.
    pub budget: Budget,
}

impl<'a> Request<'a> {
    /// PREEMPT of the user's own key, a request of the engine's. Its list is both keys.
    pub fn preempting_own(key: ReservationKey, scope_type: u8, budget: Budget, list: &'a [u8; 24]) -> Self {
        let parameters = BasicParameters::keys(key, key);
        let cdb = PrOut::new(OutAction::Preempt, scope_type, parameters).cdb();
        Self { cdb, list, scope_type, parameters, budget }
    }
}

/// One command's dealings with a map.
pub(crate) struct Engine<'a, I: Io> {
    pub io: &'a mut I,
    pub memory: &'a mut Memory,
    /// As last seen.
    pub paths: Vec<Path>,
    /// Those of them that have left the map.
    pub gone: Vec<PathId>,
    pub notes: Vec<String>,
    /// Unit attentions that the user's own commands bring about on its other paths.
    pub own: Vec<SenseCode>,
    /// What multipathd was told last, or will be.
    pub told: Option<Multipathd>,
    /// What it is told as soon as the map is not suspended any more.
    pub to_tell: Vec<Multipathd>,
    /// Paths to fail, and why, as soon as the map is not suspended any more.
    pub to_fail: Vec<(PathId, String)>,
    /// Whether one path has preempted the user's key from all others in this command.
    pub took_over: bool,
    /// Whether the time was over for which the map may be suspended before the command itself was sent.
    pub ran_out: bool,
    /// Whether multipathd was told anything in this command.
    pub has_told: bool,
}

impl<'a, I: Io> Engine<'a, I> {
    pub fn new(io: &'a mut I, memory: &'a mut Memory) -> Result<Self, I::Stop> {
        let mut engine = Self {
            io,
            memory,
            paths: Vec::new(),
            gone: Vec::new(),
            notes: Vec::new(),
            own: Vec::new(),
            told: None,
            to_tell: Vec::new(),
            to_fail: Vec::new(),
            took_over: false,
            ran_out: false,
            has_told: false,
        };
        engine.look()?;
        Ok(engine)
    }

    pub fn keep(&mut self) -> Result<(), I::Stop> {
        self.io.keep(self.memory)
    }

    pub fn set_step(&mut self, step: Step) -> Result<(), I::Stop> {
        self.memory.step = step;
        self.keep()
    }

    /// The user's registration is this from now on; multipathd is told, and a complaint of its is a note.
    pub fn set_user(&mut self, user: User) -> Result<(), I::Stop> {
        let is_over = user == User::Unregistered;
        // A path that hangs may yet carry out what it was sent, and multipathd may give one that comes back what it has not
        // heard to be over.
        let mut given_up: Vec<ReservationKey> = self.memory.key().into_iter().collect();
        if let Step::Registering { new: registration, .. } | Step::Preempting { own: registration } = self.memory.step {
            given_up.push(registration.key);
        }
        if let User::Registered(new) = user {
            given_up.retain(|key| *key != new.key);
        }
        for path in &self.paths {
            let known = self.memory.path(path.id);
            if !path.active || path.busy || known.unsettled {
                for key in &given_up {
                    known.leave_over(*key);
                }
                known.unsettled |= !known.leftovers.is_empty();
            }
        }
        self.memory.user = user;
        self.memory.step = Step::Idle;
        if self.told != Some(self.order_for_user()) {
            // Until it has been told: this process may die first.
            self.memory.multipathd_is_outdated = true;
            for key in &given_up {
                self.memory.multipathd_may_have(*key);
            }
        }
        self.keep()?;
        let is_told = self.tell_user()?;
        if !is_over {
            return Ok(());
        }
        if !is_told {
            // It goes on to give them to whoever comes back.
            for path in &mut self.memory.paths {
                for key in &given_up {
                    path.leave_over(*key);
                }
            }
            self.keep()?;
        }
        let known: Vec<PathId> = self.active();
        self.look()?;
        let back: Vec<PathId> = self.active().into_iter().filter(|id| !known.contains(id)).collect();
        self.take_leftovers(&back)
    }

    /// Tells multipathd which key the user has.
    pub fn tell_user(&mut self) -> Result<bool, I::Stop> {
        self.tell_multipathd(self.order_for_user())
    }

    const fn order_for_user(&self) -> Multipathd {
        match self.memory.user {
            User::Registered(Registration { key, persist, .. }) => Multipathd::Register { key, persist },
            User::Unregistered | User::Unknown => Multipathd::Forget,
        }
    }

    /// Tells multipathd, once; a complaint of its is a note. False if it has not heard.
    pub fn tell_multipathd(&mut self, order: Multipathd) -> Result<bool, I::Stop> {
        if self.told == Some(order) {
            return Ok(true);
        }
        self.told = Some(order);
        let key = match order {
            Multipathd::Register { key, .. } => key,
            Multipathd::Forget | Multipathd::Hold(_) => ReservationKey::ZERO,
        };
        if self.memory.suspended && order != Multipathd::Forget {
            // What it does with that is about paths that come back; guests do not wait for it.
            self.to_tell.push(order);
            self.memory.multipathd_is_outdated = true;
            self.memory.multipathd_may_have(key);
            self.keep()?;
            return Ok(true);
        }
        self.to_tell.retain(|later| matches!(later, Multipathd::Hold(_)));
        self.has_told = true;
        match self.io.multipathd(order)? {
            Ok(()) => {
                self.memory.multipathd_keys.clear();
                self.memory.multipathd_is_outdated = false;
            }
            Err(Untold { words, again }) => {
                self.told = None;
                self.memory.multipathd_is_outdated = again;
                self.notes.push(words);
            }
        }
        // Of what it has not heard it may have heard half.
        self.memory.multipathd_may_have(key);
        self.keep()?;
        Ok(self.told.is_some())
    }

    /// What multipathd was not told while the map was suspended.
    pub fn tell_later(&mut self) -> Result<(), I::Stop> {
        for order in std::mem::take(&mut self.to_tell) {
            match order {
                Multipathd::Hold(holds) => self.hold(holds)?,
                order @ (Multipathd::Register { .. } | Multipathd::Forget) => {
                    self.told = None;
                    self.tell_multipathd(order)?;
                }
            }
        }
        Ok(())
    }

    /// Takes keys from paths that came back and that the user has given up. Those that may have kept one carry no I/O.
    pub fn take_leftovers(&mut self, paths: &[PathId]) -> Result<(), I::Stop> {
        for id in paths {
            for key in self.memory.path(*id).leftovers.clone() {
                if self.memory.key() == Some(key) {
                    continue;
                }
                let from = Registration { key, ..Registration::NONE };
                // The kernel's own target changes a registration on all target ports only by a command of that kind.
                if self.take_back(&[*id], from)?.is_empty()
                    || self.take_back(&[*id], Registration { all_target_ports: true, ..from })?.is_empty()
                {
                    self.memory.path(*id).leftovers.retain(|left| *left != key);
                    self.keep()?;
                } else {
                    let unfit = self.carrying(&[*id])?;
                    self.fail(&unfit, &format!("may have kept key {key}"))?;
                    break;
                }
            }
        }
        Ok(())
    }

    fn read(&mut self, cdb: &Cdb, allocation_length: u16) -> Result<Answer, I::Stop> {
        let room = usize::from(allocation_length).min(ROOM);
        let mut best: Option<CommandResult> = None;
        let active = self.active();
        for id in active.iter().copied().chain(self.inactive()) {
            let mut result = self.send(Self::command(id, cdb, &[], room, Budget::Path))?;
            for _ in 1..REPEATS {
                // A path that was away has news of what the user knows by now.
                let is_old = matches!(result.class(), Class::UnitAttention(_)) && !active.contains(&id);
                if !is_old && (!is_in_transition(&result) || !self.io.wait()?) {
                    break;
                }
                result = self.send(Self::command(id, cdb, &[], room, Budget::Path))?;
            }
            let class = result.class();
            if let Class::UnitAttention(code) = class {
                let others: Vec<PathId> = self.active().into_iter().filter(|other| *other != id).collect();
                self.own.push(code);
                self.drain(&others)?;
            }
            // A path that conflicts with reading would be a device of its own kind; the next one is asked all the same.
            let settles = class <= Class::Verdict;
            if best.as_ref().is_none_or(|best| class < best.class()) {
                best = Some(result);
            }
            if settles {
                break;
            }
        }
        Ok(best.map_or_else(no_path, Answer::from))
    }

    fn change(&mut self, cdb: &Cdb, command: PersistentReserveOut, list: &[u8]) -> Result<Answer, I::Stop> {
        let Some(action) = command.action() else { return Ok(Answer::check(SenseCode::INVALID_FIELD_IN_CDB)) };
        let parameters = match BasicParameters::parse(list) {
            Ok(parameters) => parameters,
            Err(ParseError::TooShort) => return Ok(Answer::check(SenseCode::PARAMETER_LIST_LENGTH)),
            Err(_) => return Ok(Answer::check(SenseCode::INVALID_FIELD_IN_PARAMETER_LIST)),
        };
        let budget = if action == OutAction::PreemptAndAbort { Budget::Command } else { Budget::Path };
        let request = Request { cdb: *cdb, list, scope_type: command.scope_type, parameters, budget };
        // A path that has just come back is no judge of anything.
        let active = self.active();
        if self.memory.user != User::Unknown
            && (self.memory.paths.iter().any(|path| path.unsettled && active.contains(&path.id))
                || !self.memory.outdated_keys().is_empty())
        {
            self.settle()?;
        }
        if let Some(news) = self.news()? {
            return Ok(news);
        }
        if self.active().is_empty() {
            return Ok(no_path());
        }
        if !action.is_register() {
            self.set_step(Step::Changing)?;
        }
        let mut answer = self.dispatch(action, &request)?;
        let is_unready = answer.is_not_this_path() && self.active().len() > 1;
        if self.took_over && (is_unready || self.ran_out) {
            // The path that was to do it for all became not ready in the middle, or there was no time left, and all is as it
            // was before. A path that has been failed is none that has to be waited for.
            (self.took_over, self.ran_out) = (false, false);
            self.look()?;
            answer = self.dispatch(action, &request)?;
        }
        // A PREEMPT of which nobody says what it has left is finished when a path answers.
        let is_unfinished = matches!(self.memory.step, Step::Preempting { .. });
        if self.has_told && !is_unfinished {
            self.look_for_returned()?;
        }
        if answer.status != Status::GOOD && !self.own.is_empty() {
            // What failed may have been carried out all the same, and is no news to the user.
            let active = self.active();
            self.drain(&active)?;
        }
        if !is_unfinished {
            self.set_step(Step::Idle)?;
        }
        self.note_count()?;
        Ok(answer)
    }

    fn dispatch(&mut self, action: OutAction, request: &Request<'_>) -> Result<Answer, I::Stop> {
        match action {
            OutAction::Register | OutAction::RegisterAndIgnoreExistingKey => self.register(action, request),
            OutAction::Reserve => self.reserve(request),
            OutAction::Release => self.release(request),
            OutAction::Clear => self.clear(request),
            OutAction::Preempt | OutAction::PreemptAndAbort => self.preempt(request),
            // They are about one nexus, and a map has several.
            OutAction::RegisterAndMove | OutAction::ReplaceLostReservation => {
                Ok(Answer::check(SenseCode::INVALID_FIELD_IN_CDB))
            }
        }
    }

    /// The flags with which a registration of the user's has to be repeated so that nothing changes. Whether
    /// registrations persist is one thing for all nodes: what the last of them said.
    pub fn own(&mut self, key: ReservationKey, survey: Option<&Survey>) -> Result<Registration, I::Stop> {
        let persists = self.persists()?;
        if let User::Registered(registration) = self.memory.user
            && registration.key == key
        {
            return Ok(Registration { persist: persists.unwrap_or(registration.persist), ..registration });
        }
        let all_target_ports = survey.is_some_and(|survey| {
            survey.registrants.iter().any(|r| r.key == key && r.all_target_ports && self.is_own(&r.identity))
        });
        Ok(Registration { key, persist: persists.unwrap_or(false), all_target_ports })
    }

    /// Whether registrations persist through power loss now; `None` if no path says.
    fn persists(&mut self) -> Result<Option<bool>, I::Stop> {
        let room = u16::from(CAPABILITIES_LENGTH);
        let cdb = PersistentReserveIn::new(InAction::ReportCapabilities, room).cdb();
        for id in self.active() {
            for _ in 0..REPEATS {
                let result = self.send(Self::command(id, &cdb, &[], room.into(), Budget::Path))?;
                match result.class() {
                    Class::UnitAttention(code) => self.attend(id, code)?,
                    Class::Good => {
                        let data = Capabilities::parse(&result.data).ok();
                        return Ok(data.map(|data| data.persist_through_power_loss_active));
                    }
                    Class::Verdict => return Ok(None),
                    Class::Conflict | Class::NotThisPath | Class::Busy | Class::Lost | Class::Unsent => break,
                }
            }
        }
        Ok(None)
    }
}

/// The parameter data of REPORT CAPABILITIES (SPC-4 6.14.4).
const CAPABILITIES_LENGTH: u8 = 8;

/// No path is left: what the kernel says of a map without one.
pub(crate) fn no_path() -> Answer {
    Answer { notes: vec!["no path is left".to_owned()], ..Answer::check(SenseCode::NO_RESPONSE_TO_SELECTION) }
}
