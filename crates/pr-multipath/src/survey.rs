//! Who is registered and who holds the reservation, as READ FULL STATUS tells (SPC-4 6.14.5), and which of them is us.

use scsi_persistent_reservations::{
    DataIn, FullStatus, FullStatusDescriptor, InAction, PersistentReserveIn, ReservationKey,
};

use crate::{
    Budget, Class, Identity, Io, PathId,
    engine::{Answer, Engine},
    memory::CHANGES,
};

/// Room for READ FULL STATUS: what most clusters need, as the device or the way to it may fill all of it, and the most
/// that its allocation length can ask for.
const ROOMS: [u16; 2] = [2048, u16::MAX];

/// What stands before the registrations.
const HEADER: usize = 8;

/// More than one registration takes: 24 bytes and the longest `TransportID`, an iSCSI name of 223 bytes with its session.
const LONGEST: usize = 280;

/// How often the unit attentions of one path are read before it counts as silent.
const ATTENTIONS: usize = 4;

/// One registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registrant {
    pub key: ReservationKey,
    pub all_target_ports: bool,
    /// Scope and type of the reservation that this registrant holds, alone or with all others.
    pub holds: Option<u8>,
    pub identity: Identity,
}

/// All registrations of a logical unit at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Survey {
    /// PRGENERATION: each registration, PREEMPT and CLEAR of anybody's adds one (SPC-4 6.13.2).
    pub generation: u32,
    pub registrants: Vec<Registrant>,
}

impl Survey {
    /// What a nexus has registered.
    pub fn of(&self, identity: &Identity) -> Option<&Registrant> {
        self.registrants.iter().find(|registrant| registrant.identity == *identity)
    }

    /// Whether anybody has this key.
    pub fn has(&self, key: ReservationKey) -> bool {
        self.registrants.iter().any(|registrant| registrant.key == key)
    }

    /// Whether all registrants hold the reservation.
    pub fn is_held_by_all(&self) -> bool {
        self.registrants.iter().any(|registrant| {
            let kind = registrant.holds.and_then(scsi_persistent_reservations::ReservationType::from_scope_type);
            kind.is_some_and(scsi_persistent_reservations::ReservationType::is_all_registrants)
        })
    }

    /// Scope and type with which one registrant's registrations are preempted from others: those of a reservation that all
    /// registrants hold, which the kernel's own target would otherwise replace (`target_core_pr.c` knows one of them as
    /// the holder); without such a one they do not matter.
    pub fn type_for_preempting(&self) -> u8 {
        let held = self.registrants.iter().find_map(|registrant| registrant.holds).filter(|_| self.is_held_by_all());
        held.unwrap_or(scsi_persistent_reservations::ReservationType::WriteExclusive.code())
    }

    /// The holder of a reservation that is one registrant's.
    pub fn holder(&self) -> Option<&Registrant> {
        let mut holders = self.registrants.iter().filter(|registrant| registrant.holds.is_some());
        let holder = holders.next().filter(|_| holders.next().is_none());
        holder.filter(|holder| {
            let kind = holder.holds.and_then(scsi_persistent_reservations::ReservationType::from_scope_type);
            kind.is_none_or(|kind| !kind.is_all_registrants())
        })
    }
}

