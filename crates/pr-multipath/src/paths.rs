//! The map's paths: which there are, who each of them is, which carry I/O, and which have to stop to.

use scsi_persistent_reservations::ReservationKey;

use crate::{
    HostSays, Identity, Io, Path, PathId,
    engine::{Answer, Engine, no_path},
    survey::Survey,
};

impl<I: Io> Engine<'_, I> {
    /// Looks at the map's paths.
    pub fn look(&mut self) -> Result<(), I::Stop> {
        self.paths = self.io.paths()?;
        let seen: Vec<PathId> = self.memory.paths.iter().map(|path| path.id).collect();
        for path in &self.paths {
            let known = self.memory.path(path.id);
            if let HostSays::Surely(identity) = &path.identity {
                known.identity = Some(identity.clone());
            }
        }
        self.believe_host(None);
        self.merge_renamed();
        self.inherit(&seen);
        for path in &self.paths {
            // What takes no commands may miss whatever happens now.
            self.memory.path(path.id).unsettled |= !path.active || path.busy;
        }
        Ok(())
    }

    /// As soon as one path is who the host says that it would be, all are that it names in this way. Whether that tells
    /// anything new.
    pub fn believe_host(&mut self, survey: Option<&Survey>) -> bool {
        let likely = |path: &Path| match &path.identity {
            HostSays::Likely(likely) => Some((path.id, likely.clone())),
            HostSays::Surely(_) | HostSays::Nothing => None,
        };
        let likely: Vec<(PathId, Identity)> = self.paths.iter().filter_map(likely).collect();
        // A registration on all target ports says nothing of the port.
        let is_registered = |likely| survey.and_then(|survey| survey.of(likely)).is_some_and(|it| !it.all_target_ports);
        let is_right = likely.iter().any(|(id, likely)| match self.identity(*id) {
            Some(known) => known == likely,
            None => is_registered(likely),
        });
        let mut is_new = false;
        for (id, likely) in likely.into_iter().filter(|_| is_right) {
            let known = &mut self.memory.path(id).identity;
            is_new |= known.is_none();
            known.get_or_insert(likely);
        }
        is_new
    }

    /// multipathd was told something, which may take seconds, and has brought paths back meanwhile that had been failed; or
    /// one that was not ready is.
    pub fn look_for_returned(&mut self) -> Result<(), I::Stop> {
        self.look()?;
        let active = self.active();
        let has_returned = self.memory.paths.iter().any(|path| path.unsettled && active.contains(&path.id));
        if has_returned { self.settle() } else { Ok(()) }
    }

    /// A path that has left the map may come back under another device number: what is known of it goes with it. One that
    /// has not come back keeps what it has registered.
    pub fn merge_renamed(&mut self) {
        let gone = std::mem::take(&mut self.gone);
        self.paths.retain(|path| !gone.contains(&path.id));
        let paths = &self.paths;
        let is_there = |id: PathId| paths.iter().any(|path| path.id == id);
        let known = &mut self.memory.paths;
        let (here, gone): (Vec<_>, Vec<_>) = std::mem::take(known).into_iter().partition(|path| is_there(path.id));
        *known = here;
        for old in gone {
            let same = known.iter_mut().find(|path| path.identity.is_some() && path.identity == old.identity);
            let Some(same) = same else {
                known.push(old);
                continue;
            };
            for key in old.leftovers {
                same.leave_over(key);
            }
            same.expected.extend(old.expected);
            same.expected.sort_unstable();
            same.expected.dedup();
            same.expected.truncate(crate::memory::LEFTOVERS);
            same.unsettled = true;
        }
        for known in &self.memory.paths {
            if self.paths.iter().all(|path| path.id != known.id) {
                self.paths.push(known.id.absent());
                self.gone.push(known.id);
            }
        }
    }

    /// A path that was not there before may be one that has left the map, as long as the host cannot tell who it is. What
    /// may be registered through that one is looked for on it.
    fn inherit(&mut self, seen: &[PathId]) {
        let gone = self.memory.paths.iter().filter(|path| self.gone.contains(&path.id));
        let left: Vec<ReservationKey> = gone.flat_map(|path| path.leftovers.clone()).collect();
        for path in self.memory.paths.iter_mut().filter(|path| path.identity.is_none() && !seen.contains(&path.id)) {
            for key in &left {
                path.leave_over(*key);
            }
        }
    }

    /// The name of a path.
    pub fn name(&self, id: PathId) -> String {
        self.paths.iter().find(|path| path.id == id).map_or_else(|| format!("{:#x}", id.0), |path| path.name.clone())
    }

    /// The paths that carry I/O and take commands, in the order in which they are asked.
    pub fn active(&self) -> Vec<PathId> {
        self.paths.iter().filter(|path| path.active && path.open && !path.busy).map(|path| path.id).collect()
    }

    /// The paths that carry no I/O, but might take a command.
    pub fn inactive(&self) -> Vec<PathId> {
        self.paths.iter().filter(|path| !path.active && path.open && !path.busy).map(|path| path.id).collect()
    }

    /// All other paths.
    pub fn unusable(&self) -> Vec<PathId> {
        self.paths.iter().filter(|path| !path.active || !path.open || path.busy).map(|path| path.id).collect()
    }

    /// Before something that has to be on all paths: a path that hangs is failed, so that it carries no I/O. One whose
    /// node cannot be opened may carry I/O, and cannot be reached: then nothing is done.
    pub fn reach_all(&mut self) -> Result<Option<Answer>, I::Stop> {
        if let Some(path) = self.paths.iter().find(|path| path.active && !path.open) {
            return Ok(Some(Answer::failure(format!(
                "path {} cannot be opened, and the map uses it; give the helper its node in /dev, or fail the path",
                path.name
            ))));
        }
        self.fail_hung()?;
        Ok(self.active().is_empty().then(no_path))
    }

    /// Paths that device-mapper uses and that hang are to carry no I/O.
    pub fn fail_hung(&mut self) -> Result<(), I::Stop> {
        let hung: Vec<PathId> = self.paths.iter().filter(|path| path.active && path.busy).map(|path| path.id).collect();
        self.fail(&hung, "does not answer")
    }

    pub fn identity(&self, id: PathId) -> Option<&Identity> {
        self.memory.paths.iter().find(|path| path.id == id)?.identity.as_ref()
    }

    /// Has device-mapper use these paths no more: they are not as they should be. What could not be failed is a note.
    /// While the map is suspended device-mapper fails no path (`dm-mpath.c`: EBUSY); they are failed as soon as it goes on.
    pub fn fail(&mut self, paths: &[PathId], why: &str) -> Result<(), I::Stop> {
        for id in paths {
            self.memory.path(*id).unsettled = true;
            self.keep()?;
            if self.memory.suspended {
                self.to_fail.push((*id, why.to_owned()));
                continue;
            }
            let name = self.name(*id);
            let failed = self.io.fail_path(*id)?;
            self.notes.push(if failed {
                format!("path {name} {why}, and carries no I/O until it is repaired")
            } else {
                format!("path {name} {why}, and could not be failed: take it out of the map")
            });
            if let Some(path) = self.paths.iter_mut().find(|path| path.id == *id) {
                path.active &= !failed;
            }
        }
        Ok(())
    }
}