impl<I: Io> Engine<'_, I> {
    /// Asks who is registered; `None` where the logical unit does not tell, or not all, or nobody answers.
    pub fn survey(&mut self) -> Result<Option<Survey>, I::Stop> {
        Ok(self.survey_first()?.unwrap_or(None))
    }

    /// The same before something that depends on it: where nobody answers there is an error for the user.
    pub fn survey_first(&mut self) -> Result<Result<Option<Survey>, Answer>, I::Stop> {
        for room in ROOMS {
            match self.survey_in(room)? {
                Ok(Told::Cut) => {}
                Ok(Told::All(survey)) => {
                    if self.believe_host(Some(&survey)) {
                        // A path may have left the map and come back under another device number.
                        self.merge_renamed();
                    }
                    return Ok(Ok(Some(survey)));
                }
                Ok(Told::Nothing) => break,
                Err(answer) => return Ok(Err(answer)),
            }
        }
        Ok(Ok(None))
    }

    fn survey_in(&mut self, room: u16) -> Result<Result<Told, Answer>, I::Stop> {
        let cdb = PersistentReserveIn::new(InAction::ReadFullStatus, room).cdb();
        let active = self.active();
        let order: Vec<PathId> = active.iter().copied().chain(self.inactive()).collect();
        // What gets lost on the way is worth a second try.
        for id in order.iter().chain(&order) {
            for _ in 0..ATTENTIONS {
                let result = self.send(Self::command(*id, &cdb, &[], room.into(), Budget::Path))?;
                match result.class() {
                    Class::UnitAttention(code) if active.contains(id) => self.attend(*id, code)?,
                    // A path that was away has news of what the user knows by now.
                    Class::UnitAttention(_) => {}
                    Class::Good => return Ok(Ok(parse(&result.data, room.into()))),
                    Class::Verdict => return Ok(Ok(Told::Nothing)),
                    Class::Conflict | Class::NotThisPath | Class::Busy | Class::Lost | Class::Unsent => break,
                }
            }
        }
        Ok(Err(Answer::failure("no path tells who is registered".to_owned())))
    }

    /// The same at the beginning of a command: what the user is to be told first is an answer as well.
    pub fn survey_or_answer(&mut self) -> Result<Result<Option<Survey>, Answer>, I::Stop> {
        let survey = self.survey_first()?;
        if survey.is_ok()
            && let Some(news) = self.news()?
        {
            return Ok(Err(news));
        }
        Ok(survey)
    }

    /// A unit attention that the user has not caused is to be told, once.
    pub fn attend(&mut self, id: PathId, code: scsi_persistent_reservations::SenseCode) -> Result<(), I::Stop> {
        if self.memory.path(id).takes_expected(code) {
            return self.keep();
        }
        if !self.own.contains(&code) && self.memory.news.is_none() {
            self.memory.news = Some(code.to_bytes());
            self.keep()?;
        }
        Ok(())
    }

    /// Drops the pending unit attention if it reports what another node did to registrations while the user gave up its own:
    /// the command is GOOD, so that came after it.
    pub fn drop_reported_change(&mut self) -> Result<(), I::Stop> {
        let is_change = |news: &[u8; 3]| CHANGES.iter().any(|code| *news == code.to_bytes());
        if self.memory.news.take_if(|news| is_change(news)).is_some() { self.keep() } else { Ok(()) }
    }

    /// What the user is to be told before its command is carried out.
    pub fn news(&mut self) -> Result<Option<Answer>, I::Stop> {
        let Some([key, code, qualifier]) = self.memory.news.take() else { return Ok(None) };
        self.keep()?;
        let code = scsi_persistent_reservations::SenseCode::new(key, code, qualifier);
        // The other paths have the same to tell.
        self.own.push(code);
        let paths = self.active();
        self.drain(&paths)?;
        Ok(Some(Answer::check(code)))
    }

    /// Whether this is one of the map's paths.
    pub fn is_own(&self, identity: &Identity) -> bool {
        self.memory.paths.iter().any(|path| path.identity.as_ref() == Some(identity))
    }

    /// Whether a path is known to be registered with this key.
    pub fn is_registered(&self, survey: &Survey, path: PathId, key: ReservationKey) -> bool {
        let registrant = self.identity(path).and_then(|identity| survey.of(identity));
        registrant.is_some_and(|registrant| registrant.key == key)
    }

    /// A path that takes no commands now, and of which it is not known whether it is this registrant.
    pub fn may_be(&self, registrant: &Registrant) -> Option<PathId> {
        let mut paths = self.paths.iter().filter(|path| !path.active || path.busy || !path.open).map(|path| path.id);
        paths.find(|id| !self.is_own(&registrant.identity) && self.identity(*id).is_none())
    }

    /// Whether whoever has this key is one of the map's paths.
    pub fn is_exclusive(&self, survey: &Survey, key: ReservationKey) -> bool {
        survey.registrants.iter().filter(|registrant| registrant.key == key).all(|r| self.is_own(&r.identity))
    }

    /// Learns who a path is: the one registrant that a registration through it has brought. That it had another key before,
    /// or none, is to be known; or else nobody had this key of whom it is not known that it is another path. Who comes at
    /// the same time is somebody else then, and there are two.
    pub fn learn(&mut self, path: PathId, key: ReservationKey, is_changed: bool, [before, after]: [&Survey; 2]) {
        if self.identity(path).is_some() || key.is_zero() {
            return;
        }
        let mut same = before.registrants.iter().filter(|registrant| registrant.key == key);
        if !is_changed && !same.all(|registrant| self.is_in_the_map(&registrant.identity)) {
            return;
        }
        let is_new = |identity: &Identity| before.of(identity).is_none_or(|registrant| registrant.key != key);
        let mut new = after
            .registrants
            .iter()
            .filter(|registrant| registrant.key == key && is_new(&registrant.identity))
            .filter(|registrant| !self.is_in_the_map(&registrant.identity));
        if let Some(registrant) = new.next()
            && new.next().is_none()
            // A registration on all target ports shows as several, or as one that says nothing of the port.
            && !registrant.all_target_ports
        {
            let identity = registrant.identity.clone();
            self.memory.path(path).identity = Some(identity);
            // It may have left the map and come back under another device number.
            self.merge_renamed();
        }
    }

    /// Whether this is a path that the map has now.
    pub fn is_in_the_map(&self, identity: &Identity) -> bool {
        let mut known = self.memory.paths.iter().filter(|path| path.identity.as_ref() == Some(identity));
        known.any(|path| !self.gone.contains(&path.id))
    }
}

/// What READ FULL STATUS has told.
enum Told {
    All(Survey),
    /// There may be more than there was room for.
    Cut,
    /// Nothing that makes sense.
    Nothing,
}

fn parse(data: &[u8], room: usize) -> Told {
    let Ok(status) = FullStatus::parse(data) else { return Told::Nothing };
    // The kernel's own target leaves out what has no room, and says that there is no more (`target_core_pr.c`).
    let length = usize::try_from(status.additional_length).unwrap_or(usize::MAX);
    if status.is_truncated() || length.saturating_add(HEADER + LONGEST) > room {
        return Told::Cut;
    }
    Told::All(Survey { generation: status.generation, registrants: status.descriptors().map(registrant).collect() })
}

fn registrant(descriptor: FullStatusDescriptor<'_>) -> Registrant {
    let mut transport_id = vec![0; descriptor.transport_id.length()];
    descriptor.transport_id.write(&mut DataIn::new(&mut transport_id));
    Registrant {
        key: descriptor.key,
        all_target_ports: descriptor.all_target_ports,
        holds: descriptor.holds,
        identity: Identity { target_port: descriptor.relative_target_port, transport_id },
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use scsi_persistent_reservations::TransportId;

    use super::*;

    const ROOM: usize = ROOMS[0] as usize;

    /// What the kernel's own target says where it has so many registrants and has to say so of fewer: it fills the room.
    fn told(registrants: usize, has_room_for: usize, room: usize) -> Told {
        let descriptor = FullStatusDescriptor {
            key: ReservationKey(1),
            all_target_ports: false,
            holds: None,
            relative_target_port: 1,
            transport_id: TransportId::Iscsi { name: &[b'n'; 60], session: Some(b"00023d000001") },
        };
        let mut data = vec![0; room];
        let all = std::iter::repeat_n(descriptor, registrants.min(has_room_for));
        FullStatus::write(1, all, &mut DataIn::new(&mut data));
        parse(&data, room)
    }

    #[test]
    fn sixty_four_hosts_of_eight_paths_have_room() {
        let all = 64 * 8;
        assert!(matches!(told(all, all, ROOMS[1].into()), Told::All(survey) if survey.registrants.len() == all));
    }

    #[test]
    fn what_may_have_been_left_out_for_want_of_room_is_not_taken_for_all() {
        let each = 24 + 4 + 60 + 5 + 12 + 3;
        let fit = (ROOM - HEADER) / each;
        assert!(matches!(told(0, fit, ROOM), Told::All(survey) if survey.registrants.is_empty()));
        assert!(matches!(told(8, fit, ROOM), Told::All(survey) if survey.registrants.len() == 8));
        // As many as fit, whether that is all or not.
        for registrants in [fit, fit + 1, 100] {
            assert!(matches!(told(registrants, fit, ROOM), Told::Cut), "{registrants}");
        }
        // One that says how much there is.
        let mut data = vec![0; ROOM];
        data[6] = 0xff;
        assert!(matches!(parse(&data, ROOM), Told::Cut));
        assert!(matches!(parse(&[], ROOM), Told::Nothing));
    }
}
